"""The test for finite columns: Pearson's chi-squared, summed over the strata that the given columns make.

The usual reference distribution is off where counts are small, as they are given several parents; here the statistic is
held against its own mean and variance under random tables with the same margins, which are known exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..graph import GraphError
from .citest import ConditionalTest, Outcome, tail
from .variates import Variate, joint_codes

__all__ = ["TableTest"]


@dataclass(frozen=True)
class TableTest(ConditionalTest):
    """Independence of finite columns within each configuration of the given ones.

    X² is summed over the strata and compared with a shifted gamma that has its exact mean and variance given the margins
    (Haldane, 1940; Lewis, Saunders and Westcott, 1984) and, to leading order, its third cumulant. Only a stratum in which
    both sides vary says anything; a statement is tested where such strata hold at least `fewest` rows. The effect
    is Cramér's V with its expectation under independence taken off, zero where that is negative.
    """

    fewest: int = 20

    def measure(self, a: Sequence[Variate], b: Sequence[Variate], given: Sequence[Variate]) -> Outcome:
        """X² of the strata, its p-value and V."""
        for one in (*a, *b, *given):
            if not one.finite:
                raise GraphError(f"TableTest: expected finite columns; got numbers in {one.name!r}; "
                                 f"try dgm.KernelTest(), or pandas.cut(data[{one.name!r}], 4).astype(str)")
        strata = Strata(*(joint_codes([one.values for one in side]) for side in (a, b)),
                        joint_codes([one.values for one in given]) if given else torch.zeros_like(a[0].values))
        rows = int(strata.sizes.sum())
        if rows < self.fewest or strata.variance < 1e-9:
            return Outcome(rows, note=f"too few rows: {rows} in strata where both sides vary")
        p = tail(strata.statistic, strata.mean, strata.variance, strata.third)
        effect = ((strata.statistic - strata.mean) / strata.largest).clamp(0, 1).sqrt()
        return Outcome(rows, strata.statistic.item(), p, effect.item())


class Strata:
    """X² of the strata in which both sides vary, and its cumulants under tables with the same margins."""

    def __init__(self, a: Tensor, b: Tensor, given: Tensor):
        tables = _counts(a, b, given)
        one, other = _Margin(tables.sum(2)), _Margin(tables.sum(1))
        varied = (one.levels > 1) & (other.levels > 1)
        tables, one, other = tables[varied], one.only(varied), other.only(varied)
        expected = one.counts.unsqueeze(2) * other.counts.unsqueeze(1) / one.sizes.reshape(-1, 1, 1)
        inverse = torch.where(expected > 0, 1 / expected, 0)
        freedom, self.sizes = (one.levels - 1) * (other.levels - 1), one.sizes
        variance = _variance(one, other)
        self.statistic = ((tables - expected) ** 2 * inverse).sum()
        self.mean = (self.sizes / (self.sizes - 1) * freedom).sum()
        self.variance = variance.sum()
        self.third = _third(variance, freedom, inverse).sum()
        self.largest = (self.sizes * (torch.minimum(one.levels, other.levels) - 1)).sum()


class _Margin:
    """One side's totals in each stratum, `(strata, states)`, and what the variance of X² asks of them."""

    def __init__(self, counts: Tensor):
        self.counts, self.sizes = counts, counts.sum(1)
        self.levels = (counts > 0).sum(1).double()
        inverse = torch.where(counts > 0, 1 / counts, 0).sum(1)
        self.uneven = torch.where(self.sizes > 2, (self.sizes * inverse - self.levels**2) / (self.sizes - 2), 0)
        self.spread = (self.levels - 1) * (self.sizes - self.levels) / (self.sizes - 1)

    def only(self, strata: Tensor) -> _Margin:
        return _Margin(self.counts[strata])


def _counts(a: Tensor, b: Tensor, given: Tensor) -> Tensor:
    """How often each combination occurs, `(strata, a, b)`."""
    shape = [int(codes.max()) + 1 for codes in (given, a, b)]
    cell = (given * shape[1] + a) * shape[2] + b
    return torch.bincount(cell, minlength=shape[0] * shape[1] * shape[2]).reshape(shape).double()


def _variance(one: _Margin, other: _Margin) -> Tensor:
    """The variance of X² over tables with given margins, exactly, `(strata,)`."""
    n = one.sizes
    main = torch.where(n > 3, 2 * n / (n - 3) * (one.spread - one.uneven) * (other.spread - other.uneven), 0)
    return (main + n**2 / (n - 1) * one.uneven * other.uneven).clamp_min(0)


def _third(variance: Tensor, freedom: Tensor, inverse: Tensor) -> Tensor:
    """The third cumulant of X² to leading order, `(strata,)`: chi-squared's, and the part that rare cells add.

    A Poisson cell of mean e adds 1/e to the variance and 22/e + 1/e² to the third cumulant; the share of that which a
    stratum has is read off its exact variance.
    """
    rare = inverse.sum((1, 2))
    share = ((variance - 2 * freedom) / rare).clamp(0, 1)
    common = torch.minimum(variance, 2 * freedom)
    return 8 * freedom * (common / (2 * freedom)) ** 1.5 + share * (22 * rare + (inverse**2).sum((1, 2)))
