"""Evidence in which some cells may be missing: read once, then grouped by what is observed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy
import torch
from torch import Tensor

from ..compile import Model
from ..data import columns
from ..exact import Engine, Evidence
from ..graph import GraphError
from .soft import take_soft

__all__ = ["Seen", "see"]

PATTERNS = 16                                       # so many plans are made without a thought
ROWS = 64                                           # and more only if each serves so many rows
CHEAP = 2000                                        # states that are not worth a group of their own


@dataclass(frozen=True, eq=False)
class Seen:
    """Encoded evidence: the columns that are complete, those with holes `(rows)`, where any legal value stands, and likelihoods `(*worlds, states)`."""

    model: Model
    complete: Mapping[str, Tensor]
    partial: Mapping[str, Tensor]
    holes: Mapping[str, Tensor]
    soft: Mapping[str, Tensor] = field(default_factory=dict)

    @cached_property
    def worlds(self) -> tuple[int, ...]:
        hard = self.model.layout.worlds({**self.complete, **self.partial})
        for name, value in self.soft.items():
            worlds = tuple(value.shape[:-1])
            if worlds and not any(name not in self.model.net.inputs for name in (*self.complete, *self.partial)):
                hard = hard or worlds
            if worlds and worlds != hard:
                raise GraphError(f"data: the likelihood of {name!r} has the worlds {worlds}, other evidence has {hard}; expected the same rows, or one likelihood for all of them")
        return hard

    @cached_property
    def rows(self) -> int:
        return torch.Size(self.worlds).numel()

    def groups(self, engine: Engine) -> Iterator[tuple[Tensor, Evidence]]:
        """Rows with their evidence, those together that observe the same nodes.

        Where that would make too many groups, rows are told apart by the columns that make the cliques small, and other cells with holes are
        likelihoods, which are one for every state where the cell is missing.
        """
        everything = self._aligned()
        split = tuple(self.holes) if self._patterns(tuple(self.holes)) <= PATTERNS else self._critical(engine)
        soft = {name: self._likelihood(name, everything[name]) for name in self.holes if name not in split}
        soft |= {name: value.expand(*self.worlds, value.shape[-1]).reshape(self.rows, -1) for name, value in self.soft.items()}
        for rows, gone in self._split(split):
            values = {name: value[rows] for name, value in everything.items() if name not in soft and name not in gone}
            yield rows, Evidence(values, {name: value[rows] for name, value in soft.items()}, len(rows))

    def _split(self, names: Sequence[str]) -> Iterator[tuple[Tensor, set[str]]]:
        """The rows of each pattern of holes in some columns, and the columns that they lack."""
        if not names:
            yield torch.arange(self.rows, device=self.model.device), set()
            return
        patterns, member = torch.stack([self.holes[name] for name in names], 1).unique(dim=0, return_inverse=True)
        for position, pattern in enumerate(patterns.tolist()):
            yield (member == position).nonzero().squeeze(1), {name for name, missing in zip(names, pattern) if missing}

    def _patterns(self, names: Sequence[str]) -> int:
        return len(torch.stack([self.holes[name] for name in names], 1).unique(dim=0)) if names else 1

    def _critical(self, engine: Engine) -> tuple[str, ...]:
        """The columns which, when seen, make the sum of states smallest, one after the other."""
        chosen, left = (), list(self.holes)
        cost = engine.cost(list(self.complete), [*left, *self.soft])
        while left and cost > CHEAP and 2 ** (len(chosen) + 1) <= self.rows // ROWS:
            costs = {name: engine.cost([*self.complete, *chosen, name], [*(other for other in left if other != name), *self.soft]) for name in left}
            name = min(costs, key=costs.__getitem__)
            if costs[name] > 0.9 * cost:
                break
            chosen, cost = (*chosen, name), costs[name]
            left.remove(name)
        return chosen

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
    data, soft = take_soft(model, data if isinstance(data, Mapping) else columns(data))
    holes = {name: found for name, value in data.items() if (found := _holes(value)) is not None}
    scalar = {name for name in holes if name in model.net and not model.net[name].shape and not model.net.plates_of(name) and holes[name].ndim == 1}
    kept = {name: value for name, value in data.items() if name not in model.net or name not in holes or not holes[name].all()}
    filled = {name: _filled(value, holes[name]) if name in scalar else value for name, value in kept.items()}
    encoded = model.encode(filled)
    partial = [name for name in encoded if name in scalar]
    return Seen(
        model, {name: value for name, value in encoded.items() if name not in scalar}, {name: encoded[name] for name in partial},
        {name: torch.as_tensor(holes[name], device=model.device) for name in partial}, soft,
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
