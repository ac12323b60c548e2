"""Levels of a logistic distribution, and mixtures of them: pixels as PixelCNN++ sees them (Salimans et al., 2017, https://arxiv.org/abs/1701.05517).

Levels 0 ... L - 1 lie at 2 y / (L - 1) - 1 on the scale of `loc` and `scale`; a level has the logistic mass of its bin, the outer ones all that is beyond.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from pyro.distributions import TorchDistribution, constraints
from torch import Tensor
from torch.nn.functional import logsigmoid

from .shapes import broadcast

__all__ = ["DiscretizedLogisticDistribution", "DiscretizedLogisticMixtureDistribution", "log_mass", "mixture_surprisal", "surprisal"]


def log_mass(value: Tensor, loc: Any, scale: Any, levels: Any) -> Tensor:
    """log P(y), by log(s(a) - s(b)) = log s(a) + log s(-b) + log(1 - e^(b - a)), exact wherever the bin lies."""
    half = 1 / (levels - 1)
    centre = 2 * value * half - 1 - loc
    upper, lower = (centre + half) / scale, (centre - half) / scale
    below, above = logsigmoid(upper), logsigmoid(-lower)
    inside = below + above + torch.log(-torch.expm1(lower - upper))
    return torch.where(value == 0, below, torch.where(value == levels - 1, above, inside))


def surprisal(value: Tensor, loc: Any, scale: Any, levels: Any) -> Tensor:
    """-log P(y)."""
    return -log_mass(value, loc, scale, levels)


def mixture_surprisal(value: Tensor, weight_logits: Tensor, loc: Any, scale: Any, levels: Any) -> Tensor:
    """-log sum_k w_k P_k(y), components in the last dimension of the parameters."""
    levels = levels.unsqueeze(-1) if isinstance(levels, Tensor) and levels.ndim else levels
    return -(weight_logits.log_softmax(-1) + log_mass(value.unsqueeze(-1), loc, scale, levels)).logsumexp(-1)


class _Levels(TorchDistribution):
    """What both share: values are levels, held as floats."""

    has_enumerate_support = True

    @property
    def support(self) -> constraints.Constraint:
        return constraints.integer_interval(0, self.levels - 1)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        states = torch.arange(int(self.levels.max()), dtype=self.loc.dtype, device=self.loc.device).reshape(-1, *(1,) * len(self.batch_shape))
        return states.expand(-1, *self.batch_shape) if expand else states

    def _level(self, loc: Tensor, scale: Tensor, shape: Sequence[int]) -> Tensor:
        """The level at a logistic draw."""
        u = torch.rand(shape, dtype=loc.dtype, device=loc.device).clamp(1e-7, 1 - 1e-7)
        found = (((loc + scale * torch.logit(u)) + 1) * (self.levels - 1) / 2).round()
        return torch.minimum(found.clamp_min(0), self.levels - 1)


class DiscretizedLogisticDistribution(_Levels):
    """A level of a logistic distribution."""

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive, "levels": constraints.positive_integer}

    def __init__(self, loc: Tensor, scale: Tensor, levels: Tensor, validate_args: bool | None = None):
        batch = broadcast(loc.shape, scale.shape, levels.shape)
        self.loc, self.scale, self.levels = loc.expand(batch), scale.expand(batch), levels.expand(batch)
        super().__init__(torch.Size(batch), validate_args=validate_args)

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> DiscretizedLogisticDistribution:
        return DiscretizedLogisticDistribution(*(each.expand(batch_shape) for each in (self.loc, self.scale, self.levels)), validate_args=False)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with torch.no_grad():
            return self._level(self.loc, self.scale, (*sample_shape, *self.batch_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return log_mass(value, self.loc, self.scale, self.levels)


class DiscretizedLogisticMixtureDistribution(_Levels):
    """A level of one of several logistic distributions; components lie in the last dimension of the parameters but `levels`."""

    arg_constraints = {
        "weight_logits": constraints.real_vector, "loc": constraints.real_vector, "scale": constraints.independent(constraints.positive, 1),
        "levels": constraints.positive_integer,
    }

    def __init__(self, weight_logits: Tensor, loc: Tensor, scale: Tensor, levels: Tensor, validate_args: bool | None = None):
        components = max(each.shape[-1] for each in (weight_logits, loc, scale) if each.ndim)
        batch = broadcast(levels.shape, *(each.shape[:-1] for each in (weight_logits, loc, scale)))
        self.weight_logits, self.loc, self.scale = (each.expand(*batch, components) for each in (weight_logits, loc, scale))
        self.levels = levels.expand(batch)
        super().__init__(torch.Size(batch), validate_args=validate_args)

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> DiscretizedLogisticMixtureDistribution:
        wide = [each.expand(*batch_shape, each.shape[-1]) for each in (self.weight_logits, self.loc, self.scale)]
        return DiscretizedLogisticMixtureDistribution(*wide, self.levels.expand(batch_shape), validate_args=False)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with torch.no_grad():
            shape = (*sample_shape, *self.batch_shape)
            chosen = torch.distributions.Categorical(logits=self.weight_logits, validate_args=False).sample(torch.Size(sample_shape)).unsqueeze(-1)
            loc, scale = (each.expand(*shape, each.shape[-1]).gather(-1, chosen).squeeze(-1) for each in (self.loc, self.scale))
            return self._level(loc, scale, shape)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return -mixture_surprisal(value, self.weight_logits, self.loc, self.scale, self.levels)
