"""Ranks of a truth among draws: uniform where the draws come from the truth's own distribution."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["RankTest", "binomial_band", "rank_among", "test_uniform"]

ORDER = 4


@dataclass(frozen=True, eq=False)
class RankTest:
    """How ranks in 0..`draws` depart from uniform: a chi-squared `statistic` of as many degrees as there are `components`.

    The components are standard normal where the ranks are uniform. The first is positive where ranks are too high, the second where
    there are too many at both ends.
    """

    ranks: Tensor
    draws: int
    components: Tensor

    @property
    def statistic(self) -> float:
        return float(self.components.square().sum())

    @property
    def p(self) -> float:
        half = torch.tensor(len(self.components) / 2, dtype=torch.double)
        return float(torch.special.gammaincc(half, torch.tensor(self.statistic / 2, dtype=torch.double)))


def rank_among(truth: Tensor, draws: Tensor) -> Tensor:
    """How many of the `draws` `(draws, *worlds)` are below the `truth` `(*worlds)`; ties are broken by a coin, so that finite values have uniform ranks too."""
    below, ties = (draws < truth).sum(0), (draws == truth).sum(0)
    coin = torch.rand(truth.shape, dtype=torch.double, device=truth.device)
    return below + (coin * (ties + 1)).long().clamp_max(ties)


def test_uniform(ranks: Tensor, draws: int, order: int = ORDER) -> RankTest:
    """Neyman's smooth test of ranks in 0..`draws`, by polynomials that are orthonormal on those whole numbers.

    Against slow departures (a bias, a wrong width, a skew, heavy tails), which are those of posteriors, it has far more power than a count of bins.

    Source: Neyman (1937), doi:10.1080/03461238.1937.10404821.

    >>> test_uniform(torch.arange(100).repeat(5), 99).p                     # as even as can be
    1.0
    >>> test_uniform(torch.full((50,), 90), 99).p < 1e-6
    True
    """
    order = min(order, draws)
    position = torch.linspace(-1, 1, draws + 1, dtype=torch.double)
    powers = torch.stack([position**degree for degree in range(order + 1)], 1)
    basis = torch.linalg.qr(powers).Q * math.sqrt(draws + 1)
    basis = basis * torch.where(basis[-1] < 0, -1.0, 1.0)                   # every polynomial ends high
    flat = ranks.flatten().cpu()
    components = basis[flat, 1:].sum(0) / math.sqrt(len(flat))
    return RankTest(flat, draws, torch.where(components.abs() < 1e-9, 0.0, components))


def binomial_band(share: Tensor | float, trials: int, level: float) -> tuple[Tensor, Tensor]:
    """The central interval of a share of successes in `trials`, `level` of the probability or more within it.

    >>> low, high = binomial_band(0.5, 100, 0.95)
    >>> round(float(low), 2), round(float(high), 2)
    (0.4, 0.6)
    """
    share = torch.as_tensor(share, dtype=torch.double)
    counts = torch.arange(trials + 1, dtype=torch.double)
    chosen = torch.lgamma(torch.tensor(trials + 1.0, dtype=torch.double)) - torch.lgamma(counts + 1) - torch.lgamma(trials - counts + 1)
    logs = chosen + torch.xlogy(counts, share.unsqueeze(-1)) + torch.xlogy(trials - counts, 1 - share.unsqueeze(-1))
    below = logs.exp().cumsum(-1)                                           # P(count <= k)
    tail = (1 - level) / 2
    return (below < tail).sum(-1) / trials, (below < 1 - tail).sum(-1).clamp_max(trials) / trials
