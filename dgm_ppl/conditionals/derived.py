"""Families made of a family: its parameters and some of their own, fixed, learned, tabulated or computed like any other's."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import torch
from pyro.distributions import TorchDistribution, constraints
from torch import Tensor

from ..families import Architecture, Family, Forms, Noise, Parameter, Real, Space, Variable, noise
from ..families.family import given_parameter
from ..families.shapes import broadcast
from ..graph import GraphError
from .parametric import Parametric

__all__ = ["Derived", "DerivedForms", "FormsDistribution", "derived"]


@dataclass(frozen=True, repr=False)
class Derived(Architecture):
    """A family over the values of `base`, whose parameters are those of the base and the first of `own` that is named.

    The parameters that were given are held by the variable; `base` is held without them. A subclass says `own` (alternatives and their
    constraints), `parameter_shape`, and `forms_of`, the formulas for a signature.
    """

    base: Variable

    own: ClassVar[Mapping[str, Parameter]] = {}

    @property
    def family(self) -> Family:
        return self.base.family

    @cached_property
    def parameters(self) -> Mapping[str, Parameter]:
        return {**self.own, **self.family.parameters}

    @property
    def linear(self) -> tuple[str, ...]:
        return self.family.linear

    def signature(self, names: Collection[str]) -> tuple[str, ...]:
        mine = [name for name in self.own if name in names]
        if len(mine) > 1:
            raise GraphError(f"{self.label}: the parameters {mine} do not go together; give one of them")
        return mine[0] if mine else next(iter(self.own)), *self.family.signature([name for name in names if name not in self.own])

    def given(self, variable: Variable) -> Variable:
        """The base with the parameters that were given."""
        return replace(self.base, parameters=tuple((name, value) for name, value in variable.parameters if name not in self.own))

    def space(self, variable: Variable) -> Space:
        return self.family.space(self.given(variable))

    @property
    def label(self) -> str:
        """The function that declares it."""
        return self.name

    def options(self) -> list[str]:
        """What the declaration says beside the base and the parameters of its own."""
        return []

    def summary(self, variable: Variable) -> str:
        mine = [f"{name}={value}" for name, value in variable.parameters if name in self.own]
        return f"{self.label}({', '.join([self.given(variable).summary, *self.options(), *mine])})"

    def caption(self, variable: Variable) -> str:
        return f"{self.label} of {self.base.caption}"

    def forms_of(self, signature: tuple[str, ...]) -> Forms:
        """The formulas for a parameterization."""
        raise NotImplementedError

    def build(self, name: str, variable: Variable, ports: Any, *, plates: Any, all_plates: int, shared: Any) -> Parametric:
        found = Parametric(name, variable, ports, plates=plates, all_plates=all_plates, shared=shared)
        found.forms = replace(found.forms, space=variable.space)            # which the parameters that were given may bound
        return found


def derived(place: str, base: Any, kind: Any, **own: Any) -> Variable:
    """The variable of a derived family: `kind(base without parameters)`, the base's parameters and those of its own that are not None.

    Raises:
        GraphError: a base that is not a family's, or that has parents already.
    """
    if not isinstance(base, Variable) or not isinstance(base.family, Family) or base.is_deterministic:
        raise GraphError(f"{place}: expected the declaration of a family, such as dgm.Normal(2); got {base!r}")
    if base.parents or base.net is not None or base.fn is not None:
        raise GraphError(f"{place}: parents are given to the whole; got {base!r}; try dgm.{place}({base.summary}, ...).given({', '.join(map(repr, base.parents))})")
    named = {name: given_parameter(place, name, value) for name, value in own.items() if value is not None}
    found, together = kind(replace(base, parameters=())), {**dict(base.parameters), **named}
    parameters = tuple((name, together[name]) for name in found.signature(together) if name in together)
    return Variable(found, base.shape, parameters, size=base.size, labels=base.labels)


@dataclass(frozen=True, kw_only=True)
class DerivedForms(Forms):
    """The formulas of a derived family: the first parameter is its own, the others, and the logarithms after them, are the base's.

    A subclass writes `surprisal` and `drawn`.
    """

    base: Forms
    event: tuple[int, ...]
    space: Space = Real()

    def __post_init__(self) -> None:
        object.__setattr__(self, "distribution", self.made)

    @property
    def functional(self) -> bool:
        return self.base.functional

    @property
    def logarithms(self) -> tuple[str, ...]:
        return self.base.logarithms

    @cached_property
    def elements(self) -> int:
        """The event dimensions whose elements are independent under the base."""
        return len(self.event) - self.base.event_dim

    def ranks(self) -> list[int]:
        """For each parameter of the signature, the number of dimensions of its shape."""
        raise NotImplementedError

    def sample(self, shape: Sequence[int], params: Sequence[Any], like: Tensor, noise: Noise) -> Tensor:
        with torch.no_grad():
            return self.drawn(shape, params, like, noise)

    def drawn(self, shape: Sequence[int], params: Sequence[Any], like: Tensor, noise: Noise) -> Tensor:
        """A sample of a shape, without gradients."""
        raise NotImplementedError

    def made(self, *, validate_args: bool | None = None, **params: Tensor) -> FormsDistribution:
        """The distribution of parameters in the order of the signature, then their logarithms."""
        ordered = [params[name] for name in self.signature]
        ordered += [params[name].log() for name in self.logarithms]
        ranks = self.ranks()
        ranks += [ranks[self.signature.index(name)] for name in self.logarithms]
        outer = len(self.event) - self.event_dim
        batch = broadcast(*(value.shape[: max(0, value.ndim - rank)] for value, rank in zip(ordered, ranks)))
        return FormsDistribution(self, ordered, (*batch, *self.event[:outer]), self.event[outer:], validate_args)


class FormsDistribution(TorchDistribution):
    """A distribution that samples and scores by the formulas of its family, for families that no distribution class stands for."""

    arg_constraints = {}

    def __init__(self, forms: Any, params: Sequence[Tensor], batch_shape: Sequence[int], event_shape: Sequence[int], validate_args: bool | None = None):
        self.forms, self.params = forms, tuple(params)
        super().__init__(torch.Size(batch_shape), torch.Size(event_shape), validate_args=validate_args)

    @property
    def has_rsample(self) -> bool:
        return self.forms.reparameterized

    @property
    def support(self) -> constraints.Constraint:
        own, rank = self.forms.space.constraint, len(self.event_shape)
        return constraints.independent(own, rank - own.event_dim) if rank > own.event_dim else own

    @property
    def has_enumerate_support(self) -> bool:
        return self.forms.space.cardinality is not None and not self.event_shape

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> FormsDistribution:
        return FormsDistribution(self.forms, self.params, batch_shape, self.event_shape, self._validate_args)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        if not self.has_rsample:
            raise NotImplementedError("not reparameterized; use sample")
        return self._drawn(sample_shape)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with torch.no_grad():
            return self._drawn(sample_shape)

    def _drawn(self, sample_shape: Sequence[int]) -> Tensor:
        return self.forms.sample((*sample_shape, *self.batch_shape, *self.event_shape), self.params, self.params[0], noise)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        found = -self.forms.surprisal(value, self.params)
        return found.expand(broadcast(found.shape, self.batch_shape))

    def enumerate_support(self, expand: bool = True) -> Tensor:
        space, like = self.forms.space, self.params[0]
        states = torch.arange(space.cardinality, device=like.device, dtype=torch.long if space.integer else like.dtype)
        states = states.reshape(-1, *(1,) * len(self.batch_shape))
        return states.expand(-1, *self.batch_shape) if expand else states
