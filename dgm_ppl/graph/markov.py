"""The Markov statements of a graph: lists of independences, short and long, that it stands for.

The local statements are `dag.independencies()`. Each list here but the last is enough to derive all the others.
"""

from collections.abc import Iterator
from itertools import combinations

from .bayes_ball import connected
from .dag import DAG
from .errors import GraphError
from .independence import Independence
from .names import Names, chosen

__all__ = ["basis_set", "elementary_statements", "markov_boundary", "pairwise_statements"]


def pairwise_statements(dag: DAG) -> tuple[Independence, ...]:
    """Return, for each node and each non-descendant that is no parent, their independence given the others.

    The others are the node's remaining non-descendants, so the list takes room as the cube of the nodes; `basis_set` is the short
    one. They give the local statements where the distribution obeys intersection, as one with a positive density does.

    >>> print(*pairwise_statements(DAG("a -> b -> c")), sep="; ")
    c _||_ a | b
    """
    return tuple(Independence(node, other, apart - {other}) for node in dag
                 for apart in [set(dag).difference({node}, dag.descendants(node))]
                 for other in dag if other in apart and other not in dag.parents(node))


def basis_set(dag: DAG) -> tuple[Independence, ...]:
    """Return one statement for each pair of nodes without an arrow: independent given the parents of both.

    For a linear Gaussian model they can be tested one by one and independently (Shipley, 2000).

    >>> print(*basis_set(DAG("a -> b -> c -> d")), sep="; ")
    a _||_ c | b; a _||_ d | c; b _||_ d | {a, c}
    """
    parents = {node: frozenset(dag.parents(node)) for node in dag}
    return tuple(Independence.trusted((a,), (b,), parents[a] | parents[b])
                 for a, b in combinations(dag.order, 2) if a not in parents[b])


def elementary_statements(dag: DAG, largest: int | None = None) -> Iterator[Independence]:
    """Yield every true statement between two single nodes, those with the fewest given nodes first.

    At most `largest` nodes are given, however many there are when it is None: their number grows as `2 ** nodes`.

    >>> print(*elementary_statements(DAG("a -> b -> c")), sep="; ")
    a _||_ c | b
    """
    if largest is not None and largest < 0:
        raise GraphError(f"largest: expected 0 or more given nodes; got {largest}; try largest=1")
    sizes = range(min(len(dag) - 2, len(dag) if largest is None else largest) + 1)
    for given in (given for size in sizes for given in combinations(dag.nodes, size)):
        free = [node for node in dag if node not in given]
        for index, a in enumerate(free):
            met = set(connected(dag, a, given))
            yield from (Independence(a, b, given) for b in free[index + 1:] if b not in met)


def markov_boundary(dag: DAG, node: str, among: Names | None = None) -> tuple[str, ...]:
    """Return the fewest of the nodes `among` (all, when left out) that separate `node` from the rest of them.

    Among all nodes it is the Markov blanket; among the predecessors of a guide's latent, what the latent must read.

    >>> markov_boundary(DAG("z2 -> z1 -> x"), "z2", among=["z1", "x"])
    ('z1',)
    """
    chosen((node,), dag, "markov_boundary")
    others = [one for one in (dag if among is None else chosen(among, dag, "among")) if one != node]
    return tuple(one for one in others if one in connected(dag, node, set(others) - {one}))
