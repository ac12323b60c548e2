"""Densities as plain formulas of the value and the parameters, for families that draw through their distribution."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from .forms import HALF_LOG_TWO_PI, Forms, Params
from .shapes import broadcast

__all__ = ["Density", "beta", "cauchy", "dirichlet", "exponential", "gamma", "gumbel", "half_cauchy", "half_normal", "inverse_gamma", "laplace", "logistic", "ordered_logistic", "poisson", "student_t"]

LOG_TWO, LOG_PI = math.log(2), math.log(math.pi)
Number = Any                                                                # a tensor, or a plain number where it is a fixed scalar


@dataclass(frozen=True)
class Density(Forms):
    """A family whose -log p is `formula(value, *parameters, *logarithms)`; the value is legal, which was checked where it came in."""

    formula: Callable[..., Tensor] | None = None
    logarithms: tuple[str, ...] = ()

    functional = True

    def surprisal(self, value: Tensor, params: Params) -> Tensor:
        return self.formula(value, *params)


def laplace(x: Tensor, loc: Number, scale: Number, log_scale: Number) -> Tensor:
    """|x - loc| / scale + log(2 scale)."""
    return (x - loc).abs() / scale + (log_scale + LOG_TWO)


def cauchy(x: Tensor, loc: Number, scale: Number, log_scale: Number) -> Tensor:
    """log(1 + z^2) + log(pi scale) with z = (x - loc) / scale."""
    return ((x - loc) / scale).square().log1p() + (log_scale + LOG_PI)


def student_t(x: Tensor, df: Number, loc: Number, scale: Number, log_df: Number, log_scale: Number) -> Tensor:
    """(df + 1) / 2 log(1 + z^2 / df) + log scale + log B(1/2, df/2) + log(df) / 2."""
    z = (x - loc) / scale
    constant = 0.5 * (log_df + LOG_PI) + _lgamma(0.5 * df) - _lgamma(0.5 * (df + 1))
    return 0.5 * (df + 1) * (z * z / df).log1p() + (log_scale + constant)


def logistic(x: Tensor, loc: Number, scale: Number, log_scale: Number) -> Tensor:
    """z + 2 log(1 + exp(-z)) + log scale."""
    z = (x - loc) / scale
    return z + 2 * functional.softplus(-z) + log_scale


def gumbel(x: Tensor, loc: Number, scale: Number, log_scale: Number) -> Tensor:
    """z + exp(-z) + log scale."""
    z = (x - loc) / scale
    return z + (-z).exp() + log_scale


def half_normal(x: Tensor, scale: Number, log_scale: Number) -> Tensor:
    """z^2 / 2 + log scale + log(pi / 2) / 2 with z = x / scale."""
    z = x / scale
    return 0.5 * (z * z) + (log_scale + (HALF_LOG_TWO_PI - LOG_TWO))


def half_cauchy(x: Tensor, scale: Number, log_scale: Number) -> Tensor:
    """log(1 + z^2) + log scale + log(pi / 2)."""
    return (x / scale).square().log1p() + (log_scale + (LOG_PI - LOG_TWO))


def exponential(x: Tensor, rate: Number, log_rate: Number) -> Tensor:
    """rate x - log rate."""
    return rate * x - log_rate


def gamma(x: Tensor, concentration: Number, rate: Number, log_rate: Number) -> Tensor:
    """rate x - (c - 1) log x - c log rate + log Gamma(c)."""
    return rate * x - torch.xlogy(concentration - 1, x) + (_lgamma(concentration) - concentration * log_rate)


def inverse_gamma(x: Tensor, concentration: Number, rate: Number, log_rate: Number) -> Tensor:
    """rate / x + (c + 1) log x - c log rate + log Gamma(c)."""
    return rate / x + (concentration + 1) * x.log() + (_lgamma(concentration) - concentration * log_rate)


def beta(x: Tensor, one: Number, zero: Number) -> Tensor:
    """-(a - 1) log x - (b - 1) log(1 - x) + log B(a, b)."""
    return (_lgamma(one) + _lgamma(zero) - _lgamma(one + zero)) - torch.xlogy(one - 1, x) - torch.special.xlog1py(zero - 1, -x)


def dirichlet(x: Tensor, concentration: Tensor) -> Tensor:
    """-sum (c - 1) log x + sum log Gamma(c) - log Gamma(sum c)."""
    return concentration.lgamma().sum(-1) - concentration.sum(-1).lgamma() - torch.xlogy(concentration - 1, x).sum(-1)


def poisson(x: Tensor, rate: Number) -> Tensor:
    """rate - x log rate + log x!."""
    return rate - torch.xlogy(x, rate) + (x + 1).lgamma()


def ordered_logistic(x: Tensor, predictor: Number, cutpoints: Tensor) -> Tensor:
    """-log (sigmoid(c_x - eta) - sigmoid(c_(x-1) - eta)) with the predictor eta and cutpoints c, minus and plus infinity at the ends."""
    shape = broadcast(x.shape, cutpoints.shape[:-1], predictor.shape if isinstance(predictor, Tensor) else ())
    end = cutpoints.new_full((*cutpoints.shape[:-1], 1), math.inf)
    ends = torch.cat([-end, cutpoints, end], -1).expand(*shape, cutpoints.shape[-1] + 2)
    states = x.long().expand(shape).unsqueeze(-1) + torch.arange(2, device=x.device)
    below, above = ends.gather(-1, states).unbind(-1)
    inside = torch.log(-torch.expm1(below - above))
    return -(functional.logsigmoid(above - predictor) + functional.logsigmoid(predictor - below) + inside)


def _lgamma(value: Number) -> Number:
    return value.lgamma() if isinstance(value, Tensor) else math.lgamma(value)
