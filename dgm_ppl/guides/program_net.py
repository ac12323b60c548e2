"""The graph of a Pyro program as a net: structure, supports and plates, without the program's own parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pyro.distributions import Categorical, Distribution, VonMises
from torch import Tensor, nn
from torch.distributions import constraints

from ..families import Architecture, Circle, Counts, Finite, Interval, OneHot, Positive, Real, Simplex, Space, Variable
from ..graph import Faithful, GraphError, Inversion, did_you_mean
from ..nets import SetNet
from ..network import BayesNet, inverted
from .tracing import base_of

__all__ = ["Code", "ProgramNet", "SiteKind", "support_of"]


@dataclass(frozen=True, repr=False)
class SiteKind(Architecture):
    """A sample statement of a program: the name of its distribution and where its values live."""

    distribution: str
    support: Space

    @property
    def name(self) -> str:
        return self.distribution

    def space(self, variable: Variable) -> Space:
        return self.support

    def summary(self, variable: Variable) -> str:
        return self.caption(variable)

    def build(self, name: str, variable: Variable, ports: Any, *, plates: Any, all_plates: int, shared: Any) -> Any:
        raise GraphError(f"node {name!r} is a statement of a Pyro program, which holds its distribution; run the program")


@dataclass(frozen=True, init=False, repr=False)
class Code(SetNet):
    """The program's own lines between a site and what it reads."""

    def __init__(self) -> None:
        self._freeze(hidden=(), activation=nn.Identity, ordered=())

    def stage(self, features: int) -> nn.Module:
        raise GraphError("a Pyro program holds its own computations; run the program")

    def label(self) -> str:
        return "program"


class ProgramNet(BayesNet):
    """What a Pyro program says of its structure.

    `apart` are the plates whose members are told apart, each with a site that does so, `enumerated` the sites that the program itself marks for
    enumeration.
    """

    def __init__(self, variables: Mapping[str, Variable], *, plates: Mapping[str, Any], apart: Mapping[str, str], enumerated: Sequence[str]):
        super().__init__(variables, plates=plates)
        vars(self).update(apart=dict(apart), enumerated=tuple(enumerated))

    def left_out(self, collapse: Any) -> tuple[str, ...]:
        """The latents that a guide leaves to enumeration: those that the program marks, and those asked for."""
        finite = [name for name in self if not self[name].is_given and self[name].space.cardinality is not None]
        asked = finite if collapse is True else () if collapse is False else (collapse,) if isinstance(collapse, str) else tuple(collapse)
        for name in asked:
            if name not in finite:
                raise GraphError(f"amortize: collapse names {name!r}, which cannot be enumerated{did_you_mean(name, finite)}; the finite sites are {finite}")
        return tuple(dict.fromkeys((*self.enumerated, *asked)))

    def in_own_order(self, inversion: Inversion) -> Inversion:
        """The inversion that samples latents in the program's order, where that couples no more copies: `TraceMeanField_ELBO` asks for that order."""
        latents = [name for name in self if name in inversion.order and name not in inversion.barren]
        own = inverted(self, inversion.observed, Faithful(latents)) if latents else inversion
        return own if len(own.coupled) <= len(inversion.coupled) else inversion

    def __reduce__(self):
        return _rebuilt, (dict(self.variables), dict(self.plates), self.apart, self.enumerated)


def _rebuilt(variables: dict, plates: dict, apart: dict, enumerated: tuple) -> ProgramNet:
    return ProgramNet(variables, plates=plates, apart=apart, enumerated=enumerated)


def support_of(name: str, fn: Distribution) -> Space:
    """Where the values of a site live.

    Raises:
        GraphError: a support that no recognition family covers.
    """
    support, base = fn.support, base_of(fn)
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    if isinstance(base, VonMises):
        return Circle()
    if support is constraints.boolean:
        return Finite(2, binary=True)
    if support is constraints.simplex:
        return Simplex()
    if support is constraints.one_hot:
        return OneHot()
    if isinstance(support, (constraints.integer_interval, type(constraints.nonnegative_integer))):
        low, high = _bound(name, support.lower_bound), _bound(name, getattr(support, "upper_bound", float("inf")))
        if low == 0 and isinstance(base, Categorical):
            return Finite(int(high) + 1)
        if low == 0:
            return Counts(None if high == float("inf") else int(high))
    if isinstance(support, (constraints.interval, constraints.half_open_interval)):
        return Interval(_bound(name, support.lower_bound), _bound(name, support.upper_bound))
    if isinstance(support, (constraints.greater_than, constraints.greater_than_eq)) and _bound(name, support.lower_bound) == 0:
        return Positive(closed=isinstance(support, constraints.greater_than_eq))
    if isinstance(support, type(constraints.real)):
        return Real()
    raise GraphError(
        f"site {name!r} ~ {type(base).__name__} has the support {support}, for which there is no recognition family; "
        f"draw {name!r} from real or positive numbers and transform it: pyro.deterministic({name!r}, ...)"
    )


def _bound(name: str, bound: Any) -> float:
    if not isinstance(bound, Tensor):
        return float(bound)
    if bool((bound != bound.flatten()[0]).any()):
        raise GraphError(f"site {name!r}: its support differs between members, {bound.flatten()[:3].tolist()}; draw it from one range and scale it")
    return float(bound.flatten()[0])
