"""Draws from a guide with their importance weights, in pieces that fit in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from ..compile import Model, SubsetGuide
from ..compile.pairing import Pairing, check_guide
from ..compile.seen_cells import masks_of
from ..data import columns
from ..exact import Cells, cells
from ..families import noise
from ..graph import GraphError
from .methods import Amortized, Bound, Importance, Method

__all__ = ["WeightedDraws", "evidence_for", "paired", "pick"]

CELLS = 4_000_000                                   # numbers in the largest value of one piece: a few tens of megabytes
ON_ACCELERATORS = 16                                # times as many there, so that a piece is worth its launches


class WeightedDraws:
    """z ~ q(z | x) and log p(x, z) - log q(z | x) for rows of evidence; draws are the first dimension."""

    def __init__(self, model: Model, guide: Model, values: Mapping[str, Tensor]):
        if isinstance(guide, SubsetGuide):
            raise GraphError(f"guide: one for any subset answers dgm.posterior and dgm.log_prob, by dgm.Amortized(guide) or dgm.Importance(guide); for this, take the guide of one pattern: guide.at({guide.net.example!r})")
        check_guide(model, guide)
        if guide.device != model.device:
            raise GraphError(f"guide: expected it on the model's device, {model.device}; got {guide.device}; try guide.to(model.device)")
        self.model, self.layout = model, model.layout
        self.holes = values.holes if isinstance(values, Cells) else {}
        self.pairing = Pairing(model, guide, frozenset(values), tuple(self.holes))
        self.values, self.worlds, self.sizes = dict(values), model.layout.worlds(values), model.layout.sizes(values)

    def draw(self, samples: int) -> tuple[dict[str, Tensor], Tensor]:
        """Aligned values `(samples, *worlds, ...)` of every node that is not observed, and log-weights `(samples, *worlds)`."""
        drawn, weigh = self.unweighted(samples)
        return drawn, weigh()

    def unweighted(self, samples: int) -> tuple[dict[str, Tensor], Callable[[], Tensor]]:
        """The same, the weights when they are asked for: a model without a density has draws and no weights."""
        found, weigh = self._drawn(samples)
        with torch.no_grad():
            every = self.pairing.completed(found, (samples, *self.worlds), self.sizes, noise)
        return {name: value for name, value in every.items() if (name not in self.values or name in self.pairing.cells.completed_by) and name in self.model.net}, weigh

    def _drawn(self, samples: int) -> tuple[dict[str, Tensor], Callable[[], Tensor]]:
        """The guide's draws, and how they are weighed."""
        worlds = (samples, *self.worlds)
        with torch.no_grad():
            values = self.pairing.cells.masked(self.layout.align_all(self.values), self.layout.align_all(self.holes), self.worlds, self.sizes)
            found, prepared = self.pairing.draw(values, worlds, self.sizes, noise)

        def weigh() -> Tensor:
            with torch.no_grad():
                return self.pairing.log_weights(found, prepared, worlds, self.sizes)
        return found, weigh

    def weights(self, samples: int) -> Iterator[Tensor]:
        """The log-weights of `samples` draws, `(some, *worlds)` at a time."""
        piece = max(1, CELLS * (1 if self.model.device.type == "cpu" else ON_ACCELERATORS) // (self._cells() * max(1, self._rows())))
        while samples:
            now = min(piece, samples)
            yield self._drawn(now)[1]()
            samples -= now

    def pieces(self) -> Iterator[WeightedDraws]:
        """The rows of evidence, some at a time."""
        if len(self.worlds) != 1 or not self._rows():
            yield self
            return
        size = max(1, CELLS // (self._cells() * 64))
        for start in range(0, self.worlds[0], size):
            yield self._rows_of(slice(start, start + size))

    def _rows_of(self, rows: slice) -> WeightedDraws:
        whole = {name: len(self.layout.members[name]) + len(self.layout.events[name]) for name in self.values}
        values = {name: value[rows] if value.ndim > whole[name] else value for name, value in self.values.items()}
        piece = object.__new__(WeightedDraws)
        piece.model, piece.layout, piece.pairing = self.model, self.layout, self.pairing
        piece.values, piece.sizes = values, self.sizes
        piece.holes = {name: hole[rows] if hole.ndim > whole[name] else hole for name, hole in self.holes.items()}
        piece.worlds = self.layout.worlds(values)
        return piece

    def _rows(self) -> int:
        return int(torch.Size(self.worlds).numel())

    def _cells(self) -> int:
        members = 1
        for size in self.sizes.values():
            members *= size
        return members * max(self.model.net[name].numel for name in self.model.net)


def evidence_for(model: Model, data: Any, method: Method) -> dict[str, Tensor]:
    """Checked data, which may have missing cells where the guide of a method reads masks."""
    if isinstance(method, (Amortized, Bound, Importance)) and masks_of(method.guide):
        return cells(model, data)
    return model.encode(data if isinstance(data, Mapping) else columns(data))


def paired(model: Model, guide: Model, values: Mapping[str, Tensor]) -> WeightedDraws:
    """Draws of the guide for checked evidence."""
    return WeightedDraws(model, guide, values)


def pick(values: Tensor, chosen: Tensor) -> Tensor:
    """Draws by their number: from `(draws, *worlds, ...)` those of each world at `(samples, *worlds)`."""
    index = chosen.reshape(*chosen.shape, *(1,) * (values.ndim - chosen.ndim))
    return values.gather(0, index.expand(*chosen.shape, *values.shape[chosen.ndim:]))
