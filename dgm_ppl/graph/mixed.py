"""Graphs with more than one kind of edge: what a class of graphs shares, and what is left when nodes are hidden."""

from collections.abc import Iterable
from dataclasses import dataclass

from .dag import DAG
from .display import Displayed
from .errors import GraphError
from .lazy import networkx as nx
from .names import Names, chosen, quoted, several

__all__ = ["MixedGraph", "latent_projection", "pair"]


@dataclass(frozen=True, eq=False)
class MixedGraph(Displayed):
    """A graph with arrows `a -> b`, lines `a -- b` (direction unknown) and `a <-> b` (a hidden common cause).

    >>> print(MixedGraph(("x", "y"), directed=[("x", "y")], bidirected=[("x", "y")]))
    x -> y
    x <-> y
    """

    nodes: tuple[str, ...]
    directed: frozenset[tuple[str, str]] = frozenset()
    undirected: frozenset[frozenset[str]] = frozenset()
    bidirected: frozenset[frozenset[str]] = frozenset()

    def __post_init__(self) -> None:
        object.__setattr__(self, "nodes", several(self.nodes, "MixedGraph"))
        object.__setattr__(self, "directed", frozenset(map(tuple, self.directed)))
        for kind in ("undirected", "bidirected"):
            object.__setattr__(self, kind, frozenset(map(frozenset, getattr(self, kind))))
        known = dict.fromkeys(self.nodes)
        for edge in (*self.directed, *self.undirected, *self.bidirected):
            chosen(tuple(edge), known, "MixedGraph")
            if len(set(edge)) != 2:
                raise GraphError(f"MixedGraph: expected edges between two nodes; got {sorted(edge)!r}; "
                                 "try leaving it out")

    def parents(self, node: str) -> tuple[str, ...]:
        """Return the nodes with an arrow into `node`."""
        return tuple(one for one in self.nodes if (one, node) in self.directed)

    def children(self, node: str) -> tuple[str, ...]:
        """Return the nodes that `node` has an arrow into."""
        return tuple(one for one in self.nodes if (node, one) in self.directed)

    def lines(self, node: str) -> tuple[str, ...]:
        """Return the nodes joined to `node` by `--`."""
        return tuple(one for one in self.nodes if pair(one, node) in self.undirected)

    def spouses(self, node: str) -> tuple[str, ...]:
        """Return the nodes joined to `node` by `<->`."""
        return tuple(one for one in self.nodes if pair(one, node) in self.bidirected)

    @property
    def districts(self) -> tuple[frozenset[str], ...]:
        """The sets of nodes joined by `<->`, a node without any being a set of its own."""
        joined = nx.Graph(map(tuple, self.bidirected))
        joined.add_nodes_from(self.nodes)
        place = {node: index for index, node in enumerate(self.nodes)}
        return tuple(sorted(map(frozenset, nx.connected_components(joined)), key=lambda one: min(map(place.get, one))))

    def arrows(self) -> DAG:
        """Return the graph of the arrows alone."""
        return DAG(sorted(self.directed), nodes=self.nodes)

    def subgraph(self, nodes: Names) -> "MixedGraph":
        """Return the graph of these nodes and the edges between them."""
        kept = set(chosen(nodes, self.nodes, "subgraph"))
        return MixedGraph(tuple(node for node in self.nodes if node in kept),
                          *(frozenset(edge for edge in edges if kept.issuperset(edge))
                            for edges in (self.directed, self.undirected, self.bidirected)))

    def canonical(self) -> DAG:
        """Return the DAG in which each `a <-> b` is a node `a <-> b` of its own with arrows into both.

        Where there is no `a -- b`, its independences among `nodes` are those that this graph stands for.
        """
        if self.undirected:
            raise GraphError(f"MixedGraph: expected arrows and <-> alone; got {self._lines('--')[0]}; "
                             "try a member of the class, next(members(graph))")
        hidden = [(" <-> ".join(sorted(edge)), node) for edge in self.bidirected for node in edge]
        return DAG(sorted(self.directed) + sorted(hidden), nodes=self.nodes)

    def __eq__(self, other: object) -> bool:
        return self._key == other._key if isinstance(other, MixedGraph) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def _key(self) -> tuple:
        return frozenset(self.nodes), self.directed, self.undirected, self.bidirected

    def __str__(self) -> str:
        lines = [*self._lines("->"), *self._lines("--"), *self._lines("<->")]
        joined = {node for edge in (*self.directed, *self.undirected, *self.bidirected) for node in edge}
        return "\n".join([*lines, *(quoted(node) for node in self.nodes if node not in joined)])

    def _lines(self, mark: str) -> list[str]:
        place = {node: index for index, node in enumerate(self.nodes)}
        edges = {"->": self.directed, "--": self.undirected, "<->": self.bidirected}[mark]
        ordered = (tuple(edge) if mark == "->" else sorted(edge, key=place.get) for edge in edges)
        return [f"{quoted(a)} {mark} {quoted(b)}" for a, b in sorted(ordered, key=lambda ab: tuple(map(place.get, ab)))]


def pair(a: str, b: str) -> frozenset[str]:
    """Return the edge without direction between two nodes."""
    return frozenset((a, b))


def latent_projection(dag: DAG, latent: Names) -> MixedGraph:
    """Return what is left of a graph when `latent` nodes are hidden (Verma and Pearl, 1990).

    An arrow stands for a directed path through hidden nodes, and `a <-> b` for a hidden common cause. The
    independences among the nodes that are left are the same.

    >>> print(latent_projection(DAG("u -> {x y}; x -> m -> y"), ["u", "m"]))
    x -> y
    x <-> y
    """
    hidden = chosen(latent, dag, "latent")
    directed, bidirected = set(dag.edges), set()
    for node in hidden:
        parents = {a for a, b in directed if b == node}
        children = {b for a, b in directed if a == node}
        spouses = {one for edge in bidirected if node in edge for one in edge - {node}}
        directed = _away(directed, node) | {(a, b) for a in parents for b in children}
        bidirected = _away(bidirected, node) | {pair(a, b) for a in children for b in children | spouses if a != b}
    return MixedGraph(tuple(node for node in dag if node not in hidden), frozenset(directed), frozenset(),
                      frozenset(bidirected))


def _away(edges: Iterable, node: str) -> set:
    return {edge for edge in edges if node not in edge}
