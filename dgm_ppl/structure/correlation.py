"""The test for linear relations between real columns: partial correlation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..graph import GraphError
from .citest import ConditionalTest, Outcome
from .variates import Variate

__all__ = ["PartialCorrelation", "explained"]

SMALLEST_REMAINDER = 1e-10
"""The share of a column's variance below which what the given columns leave of it is rounding."""


@dataclass(frozen=True)
class PartialCorrelation(ConditionalTest):
    """Correlation of what a linear regression on the given columns leaves of both sides.

    For two single columns the statistic is `-(rows - given - 2.5) log(1 - r²)`, and in general Wilks' lambda with Bartlett's
    (1938) factor, chi-squared where the relations are linear. The effect is `sqrt(1 - lambda)`, which is `|r|`.
    """

    def measure(self, a: Sequence[Variate], b: Sequence[Variate], given: Sequence[Variate]) -> Outcome:
        """The statistic, its p-value and |r|."""
        for one in (*a, *b, *given):
            if one.finite and int(one.values.max()) > 1:
                raise GraphError(f"PartialCorrelation: expected numbers, or two states; got more states in {one.name!r}; "
                                 "try dgm.KernelTest()")
        left, right, known = (_joined(side, a[0].rows) for side in (a, b, given))
        rows = len(left)
        freedom = rows - 1 - known.shape[1]
        if freedom < left.shape[1] + right.shape[1] + 2:
            return Outcome(rows, note=f"too few rows: {rows} for {known.shape[1]} given columns")
        fitted = explained([*a, *b], known)
        if fitted:
            return Outcome(rows, note=f"{fitted} is a linear function of what is given")
        ratio = _wilks(_remainder(left, known), _remainder(right, known))
        statistic = -(freedom - (left.shape[1] + right.shape[1] + 1) / 2) * ratio.log()
        degrees = torch.tensor(left.shape[1] * right.shape[1] / 2).double()
        return Outcome(rows, statistic.item(), torch.special.gammaincc(degrees, statistic / 2).item(), (1 - ratio).sqrt().item())


def explained(sides: Sequence[Variate], known: Tensor) -> str | None:
    """The first column of which a linear regression on what is known leaves nothing."""
    for side in sides:
        values = side.values.double().reshape(side.rows, -1)
        centred = values - values.mean(0)
        if ((_remainder(values, known) ** 2).sum(0) < SMALLEST_REMAINDER * (centred**2).sum(0)).any():
            return side.name
    return None


def _joined(side: Sequence[Variate], rows: int) -> Tensor:
    return torch.cat([one.values.double().reshape(rows, -1) for one in side], 1) if side else torch.empty(rows, 0, dtype=torch.double)


def _remainder(values: Tensor, known: Tensor) -> Tensor:
    """What regression on a constant and the known columns leaves, `(rows, features)`."""
    values = values - values.mean(0)
    if not known.shape[1]:
        return values
    basis = _basis(known - known.mean(0))
    return values - basis @ (basis.T @ values)


def _wilks(left: Tensor, right: Tensor) -> Tensor:
    """The share of `left`'s generalised variance that `right` does not explain, between 0 and 1."""
    correlations = torch.linalg.svdvals(_basis(left).T @ _basis(right))
    return (1 - correlations**2).clamp_min(1e-300).prod()


def _basis(values: Tensor) -> Tensor:
    """Orthonormal columns that span the same space."""
    basis, sizes, _ = torch.linalg.svd(values / values.norm(dim=0).clamp_min(1e-300), full_matrices=False)
    return basis[:, sizes > 1e-10 * sizes[0]]
