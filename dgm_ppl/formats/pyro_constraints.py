"""How a learned parameter is kept inside its range, as source."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

from pyro.distributions import constraints

from ..graph import GraphError

__all__ = ["Constrained", "constrained"]


@dataclass(frozen=True)
class Constrained:
    """The name of the unconstrained number, the map from it to the parameter, and back; `{}` stands for the argument."""

    prefix: str
    forward: str
    inverse: str


def constrained(constraint: constraints.Constraint) -> Constrained:
    """The map that a compiled net uses for this constraint.

    >>> constrained(constraints.positive).forward.format("self.z_log_scale")
    'self.z_log_scale.exp()'
    """
    base = constraint.base_constraint if isinstance(constraint, constraints.independent) else constraint
    if base is constraints.real:
        return Constrained("", "{}", "{}")
    if base in (constraints.positive, constraints.nonnegative):
        return Constrained("log_", "{}.exp()", "{}.log()")
    if base is constraints.unit_interval:
        return Constrained("logit_", "{}.sigmoid()", "{}.logit()")
    transform = f"transform_to(constraints.{_named(base, constraints)})"
    return Constrained("raw_", transform + "({})", transform + ".inv({})")


def _named(constraint: constraints.Constraint, module: ModuleType) -> str:
    for name in module.__all__:
        if vars(module)[name] is constraint:
            return name
    for name in ("greater_than_eq", "greater_than", "less_than", "half_open_interval", "interval"):
        if type(constraint) is vars(module)[name]:
            return f"{name}({', '.join(map(repr, vars(constraint).values()))})"
    raise GraphError(f"to_pyro: no source for a parameter with the constraint {constraint}; give the parameter or compute it with fn=")
