"""Guides anchored to the prior: the model's own conditional, its parameters moved towards what the data say."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints, transform_to

from ..families import Architecture, Constant, Family, Gamma, LogitNormal, LogNormal, Noise, Variable
from ..families.shapes import broadcast
from ..graph import GraphError
from .base import Conditional
from .distribution import ConditionalDistribution
from .networks import Shared, network_of
from .parametric import Parametric
from .ports import Port

__all__ = ["Anchored", "AnchoredConditional", "anchorable"]

LOGISTIC_SCALE = math.sqrt(math.pi / 8) ** -1                                # the normal whose quantiles are nearest to a logistic's


def _half_normal(prior: Mapping[str, Any]) -> dict[str, Any]:
    scale = prior["scale"]
    return {"loc": _log(scale) - 0.5 * (math.log(2) + 0.5772156649), "scale": _like(scale, math.pi / math.sqrt(8))}


def _half_cauchy(prior: Mapping[str, Any]) -> dict[str, Any]:
    return {"loc": _log(prior["scale"]), "scale": _like(prior["scale"], math.pi / 2)}


def _exponential(prior: Mapping[str, Any]) -> dict[str, Any]:
    return {"concentration": _like(prior["rate"], 1.0), "rate": prior["rate"]}


def _uniform(prior: Mapping[str, Any]) -> dict[str, Any]:
    return {"loc": _like(prior["low"], 0.0), "scale": _like(prior["low"], LOGISTIC_SCALE), "low": prior["low"], "high": prior["high"]}


def _log(value: Any) -> Any:
    return value.log() if isinstance(value, Tensor) else math.log(value)


def _like(value: Any, number: float) -> Any:
    return torch.full_like(value, number) if isinstance(value, Tensor) else number


STAND_INS: Mapping[str, tuple[Family, tuple[str, ...], Callable]] = {       # families whose members are too few to be a posterior: a wider one, and where it starts
    "HalfNormal": (LogNormal, (), _half_normal),
    "HalfCauchy": (LogNormal, (), _half_cauchy),
    "Exponential": (Gamma, (), _exponential),
    "Uniform": (LogitNormal, ("low", "high"), _uniform),
}
"""Half-normal and half-Cauchy logarithms have these means and deviations; an exponential is a gamma; a uniform's log-odds are logistic."""


def anchorable(latent: Variable) -> bool:
    """Whether a latent's own family can be anchored: one of named parameters, which the guide's declaration has too."""
    if not isinstance(latent.family, Family) or latent.is_deterministic:
        return False
    if latent.family.name in STAND_INS:
        return latent.family.name != "Uniform" or all(isinstance(latent.fixed.get(bound), Constant) for bound in ("low", "high"))
    return set(Anchored(latent).base.signature) - {"logits", "probs"} <= set(latent.signature)


@dataclass(frozen=True, repr=False)
class Anchored(Architecture):
    """q = family(lambda * prior's parameters + (1 - lambda) * alpha), lambda in (0, 1) and alpha computed from what the guide reads.

    `prior` is the model's own conditional. Where lambda is 1 the guide is the prior.
    """

    prior: Variable

    @property
    def inner(self) -> tuple[Variable, ...]:
        return (self.prior,)

    @property
    def base(self) -> Variable:
        """The family whose parameters are moved."""
        prior = self.prior
        bare = replace(prior, parents=(), net=None, fn=None, parameters=())
        if prior.family.name in STAND_INS:
            family, kept, _ = STAND_INS[prior.family.name]
            return replace(family(*prior.shape), parameters=tuple((name, value) for name, value in prior.parameters if name in kept and isinstance(value, Constant)))
        fixed = tuple((name, value) for name, value in prior.parameters if not prior.family.parameters[name].learnable)
        return replace(bare, parameters=fixed)

    def space(self, variable: Variable) -> Any:
        return self.prior.space

    def summary(self, variable: Variable) -> str:
        return f"Anchored({self.prior.summary})"

    def caption(self, variable: Variable) -> str:
        return f"anchored {self.prior.caption}"

    def check(self, name: str, variable: Variable, parents: Any) -> None:
        if not variable.parents or variable.net is None:
            raise GraphError(f"node {name!r}: an anchored guide reads what is observed through a network; try .given('x', net=dgm.MLP(64))")

    def build(self, name: str, variable: Variable, ports: Sequence[Port], *, plates: Any, all_plates: int, shared: Shared) -> AnchoredConditional:
        base = Parametric(name, self.base, (), plates=plates, all_plates=all_plates, computed_outside=True)
        by_name = {port.name: port for port in ports}
        own = [by_name[parent].plain for parent in self.prior.all_parents]
        prior = Parametric(name, self.prior, own, plates=plates, all_plates=all_plates, shared=shared)
        moved = [parameter for parameter in base.variable.signature if parameter not in base.variable.fixed]
        shapes = [base.variable.parameter_shape(parameter) for parameter in moved]
        readers = [by_name[parent] for parent in variable.parents]
        network = network_of(name, variable.net, readers, [*moved, *(f"share of {parameter}" for parameter in moved)], [*shapes, *shapes], shared, plates)
        return AnchoredConditional(name, variable, ports, base, prior, network, moved)


