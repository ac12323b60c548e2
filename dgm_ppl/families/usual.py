"""The family whose members describe values of a space one number at a time, and where a declaration's own parameters put it."""

from __future__ import annotations

from .catalogue import Bernoulli, Binomial, Categorical, Dirichlet, LogitNormal, LogNormal, NegativeBinomial, Normal, VonMises
from .discrete_catalogue import OneHotCategorical
from .expressions import Constant
from .spaces import Circle, Counts, Finite, Interval, OneHot, Positive, Real, Simplex
from .variable import Variable

__all__ = ["place_and_size", "usual"]

PLACED = ("Normal", "LogNormal", "LogitNormal", "Laplace", "Logistic")                  # whose loc and scale are those of the real numbers behind the values


def usual(latent: Variable) -> Variable:
    """A declaration with open parameters over the values of another.

    >>> from dgm_ppl import Beta, Gamma
    >>> usual(Gamma(3)), usual(Beta())
    (LogNormal(3), LogitNormal())
    """
    own = None if latent.family is None else latent.family.recognition(latent)
    if own is not None:
        return own
    space, shape = latent.space, latent.shape
    if isinstance(space, Finite):
        return Bernoulli(*shape) if space.binary else Categorical(list(latent.labels) if latent.labels else space.size, *shape)
    if isinstance(space, Counts):
        return NegativeBinomial(*shape) if space.largest is None else Binomial(*shape, total_count=space.largest)
    if isinstance(space, Interval):
        return LogitNormal(*shape) if (space.low, space.high) == (0, 1) else LogitNormal(*shape, low=space.low, high=space.high)
    families = {Real: Normal, Positive: LogNormal, Simplex: Dirichlet, Circle: VonMises, OneHot: OneHotCategorical}
    return families[type(space)](*shape)


def place_and_size(latent: Variable) -> tuple[float | tuple[float, ...], float | tuple[float, ...]] | None:
    """Where the real numbers behind a latent's values lie, and how far apart, by its fixed location and scale; None where these are open, or zero and one.

    >>> from dgm_ppl import LogNormal, Normal
    >>> place_and_size(Normal(3, loc=2.0, scale=5.0)), place_and_size(Normal(3, loc=2.0))
    ((2.0, 5.0), None)
    """
    if latent.family is None or latent.family.name not in PLACED:
        return None
    found = []
    for name in ("loc", "scale"):
        value = latent.fixed.get(name)
        if not isinstance(value, Constant) or value.shape not in ((), latent.shape[-1:]):
            return None
        found.append(float(value.array) if not value.shape else tuple(map(float, value.array)))
    return None if found == [0.0, 1.0] else (found[0], found[1])
