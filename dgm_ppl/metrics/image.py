"""Distances on features, fidelity and diversity, and copies of the training data."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..distances import distances
from ..families.variable import whole
from ..graph import GraphError
from .measured import BLOCKS, Measured, as_rows, jackknife

__all__ = ["density_coverage", "frechet_distance", "kernel_distance", "memorisation", "precision_recall"]


def frechet_distance(real: Tensor, fake: Tensor) -> Measured:
    """|m - m'|^2 + tr(C + C' - 2 (C C')^(1/2)) of the features' means and covariances: W2^2 between Gaussians.

    Biased upwards for few rows, which its error does not show: compare at equal numbers, more rows than features by far. Source: Heusel et al. (2017), https://arxiv.org/abs/1706.08500.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> x = torch.randn(2000, 3)
        >>> round(frechet_distance(x, 2 * x + 1).value)                     # 3 for the shift, 3 for the scale
        6
    """
    real, fake = as_rows(real, fake)
    fewest = min(len(real), len(fake))
    if fewest * (BLOCKS - 1) // BLOCKS <= real.shape[1]:
        raise GraphError(
            f"frechet_distance: expected more rows than features, so that covariances are estimates of any; got {fewest} rows of {real.shape[1]} features; draw more, "
            f"or take kernel_distance, which few rows do not bias"
        )
    return jackknife("Frechet distance", _frechet, real, fake)


def _frechet(x: Tensor, y: Tensor) -> Tensor:
    x, y = x.double(), y.double()
    first, second = torch.cov(x.T).reshape(x.shape[1], -1), torch.cov(y.T).reshape(x.shape[1], -1)
    values, vectors = torch.linalg.eigh(first)
    root = vectors * values.clamp_min(0).sqrt() @ vectors.T
    middle = torch.linalg.eigvalsh(root @ second @ root).clamp_min(0).sqrt().sum()
    return (x.mean(0) - y.mean(0)).square().sum() + first.trace() + second.trace() - 2 * middle


def kernel_distance(real: Tensor, fake: Tensor) -> Measured:
    """The squared MMD of features with the kernel (x . y / d + 1)^3, without bias.

    Source: Binkowski et al. (2018), https://arxiv.org/abs/1801.01401.
    """
    return jackknife("kernel distance", _cubic, *as_rows(real, fake))


def _cubic(x: Tensor, y: Tensor) -> Tensor:
    n, m, d = len(x), len(y), x.shape[1]
    xx, yy, xy = ((a @ b.T / d + 1) ** 3 for a, b in ((x, x), (y, y), (x, y)))
    within = (xx.sum() - xx.diagonal().sum()) / (n * (n - 1)) + (yy.sum() - yy.diagonal().sum()) / (m * (m - 1))
    return within - 2 * xy.mean()


def _radii(x: Tensor, neighbours: int) -> Tensor:
    """The distance of each row to its k-th nearest other row."""
    if not 1 <= (whole(neighbours) or 0) < len(x):
        raise GraphError(f"metrics: expected neighbours to be a whole number from 1 to {len(x) - 1}, the other rows of the smaller sample; got {neighbours!r}; try 5")
    return distances(x, x).kthvalue(neighbours + 1, 1).values


def precision_recall(real: Tensor, fake: Tensor, *, neighbours: int = 5) -> tuple[Measured, Measured]:
    """Precision, the share of generated rows within the real ones' neighbourhoods, and recall, the share of real rows within the generated ones'.

    Source: Kynkaanniemi et al. (2019), https://arxiv.org/abs/1904.06991.
    """
    real, fake = as_rows(real, fake)
    across = distances(fake, real)
    precise = (across <= _radii(real, neighbours)).any(1)
    recalled = (across.T <= _radii(fake, neighbours)).any(1)
    return _share("precision", precise), _share("recall", recalled)


def density_coverage(real: Tensor, fake: Tensor, *, neighbours: int = 5) -> tuple[Measured, Measured]:
    """Density, how many real neighbourhoods a generated row lies in, over k; coverage, the share of real neighbourhoods with a generated row.

    Near 1 and 1 for equal distributions; outliers among the real rows matter less than in precision and recall.

    Source: Naeem et al. (2020), https://arxiv.org/abs/2002.09797.
    """
    real, fake = as_rows(real, fake)
    inside = distances(fake, real) <= _radii(real, neighbours)
    counts = inside.sum(1).to(real.dtype) / neighbours
    return Measured("density", float(counts.mean()), float(counts.std() / math.sqrt(len(counts)))), _share("coverage", inside.any(0))


def memorisation(train: Tensor, held_out: Tensor, fake: Tensor) -> Measured:
    """The share of generated rows that lie nearer to a training row than to any held-out row: 0.5 for a model that has not copied.

    All n training and m held-out rows are compared with. Of a model that has not copied a share n / (n + m) has its nearest among the training rows;
    the value is what that share s would be of as many of each, `m s / (m s + n (1 - s))`, its error that of s. p is that of n / (n + m) or less.
    Source: Meehan et al. (2020), https://arxiv.org/abs/2004.05675.
    """
    train, held_out, fake = as_rows(train, held_out, fake)
    n, m = len(train), len(held_out)
    nearer = _nearest(fake, train) < _nearest(fake, held_out)
    share, expected = _share("memorisation", nearer), n / (n + m)
    weighed = m * share.value + n * (1 - share.value)
    spread = math.sqrt(expected * (1 - expected) / len(fake))
    return Measured(share.name, m * share.value / weighed, m * n * share.stderr / weighed**2, 0.5 * math.erfc((share.value - expected) / spread / math.sqrt(2)))


def _nearest(rows: Tensor, others: Tensor, block: int = 4096) -> Tensor:
    """The distance of each row to the nearest of others, so many of which are compared with at a time."""
    return torch.stack([distances(rows, part).min(1).values for part in others.split(block)]).min(0).values


def _share(name: str, rows: Tensor) -> Measured:
    share = float(rows.float().mean())
    return Measured(name, share, math.sqrt(max(share * (1 - share), 0.25 / len(rows)) / len(rows)))
