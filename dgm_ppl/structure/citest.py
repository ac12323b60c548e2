"""Tests of conditional independence: what each one is given and what it answers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .variates import Variate

__all__ = ["ConditionalTest", "Outcome", "tail"]


@dataclass(frozen=True)
class Outcome:
    """What a test found: a p-value, and an effect from 0 (independent) to 1 that reads as a correlation does.

    `p` is NaN where nothing could be tested; `note` says why.
    """

    rows: int
    statistic: float = math.nan
    p: float = math.nan
    effect: float = math.nan
    note: str = ""

    @property
    def tested(self) -> bool:
        """Whether there is an answer."""
        return not math.isnan(self.p)


class ConditionalTest:
    """A test of `a _||_ b | given` on rows of data.

    To add one: a frozen dataclass with what the test can be set to, and `measure`, which may take every side as checked,
    of the same rows and not constant.
    """

    def measure(self, a: Sequence[Variate], b: Sequence[Variate], given: Sequence[Variate]) -> Outcome:
        """The outcome for two sides of one or more columns each, given any number of others."""
        raise NotImplementedError

    def __call__(self, a: Sequence[Variate], b: Sequence[Variate], given: Sequence[Variate] = ()) -> Outcome:
        """`measure`, after leaving out statements about a constant."""
        for one in (*a, *b):
            if one.constant:
                return Outcome(one.rows, note=f"{one.name} has one value in these data")
        return self.measure(a, b, [one for one in given if not one.constant])


def tail(statistic: Tensor, mean: Tensor, variance: Tensor, third: Tensor) -> float:
    """P(T >= statistic) for a shifted gamma (Pearson's type III) with these first three cumulants.

    >>> chi_squared = torch.tensor([3.84, 1.0, 2.0, 8.0]).double()         # one degree of freedom
    >>> round(tail(*chi_squared), 3)
    0.05
    """
    deviation = variance.sqrt()
    skew = third / deviation**3
    shape, scale = 4 / skew**2, deviation * skew / 2
    return torch.special.gammaincc(shape, ((statistic - mean) / scale + shape).clamp_min(0)).item()
