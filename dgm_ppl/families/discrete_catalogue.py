"""Families of levels and of relaxed states."""

from __future__ import annotations

from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints

from ..graph import GraphError
from .densities import Density
from .discretized import DiscretizedLogisticDistribution, DiscretizedLogisticMixtureDistribution, mixture_surprisal, surprisal
from .expressions import Constant
from .family import CATALOGUE, Family, Parameter
from .forms import Forms, Noise
from .spaces import Interval, Levels, OneHot, Simplex, Space
from .variable import Variable, whole

__all__ = ["DiscretizedLogistic", "DiscretizedLogisticMixture", "OneHotCategorical", "RelaxedBernoulli", "RelaxedCategorical", "StraightThroughCategorical"]


def _levels(variable: Variable) -> Space:
    given = variable.fixed.get("levels")
    if not isinstance(given, Constant):
        raise GraphError(f"{variable.family_name}: expected the number of levels; try {variable.family_name}(..., levels=256)")
    if not (given.array >= 2).all() or (given.array != given.array.round()).any():
        raise GraphError(f"{variable.family_name}: expected a whole number of levels from 2; got {given}")
    return Levels(int(given.array.max()) - 1)


class Components(Family):
    """A family of mixtures, which declares `components=`."""

    def __call__(self, *shape: Any, components: int | None = None, **parameters: Any) -> Variable:
        if (whole(components) or 0) < 1:
            raise GraphError(f"{self.name}: expected a positive whole number of components; got {components!r}; try components=10")
        declared = super().__call__(*shape, **parameters)
        return self.declare(declared.shape, declared.fixed, size=whole(components))

    def summary(self, variable: Variable) -> str:
        return f"{self.name}({', '.join([*map(str, variable.shape), f'components={variable.size}', *(f'{name}={value}' for name, value in variable.parameters)])})"

    def start(self, name: str, shape: tuple[int, ...]) -> Tensor:
        return torch.linspace(-1, 1, shape[-1]).expand(shape).clone() if name == "loc" else super().start(name, shape) - (2.0 if name == "scale" else 0.0)


def _each(event: tuple[int, ...], variable: Variable) -> tuple[int, ...]:
    return *event, variable.size


LEVELS = Parameter(constraints.positive_integer, learnable=False)
MIXED = ("weight_logits", "loc", "scale", "levels")

DiscretizedLogistic = Family(
    "DiscretizedLogistic", DiscretizedLogisticDistribution, (("loc", "scale", "levels"),),
    {"loc": Parameter(), "scale": Parameter(constraints.positive), "levels": LEVELS}, _levels, linear=("loc",),
    forms={("loc", "scale", "levels"): Density(DiscretizedLogisticDistribution, ("loc", "scale", "levels"), 0, False, formula=surprisal)}, reparameterized=False,
)
DiscretizedLogisticMixture = Components(
    "DiscretizedLogisticMixture", DiscretizedLogisticMixtureDistribution, (MIXED,),
    {"weight_logits": Parameter(shape=_each), "loc": Parameter(shape=_each), "scale": Parameter(constraints.positive, _each), "levels": LEVELS}, _levels,
    linear=("loc",), forms={MIXED: Density(DiscretizedLogisticMixtureDistribution, MIXED, 0, False, formula=mixture_surprisal)}, reparameterized=False,
)


def _scalar(event: tuple[int, ...], variable: Variable) -> tuple[int, ...]:
    return ()


TEMPERATURE = Parameter(constraints.positive, _scalar, learnable=False)
LOGITS, PROBS = Parameter(constraints.real_vector), Parameter(constraints.simplex)
WAYS = (("temperature", "logits"), ("temperature", "probs"))


def _relaxed(*, temperature: Tensor, validate_args: bool | None = None, **weights: Tensor) -> dist.RelaxedOneHotCategorical:
    return dist.RelaxedOneHotCategorical(temperature, **weights, validate_args=validate_args)


def _relaxed_bernoulli(*, temperature: Tensor, validate_args: bool | None = None, **weights: Tensor) -> dist.RelaxedBernoulli:
    return dist.RelaxedBernoulli(temperature, **weights, validate_args=validate_args)


