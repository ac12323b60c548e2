"""The recognition family of a latent, chosen by where its values live."""

from __future__ import annotations

from ..families import (
    Bernoulli, Binomial, Categorical, Circle, Counts, Dirichlet, Family, Finite, Interval, LogitNormal, LogNormal, NegativeBinomial, Normal,
    OneHot, OneHotCategorical, Positive, Real, Simplex, Variable, VonMises,
)
from ..graph import GraphError

__all__ = ["recognition_variable"]


def recognition_variable(name: str, latent: Variable, asked: Family | Variable | None = None) -> Variable:
    """A declaration with open parameters over the latent's support: the one asked for, or the usual one.

    Real: Normal. Positive: LogNormal. Bounded: LogitNormal. Simplex: Dirichlet. Angles: VonMises. States: Bernoulli or
    Categorical. Counts: Binomial where there is a largest, else NegativeBinomial.
    """
    variable = _usual(latent) if asked is None else _asked(name, latent, asked)
    if variable.shape != latent.shape:
        raise GraphError(f"amortize: the family for {name!r} has the event shape {variable.shape}; the latent has {latent.shape}")
    if variable.space.cardinality is not None and variable.space.cardinality == latent.space.cardinality and variable.space.integer != latent.space.integer:
        raise GraphError(f"amortize: {variable.family_name} holds the states of {name!r} as {_held(variable)}, {latent.summary} as {_held(latent)}; try {_usual(latent).family_name}")
    if not _fits(variable, latent):
        raise GraphError(f"amortize: {variable.family_name} has values in {variable.space}, but {name!r} ~ {latent.summary} lives in {latent.space}; try {_usual(latent).family_name}")
    return variable


def _asked(name: str, latent: Variable, asked: Family | Variable) -> Variable:
    if isinstance(asked, Variable):
        return asked
    if not isinstance(asked, Family):
        raise GraphError(f"amortize: families[{name!r}]: expected a family such as dgm.LogNormal or a declaration; got {asked!r}")
    return asked(latent.labels or latent.space.cardinality, *latent.shape) if asked.sized else asked(*latent.shape)


def _held(variable: Variable) -> str:
    return "codes" if variable.space.integer else "floats"


def _fits(variable: Variable, latent: Variable) -> bool:
    a, b = variable.space, latent.space
    if a.cardinality is not None or b.cardinality is not None:
        return a.cardinality == b.cardinality
    if isinstance(a, Interval) or isinstance(b, Interval):
        return a == b
    return type(a) is type(b)


def _usual(latent: Variable) -> Variable:
    space, shape = latent.space, latent.shape
    if isinstance(space, Finite):
        return Bernoulli(*shape) if space.binary else Categorical(list(latent.labels) if latent.labels else space.size, *shape)
    if isinstance(space, Counts):
        return NegativeBinomial(*shape) if space.largest is None else Binomial(*shape, total_count=space.largest)
    if isinstance(space, Interval):
        return LogitNormal(*shape) if (space.low, space.high) == (0, 1) else LogitNormal(*shape, low=space.low, high=space.high)
    families = {Real: Normal, Positive: LogNormal, Simplex: Dirichlet, Circle: VonMises, OneHot: OneHotCategorical}
    return families[type(space)](*shape)
