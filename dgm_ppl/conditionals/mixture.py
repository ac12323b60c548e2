"""Mixtures of the members of a family, the component summed out: p(x) = sum_k w_k p(x; theta_k)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import pyro.distributions as dist
import torch
from pyro.distributions import constraints
from torch import Tensor, nn

from ..families import Interval, Noise, Parameter, Variable
from ..families.usual import usual
from ..families.variable import whole
from ..graph import GraphError
from .derived import Derived, DerivedForms, derived
from .parametric import Parametric
from .predictors import Table

__all__ = ["FiniteMixture", "Mixture"]


def Mixture(base: Variable, *, components: int, elementwise: bool = False, weights: Any = None) -> Variable:
    """A node distributed as one of `components` members of a family: p(x) = sum_k w_k p(x; theta_k), the component summed out exactly.

    Each parameter of the base has one value a component, `(components, *shape)`; with parents they and the weights come from a table, a
    linear predictor or a network: a mixture density network (Bishop, 1994). The component is one for the whole event
    `(*worlds, *plates, *shape)`, or one for each of its elements where `elementwise`.

    Args:
        base: a family's declaration; what it gives is fixed: for all components, or one value each in front, `loc=[[-1.0], [1.0]]`.
        components: how many.
        elementwise: whether each element of the event draws a component of its own.
        weights: the probabilities of the components, if they are known; `dgm.free(...)` and expressions work too.

    Raises:
        GraphError: a base that is not a family's, that has parents, or is deterministic.

    Example:
        >>> import dgm_ppl as dgm
        >>> net = dgm.BayesNet(z=dgm.Normal(2), x=dgm.Mixture(dgm.Normal(3), components=5).given("z", net=dgm.MLP(16)))
        >>> net["x"]
        Mixture(Normal(3), components=5) | z, MLP(16)
        >>> dgm.compile(net).sample(4)["x"].shape
        torch.Size([4, 3])
    """
    if (whole(components) or 0) < 1:
        raise GraphError(f"Mixture: expected a positive whole number of components; got {components!r}; try components=5")
    return derived("Mixture", base, lambda stripped: FiniteMixture(stripped, whole(components), bool(elementwise)), weights=weights)


@dataclass(frozen=True, repr=False)
class FiniteMixture(Derived):
    """The distribution of a node that `Mixture` declares."""

    components: int = 1
    elementwise: bool = False

    own: ClassVar = {"weight_logits": Parameter(constraints.real_vector), "weights": Parameter(constraints.simplex)}

    @property
    def label(self) -> str:
        return "Mixture"

    def options(self) -> list[str]:
        return [f"components={self.components}", *(["elementwise=True"] if self.elementwise else [])]

    def caption(self, variable: Variable) -> str:
        return f"{self.components} x {self.base.caption}"

    def parameter_shape(self, name: str, variable: Variable) -> tuple[int, ...]:
        if name not in self.own:
            return self.components, *self.base.parameter_shape(name)
        elements = self.base.shape[: len(self.base.shape) - self.family.event_dim] if self.elementwise else ()
        return *elements, self.components

    def as_guide_of(self, variable: Variable, latent: Variable) -> Variable:
        """Components of the base's family where that has the latent's values, else of the usual one for them."""
        if latent.space.cardinality is not None or variable.shape not in ((), latent.shape):
            return variable
        if type(variable.space) is type(latent.space) and not isinstance(latent.space, Interval):
            return replace(variable, shape=latent.shape, family=replace(self, base=replace(self.base, shape=latent.shape)))
        return Mixture(usual(latent), components=self.components, elementwise=self.elementwise)

    def build(self, name: str, variable: Variable, ports: Any, *, plates: Any, all_plates: int, shared: Any) -> Parametric:
        ready = isinstance(variable.net, nn.Module) or id(variable.net) in shared          # a user's own module, or one at hand: its weights stay
        found = super().build(name, variable, ports, plates=plates, all_plates=all_plates, shared=shared)
        if found.predictor is not None and not ready:
            _spread(found, [parameter for parameter in found.computed if parameter in self.linear])
        return found

    def start(self, name: str, shape: tuple[int, ...]) -> Tensor:
        return super().start(name, shape) + (0 if name in self.own else torch.randn(shape))   # equal components would stay equal

    def forms_of(self, signature: tuple[str, ...]) -> MixtureForms:
        base, event = self.family.forms_of(signature[1:]), self.base.shape
        rank = self.family.event_dim if self.elementwise else len(event)
        return MixtureForms(
            self.family.distribution, signature, rank, False, base=base, event=event, elementwise=self.elementwise,
            shapes=tuple(self.base.parameter_shape(name) for name in signature[1:]),
        )


def _spread(conditional: Parametric, names: Sequence[str]) -> None:
    """Moves the locations of a new predictor's components apart, the same way for all parents: components that start alike are a saddle point."""
    shapes = {name: conditional.variable.parameter_shape(name) for name in conditional.computed}
    offsets = {name: torch.randn(shape) if name in names else torch.zeros(shape) for name, shape in shapes.items()}
    joined, total = torch.cat([offset.reshape(-1) for offset in offsets.values()]), sum(map(math.prod, shapes.values()))
    with torch.no_grad():
        for module in conditional.predictor.modules():
            if isinstance(module, Table):
                for name, rows in module.rows.items():
                    rows += offsets[name]
        biases = [bias for name, bias in conditional.predictor.named_parameters() if name.rsplit(".")[-1] == "bias"]
        if biases and biases[-1].shape[-1] == total:                        # that of the last layer, which puts parameter after parameter
            biases[-1] += joined


