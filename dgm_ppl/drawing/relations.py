"""What a graph says, before any thought of looks: the first of three steps from a graph to its picture.

A :class:`Dependence` is one thing through which parents enter a child. A network that reads three parents is one dependence
of three parents; where nothing stands on the arrows, each parent is a dependence of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..graph import DAG, GraphError, did_you_mean
from ..graph.names import Names, chosen

__all__ = ["Dependence", "Node", "Plate", "Relations", "relate"]


@dataclass(frozen=True)
class Node:
    """One variable: what it is, what is known of it, and the plates that repeat it, outermost first."""

    name: str
    distribution: str = ""
    summary: str = ""
    given: bool = False
    deterministic: bool = False
    observed: bool = False
    plates: tuple[str, ...] = ()


@dataclass(frozen=True)
class Dependence:
    """`child` depends on `parents` by one network, function or parameter, called `label`."""

    parents: tuple[str, ...]
    child: str
    label: str = ""
    guide: bool = False


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


def relate(graph: Any, *, guide: Any = None, observed: Names = (), sizes: Mapping[str, int] | None = None) -> Relations:
    """Return what `graph`, a `DAG` or a `BayesNet`, says, and what `guide` says over it.

    Observed are the nodes named, and those that the guide takes as given but the model does not. `sizes` gives plates
    the sizes that their declarations leave open. Raises `GraphError` on a name that the graph lacks.

    >>> relate(DAG("z -> x"), observed="x").dependences
    (Dependence(parents=('z',), child='x', label='', guide=False),)
    """
    said = _of_dag(graph) if isinstance(graph, DAG) else _of_net(graph)
    said = replace(said, plates=_sized(said.plates, sizes or {}))
    seen = set(chosen(observed, said.names, "draw: observed"))
    if guide is not None:
        _check_guide(guide, said.names)
        seen |= {name for name in guide.dag.order if guide[name].is_given}
        said = replace(said, dependences=(*said.dependences, *_dependences(guide, guide=True)))
    nodes = tuple(replace(node, observed=node.name in seen and not node.given) for node in said.nodes)
    return replace(said, nodes=nodes)


def _check_guide(guide: Any, known: tuple[str, ...]) -> None:
    if isinstance(guide, DAG):
        raise GraphError("draw: guide: expected a BayesNet; got a DAG; try guide=dgm.amortize(net, observed=[...])")
    chosen(guide.dag.order, known, "draw: guide")


def _of_dag(dag: DAG) -> Relations:
    arrows = (Dependence((parent,), name) for name in dag.order for parent in dag.parents(name))
    return Relations(tuple(map(Node, dag.order)), tuple(arrows))


def _of_net(net: Any) -> Relations:
    plates = (Plate(name, tuple(plate.nodes), plate.size) for name, plate in net.plates.items())
    return Relations(tuple(_node(net, name) for name in net.dag.order), tuple(_dependences(net)), tuple(plates))


def _sized(plates: tuple[Plate, ...], sizes: Mapping[str, int]) -> tuple[Plate, ...]:
    known = [plate.name for plate in plates]
    for name in sizes:
        if name not in known:
            raise GraphError(f"draw: sizes: expected a plate of the net; got {name!r}{did_you_mean(name, known)}")
    return tuple(replace(plate, size=sizes.get(plate.name, plate.size)) for plate in plates)


def _node(net: Any, name: str) -> Node:
    variable = net[name]
    return Node(name, _distribution(variable), variable.summary, variable.is_given, variable.is_deterministic,
                plates=tuple(net.plates_of(name)))


def _distribution(variable: Any) -> str:
    """The family with the number of states and the event shape, parameters left to the arrows: `Bernoulli(1, 28, 28)`."""
    lengths = [*([] if variable.size is None else [variable.size]), *variable.shape]
    return variable.family_name + (f"({', '.join(map(str, lengths))})" if lengths else "")


def _dependences(net: Any, guide: bool = False) -> Iterator[Dependence]:
    for name in net.dag.order:
        variable, parents = net[name], net.dag.parents(name)
        by_parameter = {parent: names for parent, names in variable.parameter_edges.items() if parent in parents}
        together = tuple(p for p in parents if p not in by_parameter or (variable.net_label and p in variable.parents))
        if variable.net_label and together:
            yield Dependence(together, name, variable.net_label, guide)
        else:
            yield from (Dependence((parent,), name, "", guide) for parent in together)
        for parent, names in by_parameter.items():
            yield Dependence((parent,), name, "" if variable.is_deterministic else ", ".join(names), guide)
