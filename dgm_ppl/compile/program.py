"""A compiled net as a Pyro program: the only place that says `pyro.sample` and `pyro.plate`."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyro
import torch
from pyro.distributions import TorchDistribution
from pyro.poutine.runtime import am_i_wrapped, effectful
from torch import Tensor, nn

from ..conditionals import Conditional
from ..families.shapes import broadcast, side_by_side
from ..network.unrolling import at_step
from .stepping import Reader, Strand, in_direction, step_of

if TYPE_CHECKING:
    from .collapsing import CollapsedProgram
    from .model import Model
    from .schedule import Node

__all__ = ["declare_parameters", "run_collapsed", "run_program", "sampled", "the_plate"]


def run_program(model: Model, values: Mapping[str, Tensor], worlds: Sequence[int], sizes: Mapping[str, int], device) -> dict[str, Tensor]:
    """Runs the net as sample statements in plates; `values` are aligned, those of random nodes are observed.

    Rows are plates always, so that importance-weighted bounds are per row; plates of the net sit to their right. A chain is a loop of
    `pyro.markov`, with one site a step.
    """
    declare_parameters(model)
    layout, found = model.layout, dict(values)
    plates = {
        name: pyro.plate(name, layout.size(name, sizes), dim=position - layout.rank, device=device)
        for position, name in enumerate(model.net.plates)
        if name not in model.net.chains and any(node in model.conditionals for node in model.net.plates[name].nodes)
    }
    with ExitStack() as rows:
        for position, size in enumerate(worlds):
            name = "rows" if len(worlds) == 1 else f"rows_{position}"
            rows.enter_context(pyro.plate(name, size, dim=position - len(worlds) - layout.rank, device=device))
        for chain, direction, nodes in model.stages:
            nodes = [node for node in nodes if not (node.name in found and model.is_guide)]
            if chain is not None:
                found |= Walk(model, nodes, direction, found, values, sizes, plates).run(len(worlds))
                continue
            for node in nodes:
                with _within(model, node, plates):
                    if node.deterministic:
                        found[node.name] = _stated(model, node, node.name, model.compute(node, found, sizes))
                    else:
                        found[node.name] = _drawn(node, node.name, node.conditional, _parents(node, found), values.get(node.name))
    return found


@dataclass(frozen=True, eq=False)
class Walk:
    """The nodes of a chain step by step, sites named `z[0]`, `z[1]`, ..."""

    model: Model
    nodes: Sequence[Node]
    direction: int
    found: Mapping[str, Tensor]
    observed: Mapping[str, Tensor]
    sizes: Mapping[str, int]
    plates: Mapping[str, pyro.plate]

    def run(self, worlds: int) -> dict[str, Tensor]:
        """The values of all steps, of those nodes of which they can be put side by side: enumerated ones cannot."""
        model, nodes = self.model, self.nodes
        if not nodes:
            return {}
        strand = nodes[0].strand
        held: dict[str, dict[int, Tensor]] = {node.name: {} for node in nodes}
        lengths = self.observed.get(strand.name)
        memory = max((abs(lagged.steps) for variable in model.net.variables.values() for lagged in variable.lags), default=1)
        steps = model.layout.size(strand.name, self.sizes)
        for step in pyro.markov(in_direction(steps, self.direction), history=memory):
            with nullcontext() if lengths is None else pyro.poutine.mask(mask=lengths > step):
                for node in nodes:
                    held[node.name][step] = self._one(node, strand, step, held)
        found = {}
        for node in nodes:
            rank = model.layout.rank + node.event_rank
            if node.name in self.observed:
                found[node.name] = self.observed[node.name]
            elif all(value.ndim <= worlds + rank for value in held[node.name].values()):
                found[node.name] = side_by_side([_ranked(held[node.name][step], rank) for step in range(steps)], strand.members[node.name])
        return found

    def _one(self, node: Node, strand: Strand, step: int, held: Mapping[str, Mapping[int, Tensor]]) -> Tensor:
        conditional, parents = node.conditional.at(step, Reader(self.model, strand, held, self.found, self.sizes), self.model.layout.size(strand.name, self.sizes), self.observed.get(strand.name))
        seen = [_trimmed(value, port.rank) for port, value in zip(conditional.ports, parents)]
        axis, name = strand.members[node.name], at_step(node.name, step)
        with _within(self.model, node, self.plates):
            if node.deterministic:
                value = conditional.value(conditional.prepare(*seen))
                value = step_of(value, axis, step) if value.ndim >= -axis else value     # one that was set may differ by step
                return _stated(self.model, node, name, self.model.spread(node, value, {**self.sizes, strand.name: 1}))
            observed = step_of(self.observed[node.name], axis, step) if node.name in self.observed else None
            return _drawn(node, name, conditional, seen, observed)


@contextmanager
def _within(model: Model, node: Node, plates: Mapping[str, pyro.plate]) -> Iterator[None]:
    with ExitStack() as inside:
        for plate in model.net.plates_of(node.name):
            if plate in plates:
                inside.enter_context(plates[plate])
        yield


def _stated(model: Model, node: Node, site: str, value: Tensor) -> Tensor:
    return value if model.is_guide else pyro.deterministic(site, value, event_dim=node.event_rank)


def _drawn(node: Node, site: str, conditional: Conditional, parents: Sequence[Tensor], observed: Tensor | None) -> Tensor:
    infer = {"enumerate": "parallel"} if node.conditional.finite else {}
    return pyro.sample(site, conditional(*parents), obs=observed, infer=infer)


def _ranked(value: Tensor, rank: int) -> Tensor:
    return value if value.ndim >= rank else value.reshape(*(1,) * (rank - value.ndim), *value.shape)


def run_collapsed(program: CollapsedProgram, values: Mapping[str, Tensor], worlds: Sequence[int], sizes: Mapping[str, int], device) -> dict[str, Tensor]:
    """Runs what is not eliminated as sample statements; densities that read what is eliminated are in one factor a row.

    Eliminated nodes have no site: the model's draw stands for them where others are drawn from it.
    """
    declare_parameters(program)
    model = program.model
    layout, found = model.layout, dict(values)
    plates = {
        name: pyro.plate(name, layout.size(name, sizes), dim=position - layout.rank, device=device)
        for position, name in enumerate(model.net.plates) if any(node in model.conditionals for node in model.net.plates[name].nodes)
    }
    with ExitStack() as rows:
        for position, size in enumerate(worlds):
            name = "rows" if len(worlds) == 1 else f"rows_{position}"
            rows.enter_context(pyro.plate(name, size, dim=position - len(worlds) - layout.rank, device=device))
        for node in model.schedule:
            if node.name in program.hidden:
                leads = [found[parent].shape[: found[parent].ndim - layout.rank - len(layout.events[parent])] for parent in node.parents]
                with torch.no_grad():
                    found[node.name] = model.draw(node, node.prepare(found), broadcast(tuple(worlds), *leads), sizes)
            elif node.deterministic:
                found[node.name] = model.compute(node, found, sizes)
            else:
                with ExitStack() as inside:
                    for plate in model.net.plates_of(node.name):
                        inside.enter_context(plates[plate])
                    distribution = node.conditional(*_parents(node, found))
                    if node.name in program.touched:
                        distribution = distribution.mask(False)             # its density is in the factor
                    found[node.name] = pyro.sample(node.name, distribution, obs=values.get(node.name))
        pyro.factor("eliminated", program.log_factor(found, worlds, sizes))
    return found


def the_plate(name: str, size: int, members: Tensor | None, dim: int) -> pyro.plate:
    """A plate of a program that is not ours, with the members that it sees where these are not all."""
    return pyro.plate(name, size, subsample=members, dim=dim)


def sampled(site: str, distribution: TorchDistribution, plates: Sequence[pyro.plate]) -> Tensor:
    """A sample statement in plates."""
    with ExitStack() as inside:
        for plate in plates:
            inside.enter_context(plate)
        return pyro.sample(site, distribution)


def _parents(node: Node, found: Mapping[str, Tensor]) -> list[Tensor]:
    """The parents without leading singletons, which would make a site's shape depend on what it reads; plates put back those of size one."""
    return [_trimmed(value, port.rank) for port, value in zip(node.conditional.ports, node.receive(found))]


def _trimmed(value: Tensor, rank: int) -> Tensor:
    while value.ndim > rank and value.shape[0] == 1:
        value = value.squeeze(0)
    return value


def declare_parameters(module: nn.Module) -> None:
    """Shows the parameters to SVI where it listens; nothing enters Pyro's parameter store."""
    if not am_i_wrapped():
        return
    prefix = "guide" if module.is_guide else "model"
    for name, parameter in module.named_parameters():
        if parameter.requires_grad:
            effectful(type="param")(_handle)(parameter, name=f"{prefix}.{name}")


def _handle(parameter: nn.Parameter) -> Tensor:
    handle = parameter.detach()
    handle.unconstrained = weakref.ref(parameter)
    return handle
