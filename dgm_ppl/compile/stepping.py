"""Chains evaluated directly: all steps at once where the values are known, step by step where one waits for another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..conditionals import Port
from ..families import Noise, noise
from ..families.lags import node_of
from ..families.shapes import side_by_side
from ..network import BayesNet

if TYPE_CHECKING:
    from .model import Model
    from .schedule import Node

__all__ = ["Reader", "Strand", "determined", "in_direction", "run_chains", "step_of", "strand_of"]


@dataclass(frozen=True, slots=True)
class Strand:
    """The chain of a node: its name, where the steps are among the plates, counted from the right, and the axis of each of its nodes' values."""

    name: str
    axis: int
    members: Mapping[str, int]

    def steps(self, values: Mapping[str, Tensor]) -> int | None:
        """The number of steps, from the values of a node."""
        return max((values[name].shape[axis] for name, axis in self.members.items() if name in values), default=None)

    def real(self, values: Mapping[str, Tensor]) -> Tensor | None:
        """Which steps are within the sequences, aligned `(*worlds, *plates)`; None where all are."""
        lengths = values.get(self.name)
        if lengths is None:
            return None
        count = self.steps(values)
        return torch.arange(count, device=lengths.device).reshape(count, *(1,) * (-self.axis - 1)) < lengths


def strand_of(net: BayesNet, name: str) -> Strand | None:
    """The chain of a node, as evaluation sees it."""
    chain = net.chain_of(name) if net.chains else None
    if chain is None:
        return None
    axis = list(net.plates).index(chain.name) - len(net.plates)
    return Strand(chain.name, axis, {member: axis - len(net[member].shape) for member in chain.nodes})


def run_chains(
    model: Model, values: Mapping[str, Tensor], worlds: Sequence[int], sizes: Mapping[str, int], noise: Noise, prepared: dict[str, Any] | None = None,
) -> dict[str, Tensor]:
    """Samples what `values` lacks, parents first: the nodes of a cycle through time step by step, every other node at all steps at once.

    `prepared` is filled with what the parents of nodes that are drawn step by step determine, where that can be had from the steps.
    """
    found = dict(values)
    for names, direction in model.segments(values):
        nodes = [model.nodes[name] for name in names if name in model.nodes]
        if direction:
            found |= _stepped(model, nodes, direction, found, worlds, sizes, noise, prepared)
            continue
        for node in nodes:
            if node.deterministic:
                found[node.name] = model.compute(node, found, sizes)
            else:
                found[node.name] = model.draw(node, node.prepare(found), worlds, sizes, noise)
    return found


def determined(model: Model, values: Mapping[str, Tensor], sizes: Mapping[str, int]) -> dict[str, Tensor]:
    """The aligned values with the deterministic nodes that they determine."""
    found = dict(values)
    for names, direction in model.segments(values):
        nodes = [model.nodes[name] for name in names if name in model.nodes]
        if not nodes or not all(node.deterministic for node in nodes) or not all(parent in found or parent in names for node in nodes for parent in node.parents):
            continue
        if direction:
            found |= _stepped(model, nodes, direction, found, (), sizes, noise)
        else:
            found |= {node.name: model.compute(node, found, sizes) for node in nodes}
    return found


def _stepped(
    model: Model, nodes: Sequence[Node], direction: int, values: Mapping[str, Tensor], worlds: Sequence[int], sizes: Mapping[str, int], noise: Noise,
    kept: dict[str, Any] | None = None,
) -> dict[str, Tensor]:
    strand, lengths = nodes[0].strand, values.get(nodes[0].strand.name)
    if len(nodes) == 1 and nodes[0].conditional.scans:
        (node,) = nodes
        read = [port.receive(values[name]) for port, name in zip(node.conditional.ports[1:], node.parents[1:])]
        return {node.name: model.spread(node, node.conditional.scan(read, model.layout.size(strand.name, sizes), lengths), sizes)}
    held: dict[str, dict[int, Tensor]] = {node.name: {} for node in nodes}
    told: dict[str, dict[int, Any]] = {node.name: {} for node in nodes if kept is not None and not node.deterministic}
    value_of, one, steps = Reader(model, strand, held, values, sizes), {**sizes, strand.name: 1}, model.layout.size(strand.name, sizes)
    for step in in_direction(steps, direction):
        for node in nodes:
            conditional, parents = node.conditional.at(step, value_of, steps, lengths)
            prepared = conditional.prepare(*parents)
            if node.name in told:
                told[node.name][step] = prepared
            if node.deterministic:
                value = model.spread(node, conditional.value(prepared), one)
            else:
                value = conditional.draw(model.layout.batch(node.name, worlds, one), prepared, noise)
            held[node.name][step] = value
    found = {name: side_by_side([there[step] for step in range(steps)], strand.members[name]) for name, there in held.items()}
    for name, there in told.items():
        whole = model.nodes[name].conditional.of_steps([there[step] for step in range(steps)], strand.real({**values, **found}))
        if whole is not None:
            kept[name] = whole
    return found


def in_direction(steps: int, direction: int) -> range:
    """The steps from the start or from the end."""
    return range(steps) if direction > 0 else range(steps - 1, -1, -1)


@dataclass(frozen=True, slots=True)
class Reader:
    """What the parents of a step are, as `Chained.at` asks for it: called, the aligned value at a step, as the child sees it."""

    model: Model
    strand: Strand
    held: Mapping[str, Mapping[int, Tensor]]
    values: Mapping[str, Tensor]
    sizes: Mapping[str, int]

    def __call__(self, port: Port, step: int) -> Tensor:
        name = node_of(port.name)
        if name in self.held:
            return port.receive(self.held[name][step])
        return port.receive(step_of(self.values[name], self.strand.members[name], step) if name in self.strand.members else self.values[name])

    def standing(self, port: Port, initial: Tensor) -> Tensor:
        """What stands for a parent at a step that does not exist, one for each of its members."""
        batch = self.model.layout.batch(node_of(port.name), (), {**self.sizes, self.strand.name: 1})
        return port.receive(initial.expand(*batch, *port.event))


def step_of(value: Tensor, axis: int, step: int) -> Tensor:
    """One step of an aligned value, the dimension kept."""
    return value if value.shape[axis] == 1 else value.narrow(axis, step, 1)
