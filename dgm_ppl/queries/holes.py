"""Evidence in which some cells may be missing: read once, then grouped by what is observed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy
import torch
from torch import Tensor

from ..compile import Model
from ..data import columns
from ..exact import Evidence

__all__ = ["Seen", "see"]

PATTERNS = 16                                       # as many plans are made before missing cells are summed over with one plan for all rows


@dataclass(frozen=True, eq=False)
class Seen:
    """Encoded evidence: the columns that are complete, and those with holes `(rows)`, where any legal value stands."""

    model: Model
    complete: Mapping[str, Tensor]
    partial: Mapping[str, Tensor]
    holes: Mapping[str, Tensor]

    @cached_property
    def worlds(self) -> tuple[int, ...]:
        return self.model.layout.worlds({**self.complete, **self.partial})

    @cached_property
    def rows(self) -> int:
        return torch.Size(self.worlds).numel()

    def groups(self) -> Iterator[tuple[Tensor, Evidence]]:
        """Rows that observe the same nodes, with their evidence; where there are too many patterns, all rows with holes as likelihoods of one."""
        everything, every = self._aligned(), torch.arange(self.rows, device=self.model.device)
        if not self.holes:
            yield every, Evidence(everything, {}, self.rows)
            return
        patterns, member = torch.stack(list(self.holes.values()), 1).unique(dim=0, return_inverse=True)
        if len(patterns) > PATTERNS:
            soft = {name: self._likelihood(name, everything[name]) for name in self.holes}
            yield every, Evidence({name: everything[name] for name in self.complete}, soft, self.rows)
            return
        for position, pattern in enumerate(patterns.tolist()):
            rows = (member == position).nonzero().squeeze(1)
            gone = {name for name, missing in zip(self.holes, pattern) if missing}
            yield rows, Evidence({name: value[rows] for name, value in everything.items() if name not in gone}, {}, len(rows))

    def _aligned(self) -> dict[str, Tensor]:
        """Aligned values with one dimension of rows."""
        layout, count, worlds = self.model.layout, self.rows, self.worlds
        found = {}
        for name, value in layout.align_all({**self.complete, **self.partial}).items():
            inner = value.shape[value.ndim - layout.rank - len(layout.events[name]):]
            found[name] = value.expand((*worlds, *inner)).reshape(count, *inner)
        return found

    def _likelihood(self, name: str, value: Tensor) -> Tensor:
        """One for the states that a row allows, `(rows, states)`."""
        states = self.model.net[name].space.cardinality
        allowed = torch.nn.functional.one_hot(value.long(), states).bool() | self.holes[name].unsqueeze(1)
        return allowed.to(self.model.anchor.dtype)


def see(model: Model, data: Any) -> Seen:
    """Evidence checked and encoded; a missing cell is NaN or None, and a column of nothing else is no evidence.

    Raises:
        GraphError: what `Model.encode` raises.
    """
    data = data if isinstance(data, Mapping) else columns(data)
    holes = {name: found for name, value in data.items() if (found := _holes(value)) is not None}
    scalar = {name for name in holes if name in model.net and not model.net[name].shape and not model.net.plates_of(name) and holes[name].ndim == 1}
    kept = {name: value for name, value in data.items() if name not in model.net or name not in holes or not holes[name].all()}
    filled = {name: _filled(value, holes[name]) if name in scalar else value for name, value in kept.items()}
    encoded = model.encode(filled)
    partial = [name for name in encoded if name in scalar]
    return Seen(
        model, {name: value for name, value in encoded.items() if name not in scalar}, {name: encoded[name] for name in partial},
        {name: torch.as_tensor(holes[name], device=model.device) for name in partial},
    )


def _holes(value: Any) -> numpy.ndarray | None:
    """Which cells are missing; None where none is."""
    if isinstance(value, Tensor):
        missing = value.isnan().cpu().numpy() if value.is_floating_point() else numpy.zeros(1, bool)
    else:
        array = numpy.asarray(value)
        if array.dtype.kind == "O":
            missing = numpy.fromiter(map(_absent, array.ravel()), bool, array.size).reshape(array.shape)
        else:
            missing = numpy.isnan(array) if array.dtype.kind == "f" else numpy.zeros(1, bool)
    return missing if missing.any() else None


def _absent(cell: Any) -> bool:
    return cell is None or (isinstance(cell, float) and cell != cell) or type(cell).__name__ in ("NAType", "NaTType")


def _filled(value: Any, missing: numpy.ndarray) -> Any:
    """The column with a legal value in its holes."""
    if isinstance(value, Tensor):
        held = torch.as_tensor(missing, device=value.device)
        return torch.where(held, value[~held][0], value)
    array = numpy.asarray(value)
    return numpy.where(missing, array[~missing][0], array)
