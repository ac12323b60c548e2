"""One masked flow over several nodes: a network over all their numbers, masked so that each node reads its own parents alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Transform
from torch.nn import functional

from ...families import Architecture, Space, Variable
from ...families.shapes import broadcast
from ...graph import GraphError
from ..distribution import ConditionalDistribution
from ..networks import shared_module
from ..ports import Port
from .bijection import Settled
from .conditional import FlowConditional
from .door import zuko
from .kinds import FlowKind

__all__ = ["Block", "FlowBlock"]


@dataclass(frozen=True, repr=False)
class FlowBlock(Architecture):
    """The distribution of a node in a block: all nodes of the block hold the same description, and share one network through their `net`.

    Node `names[i]` is declared by the flow `members[i]` and reads the nodes `reads[i]`: of the block, or `inputs`, which have so many `features`. Each
    transformation of the node's own numbers reads the values of its parents, so that however many there are, nothing else is read.
    """

    kind: FlowKind
    names: tuple[str, ...]
    members: tuple[Variable, ...]
    reads: tuple[tuple[str, ...], ...]
    inputs: tuple[str, ...]
    features: tuple[int, ...]

    @property
    def net_label(self) -> str:
        return self.kind.label

    def space(self, variable: Variable) -> Space:
        return variable.space

    def summary(self, variable: Variable) -> str:
        return f"BlockFlow({', '.join([*map(str, variable.shape), repr(self.kind)])})"

    def caption(self, variable: Variable) -> str:
        return f"block {self.kind.label}({', '.join(map(str, variable.shape))})"

    def check(self, name: str, variable: Variable, parents: Any) -> None:
        if name not in self.names or set(variable.parents) != set(self.reads[self.names.index(name)]):
            known = self.reads[self.names.index(name)] if name in self.names else ()
            raise GraphError(f"node {name!r}: its block was made for the parents {list(known)}; got {list(variable.parents)}; derive the guide anew: dgm.amortize(..., family=dgm.BlockFlow())")

    def build(self, name: str, variable: Variable, ports: Sequence[Port], *, plates: Any, all_plates: int, shared: Any) -> BlockConditional:
        block = shared_module(variable.net, ("block", *self.names), lambda: Block(self), shared)
        return BlockConditional(name, variable, ports, block)


class Block(nn.Module):
    """The masked networks of a block, one a transformation, over the numbers of all nodes, then those of the inputs."""

    def __init__(self, declared: FlowBlock):
        super().__init__()
        self.names, self.inputs = declared.names, declared.inputs
        self.kind = declared.kind
        self.links = nn.ModuleList(member.family.link(member) for member in declared.members)
        self.shapes = tuple(member.shape for member in declared.members)
        sizes = [link.features(shape) for link, shape in zip(self.links, self.shapes)]
        self.columns, start = {}, 0
        for name, size in zip((*self.names, *self.inputs), (*sizes, *declared.features)):
            self.columns[name], start = slice(start, start + size), start + size
        self.features, self.context = sum(sizes), sum(declared.features)
        self.layers = nn.ModuleList(
            declared.kind.layer(self.features, self.context, self._adjacency(declared, descending=bool(number % 2))) for number in range(declared.kind.transforms)
        )

    def _adjacency(self, declared: FlowBlock, descending: bool) -> Tensor:
        """Which number reads which: all of the parents', and of its own node those before it, ascending or descending in turn."""
        found = torch.eye(self.features, self.features + self.context, dtype=torch.bool, device="cpu")
        for name, parents in zip(declared.names, declared.reads):
            own = self.columns[name]
            size = own.stop - own.start
            before = torch.ones(size, size, dtype=torch.bool, device="cpu")
            found[own, own] = before.triu() if descending else before.tril()
            for parent in parents:
                found[own, self.columns[parent]] = True
        return found

    def train(self, mode: bool = True) -> Block:
        return super().train(True)

    def real(self, name: str, value: Tensor) -> Tensor:
        """A node's value as the numbers that are transformed."""
        place = self.names.index(name)
        return self.links[place].real(value, self.shapes[place])[0]

    def transformation(self, name: str, known: Tensor) -> Transform:
        """That of a node's own numbers where the others are `known`, `(*batch, features + context)`; its own columns are not read."""
        own = self.columns[name]
        passes = own.stop - own.start
        parts = [zuko().transforms.AutoregressiveTransform(Reading(layer, own, known), passes) for layer in self.layers]
        return parts[0] if len(parts) == 1 else zuko().transforms.ComposedTransform(*parts)


class Reading:
    """The elementwise transformation of a node's own numbers, by one masked network."""

    __slots__ = ("known", "layer", "own")

    def __init__(self, layer: nn.Module, own: slice, known: Tensor):
        self.layer, self.own, self.known = layer, own, known

    def __call__(self, value: Tensor) -> Transform:
        batch, own, layer = broadcast(value.shape[:-1], self.known.shape[:-1]), self.own, self.layer
        before, after = self.known[..., : own.start], self.known[..., own.stop:]
        hidden = torch.cat([part.expand(*batch, part.shape[-1]) for part in (before, value, after)], -1)
        *trunk, last = layer.hyper
        for module in trunk:
            hidden = module(hidden)
        rows = slice(own.start * layer.total, own.stop * layer.total)
        found = functional.linear(hidden, last.mask[rows] * last.weight[rows], last.bias[rows]).unflatten(-1, (-1, layer.total))
        return zuko().transforms.DependentTransform(layer.univariate(*zuko().utils.unpack(found, layer.shapes)), 1)


class BlockConditional(FlowConditional):
    """q(node | parents): the node's own part of a block."""

    def __init__(self, name: str, variable: Variable, ports: Sequence[Port], block: Block):
        super().__init__(name, variable, ports, block, block.links[block.names.index(name)])

    def prepare(self, *parents: Tensor) -> Settled:
        block: Block = self.flow
        given = {
            port.name: block.real(port.name, value) if port.name in block.names else port.encode_flat(value, self._buffers["anchor"])
            for port, value in zip(self.ports, parents)
        }
        batch = broadcast(*(value.shape[:-1] for value in given.values()))
        zeros = self._buffers["anchor"].new_zeros
        known = [
            given[name].expand(*batch, columns.stop - columns.start) if name in given else zeros(()).expand(*batch, columns.stop - columns.start)
            for name, columns in block.columns.items()
        ]
        return Settled(block.kind, block.transformation(self.name, torch.cat(known, -1)), batch)

    @cached_property
    def _order(self) -> Tensor | None:
        size = self.features
        return torch.ones(size, size, dtype=torch.bool, device="cpu").tril(-1) if len(self.flow.layers) == 1 else None

    @property
    def event_adjacency(self) -> Tensor | None:
        return self._order if self.features == self.variable.numel else None

    def forward(self, *parents: Tensor, validate_args: bool | None = None) -> ConditionalDistribution:
        prepared = self.prepare(*parents)
        return ConditionalDistribution(self, prepared, prepared.batch, validate_args)
