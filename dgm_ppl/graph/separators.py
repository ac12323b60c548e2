"""Minimal separators: the smallest sets of nodes to hold fixed so that two sets become independent."""

from collections import deque
from collections.abc import Collection, Iterable, Iterator

from .dag import DAG
from .names import Names, chosen, disjoint

__all__ = ["minimal_separator", "minimal_separators"]

Neighbours = dict[str, set[str]]


def minimal_separator(dag: DAG, a: Names, b: Names, *, within: Names | None = None) -> tuple[str, ...] | None:
    """Return one set, out of the nodes `within`, that separates `a` from `b` and of which no node can go.

    None is returned where no set does, so that the two always depend on each other.

    >>> minimal_separator(DAG("a -> {m n} -> b"), "a", "b")
    ('m', 'n')
    """
    return next(minimal_separators(dag, a, b, within=within), None)


def minimal_separators(dag: DAG, a: Names, b: Names, *, within: Names | None = None) -> Iterator[tuple[str, ...]]:
    """Yield every such set, those near `a` first (Berry, Bordat and Cogis, 2000, on the moral ancestral graph).

    There may be exponentially many; the time between two of them is polynomial.

    >>> list(minimal_separators(DAG("a -> m -> n -> b"), "a", "b"))
    [('m',), ('n',)]
    """
    a, b = chosen(a, dag, "separators"), chosen(b, dag, "separators")
    disjoint("separators", a=a, b=b)
    allowed = set(dag if within is None else chosen(within, dag, "within")).difference(a, b)
    moral = dag.subgraph({*a, *b, *dag.ancestors(*a, *b)}).moral()
    neighbours = _without({node: set(moral[node]) for node in moral}, allowed.union(a, b))
    return (tuple(node for node in dag if node in found) for found in _separators(neighbours, set(a), set(b)))


def _without(neighbours: Neighbours, kept: Collection[str]) -> Neighbours:
    """Take out the nodes that may not be held fixed, joining what each stood between."""
    for node in [one for one in neighbours if one not in kept]:
        around = neighbours.pop(node)
        for one in around:
            neighbours[one] = (neighbours[one] | around) - {node, one}
    return neighbours


def _separators(neighbours: Neighbours, a: set[str], b: set[str]) -> Iterator[frozenset[str]]:
    found: set[frozenset[str]] = set()
    waiting = deque(_beyond(neighbours, a, b))
    while waiting:
        separator = waiting.popleft()
        if separator not in found:
            found.add(separator)
            yield separator
            side = _reach(neighbours, a, separator)
            waiting.extend(new for node in separator for new in _beyond(neighbours, side | {node}, b))


def _beyond(neighbours: Neighbours, side: set[str], b: set[str]) -> Iterable[frozenset[str]]:
    """The minimal separator closest to `side` on the way to `b`, if there is one."""
    edge = _around(neighbours, side)
    if edge & b:
        return []
    return [frozenset(_around(neighbours, _reach(neighbours, b, edge)))]


def _around(neighbours: Neighbours, nodes: set[str]) -> set[str]:
    return set().union(*(neighbours[node] for node in nodes)) - nodes


def _reach(neighbours: Neighbours, start: set[str], blocked: Collection[str]) -> set[str]:
    reached, waiting = set(start), list(start)
    while waiting:
        new = neighbours[waiting.pop()].difference(reached, blocked)
        reached |= new
        waiting.extend(new)
    return reached
