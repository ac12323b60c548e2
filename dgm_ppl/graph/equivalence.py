"""Graphs that state the same independences: one class, drawn as one partly directed graph.

Two DAGs are equivalent when they have the same skeleton and the same v-structures (Verma and Pearl, 1990). The class is
drawn with arrows where all its members agree and lines elsewhere; the arrows follow from the v-structures by the four
rules of Meek (1995, https://arxiv.org/abs/1302.4972).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations

from .dag import DAG
from .errors import GraphError
from .lazy import networkx as nx
from .mixed import MixedGraph, pair

__all__ = ["cpdag", "equivalent", "members", "orient", "skeleton", "v_structures"]


def skeleton(dag: DAG) -> nx.Graph:
    """Return the graph with its arrows' heads taken off."""
    return dag.to_networkx().to_undirected()


def v_structures(dag: DAG) -> tuple[tuple[str, str, str], ...]:
    """Return every `(a, child, b)` in which two parents of a child have no arrow between them.

    >>> v_structures(DAG("a -> c <- b; c -> d"))
    (('a', 'c', 'b'),)
    """
    return tuple((a, child, b) for child in dag for a, b in combinations(dag.parents(child), 2)
                 if a not in dag.parents(b) and b not in dag.parents(a))


def equivalent(one: DAG, other: DAG) -> bool:
    """Return whether two graphs state the same independences.

    >>> equivalent(DAG("a -> b -> c"), DAG("a <- b <- c")), equivalent(DAG("a -> b -> c"), DAG("a -> b <- c"))
    (True, False)
    """
    return _marks(one) == _marks(other)


def _marks(dag: DAG) -> tuple[set, set, set]:
    colliders = {(pair(a, b), child) for a, child, b in v_structures(dag)}
    return set(dag), {pair(*edge) for edge in dag.edges}, colliders


def cpdag(dag: DAG) -> MixedGraph:
    """Return the class of graphs that are equivalent to `dag`: arrows that all share, lines that they do not.

    >>> print(cpdag(DAG("a -> c <- b; c -> d; e -> a")))
    a -> c
    c -> d
    b -> c
    a -- e
    """
    sure = {(parent, child) for a, child, b in v_structures(dag) for parent in (a, b)}
    open_ = {pair(*edge) for edge in dag.edges if edge not in sure}
    return _closed(MixedGraph(dag.nodes, frozenset(sure), frozenset(open_)))


def orient(graph: MixedGraph, arrows: Iterable[tuple[str, str]] = ()) -> MixedGraph:
    """Return the class narrowed by `arrows` known from elsewhere, and by what they imply (Meek's rules 1 to 4).

    Raises `GraphError` for an arrow that no member of the class has.

    >>> print(orient(cpdag(DAG("a -> b -> c")), [("a", "b")]))
    a -> b
    b -> c
    """
    graph = _closed(graph)
    for arrow in arrows:
        if arrow not in graph.directed:
            if pair(*arrow) not in graph.undirected:
                raise GraphError(f"orient: expected a line of the class; got {' -> '.join(arrow)}; "
                                 "try one of the edges printed with --")
            graph = _closed(MixedGraph(graph.nodes, graph.directed | {tuple(arrow)},
                                       graph.undirected - {pair(*arrow)}))
    return graph


def members(graph: DAG | MixedGraph) -> Iterator[DAG]:
    """Yield every DAG of a class, which is given by itself or by one of its members.

    >>> [dag.edges for dag in members(DAG("a -> b -> c"))]
    [(('a', 'b'), ('b', 'c')), (('b', 'a'), ('b', 'c')), (('b', 'a'), ('c', 'b'))]
    """
    graph = cpdag(graph) if isinstance(graph, DAG) else orient(graph)
    if not graph.undirected:
        yield graph.arrows()
        return
    a, b = min(sorted(edge) for edge in graph.undirected)
    yield from members(orient(graph, [(a, b)]))
    yield from members(orient(graph, [(b, a)]))


def _closed(graph: MixedGraph) -> MixedGraph:
    marks = _Orientation(graph)
    marks.close()
    return MixedGraph(graph.nodes, frozenset(marks.directed()), frozenset(marks.undirected()))


class _Orientation:
    """Parents, children and lines of each node while arrows are being found."""

    def __init__(self, graph: MixedGraph) -> None:
        self.parents = {node: set() for node in graph.nodes}
        self.children = {node: set() for node in graph.nodes}
        self.lines = {node: set() for node in graph.nodes}
        for a, b in graph.directed:
            self._point(a, b)
        for a, b in graph.undirected:
            self.lines[a].add(b)
            self.lines[b].add(a)

    def directed(self) -> Iterator[tuple[str, str]]:
        return ((a, b) for a, group in self.children.items() for b in group)

    def undirected(self) -> Iterator[frozenset[str]]:
        return (pair(a, b) for a, group in self.lines.items() for b in group)

    def close(self) -> None:
        """Apply the rules to each line, and again to the lines around every new arrow."""
        waiting = {(a, b) for a, group in self.lines.items() for b in group}
        while waiting:
            a, b = waiting.pop()
            if b in self.lines[a] and self._must(a, b):
                self.lines[a].discard(b)
                self.lines[b].discard(a)
                self._point(a, b)
                near = {a, b} | self._near(a) | self._near(b)
                waiting |= {edge for node in near for one in self.lines[node] for edge in ((node, one), (one, node))}

    def _must(self, a: str, b: str) -> bool:
        """Whether `a -- b` must be `a -> b`, by Meek's rules 1, 2, 3 and 4 in turn."""
        return (any(not self._joined(c, b) for c in self.parents[a])
                or bool(self.children[a] & self.parents[b])
                or any(not self._joined(c, d) for c, d in combinations(self.lines[a] & self.parents[b], 2))
                or any(self._joined(a, c) and not self._joined(d, b)
                       for c in self.parents[b] for d in self.parents[c] & self.lines[a]))

    def _joined(self, a: str, b: str) -> bool:
        return b in self._near(a)

    def _near(self, node: str) -> set[str]:
        return self.parents[node] | self.children[node] | self.lines[node]

    def _point(self, a: str, b: str) -> None:
        self.children[a].add(b)
        self.parents[b].add(a)