@dataclass(frozen=True, kw_only=True)
class MixtureForms(DerivedForms):
    """log p(x) = logsumexp_k (log w_k + log p(x; theta_k)); components lie in front of the event's dimensions."""

    elementwise: bool
    shapes: tuple[tuple[int, ...], ...]

    def ranks(self) -> list[int]:
        return [1 + self._outer, *(len(shape) + 1 for shape in self.shapes)]

    @cached_property
    def _outer(self) -> int:
        """The event dimensions that are batch dimensions of the distribution."""
        return self.elements if self.elementwise else 0

    @cached_property
    def _inside(self) -> tuple[int, ...]:
        """The event dimensions that one component is drawn for, and that the base has densities for."""
        return () if self.elementwise else tuple(range(-self.elements, 0))

    def _log_weights(self, weights: Tensor) -> Tensor:
        """`(*batch, components, *elements)`, elements being there where each has weights of its own."""
        found = weights.log() if self._known else weights.log_softmax(-1)
        return found.movedim(-1, -1 - self._outer) if self._outer else found

    @cached_property
    def _known(self) -> bool:
        return self.signature[0] == "weights"

    def surprisal(self, value: Tensor, params: Sequence[Any]) -> Tensor:
        terms = self.base.surprisal(value.unsqueeze(-1 - len(self.event)), params[1:])
        if self._inside:
            terms = terms.sum(self._inside)
        return -torch.logsumexp(self._log_weights(params[0]) - terms, -1 - self._outer)

    def drawn(self, shape: Sequence[int], params: Sequence[Any], like: Tensor, noise: Noise) -> Tensor:
        batch = tuple(shape[: len(shape) - len(self.event)])
        weights = params[0].expand(*batch, *self.event[: self._outer], params[0].shape[-1])
        logits = weights.log() if self._known else weights
        chosen = noise.narrow(dist.Categorical(logits=noise.widen(logits), validate_args=False).sample())   # (*batch, *elements)
        shapes = [*self.shapes, *(self.shapes[self.signature.index(name) - 1] for name in self.logarithms)]
        picked = [_picked(value.expand(*batch, weights.shape[-1], *own), chosen, len(batch)) for value, own in zip(params[1:], shapes)]
        return self.base.sample(shape, picked, like, noise)


def _picked(value: Tensor, chosen: Tensor, axis: int) -> Tensor:
    """A parameter `(*batch, components, *shape)` of the chosen component, `(*batch, *shape)`; `axis` is that of the components."""
    index = chosen.reshape((*chosen.shape, *(1,) * (value.ndim - 1 - chosen.ndim))).unsqueeze(axis)
    return value.gather(axis, index.expand(*value.shape[:axis], 1, *value.shape[axis + 1:])).squeeze(axis)
