"""What a graph says, before any thought of looks: the first of three steps from a graph to its picture.

A :class:`Dependence` is one thing through which parents enter a child. A network that reads three parents is one dependence
of three parents; where nothing stands on the arrows, each parent is a dependence of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

from ..families import Variable
from ..families.lags import Lagged, node_of
from ..graph import DAG, GraphError, MixedGraph, did_you_mean
from ..graph.names import Names, chosen
from ..nets import SetNet
from ..network import BayesNet, SubsetRecognition
from .tables import states_of, table_lines

__all__ = ["Compiled", "Dependence", "Graph", "Node", "Plate", "Relations", "declared", "relate"]


@runtime_checkable
class Compiled(Protocol):
    """What was compiled from a net, which is what is drawn of it."""

    net: BayesNet


Graph = DAG | BayesNet | MixedGraph | Compiled


def declared(graph: Graph) -> DAG | BayesNet | MixedGraph:
    """The net of a compiled model; anything else that can be drawn is taken as it is."""
    return graph.net if isinstance(graph, Compiled) and isinstance(graph.net, (BayesNet, SubsetRecognition)) else graph


@dataclass(frozen=True)
class Node:
    """One variable: what it is and what is known of it; `single` where its value is one number or state."""

    name: str
    distribution: str = ""
    summary: str = ""
    states: tuple[str, ...] = ()
    table: tuple[str, ...] = ()
    given: bool = False
    deterministic: bool = False
    observed: bool = False
    single: bool = True


@dataclass(frozen=True)
class Dependence:
    """`child` depends on `parents` by one network, function or parameter, called `label`.

    `pools` says for each parent over which plates all its members are read. An arrow has one head; a line whose direction is not known has none, and one for a hidden common cause has two. The
    detail is what a network says of itself beyond its label.
    """

    parents: tuple[str, ...]
    child: str
    label: str = ""
    guide: bool = False
    heads: int = 1
    detail: str = ""
    pools: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Plate:
    """Repetition of its members, `size` times where that is known."""

    name: str
    members: tuple[str, ...]
    size: int | None = None


@dataclass(frozen=True)
class Relations:
    """Nodes in a topological order, with their dependences and plates."""

    nodes: tuple[Node, ...]
    dependences: tuple[Dependence, ...]
    plates: tuple[Plate, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(node.name for node in self.nodes)


def relate(graph: Graph, *, guide: Graph | None = None, observed: Names = (),
           sizes: Mapping[str, int] | None = None) -> Relations:
    """Return what `graph` says, and what `guide` says over it.

    Observed are the nodes named, and those that the guide takes as given but the model does not. `sizes` gives plates
    the sizes that their declarations leave open. Raises `GraphError` on a name that the graph lacks.

    >>> relate(DAG("z -> x"), observed="x").dependences
    (Dependence(parents=('z',), child='x', label='', guide=False, heads=1, detail=''),)
    """
    said = _read(graph)
    said = replace(said, plates=_sized(said.plates, sizes or {}))
    seen = set(chosen(observed, said.names, "draw: observed"))
    if guide is not None:
        inverse = _read(guide)
        # beside: what a guide over a chain computes on the way, and what lies a step back
        beside = tuple(node for node in inverse.nodes if node.name not in said.names and (node.deterministic or isinstance(node.name, Lagged)))
        said = replace(said, nodes=(*beside, *said.nodes), plates=_around(said.plates, inverse.plates, [node.name for node in beside]))
        chosen(inverse.names, said.names, "draw: guide")
        seen |= {node.name for node in inverse.nodes if node.given}
        dashed = (replace(dependence, guide=True) for dependence in inverse.dependences)
        said = replace(said, dependences=(*said.dependences, *dashed))
    nodes = tuple(replace(node, observed=node_of(node.name) in seen and not node.given) for node in said.nodes)
    return replace(said, nodes=nodes)


def _around(plates: tuple[Plate, ...], others: tuple[Plate, ...], beside: list[str]) -> tuple[Plate, ...]:
    """The plates with those of the nodes beside that the guide has in them."""
    theirs = {plate.name: [name for name in plate.members if name in beside] for plate in others}
    return tuple(replace(plate, members=(*plate.members, *theirs.get(plate.name, ()))) for plate in plates)


def _read(graph: Graph) -> Relations:
    graph = declared(graph)
    if isinstance(graph, DAG):
        return _of_dag(graph)
    if isinstance(graph, BayesNet):
        return _of_net(graph)
    if isinstance(graph, MixedGraph):
        return _of_mixed(graph)
    if isinstance(graph, SubsetRecognition):
        raise TypeError(f"draw: a guide for any subset has a graph for each pattern; try draw(net, guide=recognition.at({graph.example!r}))")
    raise TypeError(f"draw: expected a DAG, a BayesNet, a compiled model or a MixedGraph; got {type(graph).__name__}; "
                    'try draw(DAG("a -> b"))')


def _of_dag(dag: DAG) -> Relations:
    arrows = (Dependence((parent,), name) for name in dag.order for parent in dag.parents(name))
    return Relations(tuple(map(Node, dag.order)), tuple(arrows))


def _of_mixed(graph: MixedGraph) -> Relations:
    order = graph.arrows().order
    place = {name: i for i, name in enumerate(order)}
    found = [(*edge, 1) for edge in graph.directed]
    found += [(*sorted(edge, key=place.get), 0) for edge in graph.undirected]
    found += [(*sorted(edge, key=place.get), 2) for edge in graph.bidirected]
    edges = sorted(found, key=lambda edge: (place[edge[0]], place[edge[1]], edge[2]))
    return Relations(tuple(map(Node, order)), tuple(Dependence((a,), b, heads=heads) for a, b, heads in edges))


def _of_net(net: BayesNet) -> Relations:
    plates = (Plate(name, tuple(plate.nodes), plate.size) for name, plate in net.plates.items())
    lagged = dict.fromkeys(parent for name in net.dag.order for parent in net[name].lags)
    return Relations((*(_before(net, name) for name in lagged), *(_node(net, name) for name in net.dag.order)), tuple(_dependences(net)), tuple(plates))


def _before(net: BayesNet, name: Lagged) -> Node:
    """A node some steps back, in the slice before."""
    variable = net[name.node]
    steps = f"{'one step' if abs(name.steps) == 1 else f'{abs(name.steps)} steps'} {'before' if name.steps > 0 else 'after'}"
    return Node(name, f"{name.node}, {steps}", variable.summary, states_of(variable), (), variable.is_given, variable.is_deterministic, single=not variable.shape)


def _sized(plates: tuple[Plate, ...], sizes: Mapping[str, int]) -> tuple[Plate, ...]:
    known = [plate.name for plate in plates]
    for name in sizes:
        if name not in known:
            raise GraphError(f"draw: sizes: expected a plate of the net; got {name!r}{did_you_mean(name, known)}")
    return tuple(replace(plate, size=sizes.get(plate.name, plate.size)) for plate in plates)


def _node(net: BayesNet, name: str) -> Node:
    variable = net[name]
    return Node(name, variable.caption, variable.summary, states_of(variable), table_lines(net, name),
                variable.is_given, variable.is_deterministic, single=not variable.shape)


def _dependences(net: BayesNet) -> Iterator[Dependence]:
    for name in net.dag.order:
        variable, parents = net[name], net[name].all_parents
        by_parameter = {parent: names for parent, names in variable.parameter_edges.items() if parent in parents}
        together = tuple(p for p in parents if p not in by_parameter or (variable.net_label and p in variable.parents))
        if variable.net_label and together:
            pools = tuple(_pools(net, parent, name) for parent in together) if isinstance(variable.net, SetNet) else ()
            yield Dependence(together, name, variable.net_label, detail=_detail(variable), pools=pools if any(pools) else ())
        else:
            yield from (Dependence((parent,), name) for parent in together)
        for parent, names in by_parameter.items():
            yield Dependence((parent,), name, "" if variable.is_deterministic else ", ".join(names))


def _pools(net: BayesNet, parent: str, child: str) -> str:
    """The plates over which a child reads all members of a parent, in words."""
    reads = [frozenset(net.templates.plates[parent]) - agree for agree in net.templates.aligned[parent, child]]
    plates = [plate for plate in net.templates.plates[parent] if any(plate in read for read in reads)]
    return ", ".join(f"all {plate}" for plate in plates)


def _detail(variable: Variable) -> str:
    said = repr(variable.net) if variable.net is not None else ""
    return "" if said == variable.net_label or " at 0x" in said else said
