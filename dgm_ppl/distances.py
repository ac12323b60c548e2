"""Distances between two samples, differentiable in both: what objectives minimise and metrics report."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from .families import Setting
from .families.variable import whole
from .graph import GraphError

__all__ = ["MMD", "Distance", "EnergyDistance", "Sinkhorn", "SlicedWasserstein"]


class Distance(Setting):
    """A distance between the distributions of two samples, `(rows, features)` each; to add one, write `__call__`."""

    @abstractmethod
    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        """The estimate from the rows of both, a number."""


@dataclass(frozen=True, repr=False)
class MMD(Distance):
    """The squared maximum mean discrepancy E k(x, x') + E k(y, y') - 2 E k(x, y), without bias.

    The kernel is a mean of Gaussians exp(-|x - y|^2 / (2 s^2)) with s the `scales` times the square root of half the median squared distance
    in the joint sample (taken without gradient), or of inverse multiquadrics c / (c + |x - y|^2) where `heavy`.

    Source: Gretton et al. (2012), https://jmlr.org/papers/v13/gretton12a.html; Tolstikhin et al. (2018), https://arxiv.org/abs/1711.01558.

    >>> x = torch.arange(6.0).reshape(6, 1)
    >>> bool(MMD()(x, x + 9) > 0.5), bool(MMD()(x, x.flip(0)) < 0)
    (True, True)
    """

    scales: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0, 4.0)
    heavy: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.scales, tuple) or not self.scales or not all(_positive(scale) for scale in self.scales):
            raise GraphError(f"MMD: expected scales as a tuple of one positive number or more; got {self.scales!r}; try scales=(0.5, 1.0, 2.0)")

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        xx, yy, xy = self.kernels(x, y)
        n, m = len(x), len(y)
        within = (xx.sum() - xx.diagonal().sum()) / (n * (n - 1)) + (yy.sum() - yy.diagonal().sum()) / (m * (m - 1))
        return within - 2 * xy.mean()

    def kernels(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The kernel within x, within y, and between them."""
        _check(x, y, fewest=2)
        pairs = [squared_distances(a, b) for a, b in ((x, x), (y, y), (x, y))]
        middle = torch.cat([pair.detach().flatten() for pair in pairs]).median().clamp_min(torch.finfo(x.dtype).tiny)
        return tuple(self._kernel(pair, middle) for pair in pairs)

    def _kernel(self, squared: Tensor, middle: Tensor) -> Tensor:
        widths = [middle * scale**2 for scale in self.scales]
        parts = [width / (width + squared) if self.heavy else (-squared / width).exp() for width in widths]
        return torch.stack(parts).mean(0)


@dataclass(frozen=True, repr=False)
class EnergyDistance(Distance):
    """2 E|x - y| - E|x - x'| - E|y - y'|, without bias; zero for equal distributions alone.

    Source: Szekely and Rizzo (2013), doi:10.1016/j.jspi.2013.03.018.
    """

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        _check(x, y, fewest=2)
        n, m = len(x), len(y)
        within = _apart(distances(x, x)) / (n * (n - 1)) + _apart(distances(y, y)) / (m * (m - 1))
        return 2 * distances(x, y).mean() - within


def _apart(pairs: Tensor) -> Tensor:
    """The sum over pairs of different rows."""
    return pairs.sum() - pairs.diagonal().sum()


@dataclass(frozen=True, repr=False)
class SlicedWasserstein(Distance):
    """The mean over random directions of the squared Wasserstein-2 distance of the two samples projected on them.

    Source: Bonneel et al. (2015), doi:10.1007/s10851-014-0506-3.
    """

    projections: int = 100

    def __post_init__(self) -> None:
        if (whole(self.projections) or 0) < 1:
            raise GraphError(f"SlicedWasserstein: expected a positive whole number of projections; got {self.projections!r}; try 100")

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        _check(x, y, fewest=1)
        directions = torch.randn(x.shape[1], self.projections, dtype=x.dtype, device=x.device)
        directions = directions / directions.norm(dim=0)
        left, right = (x @ directions).sort(0).values, (y @ directions).sort(0).values
        if len(x) != len(y):
            left, right = _at_common_levels(left, right)
        return (left - right).square().mean()


def _at_common_levels(left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Both quantile functions at the same levels."""
    count = max(len(left), len(right))
    levels = (torch.arange(count, device=left.device, dtype=left.dtype) + 0.5) / count
    return tuple(ordered[(levels * len(ordered)).long().clamp_max(len(ordered) - 1)] for ordered in (left, right))


@dataclass(frozen=True, repr=False)
class Sinkhorn(Distance):
    """The Sinkhorn divergence: entropic squared Wasserstein-2, W_e(x, y) - W_e(x, x) / 2 - W_e(y, y) / 2, by the library POT.

    The entropy's weight e is `blur` times the samples' mean squared distance; `steps` bounds the updates of the potentials.

    Source: Cuturi (2013), https://arxiv.org/abs/1306.0895; Genevay et al. (2018), https://arxiv.org/abs/1706.00292.
    """

    blur: float = 0.05
    steps: int = 200

    def __post_init__(self) -> None:
        if not _positive(self.blur):
            raise GraphError(f"Sinkhorn: expected blur above 0, the weight of the entropy against the mean squared distance; got {self.blur!r}; try 0.05")
        if (whole(self.steps) or 0) < 1:
            raise GraphError(f"Sinkhorn: expected a positive whole number of steps; got {self.steps!r}; try 200")

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        _check(x, y, fewest=1)
        weight = self.blur * float(squared_distances(x.detach(), y.detach()).mean())
        if weight == 0:
            return (x.sum() + y.sum()) * 0
        return self._entropic(x, y, weight) - (self._entropic(x, x, weight) + self._entropic(y, y, weight)) / 2

    def _entropic(self, x: Tensor, y: Tensor, weight: float) -> Tensor:
        import ot  # POT takes seconds to load, and is wanted here alone
        return ot.solve_sample(x, y, reg=weight, max_iter=self.steps, tol=1e-4, grad="envelope").value


def _positive(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < math.inf


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """|x_i - y_j|^2, `(rows of x, rows of y)`; exactly zero between equal rows, with no gradient there."""
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist").square() if x.shape[1] <= 64 else _by_products(x, y)


def _by_products(x: Tensor, y: Tensor) -> Tensor:
    centre = x.detach().mean(0)
    x, y = x - centre, y - centre
    return (x.square().sum(1, keepdim=True) + y.square().sum(1) - 2 * x @ y.T).clamp_min(0)


def distances(x: Tensor, y: Tensor) -> Tensor:
    """|x_i - y_j|, `(rows of x, rows of y)`, with no gradient where it is zero."""
    if x.shape[1] <= 64:
        return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")
    centre = x.detach().mean(0)                                             # products of numbers far from zero would leave nothing of their differences
    return torch.cdist(x - centre, y - centre, compute_mode="use_mm_for_euclid_dist_if_necessary")


def _check(x: Tensor, y: Tensor, fewest: int) -> None:
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise GraphError(f"distance: expected two samples (rows, features) with the same features; got {tuple(x.shape)} and {tuple(y.shape)}; try x.reshape(len(x), -1)")
    if min(len(x), len(y)) < fewest:
        raise GraphError(f"distance: expected at least {fewest} rows in each sample; got {len(x)} and {len(y)}; in training take a batch_size that leaves no smaller last batch")
