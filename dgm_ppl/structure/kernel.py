"""The test for everything else: any relation between real, finite or mixed columns.

Each side becomes a few features, random waves of its values among them; what a flexible regression on the given columns
leaves of the features of one side must be uncorrelated with what it leaves of the other. This is the generalised
covariance measure (Shah and Peters, 2020, https://arxiv.org/abs/1804.07203) over features as in the randomised kernel test
(Strobl, Zhang and Visweswaran, 2019, https://arxiv.org/abs/1702.03877). Real columns enter by their ranks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn import functional

from .citest import ConditionalTest, Outcome, tail
from .ridge import Ridge
from .variates import Variate, joint_codes

__all__ = ["KernelTest"]

LARGEST_SIDE = 10
"""A side with more real columns than this enters by so many random projections."""


@dataclass(frozen=True)
class KernelTest(ConditionalTest):
    """Independence of columns of any kind given columns of any kind.

    The statistic is `rows * ||C||²`, C being the covariance of the two sides' features after regression; under independence
    it is a weighted sum of chi-squared variables whose weights the data tell, and whose tail is that of a shifted gamma with
    the same three cumulants. The p-value is as good as the regression: for many given columns it wants many rows. Statements
    with fewer than `fewest` rows are not tested. The effect is the kernel alignment of the remainders, which for two real
    columns in a linear relation is close to `|r|`. `waves` is the number of random features of a side, and `seed` draws them.
    """

    waves: int = 6
    fewest: int = 50
    seed: int = 0

    def measure(self, a: Sequence[Variate], b: Sequence[Variate], given: Sequence[Variate]) -> Outcome:
        """The statistic, its p-value and the alignment."""
        rows = a[0].rows
        if rows < self.fewest:
            return Outcome(rows, note=f"too few rows: {rows}; expected at least {self.fewest}")
        generator = torch.Generator().manual_seed(self.seed)
        known = Ridge(_given_features(given, rows, generator)) if given else None
        left, right = (_side_features(side, known, self.waves, generator) for side in (a, b))
        for side, left_over in ((a, left), (b, right)):
            if left_over is None:
                return Outcome(rows, note=f"{side[0].name} is a function of what is given")
        return _covariance_test(left, right)


def _covariance_test(left: Tensor, right: Tensor) -> Outcome:
    rows = len(left)
    covariance = left.T @ right / rows
    products = (left.unsqueeze(2) * right.unsqueeze(1)).flatten(1)
    products = products - products.mean(0)
    weights = products.T @ products / rows
    square = weights @ weights
    statistic, mean = rows * (covariance**2).sum(), weights.trace()
    p = tail(statistic, mean, 2 * square.trace(), 8 * (square * weights).sum())
    largest = rows * (left.T @ left / rows).norm() * (right.T @ right / rows).norm()
    return Outcome(rows, statistic.item(), p, ((statistic - mean) / largest).clamp(0, 1).sqrt().item())


def _side_features(side: Sequence[Variate], known: Ridge | None, waves: int, generator: Generator) -> Tensor | None:
    """Standardised features of a side after regression on the given columns; None where nothing is left.

    Real columns are regressed first, so that the features are of what is left and hardly depend on what is given.
    """
    if all(one.finite for one in side):
        features = _indicators(joint_codes([one.values for one in side]))
        return _remainder(features, known)
    values = torch.cat([_indicators(one.values) if one.finite else _scores(one.values) for one in side], 1)
    values = _remainder(values, known)
    if values is None:
        return None
    if values.shape[1] > LARGEST_SIDE:
        directions = torch.linalg.qr(torch.randn(values.shape[1], LARGEST_SIDE, generator=generator, dtype=values.dtype)).Q
        values = values @ directions
    return _remainder(torch.cat([values, _waves(values, waves, generator)], 1), known)


def _remainder(features: Tensor, known: Ridge | None) -> Tensor | None:
    """What regression leaves, each feature with mean zero and standard deviation one."""
    centred = features - features.mean(0)
    left = centred if known is None else known.remainder(centred)
    kept = (left**2).sum(0) > 1e-8 * (centred**2).sum(0)
    return left[:, kept] / left[:, kept].std(0) if kept.any() else None


def _given_features(given: Sequence[Variate], rows: int, generator: Generator) -> Tensor:
    """Features of the given columns: additive in each real one, these within each configuration, and of all jointly."""
    codes = [one.values for one in given if one.finite]
    real = [_scores(one.values) for one in given if not one.finite]
    states = _configurations(codes, rows)
    if not real:
        return states
    values = torch.cat(real, 1)
    each = min(12, max(2, rows // (8 * values.shape[1])))
    smooth = torch.cat([torch.cat([column, _waves(column, each, generator, width=1.0)], 1) for column in values.split(1, 1)], 1)
    parts = [smooth, states]
    if len(given) > 1 or values.shape[1] > 1:
        parts.append(_waves(torch.cat([values, states], 1), min(50, rows // 10), generator))
    if codes and smooth.shape[1] * states.shape[1] <= rows // 2:
        parts.append((states.unsqueeze(2) * smooth.unsqueeze(1)).flatten(1))
    return torch.cat(parts, 1)


def _configurations(codes: Sequence[Tensor], rows: int) -> Tensor:
    """An indicator of each configuration of finite columns, or of each state where there are too many configurations."""
    if not codes:
        return torch.empty(rows, 0, dtype=torch.double)
    joint = joint_codes(codes)
    if int(joint.max()) < rows // 5:
        return _indicators(joint)
    return torch.cat([_indicators(one) for one in codes], 1)


def _indicators(codes: Tensor) -> Tensor:
    return functional.one_hot(codes).double()


def _scores(values: Tensor) -> Tensor:
    """Each column's ranks as normal quantiles, ties sharing their mean rank."""
    return torch.cat([_normal(column.squeeze(1)).unsqueeze(1) for column in values.split(1, 1)], 1)


def _normal(column: Tensor) -> Tensor:
    _, place, counts = torch.unique(column, return_inverse=True, return_counts=True)
    rank = (counts.cumsum(0) - (counts - 1) / 2)[place].double()
    scores = torch.special.ndtri(rank / (len(column) + 1))
    return scores / scores.std().clamp_min(1e-12)


def _waves(values: Tensor, number: int, generator: Generator, width: float | None = None) -> Tensor:
    """Cosines of random projections: random features of a Gaussian kernel as wide as the median distance of two rows."""
    if width is None:
        distances = torch.pdist(values[:500])
        width = float(distances[distances > 0].median()) if (distances > 0).any() else 1.0
    directions = torch.randn(values.shape[1], number, generator=generator, dtype=values.dtype) / width
    return torch.cos(values @ directions + 2 * torch.pi * torch.rand(number, generator=generator, dtype=values.dtype))
