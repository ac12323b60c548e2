"""From variables to conditionals: the modules of a net, in the order in which they are evaluated."""

from __future__ import annotations

from collections.abc import Collection
from itertools import combinations
from typing import TYPE_CHECKING

from ..conditionals import Chained, Conditional, Parametric, Port
from ..families import Architecture, Variable
from ..families.lags import node_of
from ..graph import GraphError
from ..nets import SetNet
from .chains import first_steps

if TYPE_CHECKING:
    from .bayes_net import BayesNet

__all__ = ["build_conditionals", "ports_of"]


def ports_of(net: BayesNet, name: str, variable: Variable) -> tuple[Port, ...]:
    """How a node sees each of its parents."""
    return tuple(_port(net, parent, name) for parent in variable.all_parents)


def _port(net: BayesNet, parent: str, child: str) -> Port:
    plates, inside, origin = list(net.plates), net.plates_of(child), net[node_of(parent)]
    if isinstance(net[child].net, SetNet) and parent in net[child].parents:
        frame = tuple((name, plate.size) for name, plate in net.plates.items())
        return Port(parent, origin.space, origin.shape, plates=len(plates), frame=frame, readings=_readings(net, parent, child))
    pooled = [plate for plate in net.plates_of(parent) if plate not in inside]
    return Port(
        parent, origin.space, origin.shape, plates=len(plates), pooled=tuple(plates.index(plate) for plate in pooled),
        sizes=tuple(net.plates[plate].size for plate in pooled),
    )


def _readings(net: BayesNet, parent: str, child: str) -> tuple[tuple[int, ...], ...]:
    """The plates over which a set network reads all members, by position, inner plates first; one reading for each way to read the parent.

    A child that reads all members of a plate that it is in must know its own: parts of these plates are read too.
    """
    inside, order, found = net.plates_of(child), list(net.plates), {}
    outside = [plate for plate in net.plates_of(parent) if plate not in inside]
    for shared in net[child].shared_plates(parent):
        for count in range(len(shared) + 1):
            for part in combinations(shared, count):
                pooled = sorted((*outside, *part), key=lambda plate: (len(net.plates[plate].nodes), order.index(plate)))
                found[tuple(order.index(plate) for plate in pooled)] = None
    return tuple(found)


def build_conditionals(net: BayesNet, shared: dict, skip: Collection[str] = ()) -> dict[str, Conditional]:
    """One conditional for each node that has a distribution, in declaration order, so that a seed gives the same weights."""
    return {name: _conditional(net, name, shared) for name, variable in net.variables.items() if not variable.is_given and name not in skip}


def _conditional(net: BayesNet, name: str, shared: dict) -> Conditional:
    chain, variable = net.chain_of(name), net[name]
    main = _built(net, name, variable, shared)
    if chain is None:
        return main
    steps, built = first_steps(name, variable, net.variables), {}
    for start in steps:
        if id(start) not in built:
            built[id(start)] = _built(net, name, start, shared)
    places = {plate: place - len(net.plates) for place, plate in enumerate(net.plates)}
    together = variable.family.coupled if isinstance(variable.family, Architecture) else ()
    level = [place for plate, place in places.items() if plate in together or main.ports and name not in net.plates[plate].nodes]
    return Chained(name, variable, main, [built[id(start)] for start in steps], axis=places[chain.name], inside=chain.nodes, level=level)


def _built(net: BayesNet, name: str, variable: Variable, shared: dict) -> Conditional:
    ports, plates = ports_of(net, name, variable), list(net.plates)
    for port in ports:
        if None in port.sizes and variable.classical and port.name in variable.parents:
            pooled = [plates[position] for position in port.pooled]
            raise GraphError(
                f"node {name!r}: its parent {port.name!r} is in the plate {pooled[0]!r} and {name!r} is not, so {name!r} depends on all members; say how: "
                f".given({port.name!r}, fn=lambda v: v.mean(-1)), or declare the plate's size"
            )
    positions, kind = tuple(plates.index(plate) for plate in net.plates_of(name)), variable.family
    build = kind.build if isinstance(kind, Architecture) else Parametric
    return build(name, variable, ports, plates=positions, all_plates=len(plates), shared=shared)
