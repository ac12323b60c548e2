"""Counts with more zeros, or zeros of another origin, than their family has."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import pyro.distributions as dist
import torch
from pyro.distributions import constraints
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

from ..families import Counts, Forms, Noise, Parameter, Variable
from ..graph import GraphError
from .derived import Derived, DerivedForms, derived

__all__ = ["Hurdle", "HurdleCounts", "ZeroInflated", "ZeroInflatedCounts"]


def ZeroInflated(base: Variable, *, gate: Any = None, gate_logits: Any = None) -> Variable:
    """Counts that are zero with probability `gate`, else a draw of the base, zero or not: p(x) = g 1[x = 0] + (1 - g) p_base(x) (Lambert, 1992).

    The gate and the parameters of the base have the event's shape; what is left out is learned, or computed from the parents.

    Raises:
        GraphError: a base that is not a family of counts.

    Example:
        >>> import dgm_ppl as dgm
        >>> dgm.ZeroInflated(dgm.NegativeBinomial(3, total_count=4.0), gate=0.2)
        ZeroInflated(NegativeBinomial(3, total_count=4.0), gate=0.2)
    """
    return _counts("ZeroInflated", base, ZeroInflatedCounts, gate, gate_logits)


def Hurdle(base: Variable, *, gate: Any = None, gate_logits: Any = None) -> Variable:
    """Counts that are zero with probability `gate`, else a draw of the base given that it is above zero: p(x) = (1 - g) p_base(x) / (1 - p_base(0)) (Mullahy, 1986).

    Raises:
        GraphError: a base other than Poisson, NegativeBinomial and Binomial.

    Example:
        >>> import dgm_ppl as dgm
        >>> dgm.Hurdle(dgm.Poisson(rate=2.0), gate=0.5)
        Hurdle(Poisson(rate=2.0), gate=0.5)
    """
    found = _counts("Hurdle", base, HurdleCounts, gate, gate_logits)
    if found.family.family.name not in ABOVE_ZERO:
        raise GraphError(f"Hurdle: expected one of {', '.join(ABOVE_ZERO)}, whose draws above zero are known; got {base!r}; try dgm.ZeroInflated({base.summary})")
    return found


def _counts(place: str, base: Any, kind: Callable, gate: Any, gate_logits: Any) -> Variable:
    found = derived(place, base, kind, gate=gate, gate_logits=gate_logits)
    if not isinstance(found.space, Counts):
        raise GraphError(f"{place}: expected a family of counts; got {base!r}, with values in {found.space}; try dgm.{place}(dgm.Poisson())")
    return found


@dataclass(frozen=True, repr=False)
class ZeroInflatedCounts(Derived):
    """The distribution of a node that `ZeroInflated` declares."""

    own: ClassVar[Mapping] = {"gate_logits": Parameter(constraints.real), "gate": Parameter(constraints.unit_interval)}

    @property
    def label(self) -> str:
        return "ZeroInflated"

    def caption(self, variable: Variable) -> str:
        return f"{self.label} {self.base.caption}"

    def parameter_shape(self, name: str, variable: Variable) -> tuple[int, ...]:
        return self.base.shape if name in self.own else self.base.parameter_shape(name)

    def forms_of(self, signature: tuple[str, ...]) -> Forms:
        base = self.family.forms_of(signature[1:])
        return self._forms(self.family.distribution, signature, 0, False, base=base, event=self.base.shape)

    @property
    def _forms(self) -> Callable:
        return ZeroInflatedForms


@dataclass(frozen=True, repr=False)
class HurdleCounts(ZeroInflatedCounts):
    """The distribution of a node that `Hurdle` declares."""

    @property
    def label(self) -> str:
        return "Hurdle"

    @property
    def _forms(self) -> Callable:
        return HurdleForms


class Gated(DerivedForms):
    """A gate in front of the base's parameters."""

    @cached_property
    def _logits(self) -> bool:
        return self.signature[0] == "gate_logits"

    def ranks(self) -> list[int]:
        return [len(self.event)] * len(self.signature)

    def gates(self, gate: Any, like: Tensor) -> tuple[Tensor, Tensor]:
        """log g and log(1 - g)."""
        gate = gate if isinstance(gate, Tensor) else like.new_full((), gate)
        if self._logits:
            return logsigmoid(gate), logsigmoid(-gate)
        return gate.log(), torch.log1p(-gate)

    def open(self, shape: Sequence[int], gate: Any, like: Tensor, noise: Noise) -> Tensor:
        """Which values do not stop at the gate, as numbers."""
        chance = (gate if isinstance(gate, Tensor) else like.new_full((), gate)).expand(shape)
        named = {"logits": noise.widen(-chance)} if self._logits else {"probs": noise.widen(1 - chance)}
        return noise.narrow(dist.Bernoulli(**named, validate_args=False).sample())