class AnchoredConditional(Conditional):
    """The model's conditional (`prior`), the network that moves its parameters, and the formulas of the family."""

    def __init__(self, name: str, variable: Variable, ports: Sequence[Port], base: Parametric, prior: Conditional, network: torch.nn.Module, moved: Sequence[str]):
        super().__init__(name, variable, ports)
        self.base, self.prior, self.network, self.moved = base, prior, network, tuple(moved)
        self.elements = base.elements
        names = [port.name for port in self.ports]
        self.plain = [port.plain for port in self.ports]
        self.read = [names.index(parent) for parent in variable.parents]
        self.above = [names.index(port.name) for port in prior.ports]
        self.maps = [_into(base.variable.family.parameters[parameter].constraint) for parameter in self.moved]
        stand_in = STAND_INS.get(variable.family.prior.family.name)
        self.start = stand_in[2] if stand_in else dict

    @property
    def finite(self) -> bool:
        return self.base.finite

    @property
    def functional(self) -> bool:
        return self.base.functional

    @property
    def reparameterized(self) -> bool:
        return self.base.reparameterized

    def prepare(self, *parents: Tensor) -> tuple:
        """The family's parameters, then the logarithms that its formulas want."""
        given = [self.plain[i].receive(parents[i]) if self.ports[i].frame else parents[i] for i in self.above]
        prior = dict(zip(self.prior.variable.signature, self.prior.prepare(*given)))
        start = self.start(_in_terms_of(self.base.variable.signature, prior, self.variable.size))
        found = self.network(*[parents[i] for i in self.read])
        values = {}
        for place, parameter in enumerate(self.moved):
            towards, share = self.maps[place](found[place]), torch.sigmoid(found[place + len(self.moved)] + 1.0)
            values[parameter] = share * start[parameter] + (1 - share) * towards
        for parameter in self.base.variable.signature:
            if parameter not in values:
                values[parameter] = start[parameter]
        logarithms = [_log(values[parameter]) for parameter in self.base.forms.logarithms]
        return (*(values[parameter] for parameter in self.base.variable.signature), *logarithms)

    def draw(self, batch: Sequence[int], prepared: tuple, noise: Noise) -> Tensor:
        return self.base.draw(batch, prepared, noise)

    def surprisals(self, value: Tensor, prepared: tuple) -> Tensor:
        return self.base.surprisals(value, prepared)

    def divergences(self, prepared: tuple, other: Conditional, other_prepared: Any) -> Tensor | None:
        return self.base.divergences(prepared, other, other_prepared)

    def of_model(self, theirs: Conditional | None) -> None:
        if theirs is not None:
            self.prior = theirs
        elif any(True for _ in self.prior.parameters()):
            raise GraphError(f"node {self.name!r}: its guide is anchored to the model's own conditional, which has parameters; hand the model over: dgm.compile(recognition, share=model)")

    def forward(self, *parents: Tensor, validate_args: bool | None = None) -> ConditionalDistribution:
        prepared = self.prepare(*parents)
        ranks = [len(self.base.variable.parameter_shape(parameter)) for parameter in self.base.variable.signature]
        batch = broadcast(*(value.shape[: max(0, value.ndim - rank)] for value, rank in zip(prepared, ranks) if isinstance(value, Tensor)))
        return ConditionalDistribution(self, prepared, batch, validate_args)


def _into(constraint: constraints.Constraint) -> Callable[[Tensor], Tensor]:
    """The map from numbers to a parameter's range."""
    inner = constraint.base_constraint if isinstance(constraint, constraints.independent) else constraint
    return (lambda value: value) if inner is constraints.real else transform_to(inner)


def _in_terms_of(signature: Sequence[str], prior: dict[str, Any], states: int | None) -> dict[str, Any]:
    """The prior's parameters by the names that the guide's family has them under."""
    if "logits" in signature and "probs" in prior:
        probs = _tensor(prior["probs"]).clamp(1e-7, 1 - 1e-7)
        prior["logits"] = probs.log() if states else probs.logit()
    elif "probs" in signature and "logits" in prior:
        logits = _tensor(prior["logits"])
        prior["probs"] = logits.softmax(-1) if states else logits.sigmoid()
    return prior


def _tensor(value: Any) -> Tensor:
    return value if isinstance(value, Tensor) else torch.tensor(value)