class OneHotForms(Forms):
    """log p(x) = sum_k x_k log p_k, whose divergences are sums over the states."""

    functional = True

    def _logs(self, params: Any, like: Tensor) -> Tensor:
        weights = params[-1] if isinstance(params[-1], Tensor) else like.new_full((), params[-1])
        return weights.log_softmax(-1) if self.signature[-1] == "logits" else weights.log()

    def surprisal(self, value: Tensor, params: Any) -> Tensor:
        return -torch.where(value == 0, 0, value * self._logs(params, value)).sum(-1)

    def sample(self, shape: Any, params: Any, like: Tensor, noise: Noise) -> Tensor:
        logits = noise.widen(self._logs(params, like).expand(shape))
        if self.reparameterized:
            return noise.narrow(straight_through(logits, params[0]))
        states = dist.Categorical(logits=logits, validate_args=False).sample()
        return noise.narrow(torch.nn.functional.one_hot(states, shape[-1]).to(logits.dtype))

    def kl(self, q: Any, other: Forms, p: Any, like: Tensor) -> Tensor | None:
        if not isinstance(other, OneHotForms):
            return None
        ours, theirs = self._logs(q, like), other._logs(p, like)
        return (ours.exp() * (ours - theirs)).sum(-1)


def straight_through(logits: Tensor, temperature: Any) -> Tensor:
    """One-hot draws with the gradient of the Gumbel-softmax: the corner, and the relaxed draw less itself."""
    u = torch.rand(logits.shape, dtype=logits.dtype, device=logits.device).clamp_min(torch.finfo(logits.dtype).tiny)
    scores = logits - (-u.log()).log()
    soft = (scores / temperature).softmax(-1)
    hard = torch.zeros_like(soft).scatter(-1, scores.argmax(-1, keepdim=True), 1.0)
    return hard + (soft - soft.detach())


class StraightThroughDistribution(dist.OneHotCategorical):
    """One-hot states whose draws have the gradient of the Gumbel-softmax (Jang et al., 2017, https://arxiv.org/abs/1611.01144)."""

    has_rsample = True

    def __init__(self, temperature: Tensor, probs: Tensor | None = None, logits: Tensor | None = None, validate_args: bool | None = None):
        self.temperature = temperature
        super().__init__(probs, logits, validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> StraightThroughDistribution:
        return StraightThroughDistribution(self.temperature, logits=self.logits.expand(*batch_shape, self.logits.shape[-1]), validate_args=False)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return straight_through(self.logits.expand(*sample_shape, *self.logits.shape), self.temperature)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with torch.no_grad():
            return self.rsample(sample_shape)


OneHotCategorical = Family(
    "OneHotCategorical", dist.OneHotCategorical, (("logits",), ("probs",)), {"logits": LOGITS, "probs": PROBS}, OneHot(), 1, ("logits", "probs"),
    {way: OneHotForms(dist.OneHotCategorical, way, 1, False) for way in (("logits",), ("probs",))}, reparameterized=False,
)
StraightThroughCategorical = Family(
    "StraightThroughCategorical", StraightThroughDistribution, WAYS, {"temperature": TEMPERATURE, "logits": LOGITS, "probs": PROBS}, OneHot(), 1,
    ("logits", "probs"), {way: OneHotForms(StraightThroughDistribution, way, 1, True) for way in WAYS},
)
RelaxedCategorical = Family(
    "RelaxedCategorical", _relaxed, WAYS, {"temperature": TEMPERATURE, "logits": LOGITS, "probs": PROBS}, Simplex(), 1, ("logits", "probs"),
)
RelaxedBernoulli = Family(
    "RelaxedBernoulli", _relaxed_bernoulli, WAYS,
    {"temperature": TEMPERATURE, "logits": Parameter(), "probs": Parameter(constraints.unit_interval)}, Interval(0.0, 1.0), 0, ("logits", "probs"),
)

CATALOGUE.update({value.name: value for value in list(globals().values()) if isinstance(value, Family)})
