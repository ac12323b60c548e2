"""Directed acyclic graphs: which variable listens to which, and what that makes independent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from .declaration import read
from .display import Displayed
from .errors import GraphError, did_you_mean
from .imap import Oracle, minimal_parents
from .independence import Independence
from .lazy import Lazy
from .lazy import networkx as nx
from .names import Names, braced, chosen, disjoint, quoted, several
from .separation import Explanation, explain, separated

if TYPE_CHECKING:
    from .mixed import MixedGraph

__all__ = ["DAG"]

_mixed = Lazy("dgm_ppl.graph.mixed")                     # which is made of DAGs


class DAG(Displayed):
    """A directed acyclic graph of named nodes; immutable, hashable, equal to another with its nodes and arrows.

    Arguments:
        declaration: text such as `"age -> {height vocabulary}, luck"`; pairs `(parent, child)`; a dict of each node's
            parents; a networkx `DiGraph`; or another `DAG`. In text a comma, `;` or a new line ends a statement,
            so several names on one side of an arrow stand in braces, and odd names in double quotes.
        nodes: names that come first in the order of the nodes, with or without arrows.

    Raises `GraphError` for a cycle, an arrow or a node given twice, a loop, and anything that cannot be read.

    >>> dag = DAG("age -> height, age -> vocabulary")
    >>> dag.independent("height", "vocabulary", given="age")
    True
    >>> dag.parents("height"), dag.children("age")
    (('age',), ('height', 'vocabulary'))
    >>> dag
    DAG('age -> height; age -> vocabulary')
    """

    nodes: tuple[str, ...]
    """Every node, in the order of declaration."""

    edges: tuple[tuple[str, str], ...]
    """Every arrow `(parent, child)`, in the order of declaration."""

    order: tuple[str, ...]
    """Every node after its parents, and otherwise in the order of declaration."""

    def __init__(self, declaration: object = "", *, nodes: Names = ()) -> None:
        names, edges = (declaration.nodes, declaration.edges) if isinstance(declaration, DAG) else read(declaration)
        graph = nx.DiGraph()
        graph.add_nodes_from([*_once(nodes), *names])
        graph.add_edges_from(_checked(edges))
        place = {name: index for index, name in enumerate(graph)}
        vars(self).update(nodes=tuple(graph), edges=tuple(edges), order=_sorted(graph, place),
                          _place=place, _graph=nx.freeze(graph),
                          _parents={name: tuple(parents) for name, parents in graph.pred.items()},
                          _children={name: tuple(children) for name, children in graph.succ.items()})

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"DAG: expected a graph to stay as it is; got {name} = {value!r}; try a new DAG")

    @classmethod
    def from_independencies(cls, statements: "Iterable[Independence | str] | Oracle | DAG", *,
                            order: Sequence[str]) -> "DAG":
        """Return the minimal I-map along `order` of statements, of an oracle `(a, b, given) -> bool` (data: `DataOracle`), or of a graph.

        >>> DAG.from_independencies(["height _||_ vocabulary | age"], order=["age", "height", "vocabulary"])
        DAG('age -> height; age -> vocabulary')
        """
        source = statements.independent if isinstance(statements, DAG) else statements
        parents = minimal_parents(source, order)
        return cls(parents, nodes=tuple(parents))

    def parents(self, node: str) -> tuple[str, ...]:
        """Return the nodes with an arrow into `node`, as declared."""
        return self._parents[self._known(node)]

    def children(self, node: str) -> tuple[str, ...]:
        """Return the nodes that `node` has an arrow into, as declared."""
        return self._children[self._known(node)]

    def ancestors(self, *nodes: str) -> tuple[str, ...]:
        """Return every node with a directed path to one of `nodes`."""
        return self._reached(nodes, self._parents)

    def descendants(self, *nodes: str) -> tuple[str, ...]:
        """Return every node with a directed path from one of `nodes`."""
        return self._reached(nodes, self._children)

    @property
    def roots(self) -> tuple[str, ...]:
        """The nodes without parents."""
        return tuple(node for node in self.nodes if not self._parents[node])

    @property
    def leaves(self) -> tuple[str, ...]:
        """The nodes without children."""
        return tuple(node for node in self.nodes if not self._children[node])

    def markov_blanket(self, node: str) -> tuple[str, ...]:
        """Return the parents, children and children's other parents of `node`, which separate it from all others."""
        children = self.children(node)
        blanket = {*self.parents(node), *children, *(mate for child in children for mate in self.parents(child))}
        return self._arranged(blanket - {node})

    def independent(self, a: Names, b: Names, given: Names = ()) -> bool:
        """Return whether `given` d-separates `a` from `b`, each one name or several (Pearl, 1988).

        >>> dag = DAG("rain -> wet <- sprinkler")
        >>> dag.independent("rain", "sprinkler"), dag.independent("rain", "sprinkler", given="wet")
        (True, False)
        """
        a, b, given = (chosen(group, self._place, "independent") for group in (a, b, given))
        disjoint("independent", a=a, b=b, given=given)
        return separated(self._parents, self._children, a, b, given)

    def explain(self, a: Names, b: Names, given: Names = ()) -> Explanation:
        """Return why `a` and `b` are independent given `given`, or the path along which they are not; print it.

        >>> print(DAG("age -> {height vocabulary}").explain("height", "vocabulary", given="age"))
        height and vocabulary are independent given age
          height <- age -> vocabulary: blocked at age, a fork whose middle is given
        """
        return explain(self, a, b, given)

    def independencies(self) -> tuple[Independence, ...]:
        """Return the local Markov statements: each node against its non-descendants, given its parents.

        >>> print(*DAG("a -> b -> c").independencies(), sep="; ")
        c _||_ a | b
        """
        every = frozenset(self.nodes)
        return tuple(Independence.trusted({node}, apart, self._parents[node]) for node in self.nodes
                     if (apart := every.difference({node}, self._parents[node], self.descendants(node))))

    def subgraph(self, nodes: Names) -> "DAG":
        """Return the graph of these nodes and the arrows between them."""
        kept = set(chosen(nodes, self._place, "subgraph"))
        return DAG([edge for edge in self.edges if kept.issuperset(edge)], nodes=self._arranged(kept))

    def do(self, *nodes: str) -> "DAG":
        """Return the graph in which `nodes` are set from outside: no arrow points into them (Pearl, 1995).

        >>> DAG("rain -> wet <- sprinkler").do("wet").parents("wet")
        ()
        """
        cut = chosen(nodes, self._place, "do")
        return DAG([edge for edge in self.edges if edge[1] not in cut], nodes=self.nodes)

    def latent_projection(self, latent: Names) -> MixedGraph:
        """Return what is left when `latent` nodes are hidden: arrows, and `a <-> b` for a hidden common cause (Verma and Pearl, 1990).

        >>> print(DAG("habit -> {smoking cancer}; smoking -> tar -> cancer").latent_projection("habit"))
        smoking -> tar
        tar -> cancer
        smoking <-> cancer
        """
        return _mixed.latent_projection(self, latent)

    def moral(self) -> nx.Graph:
        """Return the moral graph: arrows without heads, and the parents of each node joined."""
        return nx.moral_graph(self._graph)

    def to_networkx(self) -> nx.DiGraph:
        """Return a networkx copy, which may be changed without changing this graph."""
        return nx.DiGraph(self._graph)

    def _known(self, node: str) -> str:
        if not isinstance(node, str) or node not in self._place:
            raise GraphError(f"DAG: expected a node of the graph; got {node!r}{did_you_mean(node, self.nodes)}")
        return node

    def _reached(self, nodes: tuple[str, ...], step: object) -> tuple[str, ...]:
        found: set[str] = set()
        waiting = [self._known(node) for node in nodes]
        while waiting:
            new = set(step[waiting.pop()]) - found
            found |= new
            waiting.extend(new)
        return self._arranged(found)

    def _arranged(self, nodes: Iterable[str]) -> tuple[str, ...]:
        return tuple(sorted(nodes, key=self._place.__getitem__))

    @cached_property
    def _key(self) -> tuple[frozenset, frozenset]:
        return frozenset(self.nodes), frozenset(self.edges)

    def __eq__(self, other: object) -> bool:
        return self._key == other._key if isinstance(other, DAG) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key)

    def __contains__(self, node: object) -> bool:
        return node in self._place

    def __len__(self) -> int:
        return len(self.nodes)

    def __iter__(self) -> Iterator[str]:
        return iter(self.nodes)

    def __repr__(self) -> str:
        arrows = [f"{quoted(parent)} -> {quoted(child)}" for parent, child in self.edges]
        mentioned = tuple(dict.fromkeys(name for edge in self.edges for name in edge))
        names = [] if mentioned == self.nodes else [quoted(node) for node in self.nodes]
        return f"DAG({'; '.join(names + arrows)!r})"

    def __str__(self) -> str:
        """One line a node, `child <- parents`, which a `DAG` reads back."""
        return "\n".join(quoted(node) + (f" <- {braced(parents)}" if (parents := self.parents(node)) else "")
                         for node in self.nodes)


