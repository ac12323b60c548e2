"""The recognition family of a latent, chosen by where its values live."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy

from ..conditionals.anchored import Anchored, anchorable
from ..families import Architecture, Family, Interval, LowRankMultivariateNormal, Real, Variable
from ..families.expressions import start
from ..families.usual import place_and_size, usual
from ..graph import GraphError
from ..nets import Net

__all__ = ["As", "LowRank", "PriorAnchored", "Recognition", "Usual", "recognition_of", "recognition_variable"]


class Recognition:
    """How the declaration of a latent in a guide follows from the latent's own; `declare` returns one over the same support.

    To add a kind, write a frozen dataclass that derives from this class, and return any declaration.
    """

    def declare(self, latent: Variable) -> Variable:
        raise NotImplementedError


@dataclass(frozen=True, repr=False)
class Usual(Recognition):
    """One number at a time, by support.

    Real: Normal. Positive: LogNormal. Bounded: LogitNormal. Simplex: Dirichlet. Angles: VonMises. States: Bernoulli or
    Categorical. Counts: Binomial where there is a largest, else NegativeBinomial.

    The first three may start with a `scale` of your choice, in units of the latent's own where that is fixed, instead of about 1, for networks that are made by
    builders. A narrow one, as in Pyro's `AutoNormal`, helps deep hierarchies of latents that are trained without a warm-up of the divergence: `Usual(scale=0.1)`.
    """

    scale: float | None = None

    def __post_init__(self) -> None:
        if self.scale is not None and not self.scale > 0:
            raise GraphError(f"Usual: expected a positive scale; got {self.scale!r}; try dgm.Usual(scale=0.1)")

    def __repr__(self) -> str:
        return "Usual()" if self.scale is None else f"Usual(scale={self.scale})"

    def declare(self, latent: Variable) -> Variable:
        found, placed = usual(latent), place_and_size(latent)
        if self.scale is None or found.family.name not in ("Normal", "LogNormal", "LogitNormal"):
            return found
        size = 1.0 if placed is None else numpy.asarray(placed[1])
        return replace(found, parameters=(*found.parameters, ("scale", start(self.scale * size))))


@dataclass(frozen=True)
class LowRank(Recognition):
    """A Gaussian of some rank plus a diagonal where the latent is a real vector; the usual family elsewhere."""

    rank: int = 2

    def declare(self, latent: Variable) -> Variable:
        vector = isinstance(latent.space, Real) and len(latent.shape) == 1 and latent.numel > 1
        return LowRankMultivariateNormal(*latent.shape, rank=self.rank) if vector else usual(latent)


@dataclass(frozen=True)
class PriorAnchored(Recognition):
    """The model's own conditional, its parameters moved towards what the data say (automatic structured variational inference, amortized).

    `q(z | parents, x) = p(z; lambda * theta(parents) + (1 - lambda) * alpha)` with `lambda` and `alpha` computed from what the guide
    reads. The guide samples a latent after its parents in the model, so it goes with `structure=Forward()`, or a faithful structure found from the
    leaves: `Faithful(order=Reverse())`. Latents of other kinds take the usual family.

    Source: Ambrogioni et al. (2021), https://arxiv.org/abs/2002.00643.
    """

    def declare(self, latent: Variable) -> Variable:
        return Variable(Anchored(latent), latent.shape, size=latent.size, labels=latent.labels) if anchorable(latent) else usual(latent)


@dataclass(frozen=True)
class As(Recognition):
    """Every latent as one declaration without an event shape says; the usual family for those whose values it cannot have."""

    declaration: Variable

    def declare(self, latent: Variable) -> Variable:
        found = self.declaration.family.as_guide_of(self.declaration, latent)
        own = {one.name: copy(value) for one in fields(found.family) if isinstance(value := getattr(found.family, one.name), Net)}      # of each latent, not shared
        found = replace(found, family=replace(found.family, **own)) if own else found
        return found if found.shape == latent.shape and _fits(found, latent) else usual(latent)


def recognition_of(family: Any) -> Recognition:
    """How families are chosen, from what a user gives.

    Raises:
        GraphError: what is neither a Recognition nor a declaration for latents of any shape.
    """
    if isinstance(family, Recognition):
        return family
    if not isinstance(family, Variable) or not isinstance(family.family, Architecture):
        raise GraphError(
            f"amortize: family: expected dgm.LowRank(2), dgm.PriorAnchored() or another Recognition, or a declaration such as dgm.Flow(dgm.NSF()) or "
            f"dgm.Mixture(dgm.Normal(), components=5); got {family!r}; families by node go in families={{...}}"
        )
    if family.shape or family.parents:
        raise GraphError(f"amortize: family: a declaration for all latents takes the shape and the parents of each; got {family!r}; leave them out, or name the latent: families={{...}}")
    return As(family)


def recognition_variable(name: str, latent: Variable, asked: Any = None, family: Any = Usual()) -> Variable:
    """A declaration with open parameters over the latent's support: the one asked for, or the one that `family` chooses."""
    chosen = recognition_of(family)
    variable = chosen.declare(latent) if asked is None else _asked(name, latent, asked)
    if variable.shape != latent.shape:
        raise GraphError(f"amortize: the family for {name!r} has the event shape {variable.shape}; the latent has {latent.shape}")
    if variable.space.cardinality is not None and variable.space.cardinality == latent.space.cardinality and variable.space.integer != latent.space.integer:
        raise GraphError(f"amortize: {variable.family_name} holds the states of {name!r} as {_held(variable)}, {latent.summary} as {_held(latent)}; try {usual(latent).family_name}")
    if not _fits(variable, latent):
        raise GraphError(f"amortize: {variable.family_name} has values in {variable.space}, but {name!r} ~ {latent.summary} lives in {latent.space}; try {usual(latent).family_name}")
    return variable


def _asked(name: str, latent: Variable, asked: Any) -> Variable:
    if isinstance(asked, Recognition):
        return asked.declare(latent)
    if isinstance(asked, Variable):
        return asked.family.as_guide_of(asked, latent) if isinstance(asked.family, Architecture) else asked
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
