"""Where a conditional keeps a learned parameter, and how a value gets there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.distributions import constraints, transform_to

from ..compile import Model
from ..conditionals import Chained, Conditional, Parametric
from ..conditionals.predictors import Function, Linear, LinearAndTable, Table
from ..network.unrolling import at_step

__all__ = ["has_network", "held_rows", "linear_of", "part_of", "parts_of", "place", "rows_of", "sharing"]


def parts_of(model: Model) -> Mapping[str, Conditional]:
    """The conditionals that are estimated, by name: those of the random nodes; `z[0]` is a first step of a chain that is unlike the others, which are `z`."""
    found: dict[str, Conditional] = {}
    for name in model.random:
        conditional = model.conditionals[name]
        if isinstance(conditional, Chained):
            found[name] = conditional.main
            for step, start in enumerate(conditional.beginnings):           # steps may share one, which is named by the first
                if start not in found.values():
                    found[at_step(name, step)] = start
        else:
            found[name] = conditional
    return found


def part_of(model: Model, name: str) -> Conditional:
    """One of them."""
    return parts_of(model)[name] if model.net.chains else model.conditionals[name]


def rows_of(conditional: Parametric) -> int:
    """The number of parameter rows that the finite parents select from."""
    return 1 if conditional.configurations is None else conditional.configurations.count


def linear_of(conditional: Parametric) -> Linear | None:
    """The linear predictor, where there is one."""
    predictor = conditional.predictor
    return predictor.linear if isinstance(predictor, LinearAndTable) else predictor if isinstance(predictor, Linear) else None


def held_rows(conditional: Parametric, parameter: str) -> nn.Parameter | None:
    """The unconstrained tensor of a parameter with a row for each configuration, `(configurations, *shape)`, or with one for all, `(*shape)`."""
    predictor = conditional.predictor
    table = predictor.table if isinstance(predictor, LinearAndTable) else predictor if isinstance(predictor, Table) else None
    if table is not None and parameter in table.rows:
        return table.rows[parameter]
    return conditional.unconstrained[parameter] if parameter in conditional.unconstrained else None


def place(conditional: Parametric, parameter: str, value: Tensor) -> None:
    """Sets a learned parameter to a value, in its own range."""
    held, constraint = held_rows(conditional, parameter), conditional.variable.family.parameters[parameter].constraint
    constraint = constraint.base_constraint if isinstance(constraint, constraints.independent) else constraint
    with torch.no_grad():
        held.copy_(_unconstrained(value, constraint).reshape(held.shape))


def _unconstrained(value: Tensor, constraint: constraints.Constraint) -> Tensor:
    if constraint is constraints.real or constraint is constraints.real_vector:
        return value
    if constraint in (constraints.positive, constraints.nonnegative):
        return value.log()
    if constraint is constraints.unit_interval:
        return value.log() - (-value).log1p()
    return transform_to(constraint).inv(value)


def has_network(conditional: Conditional) -> bool:
    """Whether something other than a table, a linear predictor or free numbers is learned."""
    if not isinstance(conditional, Parametric):
        return next(conditional.parameters(), None) is not None
    return not (conditional.predictor is None or isinstance(conditional.predictor, (Table, Linear, LinearAndTable, Function)))


def sharing(model: Model) -> Iterator[tuple[str, ...]]:
    """The random nodes with something to learn, those together that share it."""
    owners: dict[int, list[str]] = {}
    parts = parts_of(model)
    for name, conditional in parts.items():
        found = [owners[id(one)] for one in conditional.parameters() if id(one) in owners]
        group = found[0] if found else []
        group.append(name)
        for one in conditional.parameters():
            owners.setdefault(id(one), group)
    groups = {id(group): tuple(group) for group in owners.values()}
    learned = {id(one) for one in model.parameters() if one.requires_grad}
    yield from (group for group in groups.values() if any(id(one) in learned for one in parts[group[0]].parameters()))

