"""Where a draw lies as seen from a reference: the test of accuracy with random points."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..compile import Model
from .quantities import cells_of

__all__ = ["References"]


class References:
    """A reference for each world: the latents of another simulated world, the one of a `pool` whose data are nearest.

    References have to depend on the data, else a guide that ignores them passes. The number of draws that are nearer to the
    reference than the truth is then uniform for every such choice of references if and only if the draws are from the posterior.

    Source: Lemos et al. (2023), https://arxiv.org/abs/2302.03026.
    """

    def __init__(self, model: Model, pool: Mapping[str, Tensor], observed: tuple[str, ...], latents: tuple[str, ...]):
        self.model, self.observed, self.latents = model, observed, latents
        self._seen, self._told = _Standard(self._features(pool, observed)), _Standard(self._features(pool, latents))

    def distances(self, values: Mapping[str, Tensor], data: Mapping[str, Tensor]) -> Tensor:
        """Distances `(draws, worlds)` of latents, in standard deviations of the prior, to the reference of each world."""
        nearest = torch.cdist(self._seen(self._features(data, self.observed)), self._seen.rows).argmin(-1)
        return (self._told(self._features(values, self.latents)) - self._told.rows[nearest]).square().mean(-1).sqrt()

    def _features(self, values: Mapping[str, Tensor], names: tuple[str, ...]) -> Tensor:
        return torch.cat([self._numbers(name, values[name]) for name in names], -1)

    def _numbers(self, name: str, value: Tensor) -> Tensor:
        """States of a finite node are as far from each other as any two, so they become indicators."""
        space = self.model.net[name].space
        if space.integer and space.cardinality is not None and 2 < space.cardinality <= 64:
            cells = torch.nn.functional.one_hot(cells_of(self.model, name, value).long(), space.cardinality)
            return cells.flatten(-2).to(self.model.anchor.dtype)
        return cells_of(self.model, name, value).to(self.model.anchor.dtype)


class _Standard:
    def __init__(self, rows: Tensor):
        self.mean, self.scale = rows.mean(0), rows.std(0).clamp_min(1e-12)
        self.rows = self(rows)

    def __call__(self, rows: Tensor) -> Tensor:
        return ((rows - self.mean) / self.scale).clamp(-1e6, 1e6)           # a constant feature says nothing
