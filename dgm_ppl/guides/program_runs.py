"""Runs of one program with values held: the densities of its sites at these values and at others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..graph import GraphError
from .alike import check_alike
from .arguments import tensors_of
from .tracing import Frame, Run, Site, run_program_once

__all__ = ["ProgramRuns", "differs", "with_cell"]

RUNS = 8


@dataclass(eq=False)
class ProgramRuns:
    """Runs of one program, all on the same members of its plates."""

    function: Callable
    args: tuple
    kwargs: Mapping[str, Any]
    runs: Sequence[Run]
    frames: Mapping[str, Frame]
    seed: int = 0

    @classmethod
    def of(cls, function: Callable, args: tuple, kwargs: Mapping[str, Any]) -> ProgramRuns:
        tensors_of(function, args, kwargs)
        runs: list[Run] = []
        for number in range(RUNS):
            torch.manual_seed(number)
            members = runs[0].members if runs else {}
            runs.append(run_program_once(function, args, kwargs, members, draw=number > 0, moved=True))
            check_alike(runs[0].sites, runs[-1].sites, "run 1", f"run {number + 1}")
            for name, site in runs[-1].sites.items():
                for before, now in zip(runs[0].sites[name].frames, site.frames):
                    if before != now:
                        raise GraphError(
                            f"site {name!r}: the program's structure changes from run to run: plate {now.name!r} has {now.full} members in run {number + 1}, {before.full} in run 1"
                        )
        frames = {frame.name: frame for site in runs[0].sites.values() for frame in site.frames}
        for site in runs[0].sites.values():
            for frame in site.frames:
                if frames[frame.name] != frame:
                    raise GraphError(f"site {site.name!r}: plate {frame.name!r} is another one than around other sites, {frame} beside {frames[frame.name]}; name plates apart")
        return cls(function, args, kwargs, runs, dict(sorted(frames.items(), key=lambda item: item[1].dim)))

    @property
    def sites(self) -> Mapping[str, Site]:
        return self.runs[0].sites

    def check_settled(self) -> None:
        """Raises where densities differ though all values are held: what changes them would be taken for an arrow."""
        base, others = self.runs[1].values, [self.runs[2].values]
        first = self.densities(base, others, "a run with all values held")
        self.seed += 1
        for name, density in self.densities(base, others, "a run with all values held").items():
            if bool(differs(density, first[name]).any()):
                raise GraphError(
                    f"site {name!r}: its density differs between two runs with the same values, as the program draws random numbers outside its sites; make them sites, or, "
                    f"where a network drops units out, make the guide while it is in evaluation mode: net.eval()"
                )

    def densities(
        self, values: Mapping[str, Tensor], others: Sequence[Mapping[str, Tensor]], why: str, args: tuple | None = None, kwargs: Any = None, after: str | None = None,
    ) -> dict[str, Tensor]:
        """Log-densities of every site, or of those after one, at the values held and at others, `(values, *batch)`, plates all in place."""
        torch.manual_seed(self.seed)
        run = run_program_once(self.function, self.args if args is None else args, self.kwargs if kwargs is None else kwargs, {**self.runs[0].members, **values}, moved=True)
        check_alike(self.sites, run.sites, "run 1", why)
        rank, found, order = self.rank, {}, list(run.sites)
        for name, site in list(run.sites.items())[0 if after is None else order.index(after) + 1:]:
            each = [site.fn.log_prob(value) for value in (values[name], *(other[name] for other in others))]
            each = [one.reshape((*(1,) * (rank - one.ndim), *one.shape)) for one in each]
            found[name] = torch.stack(torch.broadcast_tensors(*each))
        return found

    @property
    def rank(self) -> int:
        """How many dimensions plates take."""
        return max((-frame.dim for frame in self.frames.values()), default=0)

    def names(self, name: str) -> tuple[str, ...]:
        """The plates of a site."""
        return tuple(frame.name for frame in self.sites[name].frames)

    def row(self, length: int, plate: str, place: int) -> int:
        """Where the member at a place of a plate stands among so many rows: those that the program sees, or all."""
        frame = self.frames[plate]
        return place if length == frame.size else int(self.runs[0].members[frame.statement][place])


def differs(a: Tensor, b: Tensor) -> Tensor:
    """Where log-densities at any of the values differ, `(*batch)`."""
    return (~((a == b) | (a.isnan() & b.isnan()))).any(0)


def with_cell(value: Tensor, other: Tensor, axes: Mapping[int, int]) -> Tensor:
    """A value with one cell of its plates from another one."""
    cell: list[Any] = [slice(None)] * value.ndim
    for axis, place in axes.items():
        cell[axis] = place
    changed = value.clone()
    changed[tuple(cell)] = other[tuple(cell)]
    return changed
