"""Nodes without a closed form: their own weighted likelihood is climbed until it is flat, in double precision."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ..conditionals import Parametric
from .places import held_rows, linear_of, place, rows_of
from .regressions import Regression, features_of, has_location_and_scale, linear_tensors
from .samples import Samples

__all__ = ["MEANS", "Means", "Numeric", "is_mean"]

MEANS: Mapping[str, tuple[str, Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {  # family: its parameter, the statistic, the optimum from the statistic's mean
    "Poisson": ("rate", lambda x: x, lambda mean: mean),
    "Exponential": ("rate", lambda x: x, lambda mean: 1 / mean),
    "HalfNormal": ("scale", torch.square, torch.sqrt),
}


def is_mean(conditional: Parametric) -> bool:
    """Whether a table's optimum is a function of the mean of a statistic."""
    variable = conditional.variable
    return variable.family_name in MEANS and variable.signature == MEANS[variable.family_name][:1] and held_rows(conditional, variable.signature[0]) is not None


@dataclass(frozen=True, eq=False)
class Means:
    """Nodes that share a table whose optimum is a function of a mean; a row without any case takes that of all rows."""

    conditional: Parametric
    names: tuple[str, ...]

    def update(self, samples: Sequence[Samples]) -> Tensor:
        """Sets the table; returns the weight of each row."""
        conditional = self.conditional
        parameter, statistic, optimum = MEANS[conditional.variable.family_name]
        by_row = held_rows(conditional, parameter).ndim > len(conditional.event)
        rows, sums, weights = rows_of(conditional) if by_row else 1, 0, 0
        for one in samples:
            value = statistic(one.value.reshape(len(one.value), -1).double())
            row = one.configuration(conditional) if by_row else torch.zeros(len(value), dtype=torch.long, device=value.device)
            weight = one.weights(value.shape[1])
            sums = sums + value.new_zeros(rows, value.shape[1]).index_add_(0, row, weight * value)
            weights = weights + value.new_zeros(rows, value.shape[1]).index_add_(0, row, weight)
        pooled = sums.sum(0, keepdim=True) / weights.sum(0, keepdim=True)
        mean = torch.where(weights > 0, sums / torch.where(weights > 0, weights, 1.0), pooled)
        tiny = torch.finfo(torch.float32).tiny
        place(conditional, parameter, optimum(mean.clamp_min(tiny)))
        return weights.amax(1)


@dataclass(frozen=True, eq=False)
class Numeric:
    """Nodes whose likelihood is climbed by L-BFGS (Nocedal, 1980) from where they are: softmax and other generalized linear models, and any family.

    For linear predictors of a Categorical, Bernoulli or Poisson the likelihood is concave, so that this is the optimum.
    """

    conditional: Parametric
    names: tuple[str, ...]
    steps: int = 500

    def update(self, samples: Sequence[Samples]) -> Tensor:
        """Sets the parameters; returns the weight of all cases."""
        work = copy.deepcopy(self.conditional).double()
        cases = [_in_double(one) for one in samples if len(one.value)]
        total = sum(one.weight.sum() for one in cases)
        loss = _Loss(work, cases, total)
        if has_location_and_scale(work):                                    # least squares may be a better start than where it is
            other = copy.deepcopy(work)
            Regression(other, self.names).update(cases)
            if float(_Loss(other, cases, total)().detach()) < float(loss().detach()):
                loss, work = _Loss(other, cases, total), other
        self._climb(loss)
        with torch.no_grad():
            for own, found in zip(self.conditional.parameters(), work.parameters()):
                if own.requires_grad and bool(found.isfinite().all()):
                    own.copy_(found)
        return total.reshape(1)

    def _climb(self, loss: _Loss) -> None:
        """L-BFGS in coordinates in which the features of a linear predictor have mean zero and variance one."""
        units = _Units(loss)
        free = units.free()
        optimizer = torch.optim.LBFGS(
            list(free.values()), max_iter=self.steps, history_size=20, tolerance_grad=1e-9, tolerance_change=1e-14, line_search_fn="strong_wolfe",
        )

        def closure() -> Tensor:
            optimizer.zero_grad()
            value = functional_call(loss, units.parameters(free), ())
            value.backward()
            return value

        with torch.enable_grad():
            optimizer.step(closure)
        with torch.no_grad():
            own = dict(loss.named_parameters())
            for name, value in units.parameters(free).items():
                own[name].copy_(value)


class _Loss(nn.Module):
    """The mean surprisal of weighted cases."""

    def __init__(self, conditional: Parametric, cases: Sequence[Samples], total: Tensor):
        super().__init__()
        self.conditional, self.cases, self.total = conditional, cases, total

    def forward(self) -> Tensor:
        return sum(_weighted_surprisal(self.conditional, one) for one in self.cases) / self.total


class _Units:
    """The parameters of a linear predictor for standardized features, and back."""

    def __init__(self, loss: _Loss):
        self.loss, self.linear = loss, linear_of(loss.conditional)
        if self.linear is not None:
            features = torch.cat([features_of(self.linear, one) for one in loss.cases])
            self.mean, spread = features.mean(0), features.std(0, correction=0)
            self.spread = torch.where(spread > 0, spread, 1.0)
            names = {id(one): name for name, one in loss.named_parameters()}
            self.weight, self.bias = (names[id(one)] for one in linear_tensors(self.linear))

    def free(self) -> dict[str, Tensor]:
        """What is moved, by the names of the parameters."""
        found = {name: one.detach().clone() for name, one in self.loss.named_parameters()}
        if self.linear is not None:
            found[self.bias] = found[self.bias] + found[self.weight] @ self.mean
            found[self.weight] = found[self.weight] * self.spread
        return {name: value.requires_grad_() for name, value in found.items()}

    def parameters(self, free: Mapping[str, Tensor]) -> dict[str, Tensor]:
        found = dict(free)
        if self.linear is not None:
            found[self.weight] = free[self.weight] / self.spread
            found[self.bias] = free[self.bias] - found[self.weight] @ self.mean
        return found


def _in_double(samples: Samples) -> Samples:
    def cast(value: Tensor) -> Tensor:
        return value.double() if value.is_floating_point() else value

    return Samples([cast(parent) for parent in samples.parents], cast(samples.value), samples.weight, samples.there)


def _weighted_surprisal(conditional: Parametric, samples: Samples) -> Tensor:
    term = conditional.surprisals(samples.value, conditional.prepare(*samples.parents))
    shape = samples.value.shape[: 1 + conditional.elements]
    weight = samples.weight.reshape(-1, *(1,) * conditional.elements)
    weight = weight if samples.there is None else weight * samples.there
    possible = weight > 0                                                   # what has no weight may be impossible
    return torch.where(possible, weight * torch.where(possible, term.expand(shape), 0.0), 0.0).sum()
