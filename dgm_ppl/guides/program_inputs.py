"""The tensors among a program's arguments that its sites read, and the plates that their dimensions run along."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ..families import Finite, Real, Space
from .arguments import alternatives, node_name, tensors_of, with_tensors
from .program_runs import ProgramRuns, differs, with_cell

__all__ = ["Input", "InputReader"]


@dataclass(frozen=True)
class Input:
    """A tensor among the arguments that some site reads beside its parents; `axes` are the plates of its dimensions, None where one is part of the event."""

    node: str
    argument: str
    axes: tuple[str | None, ...]
    event: tuple[int, ...]
    space: Space


@dataclass(frozen=True, eq=False)
class InputReader:
    """Finds what a program's sites read of its arguments, values of all sites held."""

    held: ProgramRuns

    def inputs(self) -> Iterator[tuple[Input, list[str]]]:
        """The tensors among the arguments that the density of a site reads, each with its readers."""
        held, taken = self.held, {*self.held.sites, *self.held.frames}
        for argument, value in tensors_of(held.function, held.args, held.kwargs).items():
            changes = list(self._changes(argument, value, alternatives(value))) if value.numel() else []
            readers = [child for child in held.sites if any(bool(where[child].any()) for where in changes)]
            if not readers:
                continue
            axes = self._axes(argument, value)
            node = node_name(argument, taken)
            taken.add(node)
            event = tuple(size for size, plate in zip(value.shape, axes) if plate is None)
            yield Input(node, argument, axes, event, self._space(value)), readers

    def _changes(self, argument: str, value: Tensor, replaced: Iterable[Tensor]) -> Iterator[dict[str, Tensor]]:
        """For each other value of an argument, where the densities of the sites differ."""
        held = self.held
        base, others = held.runs[1].values, [run.values for run in held.runs[2:4]]
        reference = held.densities(base, others, "a run with all values held")
        for other in replaced:
            try:
                changed = held.densities(base, others, f"a run in which the argument {argument!r} was changed", *with_tensors(held.function, held.args, held.kwargs, {argument: other}))
            except Exception:                                               # lengths, indices and the like cannot be anything
                continue
            yield {child: differs(reference[child], changed[child]) for child in reference}

    def _axes(self, argument: str, value: Tensor) -> tuple[str | None, ...]:
        """The plate that each dimension runs along: changing one row changes that member alone."""
        return tuple(next((plate for plate in self.held.frames if self._runs_along(argument, value, axis, plate)), None) for axis in range(value.ndim))

    def _runs_along(self, argument: str, value: Tensor, axis: int, plate: str) -> bool:
        frame = self.held.frames[plate]
        if value.shape[axis] not in (frame.size, frame.full):
            return False
        inside, touched = [name for name in self.held.sites if plate in self.held.names(name)], False
        for place in (0, frame.size - 1):
            row = self.held.row(value.shape[axis], plate, place)
            for where in self._changes(argument, value, [with_cell(value, other, {axis: row}) for other in alternatives(value)]):
                for name in inside:
                    places = where[name].nonzero()
                    touched |= len(places) > 0
                    if bool((places[:, frame.dim] != place).any()):
                        return False
        return touched

    def _space(self, value: Tensor) -> Space:
        if value.dtype == torch.bool:
            return Finite(2, binary=True)
        if value.is_floating_point() or int(value.min()) < 0 or int(value.max()) > 255:
            return Real()
        states = max(int(value.max()) + 1, 2)
        return Finite(next((frame.full for frame in self.held.frames.values() if frame.full == states), states))
