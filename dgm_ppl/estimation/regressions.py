"""Normal nodes in closed form: weighted least squares for each configuration of the finite parents, and the residual scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..conditionals import Parametric
from ..conditionals.predictors import Linear, joined
from ..families import Constant
from .places import held_rows, linear_of, place, rows_of
from .samples import Samples

__all__ = ["Regression", "features_of", "has_location_and_scale", "is_regression", "linear_tensors"]

COVARIANCES = {"scale_tril", "covariance_matrix", "precision_matrix"}


def is_regression(conditional: Parametric) -> bool:
    """Whether a normal node has a closed-form optimum: a location by row, by linear regression or fixed, with a scale that is no finer."""
    return conditional.variable.family_name in ("Normal", "LogNormal", "MultivariateNormal") and has_location_and_scale(conditional)


def has_location_and_scale(conditional: Parametric) -> bool:
    """Whether the last parameters are a location and a scale whose least-squares values can be set."""
    variable = conditional.variable
    if variable.signature[-2:-1] != ("loc",):
        return False
    loc, scale = variable.signature[-2:]
    by_row = {name: (held := held_rows(conditional, name)) is not None and held.ndim > len(variable.parameter_shape(name)) for name in (loc, scale)}
    if scale in conditional.computed and held_rows(conditional, scale) is None:
        return False                                                        # a scale that follows the parents by more than rows
    if held_rows(conditional, scale) is None and not isinstance(variable.fixed.get(scale), Constant):
        return False
    learned = loc in conditional.computed or loc in conditional.unconstrained
    if not learned:
        return held_rows(conditional, scale) is not None
    one_for_all = not by_row[loc] and (linear_of(conditional) is None or loc not in conditional.computed)
    fixed_by_row = isinstance(variable.fixed.get(scale), Constant) and variable.fixed[scale].array.ndim > len(variable.parameter_shape(scale))
    return not (one_for_all and (by_row[scale] or fixed_by_row) and rows_of(conditional) > 1)


@dataclass(frozen=True, eq=False)
class Moments:
    """For each row of parameters: the weight `(rows, d)`, and the least-squares coefficients of each element on the features."""

    weight: Tensor
    coefficients: Tensor                                                    # (rows, d, features)
    intercepts: Tensor                                                      # (rows, d)


@dataclass(frozen=True, eq=False)
class Regression:
    """Normal nodes that share their parameters.

    A row of parameters without any case takes the answer of all rows together. A scale is kept above `smallest` of the column's own
    standard deviation; where a row has no more cases than coefficients, so that no residual is left, it takes the scale of all rows.
    """

    conditional: Parametric
    names: tuple[str, ...]
    smallest: float = 1e-9

    def update(self, samples: Sequence[Samples]) -> Tensor:
        """Sets location and scale to their optimum; returns the weight of each row of parameters."""
        conditional, size = self.conditional, math.prod(self.conditional.event)
        cases = [_Cases(conditional, one, size) for one in samples if len(one.value)]
        loc, scale = conditional.variable.signature[-2:]
        rows = rows_of(conditional)
        if loc in conditional.computed or loc in conditional.unconstrained:
            self._place_location(loc, cases, rows, size)
        if held_rows(conditional, scale) is not None:
            self._place_scale(scale, cases, rows)
        return sum(_added(one.weight.amax(1), one.row, rows) for one in cases)

    # ---- location

    def _place_location(self, loc: str, cases: Sequence[_Cases], rows: int, size: int) -> None:
        conditional, held = self.conditional, held_rows(self.conditional, loc)
        by_row = held.ndim > len(conditional.variable.parameter_shape(loc)) if held is not None else linear_of(conditional).configurations is not None
        found = _solve(cases, rows if by_row else 1, size)
        for one in cases:
            one.locate(found, by_row)
        if held is not None:
            place(conditional, loc, found.intercepts)
            return
        linear = linear_of(conditional)
        start = conditional.computed.index(loc) * size
        with torch.no_grad():
            weight, bias = linear_tensors(linear)
            weight[..., start: start + size, :] = found.coefficients.reshape(*weight.shape[:-2], size, -1).to(weight.dtype)
            bias[..., start: start + size] = found.intercepts.reshape(*bias.shape[:-1], size).to(bias.dtype)

    # ---- scale

    def _place_scale(self, scale: str, cases: Sequence[_Cases], rows: int) -> None:
        conditional, held = self.conditional, held_rows(self.conditional, scale)
        by_row, full = held.ndim > len(conditional.variable.parameter_shape(scale)), scale in COVARIANCES
        for one in cases:
            if one.residual is None:
                one.residual = one.value - one.given_location(conditional)
        counted = rows if by_row else 1
        sums, weights, worth = _squares(cases, counted, by_row, full)
        spread = _spread(cases)
        found = sums / torch.where(weights > 0, weights, 1.0)
        pooled = sums.sum(0, keepdim=True) / weights.sum(0, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)
        place(conditional, scale, _as_parameter(scale, _floored(found, pooled, worth, spread, self.smallest, self.needed, full)))

    @property
    def needed(self) -> int:
        """How many cases leave no residual."""
        linear = linear_of(self.conditional)
        return 1 if linear is None else 1 + sum(linear.ports[i].features for i in linear.inputs)


class _Cases:
    """Samples in double precision: the row of parameters, features, value and weight of each element."""

    def __init__(self, conditional: Parametric, samples: Samples, size: int):
        value = samples.value.reshape(len(samples.value), size).double()
        self.value = value.log() if conditional.variable.family_name == "LogNormal" else value
        self.row, self.weight, self.samples = samples.configuration(conditional), samples.weights(size), samples
        linear = linear_of(conditional)
        self.features = value.new_empty(len(value), 0) if linear is None else features_of(linear, samples).double()
        self.residual: Tensor | None = None

    def locate(self, found: Moments, by_row: bool) -> None:
        row = self.row if by_row else torch.zeros_like(self.row)
        self.residual = self.value - found.intercepts[row]
        if self.features.shape[1]:
            self.residual = self.residual - torch.einsum("ndf,nf->nd", found.coefficients[row], self.features)

    def given_location(self, conditional: Parametric) -> Tensor:
        with torch.no_grad():
            loc = conditional.prepare(*self.samples.parents)[0]
        return loc.expand(len(self.value), *conditional.event).reshape(self.value.shape).double() if isinstance(loc, Tensor) else torch.full_like(self.value, loc)


def features_of(linear: Linear, samples: Samples) -> Tensor:
    """The encoded real parents, `(rows, features)`."""
    like = next(linear.parameters())
    return joined([linear.ports[i] for i in linear.inputs], [samples.parents[i] for i in linear.inputs], like)


def linear_tensors(linear: Linear) -> tuple[Tensor, Tensor]:
    """Coefficients and intercepts of a linear predictor."""
    return (linear.predictor.weight, linear.predictor.bias) if linear.configurations is None else (linear.weight, linear.bias)


def _added(value: Tensor, row: Tensor, rows: int) -> Tensor:
    """Sums of cases by their row of parameters, `(rows, ...)`."""
    return value.new_zeros(rows, *value.shape[1:]).index_add_(0, row, value)


def _solve(cases: Sequence[_Cases], rows: int, size: int) -> Moments:
    """Weighted least squares by row of parameters; where a row has no case, that of all."""
    count, features = cases[0].value.new_zeros(rows, size), cases[0].features.shape[1]
    sums = count.clone()
    for one in cases:
        row = one.row if rows > 1 else torch.zeros_like(one.row)
        count += _added(one.weight, row, rows)
        sums += _added(one.weight * one.value, row, rows)
    total = count.sum(0, keepdim=True).clamp_min(torch.finfo(torch.float64).tiny)
    means = torch.where(count > 0, sums / torch.where(count > 0, count, 1.0), sums.sum(0, keepdim=True) / total)
    coefficients = count.new_zeros(rows, size, features)
    if not features:
        return Moments(count, coefficients, means)
    intercepts = means.clone()
    pooled = _coefficients(cases, None, size) if bool((count.amax(1) == 0).any()) else None
    for row in range(rows):
        coefficients[row], intercepts[row] = pooled if bool((count[row] == 0).all()) else _coefficients(cases, row if rows > 1 else None, size)
    return Moments(count, coefficients, intercepts)


def _coefficients(cases: Sequence[_Cases], row: int | None, size: int) -> tuple[Tensor, Tensor]:
    """Coefficients `(size, features)` and intercepts `(size)` of the cases with one row of parameters, or of all."""
    parts = [(one.features, one.value, one.weight) if row is None else tuple(part[one.row == row] for part in (one.features, one.value, one.weight)) for one in cases]
    features, value, weight = (torch.cat(pieces) for pieces in zip(*parts))
    alike = bool((weight == weight[:, :1]).all())
    groups = [slice(None)] if alike else [slice(d, d + 1) for d in range(size)]
    solved = [_weighted(features, value[:, group], weight[:, group][:, :1]) for group in groups]
    return torch.cat([one for one, _ in solved]), torch.cat([other for _, other in solved])


def _weighted(features: Tensor, value: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Least squares about the weighted means, of the smallest norm where it is not unique."""
    total = weight.sum().clamp_min(torch.finfo(torch.float64).tiny)
    centre, mean = (weight * features).sum(0) / total, (weight * value).sum(0) / total
    root, moved = weight.sqrt(), features - centre
    unit = ((weight * moved.square()).sum(0) / total).sqrt()
    unit = torch.where(unit > 1e-12 * (1 + centre.abs()), unit, torch.inf)     # a feature that does not vary says nothing
    if not len(features):
        return value.new_zeros(value.shape[1], features.shape[1]), mean
    left, right = root * moved / unit, root * (value - mean)
    solution = torch.linalg.lstsq(left.cpu(), right.cpu(), driver="gelsd").solution.to(value.device)     # the driver for matrices of any rank is the processor's
    coefficients = (solution / unit.unsqueeze(1)).T
    return coefficients, mean - coefficients @ centre


