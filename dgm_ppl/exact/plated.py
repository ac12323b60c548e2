"""Sums over finite nodes that may repeat in plates, as a schedule of sums made once for a pattern of factors.

Factors are logarithms `(*axes, *worlds, *plates)`: an axis of its own for each finite node, to the left of the worlds, singletons for what a factor does not
depend on. The innermost plates come first: their nodes are summed out member by member, what is left is added over the members and
handed outwards (Obermeyer et al., 2019, tensor variable elimination, https://arxiv.org/abs/1902.03210).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..graph import GraphError

__all__ = ["Schedule", "Shape", "Tangle", "add", "log_sum"]


class Tangle(GraphError):
    """Nodes of different plates meet in a factor in such a way that summing them out takes a power of the members."""


@dataclass(frozen=True)
class Shape:
    """What a factor depends on: finite nodes, and the plates over whose members it repeats."""

    nodes: frozenset[str]
    plates: frozenset[str]


@dataclass(frozen=True)
class Step:
    """The sum over a node's states of a product of factors, or the sum of one factor over plates."""

    inputs: tuple[int, ...]
    output: int
    node: str | None
    plates: tuple[str, ...]


class Schedule:
    """The sums, in order, that take factors to the logarithm of the sum over all nodes but those kept.

    Args:
        shapes: what the factors depend on.
        cards, plates: the states of every finite node, and the plates that it is in.
        keep: nodes that stay, all in no plate.
        sizes: of plates, for the cost.

    Raises:
        Tangle: plates that cannot be summed out one inside another.
    """

    def __init__(
        self, shapes: Sequence[Shape], cards: Mapping[str, int], plates: Mapping[str, frozenset[str]], *,
        keep: Collection[str] = (), sizes: Mapping[str, int] = {},
    ):
        self.cards, self.plates, self.keep, self.sizes = cards, plates, frozenset(keep), sizes
        self.steps: list[Step] = []
        self.shapes = list(shapes)
        self.largest, self.states, self.widest = 1, 0, ()
        open_slots = list(range(len(shapes)))
        while leaf := self._innermost(open_slots):
            open_slots = self._without(leaf[0], open_slots)
        self.results = tuple(open_slots)

    def _innermost(self, slots: Sequence[int]) -> list[frozenset[str]]:
        """The plates to work on next, in a list, as none at all are plates too; empty when nothing is left to do."""
        waiting = [self.shapes[slot].plates for slot in slots if self.shapes[slot].plates or self.shapes[slot].nodes - self.keep]
        return sorted(waiting, key=lambda plates: (-len(plates), sorted(plates)))[:1]

    def _without(self, leaf: frozenset[str], slots: Sequence[int]) -> list[int]:
        """The slots after the nodes of the leaf, and the leaf itself, are gone."""
        inside, outside = ([slot for slot in slots if (self.shapes[slot].plates == leaf) is here] for here in (True, False))
        local = {name for slot in inside for name in self.shapes[slot].nodes if self.plates[name] == leaf and name not in self.keep}
        while local:
            name = min(sorted(local), key=lambda name: self._size(self._joined(name, inside)))
            inside = self._summed(name, inside)
            local.remove(name)
        return outside + [self._handed_out(slot, leaf) for slot in inside]

    def _joined(self, name: str, slots: Sequence[int]) -> frozenset[str]:
        return frozenset().union(*(self.shapes[slot].nodes for slot in slots if name in self.shapes[slot].nodes))

    def _size(self, nodes: Collection[str]) -> int:
        return math.prod(self.cards[name] for name in nodes)

    def _summed(self, name: str, slots: list[int]) -> list[int]:
        inputs = tuple(slot for slot in slots if name in self.shapes[slot].nodes)
        joined = self._joined(name, slots)
        size = self._size(joined)
        self.states += size * math.prod(self.sizes.get(plate, 1) for plate in self.shapes[inputs[0]].plates)
        if size > self.largest:
            self.largest, self.widest = size, tuple(sorted(joined))
        output = self._slot(Shape(joined - {name}, self.shapes[inputs[0]].plates))
        self.steps.append(Step(inputs, output, name, ()))
        return [slot for slot in slots if slot not in inputs] + [output]

    def _handed_out(self, slot: int, leaf: frozenset[str]) -> int:
        shape = self.shapes[slot]
        outer = frozenset().union(*(self.plates[name] for name in shape.nodes))
        if outer == leaf:
            if leaf:
                raise Tangle(f"{', '.join(sorted(shape.nodes))} meet in the plates {', '.join(sorted(leaf))}, which neither of them is in alone")
            return slot
        output = self._slot(Shape(shape.nodes, outer))
        self.steps.append(Step((slot,), output, None, tuple(sorted(leaf - outer))))
        return output

    def _slot(self, shape: Shape) -> int:
        self.shapes.append(shape)
        return len(self.shapes) - 1

    # ---- evaluation

    def run(
        self, factors: Sequence[Tensor], axes: Mapping[str, int], dims: Mapping[str, int], sizes: Mapping[str, int],
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The logarithm of the sum, `(*axes, *worlds, *plates)` with singletons, and for each node the product that it was summed out of.

        Args:
            axes: the dimension of each node, from the right.
            dims, sizes: the dimension of each plate, from the right, and its members.
        """
        values: list[Tensor | None] = [*factors, *[None] * (len(self.shapes) - len(factors))]
        products = {}
        for step in self.steps:
            joined = add([values[slot] for slot in step.inputs])
            if step.node is None:
                wanted = {dims[plate]: sizes[plate] for plate in step.plates}
                shape = [wanted.get(axis - joined.ndim, size) for axis, size in enumerate(joined.shape)]
                values[step.output] = joined.expand(shape).sum(tuple(wanted), keepdim=True)
            else:
                products[step.node] = joined
                values[step.output] = log_sum(joined, axes[step.node])
        return add([values[slot] for slot in self.results]), products


def add(factors: Sequence[Tensor]) -> Tensor:
    """The sum of logarithms."""
    total = factors[0]
    for factor in factors[1:]:
        total = total + factor
    return total


class _LogSum(torch.autograd.Function):
    """log sum exp along a kept dimension; where all terms are minus infinity so is the result, and the gradient is zero."""

    @staticmethod
    def forward(ctx, terms: Tensor, dim: int) -> Tensor:
        total = terms.logsumexp(dim, keepdim=True)
        ctx.save_for_backward(terms, total)
        return total

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:
        terms, total = ctx.saved_tensors
        apart = terms - total.clamp_min(torch.finfo(total.dtype).min)
        return (gradient * apart.exp() if torch.is_grad_enabled() else apart.exp_().mul_(gradient)), None


def log_sum(terms: Tensor, dim: int) -> Tensor:
    """log sum exp along a dimension, which stays as a singleton."""
    return _LogSum.apply(terms, dim)
