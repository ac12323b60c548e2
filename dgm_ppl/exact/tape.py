"""Products and sums of factors as a list of steps, written once and run on any number of rows.

A value is a tensor `(*states of its scope, rows)`; what no row's evidence touches has one row and is computed once. Products of
such a constant with something batched are matrix products with the rows last (Darwiche, 2003, for the arithmetic circuit).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar

import torch
from torch import Tensor

__all__ = ["MAX", "SUM", "Arrange", "Contract", "Multiply", "Rescale", "Semiring", "Slot", "Step", "Sum", "Tape", "run"]


@dataclass(frozen=True, eq=False)
class Slot:
    """Where a value is kept: its axes, whether it has rows, and how many factors were multiplied since it was last scaled."""

    index: int
    scope: tuple[str, ...]
    batched: bool
    depth: int = 1


class Semiring:
    """How states are brought together: sums of products."""

    def add(self, value: Tensor, axes: Sequence[int]) -> Tensor:
        """The sum over some axes, each run of neighbours at once: torch is many times slower where axes lie apart in memory."""
        for run in _runs(axes, value):
            value = value.sum(run)
        return value

    def product(self, static: Tensor, batched: Tensor) -> Tensor:
        """`(a, n, r)` with `(a, r, rows)` to `(a, n, rows)`."""
        return torch.bmm(static, batched) if len(static) > 1 else torch.mm(static[0], batched[0]).unsqueeze(0)


class MaxProduct(Semiring):
    """The largest product in place of the sum of products."""

    def add(self, value: Tensor, axes: Sequence[int]) -> Tensor:
        for run in _runs(axes, value):
            value = value.amax(run)
        return value

    def product(self, static: Tensor, batched: Tensor) -> Tensor:
        return (static.unsqueeze(-1) * batched.unsqueeze(1)).amax(2)


SUM, MAX = Semiring(), MaxProduct()


def _runs(axes: Sequence[int], value: Tensor) -> list[tuple[int, ...]]:
    """Axes that are neighbours in memory together, the last ones first, so that the others keep their places.

    >>> _runs((0, 2, 3), torch.zeros(2, 3, 4, 5))
    [(2, 3), (0,)]
    """
    found: list[tuple[int, ...]] = []
    for axis in sorted(axes, reverse=True):
        if found and found[-1][0] == axis + 1 and value.stride(axis) == value.stride(axis + 1) * value.shape[axis + 1]:
            found[-1] = (axis, *found[-1])
        else:
            found.append((axis,))
    return found


@dataclass(frozen=True, eq=False)
class Step:
    """One operation: it reads slots and returns the value of `out`."""

    out: Slot
    reads: tuple[Slot, ...]
    recorded: ClassVar[bool] = False

    def run(self, values: list) -> Tensor:
        raise NotImplementedError

    def cells(self, tape: Tape) -> int:
        """The numbers of what it returns."""
        return tape.size(self.out.scope)


@dataclass(frozen=True, eq=False)
class Multiply(Step):
    """The product of two values, axes put in line."""

    views: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]

    def run(self, values: list) -> Tensor:
        first, second = (values[slot.index].permute(order).reshape(shape) for slot, (order, shape) in zip(self.reads, self.views))
        return first * second


@dataclass(frozen=True, eq=False)
class Sum(Step):
    """The sum over some axes, or the maximum."""

    axes: tuple[int, ...]
    ring: Semiring

    def run(self, values: list) -> Tensor:
        return self.ring.add(values[self.reads[0].index], self.axes)


@dataclass(frozen=True, eq=False)
class Arrange(Step):
    """A constant as a stack of matrices `(a, n, r)`."""

    order: tuple[int, ...]
    shape: tuple[int, ...]

    def run(self, values: list) -> Tensor:
        return values[self.reads[0].index].permute(self.order).reshape(self.shape)

    def cells(self, tape: Tape) -> int:
        return prod(self.shape)


@dataclass(frozen=True, eq=False)
class Contract(Step):
    """A stack of matrices against a batched value: axes shared and kept, kept of the constant alone, summed, kept of the batched alone."""

    order: tuple[int, ...]
    shape: tuple[int, ...]                              # of the batched value, (a, r, kept and rows)
    result: tuple[int, ...]
    outer: bool                                         # nothing is summed
    ring: Semiring

    def run(self, values: list) -> Tensor:
        static = values[self.reads[0].index]
        batched = values[self.reads[1].index].permute(self.order).reshape(self.shape)
        return (static * batched if self.outer else self.ring.product(static, batched)).reshape(self.result)


@dataclass(frozen=True, eq=False)
class Rescale(Step):
    """Each row over its largest entry; the logarithm of that is added to the rows' log scales where `recorded`."""

    recorded: bool = True

    def run(self, values: list) -> tuple[Tensor, Tensor]:
        value = values[self.reads[0].index]
        largest = MAX.add(value.detach(), range(value.ndim - 1))
        scale = torch.where(largest > 0, largest, 1.0)                      # a constant: it cancels against its logarithm
        return value * scale.reciprocal(), scale