def _squares(cases: Sequence[_Cases], rows: int, by_row: bool, full: bool) -> tuple[Tensor, Tensor, Tensor]:
    """By row, the sums of squared residuals `(rows, d)` or `(rows, d, d)`, the weights, and how many cases of equal weight these are worth."""
    sums = weights = squares = 0
    for one in cases:
        row = one.row if by_row else torch.zeros_like(one.row)
        residual, weight = (one.residual.unsqueeze(2), one.weight[:, :1, None]) if full else (one.residual, one.weight)
        sums = sums + _added(weight * residual * (one.residual.unsqueeze(1) if full else residual), row, rows)
        weights, squares = weights + _added(weight, row, rows), squares + _added(weight.square(), row, rows)
    return sums, weights, weights.square() / torch.where(squares > 0, squares, 1.0)


def _spread(cases: Sequence[_Cases]) -> Tensor:
    """The variance of each element over all cases, `(d)`."""
    weight = sum(one.weight.sum(0) for one in cases).clamp_min(torch.finfo(torch.float64).tiny)
    mean = sum((one.weight * one.value).sum(0) for one in cases) / weight
    found = sum((one.weight * (one.value - mean).square()).sum(0) for one in cases) / weight
    return torch.where(found > 0, found, 1.0)


def _floored(found: Tensor, pooled: Tensor, worth: Tensor, spread: Tensor, smallest: float, needed: int, full: bool) -> Tensor:
    """Variances that are large enough: those of all rows where a row has too few cases, and never below the floor."""
    floor = smallest**2 * spread
    if full:
        held = torch.where(worth > max(needed, len(spread)), found, pooled)
        return held + torch.diag(floor)
    return torch.maximum(torch.where(worth > needed, found, pooled), floor)


def _as_parameter(name: str, variance: Tensor) -> Tensor:
    if name not in COVARIANCES:
        return variance.sqrt()
    if name == "covariance_matrix":
        return variance
    return torch.linalg.cholesky(variance) if name == "scale_tril" else torch.linalg.inv(variance)
