"""What is wrong with a declaration, found before anything is allocated."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch.distributions import constraints

from ..families import Constant, Variable
from ..graph import GraphError
from .plates import Plate

__all__ = ["check_variable"]


def check_variable(name: str, variable: Variable, variables: Mapping[str, Variable], plates: Mapping[str, Plate]) -> None:
    """Raises GraphError where the node's declaration cannot be compiled."""
    if variable.is_given:
        return
    _check_parents(name, variable, _configurations(name, variable, variables, plates))
    for parameter in variable.open_parameters:
        if not variable.family.parameters[parameter].learnable:
            raise GraphError(f"node {name!r}: {variable.family_name}'s parameter {parameter!r} cannot be learned; give it: {variable.family_name}({parameter}=...)")
    for parameter, value in variable.parameters:
        if isinstance(value, Constant):
            _check_constant(name, variable, parameter, value, variables, plates)


def _check_parents(name: str, variable: Variable, configurations: tuple[int, ...]) -> None:
    constants = [(parameter, value) for parameter, value in variable.parameters if isinstance(value, Constant)]
    tables = any(configurations and value.shape == (*configurations, *variable.parameter_shape(parameter)) for parameter, value in constants)
    if variable.parents and not variable.open_parameters and not tables:
        raise GraphError(
            f"node {name!r}: {list(variable.parents)} are parents, but every parameter of {variable.family_name} is given, so nothing is left to "
            f"compute from them; leave one out, or drop .given"
        )
    if not variable.parents and (variable.net is not None or variable.fn is not None):
        raise GraphError(f"node {name!r}: a net or fn needs parents; try .given('z', net=...)")
    if variable.is_deterministic and variable.open_parameters and not variable.parents:
        raise GraphError(f"node {name!r}: Delta needs a value: Delta(v=...), an expression, or .given('z', fn=...)")


def _check_constant(
    name: str, variable: Variable, parameter: str, value: Constant, variables: Mapping[str, Variable], plates: Mapping[str, Plate],
) -> None:
    shape, found = variable.parameter_shape(parameter), value.shape
    configurations = _configurations(name, variable, variables, plates)
    own = [plate for plate in plates.values() if name in plate.nodes]
    if found == (*configurations, *shape) or (len(found) <= len(shape) and _broadcasts(found, shape)):
        pass
    elif not (len(found) == len(own) + len(shape) and _broadcasts(found[len(own):], shape) and _sized(found, own)):
        expected = [f"the shape {shape}" if shape else "a number"]
        expected += [f"{(*configurations, *shape)} with a row for each state of {list(variable.parents)}"] if configurations else []
        expected += [f"{(*(plate.size or plate.name for plate in own), *shape)} with a value for each plate member"] if own else []
        raise GraphError(f"node {name!r}: parameter {parameter!r}: expected {', or '.join(expected)}; got the shape {found}")
    constraint = variable.family.parameters[parameter].constraint
    tensor = torch.tensor(value.array, dtype=torch.float64)
    if tensor.ndim >= constraint.event_dim and not bool(constraint.check(tensor).all()):
        raise GraphError(f"node {name!r}: parameter {parameter!r} = {value} is outside its range: expected {_words(constraint)}")
    if not bool(torch.isfinite(tensor).all()) and parameter not in ("logits", "low", "high"):
        raise GraphError(f"node {name!r}: parameter {parameter!r} = {value} is not finite")


def _configurations(name: str, variable: Variable, variables: Mapping[str, Variable], plates: Mapping[str, Plate]) -> tuple[int, ...]:
    if variable.net is not None or variable.fn is not None:
        return ()
    return tuple(variables[parent].space.cardinality for parent in variable.parents if _selects(parent, name, variables, plates))


def _selects(parent: str, name: str, variables: Mapping[str, Variable], plates: Mapping[str, Plate]) -> bool:
    outside = any(parent in plate.nodes and name not in plate.nodes for plate in plates.values())
    return variables[parent].space.cardinality is not None and not variables[parent].shape and not outside


def _broadcasts(found: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    return all(a in (1, b) for a, b in zip(reversed(found), reversed(shape)))


def _sized(found: tuple[int, ...], own: list[Plate]) -> bool:
    return all(plate.size in (None, size) for plate, size in zip(own, found))


def _words(constraint: constraints.Constraint) -> str:
    words = {
        constraints.positive: "a positive number", constraints.nonnegative: "a number that is not negative", constraints.unit_interval: "a probability",
        constraints.simplex: "probabilities that sum to one along the last dimension", constraints.nonnegative_integer: "a whole number from 0",
        constraints.lower_cholesky: "a lower triangular matrix with a positive diagonal", constraints.positive_definite: "a positive definite matrix",
    }
    return words.get(constraint, str(constraint).rstrip("()"))
