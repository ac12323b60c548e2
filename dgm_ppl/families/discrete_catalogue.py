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
from .forms import Forms
from .spaces import Interval, Levels, Simplex, Space
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


def _relaxed(*, temperature: Tensor, validate_args: bool | None = None, **weights: Tensor) -> dist.RelaxedOneHotCategorical:
    return dist.RelaxedOneHotCategorical(temperature, **weights, validate_args=validate_args)


def _straight(*, temperature: Tensor, validate_args: bool | None = None, **weights: Tensor) -> dist.RelaxedOneHotCategoricalStraightThrough:
    return dist.RelaxedOneHotCategoricalStraightThrough(temperature, **weights, validate_args=validate_args)
