"""Greedy equivalence search among the classes that agree with what is known.

It moves as GES does (Chickering, 2002), by insertions and then deletions between classes of equivalent graphs, but only to classes
that have a member with every required arrow and no forbidden one. It starts at the class of the required arrows alone and never
deletes one of them. Whether a class has such a member is decided by orienting it (Meek, 1995). Nothing is known: it is GES.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache, partial
from itertools import combinations

from ..graph import DAG, GraphError, MixedGraph, cpdag, orient

__all__ = ["LocalScore", "greedy_search", "knowing"]

Arrow = tuple[str, str]
LocalScore = Callable[[str, frozenset[str]], float]
"""What a node adds to the score of a graph, given its parents; the more the better, and equal for equivalent graphs."""

Move = tuple[float, Callable[[], MixedGraph]]
"""What a move gains, and the partly directed graph that it makes."""


def greedy_search(
    names: Sequence[str], local: LocalScore, required: Sequence[Arrow] = (), forbidden: Sequence[Arrow] = (), largest: int | None = None,
) -> MixedGraph:
    """Return the class that no insertion and no deletion improves, oriented by what is known; `largest` bounds the parents."""
    local = cache(local)
    most = len(names) if largest is None else largest
    found = cpdag(DAG(list(required), nodes=names))
    for moves in (lambda state: state.insertions(local, forbidden, most), lambda state: state.deletions(local, required)):
        while (better := _best(moves(_State(found)), required, forbidden)) is not None:
            found = better
    return knowing(found, required, forbidden)


def knowing(found: MixedGraph, required: Iterable[Arrow], forbidden: Iterable[Arrow]) -> MixedGraph:
    """The class narrowed to the members that have the required arrows and lack the forbidden ones.

    Raises `GraphError` where there is none.
    """
    found = orient(found, required)
    for a, b in forbidden:
        if (a, b) in found.directed:
            raise GraphError(f"forbidden: every graph of the class has {a} -> {b}; try leaving it out")
        if frozenset((a, b)) in found.undirected:
            found = orient(found, [(b, a)])
    return found


def _best(moves: Iterable[Move], required: Sequence[Arrow], forbidden: Sequence[Arrow]) -> MixedGraph | None:
    """The class that the best of the moves leads to, if it is an improvement and agrees with what is known."""
    for gain, made in sorted(moves, key=lambda move: -move[0]):
        if gain <= 1e-9:
            return None
        reached = cpdag(_member(made()))
        try:
            knowing(reached, required, forbidden)
        except GraphError:
            continue
        return reached
    return None


class _State:
    """A class, by each node's parents, lines and neighbours of any kind, and its moves."""

    def __init__(self, graph: MixedGraph) -> None:
        self.graph = graph
        self.parents: dict[str, set[str]] = {node: set() for node in graph.nodes}
        self.lines: dict[str, set[str]] = {node: set() for node in graph.nodes}
        for a, b in graph.directed:
            self.parents[b].add(a)
        for a, b in graph.undirected:
            self.lines[a].add(b)
            self.lines[b].add(a)
        self.near = {node: self.parents[node] | self.lines[node] for node in graph.nodes}
        for a, b in graph.directed:
            self.near[a].add(b)

    def insertions(self, local: LocalScore, forbidden: Sequence[Arrow], most: int) -> Iterator[Move]:
        """Each valid `Insert(x, y, T)`."""
        barred = {arrow for arrow in forbidden if arrow[::-1] in forbidden}
        for x in self.graph.nodes:
            for y in self.graph.nodes:
                if x == y or y in self.near[x] or (x, y) in barred:
                    continue
                common = self.lines[y] & self.near[x]
                for chosen in _subsets(self.lines[y] - self.near[x]):
                    given = common | chosen
                    before = frozenset(given | self.parents[y])
                    if len(before) < most and self._clique(given) and not self._reaches(y, x, given):
                        yield local(y, before | {x}) - local(y, before), partial(self._inserted, x, y, chosen)

    def deletions(self, local: LocalScore, required: Sequence[Arrow]) -> Iterator[Move]:
        """Each valid `Delete(x, y, H)`."""
        kept = {frozenset(arrow) for arrow in required}
        edges = [*self.graph.directed, *((a, b) for edge in self.graph.undirected for a, b in (tuple(edge), tuple(edge)[::-1]))]
        for x, y in edges:
            if frozenset((x, y)) in kept:
                continue
            common = self.lines[y] & self.near[x]
            for turned in _subsets(common):
                if self._clique(common - turned):
                    after = frozenset((common - turned) | self.parents[y] - {x})
                    yield local(y, after) - local(y, after | {x}), partial(self._deleted, x, y, turned)

    def _clique(self, nodes: set[str]) -> bool:
        return all(b in self.near[a] for a, b in combinations(nodes, 2))

    def _reaches(self, start: str, end: str, blocked: set[str]) -> bool:
        """Whether a path from `start` to `end` goes against no arrow and through nothing that is blocked."""
        seen, waiting = {start}, [start]
        while waiting:
            node = waiting.pop()
            onward = self.near[node] - self.parents[node] - seen - blocked
            if end in onward:
                return True
            seen |= onward
            waiting.extend(onward)
        return False

    def _inserted(self, x: str, y: str, chosen: set[str]) -> MixedGraph:
        turned = {frozenset((one, y)) for one in chosen}
        return MixedGraph(self.graph.nodes, self.graph.directed | {(x, y)} | {(one, y) for one in chosen}, self.graph.undirected - turned)

    def _deleted(self, x: str, y: str, turned: set[str]) -> MixedGraph:
        arrows = {(y, one) for one in turned} | {(x, one) for one in turned if one in self.lines[x]}
        lines = self.graph.undirected - {frozenset((x, y))} - {frozenset(arrow) for arrow in arrows}
        return MixedGraph(self.graph.nodes, (self.graph.directed - {(x, y)}) | arrows, lines)


def _subsets(nodes: set[str]) -> Iterator[set[str]]:
    ordered = sorted(nodes)
    return (set(some) for size in range(len(ordered) + 1) for some in combinations(ordered, size))


def _member(graph: MixedGraph) -> DAG:
    """A DAG with the skeleton, the arrows and the v-structures of a partly directed graph (Dor and Tarsi, 1992)."""
    state, arrows = _State(graph), set(graph.directed)
    near, parents, lines, left = state.near, state.parents, state.lines, list(graph.nodes)
    children = {node: {other for other in left if node in parents[other]} for node in left}
    while left:
        sink = next(node for node in left if not children[node] and all(other in near[line] for line in lines[node] for other in near[node] - {line}))
        arrows |= {(line, sink) for line in lines[sink]}
        for other in near[sink]:
            near[other].discard(sink)
            lines[other].discard(sink)
            children[other].discard(sink)
        left.remove(sink)
    return DAG(sorted(arrows), nodes=graph.nodes)
