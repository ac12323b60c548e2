"""Plates: a graph whose nodes stand for one copy at each member of the plates that they are in.

A copy of a parent is a parent of a copy of its child where the two agree on the plates that both are in; over the other
plates of the parent a child has every member as a parent. So what joins two templates is written as sets of plates on
which two copies must agree to be joined, the smallest such sets alone; its size never depends on how many members a plate has.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product

from .contraction import from_parents
from .dag import DAG
from .errors import GraphError, did_you_mean

__all__ = ["Aligned", "Factor", "Read", "Templates", "join", "templates"]

Aligned = frozenset[str]
"""Plates on which two copies agree."""


def join(known: Collection[Aligned], new: Aligned) -> frozenset[Aligned]:
    """Return the smallest sets among the known ones and the new one: agreeing on a part is implied by agreeing on all.

    >>> sorted(map(sorted, join({frozenset({"row", "column"})}, frozenset({"row"}))))
    [['row']]
    """
    if any(one <= new for one in known):
        return frozenset(known)
    return frozenset({*(one for one in known if not new <= one), new})


@dataclass(frozen=True)
class Read:
    """What a factor reads of one template."""

    node: str
    pools: tuple[str, ...] = ()
    """The plates of the node over which all members are read; their order must not matter."""

    broadcasts: tuple[str, ...] = ()
    """The plates of the reader whose members all read the same."""

    def __str__(self) -> str:
        return f"{self.node}[{', '.join(f'all {plate}' for plate in self.pools)}]" if self.pools else self.node


@dataclass(frozen=True)
class Factor:
    """One factor of a guide, for every copy of a latent: what it reads, and which copies are drawn together."""

    node: str
    plates: tuple[str, ...]
    reads: tuple[Read, ...]
    coupled: tuple[str, ...] = ()
    """The plates over which the copies depend on each other, given what is read."""

    barren: bool = False

    @property
    def pools(self) -> Mapping[str, tuple[str, ...]]:
        """For each node that is read over all members of some plates, these plates."""
        return {read.node: read.pools for read in self.reads if read.pools}

    def remarks(self) -> Iterable[str]:
        """Yield what it pools over, what it broadcasts, and which copies stay coupled."""
        for read in self.reads:
            if read.pools:
                yield f"pools {read.node} over {', '.join(read.pools)}"
            if read.broadcasts:
                yield f"broadcasts {read.node} over {', '.join(read.broadcasts)}"
        if self.coupled:
            yield f"copies stay coupled over {', '.join(self.coupled)}"

    def __str__(self) -> str:
        head = str(Read(self.node, self.coupled))
        given = f" | {', '.join(map(str, self.reads))}" if self.reads else ""
        return f"{'p' if self.barren else 'q'}({head}{given})"


@dataclass(frozen=True)
class Templates:
    """A graph with plates: `aligned[parent, child]` are the sets of plates on which copies must agree to be joined."""

    dag: DAG
    plates: Mapping[str, tuple[str, ...]]
    aligned: Mapping[tuple[str, str], frozenset[Aligned]]

    @property
    def plain(self) -> bool:
        """Whether no node is in a plate."""
        return not any(self.plates.values())

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The plates that have members."""
        return tuple(dict.fromkeys(plate for node in self.dag for plate in self.plates[node]))

    def read(self, node: str, reader: str, agree: Aligned) -> Read:
        """Return what `reader` reads of `node` where their copies agree on some plates."""
        return Read(node, tuple(plate for plate in self.plates[node] if plate not in agree),
                    tuple(plate for plate in self.plates[reader] if plate not in agree))

    def restricted(self, nodes: Collection[str]) -> Templates:
        """Return the part over some nodes."""
        dag = self.dag.subgraph(nodes)
        return Templates(dag, {node: self.plates[node] for node in dag}, {edge: self.aligned[edge] for edge in dag.edges})

    def contracted(self, gone: Collection[str]) -> Templates:
        """Return the graph without nodes that are functions of their parents: their children inherit these parents.

        Two arrows in a row join copies that agree on what both arrows agree on.
        """
        source: dict[str, dict[str, frozenset[Aligned]]] = {}
        for node in self.dag.order:
            source[node] = found = {}
            for parent in self.dag.parents(node):
                above = source[parent] if parent in gone else {parent: frozenset({frozenset(self.plates[parent])})}
                for one, sets in above.items():
                    for a, b in product(sets, self.aligned[parent, node]):
                        found[one] = join(found.get(one, ()), a & b)
        kept = {node: tuple(source[node]) for node in self.dag if node not in gone}
        aligned = {(parent, node): source[node][parent] for node in kept for parent in kept[node]}
        return Templates(from_parents(kept), {node: self.plates[node] for node in kept}, aligned)

    def members(self, node: str, size: int = 2) -> tuple[dict[str, int], ...]:
        """Return the places of a node's copies where every plate has `size` members."""
        return tuple(dict(zip(self.plates[node], at)) for at in product(range(size), repeat=len(self.plates[node])))

    def copies(self, node: str, size: int = 2) -> tuple[str, ...]:
        """Return the names of a node's copies where every plate has `size` members."""
        return tuple(self.name(node, places) for places in self.members(node, size))

    def name(self, node: str, places: Mapping[str, int]) -> str:
        """Return the name of the copy at some places of its plates."""
        inside = ",".join(str(places[plate] + 1) for plate in self.plates[node])
        return f"{node}[{inside}]" if inside else node

    def agreeing(self, node: str, places: Mapping[str, int], agree: Iterable[Aligned], size: int = 2) -> tuple[str, ...]:
        """Return the copies of `node` that agree with `places` on one of the sets of plates."""
        sets = tuple(agree)
        return tuple(self.name(node, at) for at in self.members(node, size)
                     if any(all(places[plate] == at[plate] for plate in one) for one in sets))

    def ground(self, size: int = 2) -> DAG:
        """Return the graph over all copies, every plate having `size` members.

        >>> templates(DAG("mu -> z -> x"), {"n": ["z", "x"]}).ground().edges
        (('mu', 'z[1]'), ('mu', 'z[2]'), ('z[1]', 'x[1]'), ('z[2]', 'x[2]'))
        """
        parents = {}
        for node in self.dag:
            for places in self.members(node, size):
                parents[self.name(node, places)] = tuple(
                    copy for parent in self.dag.parents(node)
                    for copy in self.agreeing(parent, places, self.aligned[parent, node], size))
        return from_parents(parents)


def templates(dag: DAG, plates: Mapping[str, Iterable[str]] | None = None,
              whole: Mapping[tuple[str, str], Iterable[Iterable[str]]] | None = None) -> Templates:
    """Return the graph with its plates, named with their members.

    Arguments:
        dag: the arrows between the templates.
        plates: the members of each plate; plates that share members cross or nest.
        whole: for arrows `(parent, child)` that join more copies than those that agree on the shared plates, the shared
            plates that do not count; several such sets join what any of them joins.
    """
    inside: dict[str, list[str]] = {node: [] for node in dag}
    for plate, members in (plates or {}).items():
        for node in members:
            if node not in inside:
                raise GraphError(f"plates: expected nodes of the graph in {plate!r}; got {node!r}{did_you_mean(node, dag.nodes)}")
            inside[node].append(plate)
    aligned = {}
    for parent, child in dag.edges:
        shared, sets = frozenset(inside[parent]) & frozenset(inside[child]), frozenset()
        for drop in (whole or {}).get((parent, child), ((),)):
            sets = join(sets, shared - frozenset(drop))
        aligned[parent, child] = sets
    return Templates(dag, {node: tuple(inside[node]) for node in dag}, aligned)
