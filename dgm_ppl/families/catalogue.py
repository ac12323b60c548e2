"""The table of families. A new one is a line here, or three lines in user code: `Gumbel = dgm.family(dist.Gumbel)`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pyro.distributions as dist
from torch import Tensor
from torch.distributions import constraints

from ..graph import GraphError
from . import densities
from .densities import Density
from .expressions import Constant
from .family import CATALOGUE, Family, Parameter, family
from .finite_forms import BernoulliLogits, BernoulliProbs, CategoricalLogits, CategoricalProbs, ExactBernoulli, ExactCategorical
from .forms import LogitNormalForms, LogNormalForms, NormalForms
from .spaces import Circle, Counts, Finite, Interval, Real, Space
from .variable import Variable, whole

__all__ = [
    "Bernoulli", "Beta", "Binomial", "Categorical", "Cauchy", "Delta", "Dirichlet", "Exponential", "Gamma", "Gumbel", "HalfCauchy",
    "HalfNormal", "InverseGamma", "Laplace", "LogNormal", "Logistic", "LowRankMultivariateNormal", "MultivariateNormal", "NegativeBinomial",
    "Normal", "OrderedLogistic", "Poisson", "StudentT", "Uniform", "VonMises", "Weibull", "ZeroInflatedPoisson", "LogitNormal",
]


def _logit_normal(
    *, loc: Tensor, scale: Tensor, low: Tensor | None = None, high: Tensor | None = None, validate_args: bool | None = None,
) -> dist.TransformedDistribution:
    """x between two bounds, whose log-odds within them are normal."""
    bounds = [] if low is None else [dist.transforms.AffineTransform(low, high - low)]
    return dist.TransformedDistribution(
        dist.Normal(loc, scale, validate_args=validate_args), [dist.transforms.SigmoidTransform(), *bounds], validate_args=validate_args,
    )


def _delta(*, v: Tensor, validate_args: bool | None = None) -> dist.Delta:
    return dist.Delta(v, validate_args=validate_args)


def _states(event: tuple[int, ...], variable: Variable) -> tuple[int, ...]:
    return (*event, variable.size)


def _cutpoints(event: tuple[int, ...], variable: Variable) -> tuple[int, ...]:
    return (*event, variable.size - 1)


def _finite(variable: Variable) -> Space:
    return Finite(variable.size)


def _between(variable: Variable) -> Space:
    low, high = variable.fixed.get("low"), variable.fixed.get("high")
    if isinstance(low, Constant) and isinstance(high, Constant):
        if not (low.array < high.array).all():
            raise GraphError(f"{variable.family_name}: expected low < high; got low={low}, high={high}")
        return Interval(float(low.array.min()), float(high.array.max()))
    return Real()


def _between_bounds(variable: Variable) -> Space:
    return _between(variable) if "low" in variable.fixed else Interval(0.0, 1.0)


def _up_to(variable: Variable) -> Space:
    total = variable.fixed.get("total_count")
    return Counts(int(total.array.max())) if isinstance(total, Constant) else Counts()


class LowRank(Family):
    """A family whose covariance has a factor of `rank` columns."""

    def __call__(self, *shape: Any, rank: int | None = None, **parameters: Any) -> Variable:
        if (whole(rank) or 0) < 1:
            raise GraphError(f"{self.name}: expected a positive whole number for rank; got {rank!r}; try rank=2")
        return replace(super().__call__(*shape, **parameters), size=whole(rank))


class FullRank(Family):
    """A family of full covariance, which `rank=` turns into the low-rank one."""

    def __call__(self, *shape: Any, rank: int | None = None, **parameters: Any) -> Variable:
        if rank is None:
            return super().__call__(*shape, **parameters)
        return LowRankMultivariateNormal(*shape, rank=rank, **parameters)


def _fields(base: Family) -> dict[str, Any]:
    return {field.name: getattr(base, field.name) for field in fields(base)}


NORMAL = ("loc", "scale")


def _scaled(distribution: type, formula: Callable[..., Tensor], *signature: str) -> Density:
    """The density of a family whose last parameter also enters by its logarithm."""
    signature = signature or NORMAL
    return Density(distribution, signature, formula=formula, logarithms=signature[-1:])


Normal = family(dist.Normal, forms=[NormalForms(dist.Normal, NORMAL)])
LogNormal = family(dist.LogNormal, forms=[LogNormalForms(dist.LogNormal, NORMAL)])
Laplace = family(dist.Laplace, forms=[_scaled(dist.Laplace, densities.laplace)])
StudentT = family(
    dist.StudentT, signatures=[("df", *NORMAL)], forms=[Density(dist.StudentT, ("df", *NORMAL), formula=densities.student_t, logarithms=("df", "scale"))],
)
Cauchy = family(dist.Cauchy, forms=[_scaled(dist.Cauchy, densities.cauchy)])
Logistic = family(dist.Logistic, forms=[_scaled(dist.Logistic, densities.logistic)])
Gumbel = family(dist.Gumbel, forms=[_scaled(dist.Gumbel, densities.gumbel)])
HalfNormal = family(dist.HalfNormal, forms=[_scaled(dist.HalfNormal, densities.half_normal, "scale")])
HalfCauchy = family(dist.HalfCauchy, forms=[_scaled(dist.HalfCauchy, densities.half_cauchy, "scale")])
Exponential = family(dist.Exponential, forms=[_scaled(dist.Exponential, densities.exponential, "rate")])
Gamma = family(dist.Gamma, forms=[_scaled(dist.Gamma, densities.gamma, "concentration", "rate")])
InverseGamma = family(dist.InverseGamma, forms=[_scaled(dist.InverseGamma, densities.inverse_gamma, "concentration", "rate")])
Weibull = family(dist.Weibull, linear=("scale",))
Beta = family(dist.Beta, forms=[Density(dist.Beta, ("concentration1", "concentration0"), formula=densities.beta)])
Uniform = family(dist.Uniform, space=_between, fixed=("low", "high"), linear=("low", "high"))
VonMises = family(dist.VonMises, space=Circle(), reparameterized=False)
Dirichlet = family(dist.Dirichlet, forms=[Density(dist.Dirichlet, ("concentration",), 1, formula=densities.dirichlet)])
LowRankMultivariateNormal = LowRank(**_fields(family(
    dist.LowRankMultivariateNormal, signatures=[("loc", "cov_factor", "cov_diag")],
    shapes={"cov_factor": lambda event, variable: (*event, variable.size)},
)))
MultivariateNormal = FullRank(**_fields(family(dist.MultivariateNormal)))
Bernoulli = family(
    dist.Bernoulli, forms=[BernoulliLogits(dist.Bernoulli, ("logits",), 0, False), BernoulliProbs(ExactBernoulli, ("probs",), 0, False)],
)
Binomial = family(dist.Binomial, space=_up_to, fixed=("total_count",))
Categorical = family(
    dist.Categorical, space=_finite, sized=True, shapes={"logits": _states, "probs": _states},
    forms=[CategoricalLogits(dist.Categorical, ("logits",), 0, False), CategoricalProbs(ExactCategorical, ("probs",), 0, False)],
)
OrderedLogistic = family(
    dist.OrderedLogistic, space=_finite, sized=True, shapes={"cutpoints": _cutpoints},
    forms=[Density(dist.OrderedLogistic, ("predictor", "cutpoints"), 0, False, formula=densities.ordered_logistic)],
)
Poisson = family(dist.Poisson, forms=[Density(dist.Poisson, ("rate",), 0, False, formula=densities.poisson)])
NegativeBinomial = family(dist.NegativeBinomial, linear=("logits",))
ZeroInflatedPoisson = family(dist.ZeroInflatedPoisson)
LogitNormal = Family(
    "LogitNormal", _logit_normal, (NORMAL, (*NORMAL, "low", "high")),
    {**Normal.parameters, "low": Parameter(constraints.real, learnable=False), "high": Parameter(constraints.real, learnable=False)},
    _between_bounds, linear=("loc",),
    forms={way: LogitNormalForms(_logit_normal, way) for way in (NORMAL, (*NORMAL, "low", "high"))},
)
Delta = Family(
    "Delta", _delta, (("v",),), {"v": Parameter(constraints.real)}, Real(), linear=("v",), deterministic=True,
)

CATALOGUE.update({value.name: value for value in list(globals().values()) if isinstance(value, Family)})
