"""The maps from unconstrained numbers, as networks compute and optimizers move them, to parameters."""

from __future__ import annotations

from collections.abc import Callable

import torch
from pyro.distributions.constraints import ordered_vector
from torch import Tensor
from torch.distributions import constraints, transform_to

from ..families import Variable

__all__ = ["constrained", "constraint_of"]


def constrained(constraint: constraints.Constraint) -> Callable[[Tensor], Tensor] | None:
    """The map from unconstrained numbers to a parameter; None where it is the identity."""
    if constraint is constraints.real:
        return None
    if constraint in (constraints.positive, constraints.nonnegative):
        return torch.exp
    if constraint is constraints.unit_interval:
        return torch.sigmoid
    if constraint is ordered_vector:
        return _increasing
    return transform_to(constraint)


def constraint_of(variable: Variable, parameter: str) -> constraints.Constraint:
    """What the numbers of a parameter have to fulfil, one by one where that can be said."""
    constraint = variable.family.parameters[parameter].constraint
    return constraint.base_constraint if isinstance(constraint, constraints.independent) else constraint


def _increasing(value: Tensor) -> Tensor:
    """Numbers that increase along the last dimension: the first as it is, then steps by their logarithms; `transform_to`'s map without its copies."""
    first = value[..., :1]
    return torch.cat([first, first + value[..., 1:].exp().cumsum(-1)], -1)
