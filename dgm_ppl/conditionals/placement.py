"""Where the parameters of a family come from: what is learned as it is, and what a predictor computes of the parents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import transform_to

from ..families import Free, Start, Tied, Variable
from ..graph import GraphError
from .constraining import constraint_of
from .networks import Shared, network_of
from .ports import Port
from .predictors import Configurations, Function, Linear, LinearAndTable, Table
from .starts import move_to_starts

__all__ = ["Placement", "placement"]


class Placement(NamedTuple):
    """The parameters that `predictor` computes, in its order, those that are learned, and the configurations of the finite parents."""

    computed: tuple[str, ...]
    predictor: nn.Module | None
    unconstrained: nn.ParameterDict
    configurations: Configurations | None


def placement(name: str, variable: Variable, ports: Sequence[Port], *, shared: Shared, plates: Sequence[int] = (), computed_outside: bool = False) -> Placement:
    """Places the parameters that a node's declaration leaves open; `ports` are the parents that predict them.

    Raises:
        GraphError: a start that cannot be left or moved to, a tie to a node of another kind, a network that does not fit.
    """
    opened = variable.open_parameters
    finite = [i for i, port in enumerate(ports) if port.is_configuration]
    configurations = Configurations(ports, finite) if finite and variable.classical else None
    learned = [parameter for parameter, value in variable.parameters if isinstance(value, Free)]
    known = variable.net is not None and id(variable.net) in shared         # shared weights have started already
    computed: tuple[str, ...] = ()
    predictor: nn.Module | None = None
    if computed_outside:
        computed = opened
    elif not ports:
        learned += opened
    elif variable.fn is not None:
        computed, predictor = opened, Function(name, variable.fn, ports, opened, _shapes(variable, opened))
    elif not variable.classical:
        computed, predictor = opened, network_of(name, variable.net, ports, opened, _shapes(variable, opened), shared, plates)
    elif len(finite) == len(ports):
        computed, predictor = opened, Table(name, configurations, opened, _shapes(variable, opened)) if opened else None
    else:
        computed, predictor, rest = _linear(name, variable, ports, configurations)
        learned += rest
    if variable.started and not known:
        move_to_starts(name, variable, predictor, {parameter: _start(name, variable, parameter) for parameter in computed})
    unconstrained = nn.ParameterDict()
    for parameter in learned:
        unconstrained[parameter] = nn.Parameter(_start(name, variable, parameter))
    found = Placement(computed, predictor, unconstrained, configurations)
    return _tied(found, name, variable, ports, variable.net, shared) if isinstance(variable.net, Tied) else found


def _linear(name: str, variable: Variable, ports: Sequence[Port], configurations: Configurations | None) -> tuple[tuple[str, ...], nn.Module, Sequence[str]]:
    """A linear predictor of the location, or of what is open where the location is given; the rest is learned, for each configuration."""
    opened = variable.open_parameters
    linear = [parameter for parameter in opened if parameter in variable.family.linear] or list(opened)
    rest = [parameter for parameter in opened if parameter not in linear]
    predictor = Linear(name, ports, configurations, _shapes(variable, linear))
    if configurations is None or not rest:
        return tuple(linear), predictor, rest
    return (*linear, *rest), LinearAndTable(predictor, Table(name, configurations, rest, _shapes(variable, rest))), ()


def _shapes(variable: Variable, parameters: Sequence[str]) -> list[tuple[int, ...]]:
    return [variable.parameter_shape(parameter) for parameter in parameters]


def _start(name: str, variable: Variable, parameter: str) -> Tensor:
    """Where a parameter starts, unconstrained."""
    shape, given = variable.parameter_shape(parameter), variable.fixed.get(parameter, variable.started.get(parameter))
    if not isinstance(given, (Free, Start)) or given.initial is None:
        return variable.family.start(parameter, shape)
    value = torch.tensor(given.initial.array, dtype=torch.get_default_dtype()).expand(shape).clone()
    start = transform_to(constraint_of(variable, parameter)).inv(value)
    if not bool(start.isfinite().all()):
        raise GraphError(f"node {name!r}: parameter {parameter!r} = {given} starts on the boundary of its range, which it could never leave; start inside")
    return start


def _tied(found: Placement, name: str, variable: Variable, ports: Sequence[Port], tie: Tied, shared: Shared) -> Placement:
    """The parameters of the node that was given the same object before, where there is one."""
    alike = variable.family, variable.shape, variable.parameters, variable.size, tuple((port.space, port.event, port.sizes) for port in ports)
    (predictor, unconstrained), known, _ = shared.setdefault(id(tie), ((found.predictor, found.unconstrained), alike, tie))
    if known != alike:
        raise GraphError(
            f"node {name!r}: is tied to a node of another kind; expected the same family, event shape, given parameters and parents' spaces; got {variable.summary} with parents in "
            f"{[str(port.space) for port in ports]}; give it an object of its own: net=dgm.Tied()"
        )
    return found._replace(predictor=predictor, unconstrained=unconstrained)
