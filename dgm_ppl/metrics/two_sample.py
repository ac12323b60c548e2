"""Distances and tests between two samples."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ..distances import MMD, EnergyDistance, SlicedWasserstein
from ..distances import distances as pairwise
from ..families.randomness import seeded
from ..families.variable import whole
from ..graph import GraphError
from .measured import Measured, as_rows, jackknife, permuted

__all__ = ["classifier_two_sample", "energy_distance", "mmd", "sliced_wasserstein"]


def mmd(x: Tensor, y: Tensor, *, distance: MMD = MMD(), permutations: int = 200, seed: int = 0) -> Measured:
    """The squared maximum mean discrepancy of two samples, with a permutation test that they come of one distribution.

    Source: Gretton et al. (2012), https://jmlr.org/papers/v13/gretton12a.html.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> found = mmd(torch.randn(100, 2), torch.randn(100, 2) + 1)
        >>> found.value > 0.05, found.p < 0.01
        (True, True)
    """
    if not isinstance(distance, MMD):
        raise GraphError(f"mmd: expected dgm.MMD(...) as the distance; got {distance!r}; the energy distance is dgm.metrics.energy_distance(x, y)")
    x, y = as_rows(x, y)
    found = jackknife("MMD^2", distance, x, y)
    return _tested(found, _joint(*distance.kernels(x, y)), len(x), permutations, seed, sign=1.0)


def energy_distance(x: Tensor, y: Tensor, *, permutations: int = 200, seed: int = 0) -> Measured:
    """The energy distance 2 E|x - y| - E|x - x'| - E|y - y'|, with a permutation test.

    Source: Szekely and Rizzo (2013), doi:10.1016/j.jspi.2013.03.018.
    """
    x, y = as_rows(x, y)
    joint = torch.cat([x, y])
    return _tested(jackknife("energy distance", EnergyDistance(), x, y), pairwise(joint, joint), len(x), permutations, seed, sign=-1.0)


def sliced_wasserstein(x: Tensor, y: Tensor, *, projections: int = 200, seed: int = 0) -> Measured:
    """The mean over directions of the squared Wasserstein-2 distance of projections; directions are the same for every estimate."""
    x, y = as_rows(x, y)

    def distance(a: Tensor, b: Tensor) -> Tensor:
        with seeded(seed, a.device):
            return SlicedWasserstein(projections)(a, b)

    return jackknife("sliced W2^2", distance, x, y)


def _joint(xx: Tensor, yy: Tensor, xy: Tensor) -> Tensor:
    return torch.cat([torch.cat([xx, xy], 1), torch.cat([xy.T, yy], 1)])


def _tested(found: Measured, joint: Tensor, n: int, permutations: int, seed: int, sign: float) -> Measured:
    """The p-value of a statistic of sums of pairs within and between the samples, under relabelling."""
    joint = sign * (joint - joint.diagonal().diag())
    statistic = _pairs(joint, n)
    value = statistic(torch.arange(len(joint), device=joint.device))
    with seeded(seed, joint.device):
        return Measured(found.name, found.value, found.stderr, permuted(value, statistic, len(joint), permutations, joint.device))


def _pairs(joint: Tensor, n: int) -> Callable[[Tensor], float]:
    m = len(joint) - n
    total, rows = joint.sum(), joint.sum(1)

    def statistic(order: Tensor) -> float:
        first = joint.new_zeros(len(joint)).index_fill(0, order[:n], 1.0)
        within = first @ joint @ first
        across = first @ rows - within
        rest = total - within - 2 * across
        return float(within / (n * (n - 1)) + rest / (m * (m - 1)) - 2 * across / (n * m))
    return statistic


def classifier_two_sample(x: Tensor, y: Tensor, *, folds: int = 5, seed: int = 0) -> Measured:
    """The accuracy of a neural classifier that tells the samples apart, cross-validated: 0.5 where it cannot, 1 where they never meet.

    A multilayer perceptron of scikit-learn with ten units for each feature, on standardized numbers, as in the benchmarks of simulation-based
    inference. The standard error is over held-out rows, p that of a fair coin.

    Source: Lopez-Paz and Oquab (2017), https://arxiv.org/abs/1610.06545; Lueckmann et al. (2021), https://arxiv.org/abs/2101.04653.
    """
    x, y = as_rows(x, y)
    if len(x) != len(y):
        raise GraphError(f"classifier_two_sample: expected as many rows of each, so that a coin gives 0.5; got {len(x)} and {len(y)}; try x[:{min(len(x), len(y))}]")
    if not 2 <= (whole(folds) or 0) <= len(x):
        raise GraphError(f"classifier_two_sample: expected folds to be a whole number from 2 to {len(x)}, the rows of each sample; got {folds!r}; try 5")
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.neural_network import MLPClassifier

    mean, scale = x.mean(0), x.std(0).clamp_min(1e-12)
    rows = ((torch.cat([x, y]) - mean) / scale).cpu().numpy()
    labels = torch.cat([torch.zeros(len(x)), torch.ones(len(y))]).numpy()
    width = min(10 * rows.shape[1], 512)
    classifier = MLPClassifier(hidden_layer_sizes=(width, width), max_iter=1000, early_stopping=True, n_iter_no_change=20, random_state=seed)
    guessed = cross_val_predict(classifier, rows, labels, cv=StratifiedKFold(folds, shuffle=True, random_state=seed))
    accuracy = float((guessed == labels).mean())
    error = math.sqrt(max(accuracy * (1 - accuracy), 0.25 / len(rows)) / len(rows))
    p = 0.5 * math.erfc((accuracy - 0.5) * math.sqrt(len(rows)) / 0.5 / math.sqrt(2))
    return Measured("C2ST accuracy", accuracy, error, p)
