"""Distances on features, fidelity and diversity, and copies of the training data."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

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
    x, y = x.double(), y.double()
    xx, yy, xy = ((a @ b.T / d + 1) ** 3 for a, b in ((x, x), (y, y), (x, y)))
    within = (xx.sum() - xx.diagonal().sum()) / (n * (n - 1)) + (yy.sum() - yy.diagonal().sum()) / (m * (m - 1))
    return within - 2 * xy.mean()


def _radii(within: Tensor, neighbours: int) -> Tensor:
    """The distance of each row to its k-th nearest other row, of the distances within a sample."""
    return within.kthvalue(neighbours + 1, 1).values


def _check_neighbours(neighbours: int, *samples: Tensor) -> None:
    most = min(len(rows) - -(-len(rows) // BLOCKS) for rows in samples) - 1
    if not 1 <= (whole(neighbours) or 0) <= most:
        raise GraphError(f"metrics: expected neighbours to be a whole number from 1 to {most}, the other rows of the smaller sample, a tenth left out; got {neighbours!r}; try 5")


def _resampled(functions: Mapping[str, Callable[..., Tensor]], *samples: Tensor) -> tuple[Measured, ...]:
    """Functions of rows by their numbers, with errors by leaving out a block of every sample at once."""
    rows = [torch.arange(len(sample), device=sample.device) for sample in samples]
    return tuple(jackknife(name, function, *rows) for name, function in functions.items())


def precision_recall(real: Tensor, fake: Tensor, *, neighbours: int = 5) -> tuple[Measured, Measured]:
    """Precision, the share of generated rows within the real ones' neighbourhoods, and recall, the share of real rows within the generated ones'.

    Source: Kynkaanniemi et al. (2019), https://arxiv.org/abs/1904.06991.
    """
    real, fake = as_rows(real, fake)
    _check_neighbours(neighbours, real, fake)
    across, reals, fakes = distances(fake, real), distances(real, real), distances(fake, fake)

    def precision(i: Tensor, j: Tensor) -> Tensor:
        return (across[j][:, i] <= _radii(reals[i][:, i], neighbours)).any(1).double().mean()

    def recall(i: Tensor, j: Tensor) -> Tensor:
        return (across[j][:, i].T <= _radii(fakes[j][:, j], neighbours)).any(1).double().mean()
    return _resampled({"precision": precision, "recall": recall}, real, fake)


def density_coverage(real: Tensor, fake: Tensor, *, neighbours: int = 5) -> tuple[Measured, Measured]:
    """Density, how many real neighbourhoods a generated row lies in, over k; coverage, the share of real neighbourhoods with a generated row.

    Near 1 and 1 for equal distributions; outliers among the real rows matter less than in precision and recall.

    Source: Naeem et al. (2020), https://arxiv.org/abs/2002.09797.
    """
    real, fake = as_rows(real, fake)
    _check_neighbours(neighbours, real)
    across, reals = distances(fake, real), distances(real, real)

    def inside(i: Tensor, j: Tensor) -> Tensor:
        return across[j][:, i] <= _radii(reals[i][:, i], neighbours)
    functions = {"density": lambda i, j: inside(i, j).sum(1).double().mean() / neighbours, "coverage": lambda i, j: inside(i, j).any(0).double().mean()}
    return _resampled(functions, real, fake)


def memorisation(train: Tensor, held_out: Tensor, fake: Tensor) -> Measured:
    """The share of generated rows that lie nearer to a training row than to any held-out row: 0.5 for a model that has not copied.

    All n training and m held-out rows are compared with. Of a model that has not copied a share n / (n + m) has its nearest among the training rows, and so much is counted
    of a row that is as near to both; the value is what that share s would be of as many of each, `m s / (m s + n (1 - s))`. p is that of n / (n + m) or less, by the
    share's own error. Source: Meehan et al. (2020), https://arxiv.org/abs/2004.05675.
    """
    train, held_out, fake = as_rows(train, held_out, fake)
    n, m = len(train), len(held_out)
    expected = n / (n + m)
    near, far = (_nearest(fake, others) for others in (train, held_out))

    def share(i: Tensor, j: Tensor, k: Tensor) -> Tensor:
        first, second = (_least(blocks, rows)[k] for blocks, rows in ((near, i), (far, j)))
        return torch.where(first == second, expected, (first < second).double()).mean()
    (found,) = _resampled({"memorisation": share}, train, held_out, fake)
    weighed = m * found.value + n * (1 - found.value)
    error = max(found.stderr, math.sqrt(expected * (1 - expected) / len(fake)))
    return Measured(found.name, m * found.value / weighed, m * n * found.stderr / weighed**2, 0.5 * math.erfc((found.value - expected) / error / math.sqrt(2)))


def _nearest(rows: Tensor, others: Tensor, size: int = 4096) -> Tensor:
    """The distance of each row to the nearest of each of the jackknife's blocks of others, `(blocks, rows)`; so many are compared with at a time."""
    parts = [others[block::BLOCKS].split(size) for block in range(BLOCKS)]
    return torch.stack([torch.stack([distances(rows, part).min(1).values for part in block]).min(0).values for block in parts])


def _least(blocks: Tensor, rows: Tensor) -> Tensor:
    """The distance to the nearest of those rows, some blocks of which are left out."""
    return blocks[torch.unique(rows % BLOCKS)].min(0).values
