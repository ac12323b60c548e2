"""Minimal independence maps: the arrows that are needed, and no more, once the nodes stand in an order.

Each node takes the fewest parents among its predecessors that make it independent of the other predecessors
(Verma and Pearl, 1988). What is independent of what is asked of a list of statements or of any oracle.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import combinations

from .errors import GraphError
from .independence import LARGEST_CLOSURE, Independence, as_statement, closure_of, masks
from .lazy import networkx as nx
from .names import chosen, several
from .semigraphoid import follows

__all__ = ["Oracle", "minimal_parents", "shrunk"]

Oracle = Callable[[set[str], set[str], set[str]], bool]
"""`oracle(a, b, given)`: whether the sets `a` and `b` are independent given the set `given`."""

Parents = dict[str, tuple[str, ...]]


def minimal_parents(source: Iterable[Independence | str] | Oracle, order: Sequence[str]) -> Parents:
    """Return the parents of each node in the minimal I-map of `source` along `order`.

    With statements the parents are the fewest that the semi-graphoid closure allows. With an oracle no parent can be
    left out, and where the oracle has the intersection property (a graph, a positive density) they are the fewest.
    Beyond `LARGEST_CLOSURE` nodes the statements must be of the recursive kind, one for each node about its
    predecessors, as local Markov statements are; others are refused.

    >>> minimal_parents(["height _||_ vocabulary | age"], ["age", "height", "vocabulary"])
    {'age': (), 'height': ('age',), 'vocabulary': ('age',)}
    """
    order = _checked_order(order)
    if callable(source):
        return _along(order, lambda node, before: shrunk(source, node, before))
    known = _known(source, order)
    return _from_closure(known, order) if len(order) <= LARGEST_CLOSURE else _from_recursion(known, order)


def shrunk(oracle: Oracle, node: str, before: Sequence[str]) -> list[str]:
    """Return what is left of the nodes `before` when all that `node` does not need, given the others, are left out."""
    kept = list(before)
    for name in before:
        others = [one for one in kept if one != name]
        if oracle({node}, {name}, set(others)):
            kept = others
    return kept


def _checked_order(order: Sequence[str]) -> list[str]:
    names = list(several(order, "order"))
    if not isinstance(order, str) and len(names) < len(list(order)):
        raise GraphError(f"order: expected each node once; got {list(order)!r}; try {names!r}")
    return names


def _known(source: Iterable[Independence | str], order: list[str]) -> list[Independence]:
    texts = [source] if isinstance(source, str) else source
    known = [as_statement(one) for one in texts]
    for statement in known:
        chosen(statement.names, order, f"statement {str(statement)!r} with this order")
    return known


def _along(order: list[str], parents_of: Callable[[str, list[str]], Iterable[str]]) -> Parents:
    return {node: tuple(parents_of(node, order[:index])) for index, node in enumerate(order)}


def _from_closure(known: list[Independence], order: list[str]) -> Parents:
    closed = closure_of(known, order)

    def separates(node: str, before: list[str], kept: tuple[str, ...]) -> bool:
        rest = set(before).difference(kept)
        return not rest or follows(closed, *masks(Independence(node, rest, kept), order))

    return _along(order, lambda node, before: next(
        kept for size in range(len(before) + 1) for kept in combinations(before, size)
        if separates(node, before, kept)))


def _from_recursion(known: list[Independence], order: list[str]) -> Parents:
    """A recursive list entails exactly the d-separations of its graph (Geiger and Pearl, 1988)."""
    parents = _along(order, lambda node, before: min(
        (kept for one in known for kept in _kept_by(one, node, before)), key=len, default=before))
    graph = nx.DiGraph((parent, node) for node, group in parents.items() for parent in group)
    graph.add_nodes_from(order)
    for one in known:
        if not nx.is_d_separator(graph, set(one.left), set(one.right), set(one.given)):
            raise GraphError(f"order: expected at most {LARGEST_CLOSURE} nodes, or statements that each tell which "
                             f"predecessors a node needs; got {len(order)} nodes and {str(one)!r}; "
                             "try an oracle, such as another graph's dag.independent")
    return parents


def _kept_by(one: Independence, node: str, before: list[str]) -> Iterable[list[str]]:
    """The parents that one statement alone allows, on either side of which the node may stand."""
    known = set(before)
    for mine, other in ((one.left, one.right), (one.right, one.left)):
        if node in mine and one.given <= known <= one.names:
            yield [name for name in before if name not in other]