class ZeroInflatedForms(Gated):
    """log p(x) = log(g 1[x = 0] + (1 - g) p(x)).

    Of the log-odds u = log((1 - g) / g), -log p(x) = softplus(u) - softplus(u + log p(x)) at zero and softplus(u) - (u + log p(x)) above.
    """

    def surprisal(self, value: Tensor, params: Sequence[Any]) -> Tensor:
        counted = self.base.surprisal(value, params[1:])
        gate = params[0] if isinstance(params[0], Tensor) else counted.new_full((), params[0])
        if self._logits:
            odds = -gate
            both = odds - counted
            return softplus(odds) - torch.where(value == 0, softplus(both), both)
        counted = torch.log1p(-gate) - counted
        return -torch.where(value == 0, torch.logaddexp(gate.log(), counted), counted)

    def drawn(self, shape: Sequence[int], params: Sequence[Any], like: Tensor, noise: Noise) -> Tensor:
        opened = self.open(shape, params[0], like, noise)
        return opened * self.base.sample(shape, params[1:], like, noise)


class HurdleForms(Gated):
    """log p(0) = log g; log p(x) = log(1 - g) + log p_base(x) - log(1 - p_base(0)) above."""

    def surprisal(self, value: Tensor, params: Sequence[Any]) -> Tensor:
        closed, opened = self.gates(params[0], value)
        nothing = -self.base.surprisal(torch.zeros_like(value), params[1:])
        above = value.clamp_min(1)                                          # so that no gradient passes through a base at zero
        counted = opened - self.base.surprisal(above, params[1:]) - torch.log(-torch.expm1(nothing))
        return -torch.where(value == 0, closed, counted)

    def drawn(self, shape: Sequence[int], params: Sequence[Any], like: Tensor, noise: Noise) -> Tensor:
        opened = self.open(shape, params[0], like, noise)
        named = dict(zip(self.signature[1:], params[1:]))
        placed = {name: noise.widen((value if isinstance(value, Tensor) else like.new_full((), value)).expand(shape)) for name, value in named.items()}
        return opened * noise.narrow(ABOVE_ZERO[self.base.distribution.__name__](placed))


def _poisson(params: Mapping[str, Tensor]) -> Tensor:
    """The first arrival of a Poisson process, given that there is one, at time t; then those of the rest of the time."""
    rate = params["rate"]
    first = _first(rate)
    return 1 + torch.poisson((rate - first).clamp_min(0))


def _negative_binomial(params: Mapping[str, Tensor]) -> Tensor:
    """Clusters of logarithmic size arrive at the rate -log(1 - p) for a time `total_count`: the first cluster, given one, and those of the rest of the time."""
    count, odds = params["total_count"], params["logits"] if "logits" in params else torch.logit(params["probs"])
    arrival = torch.nn.functional.softplus(odds)                            # -log(1 - p)
    first = _first(arrival * count) / arrival
    u, v = torch.rand_like(odds), torch.rand_like(odds)
    q = -torch.expm1(-u * arrival)                                          # a logarithmic count is geometric with a random q (Kemp, 1981)
    size = 1 + (v.log() / q.log()).floor()
    rest = dist.Gamma((count - first).clamp_min(torch.finfo(odds.dtype).tiny), torch.exp(-odds), validate_args=False).sample()
    return size + torch.poisson(rest)


def _binomial(params: Mapping[str, Tensor]) -> Tensor:
    """The first success, given that there is one; then the binomial number of those after it."""
    count, odds = params["total_count"], params["logits"] if "logits" in params else torch.logit(params["probs"])
    arrival = torch.nn.functional.softplus(odds)
    first = (_first(arrival * count) / arrival).floor().minimum(count - 1)  # failures before it
    return 1 + dist.Binomial(count - 1 - first, logits=odds, validate_args=False).sample()


def _first(total: Tensor) -> Tensor:
    """An exponential time of rate one, given that it is below `total`."""
    return -torch.log1p(torch.rand_like(total) * torch.expm1(-total))


ABOVE_ZERO: Mapping[str, Callable[[Mapping[str, Tensor]], Tensor]] = {"Poisson": _poisson, "NegativeBinomial": _negative_binomial, "Binomial": _binomial}