class Tape:
    """Writes steps; the same product or sum asked twice is one step.

    No more than `limit` factors are multiplied before rows are rescaled, whose scales count while `recording`. Axes are brought
    together by the `ring` of the moment.
    """

    def __init__(self, cards: Mapping[str, int], limit: int):
        self.cards, self.limit, self.recording, self.ring, self.steps, self.slots = cards, limit, True, SUM, [], []
        self._written: dict[tuple, Slot] = {}

    def leaf(self, scope: Sequence[str], batched: bool) -> Slot:
        """A place for a factor that is given when the tape runs."""
        return self._slot(tuple(scope), batched, 1)

    def size(self, scope: Collection[str]) -> int:
        """The number of states of some nodes together."""
        return prod(self.cards[name] for name in scope)

    def multiply(self, slots: Collection[Slot]) -> Slot | None:
        """The product of some values, the small ones first; None of none."""
        ordered = sorted(slots, key=lambda slot: (self.size(slot.scope), slot.index))
        if not ordered:
            return None
        product = ordered[0]
        for slot in ordered[1:]:
            product = self._pair(product, slot)
        return product

    def contract(self, slots: Collection[Slot], target: Collection[str]) -> Slot | None:
        """The product of some values, summed down to the axes in `target`."""
        static = self.multiply([slot for slot in slots if not slot.batched])
        batched = self.multiply([slot for slot in slots if slot.batched])
        if static is None or batched is None:
            one = static or batched
            return one if one is None else self.sum_to(one, target)
        static = self.sum_to(static, {*target, *batched.scope})
        batched = self.sum_to(batched, {*target, *static.scope})
        return self._matrix_product(static, batched, target)

    def sum_to(self, slot: Slot, target: Collection[str]) -> Slot:
        """The sum over the axes that are not in `target`."""
        axes = tuple(position for position, name in enumerate(slot.scope) if name not in target)
        if not axes:
            return slot
        scope = tuple(name for name in slot.scope if name in target)
        ring = self.ring
        return self._write((Sum, slot, axes, ring), scope, slot.batched, slot.depth, lambda out: Sum(out, (slot,), axes, ring))

    def _rescaled(self, slot: Slot) -> Slot:
        """The value with each row's largest entry one."""
        recorded = self.recording
        return slot if slot.depth == 1 else self._write((Rescale, slot), slot.scope, slot.batched, 1, lambda out: Rescale(out, (slot,), recorded))

    def _within_limit(self, *slots: Slot) -> list[Slot]:
        """The values, rescaled where their product would have too many factors."""
        return list(slots) if sum(slot.depth for slot in slots) <= self.limit else [self._rescaled(slot) for slot in slots]

    def _pair(self, first: Slot, second: Slot) -> Slot:
        first, second = self._within_limit(first, second)
        scope = (*second.scope, *(name for name in first.scope if name not in second.scope))
        batched, views = first.batched or second.batched, (self._view(first, scope), self._view(second, scope))
        key = (Multiply, *sorted((first.index, second.index)))
        return self._write(key, scope, batched, first.depth + second.depth, lambda out: Multiply(out, (first, second), views))

    def _view(self, slot: Slot, scope: Sequence[str]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        order = [slot.scope.index(name) for name in scope if name in slot.scope]
        shape = [self.cards[name] if name in slot.scope else 1 for name in scope]
        return (*order, len(slot.scope)), (*shape, -1)

    def _matrix_product(self, static: Slot, batched: Slot, target: Collection[str]) -> Slot:
        static, batched = self._within_limit(static, batched)
        both = [name for name in batched.scope if name in static.scope]
        shared, summed = [name for name in both if name in target], [name for name in both if name not in target]
        own = [name for name in static.scope if name not in batched.scope]
        kept = [name for name in batched.scope if name not in static.scope]
        arranged = self._arranged(static, shared, own, summed)
        order = tuple(batched.scope.index(name) for name in (*shared, *summed, *kept))
        scope, ring = (*shared, *own, *kept), self.ring
        shape, result = (self.size(shared), self.size(summed), -1), (*map(self.cards.get, scope), -1)
        return self._write(
            (Contract, static, batched, tuple(scope), ring), scope, True, static.depth + batched.depth,
            lambda out: Contract(out, (arranged, batched), (*order, len(order)), shape, result, not summed, ring),
        )

    def _arranged(self, static: Slot, *groups: Sequence[str]) -> Slot:
        order = (*(static.scope.index(name) for group in groups for name in group), len(static.scope))
        shape = tuple(map(self.size, groups))
        return self._write((Arrange, static, order, shape), (), False, static.depth, lambda out: Arrange(out, (static,), order, shape))

    def _write(self, key: tuple, scope: Sequence[str], batched: bool, depth: int, step) -> Slot:
        if key not in self._written:
            self._written[key] = self._slot(tuple(scope), batched, depth)
            self.steps.append(step(self._written[key]))
        return self._written[key]

    def _slot(self, scope: tuple[str, ...], batched: bool, depth: int) -> Slot:
        self.slots.append(Slot(len(self.slots), scope, batched, depth))
        return self.slots[-1]


def run(steps: Sequence[Step], values: list, spent: Mapping[int, Sequence[int]]) -> list[Tensor]:
    """Fills the slots of `values`, letting go of those that `spent` says are not read again; returns the recorded scales."""
    scales = []
    for position, step in enumerate(steps):
        result = step.run(values)
        if isinstance(step, Rescale):
            result, scale = result
            if step.recorded:
                scales.append(scale)
        values[step.out.index] = result
        for index in spent.get(position, ()):
            values[index] = None
    return scales