def _sorted(graph: nx.DiGraph, place: dict[str, int]) -> tuple[str, ...]:
    try:
        return tuple(nx.lexicographical_topological_sort(graph, key=place.__getitem__))
    except nx.NetworkXUnfeasible:
        cycle = [parent for parent, _ in nx.find_cycle(graph)]
        spelt = " -> ".join(quoted(name) for name in [*cycle, cycle[0]])
        raise GraphError(f"DAG: expected no cycle; got {spelt}; try leaving one of these arrows out") from None


def _once(nodes: Names) -> tuple[str, ...]:
    names = [nodes] if isinstance(nodes, str) else list(nodes)
    once = several(names, "nodes")
    if len(once) < len(names):
        raise GraphError(f"nodes: expected each node once; got {names!r}; try nodes={list(once)!r}")
    return once


def _checked(edges: Sequence[tuple[str, str]]) -> Sequence[tuple[str, str]]:
    seen = set()
    for parent, child in edges:
        arrow = f"{quoted(parent)} -> {quoted(child)}"
        if parent == child:
            raise GraphError(f"node {child!r}: expected parents other than itself; got {arrow}; try leaving it out")
        if (parent, child) in seen:
            raise GraphError(f"DAG: expected each arrow once; got {arrow} twice; try writing it once")
        seen.add((parent, child))
    return edges
