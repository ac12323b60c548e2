"""Chains written out: one node for every step, `z[0], z[1], ...`, without a chain."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from ..families import Constant, Delta, Expression, Free, Operation, Ref, Variable
from ..families.lags import Lagged, node_of
from ..graph import GraphError
from .chains import first_steps, with_lags
from .checking import members_of
from .plates import Chain, Plate

if TYPE_CHECKING:
    from .bayes_net import BayesNet

__all__ = ["at_step", "declared_at", "unrolled"]


def at_step(name: str, step: int) -> str:
    """The name of a node of a chain at one step, counted from 0; before the start it is negative.

    >>> at_step("z", 3)
    'z[3]'
    """
    return f"{name}[{step}]"


def declared_at(net: BayesNet, name: str) -> tuple[Variable, ...]:
    """What a node of a chain is at the first steps that differ, then at all others."""
    return (*first_steps(name, net[name], net.variables), net[name])


def unrolled(net: BayesNet, steps: int) -> tuple[dict[str, Variable], dict[str, Plate], dict[str, tuple[str, int]]]:
    """The nodes of all steps, the plates that are left, and for each node of a chain where it came from: its node and step.

    Raises:
        GraphError: a node outside a chain that depends on all of its steps.
    """
    found: dict[str, Variable] = {}
    origin: dict[str, tuple[str, int]] = {}
    declared = {name: tuple(_one_step(net, name, variable) for variable in declared_at(net, name)) for name in net if net.chain_of(name) is not None}
    for name, variable in net.variables.items():
        if name in declared:
            continue
        inside = [parent for parent in variable.all_parents if parent in declared]
        if set(inside) - {parent for parent in inside if _by_steps(variable, parent)}:
            raise GraphError(f"unroll: node {name!r} is outside the chain {net.chain_of(inside[0]).name!r} and depends on all steps of {inside[0]!r}; leave it out: net.remove({name!r})")
        found[name] = replace(variable, parameters=tuple((key, _picked(value, declared, steps)) for key, value in variable.parameters)) if inside else variable
    for step in range(steps):
        for name, variables in declared.items():
            variable = variables[min(step, len(variables) - 1)]
            for lagged, value in variable.initials.items():
                if lagged in variable.all_parents and node_of(lagged) in declared and not 0 <= step - lagged.steps < steps:
                    before = at_step(lagged.node, step - lagged.steps)
                    found.setdefault(before, _fixed(net[lagged.node], value))
            found[at_step(name, step)] = _renamed(name, variable, step, declared)
            origin[at_step(name, step)] = name, step
    return found, _plates(net, found, origin), origin


def _one_step(net: BayesNet, name: str, variable: Variable) -> Variable:
    """A declaration whose parameters with one value a member of other plates have none for steps."""
    seen, around = with_lags({**net.variables, name: variable}, net.plates)
    by_member = {parameter for _, _, parameter in members_of(name, seen, around)}
    place = net.plates_of(name).index(net.chain_of(name).name)
    if not by_member or variable.is_deterministic:
        return variable
    return replace(variable, parameters=tuple((key, Constant(value.array.squeeze(place)) if key in by_member else value) for key, value in variable.parameters))


def _plates(net: BayesNet, found: Mapping[str, Variable], origin: Mapping[str, tuple[str, int]]) -> dict[str, Plate]:
    left = {name: plate for name, plate in net.plates.items() if not isinstance(plate, Chain)}
    return {key: Plate([name for name in found if origin.get(name, (name, 0))[0] in plate.nodes], plate.size, key) for key, plate in left.items()}


def _by_steps(variable: Variable, parent: str) -> bool:
    """Whether a node outside a chain reads a node of the chain at numbered steps alone: `refs("h")[0]`."""
    return parent not in variable.parents and all(_picks(value, parent) for _, value in variable.parameters)


def _picks(value: Constant | Expression | Free, parent: str) -> bool:
    if not isinstance(value, Operation):
        return value != Ref(parent)
    return _step_picked(value) is not None or all(_picks(operand, parent) for operand in value.operands)


def _step_picked(value: Operation) -> int | None:
    """The number of the step in `refs("h")[number, ...]`."""
    if value.operator != "[]" or not isinstance(value.operands[0], Ref) or not isinstance(value.operands[1], Constant) or value.operands[1].array < 0:
        return None
    return int(value.operands[1].array)


def _picked(value: Constant | Expression | Free, inside: Mapping[str, object], steps: int) -> Constant | Expression | Free:
    """An expression outside a chain in which a numbered step of a node is that step's node."""
    if not isinstance(value, Operation):
        return value
    if (step := _step_picked(value)) is not None and value.operands[0].name in inside:
        if step >= steps:
            raise GraphError(f"unroll: {value} reads step {step}, and there are {steps} steps; try net.unroll({step + 1})")
        there = Ref(at_step(value.operands[0].name, step))
        return Operation("[]", (there, *value.operands[2:])) if value.operands[2:] else there
    return Operation(value.operator, tuple(_picked(operand, inside, steps) for operand in value.operands))


def _fixed(variable: Variable, value: Constant | Free) -> Variable:
    return replace(Delta(), shape=variable.shape, parameters=(("v", value),), size=variable.size, labels=variable.labels, declared_space=variable.space)


def _renamed(name: str, variable: Variable, step: int, inside: Mapping[str, object]) -> Variable:
    if variable.inner and (variable.lags or any(parent in inside for each in variable.inner for parent in each.all_parents)):
        raise GraphError(f"unroll: node {name!r} ~ {variable.summary} reads the chain inside its declaration, which cannot be written out")

    def there(parent: str) -> str:
        if isinstance(parent, Lagged):
            return at_step(parent.node, step - parent.steps)
        return at_step(parent, step) if parent in inside else parent

    parameters = tuple((key, _moved(value, there)) for key, value in variable.parameters)
    return replace(variable, parents=tuple(map(there, variable.parents)), parameters=parameters, before=(), starts=())


def _moved(value: Constant | Expression | Free, there) -> Constant | Expression | Free:
    if isinstance(value, Ref):
        return Ref(there(value.name))
    return Operation(value.operator, tuple(_moved(operand, there) for operand in value.operands)) if isinstance(value, Operation) else value
