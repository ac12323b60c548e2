"""Generators: nodes that can be sampled and have no density."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.distributions import transform_to

from ..families import Delta, Noise, Real, Space, Variable
from ..families.kind import Architecture
from ..families.variable import checked_shape
from ..graph import GraphError
from .base import Conditional
from .distribution import ConditionalDistribution, leading
from .networks import Shared
from .parametric import Parametric
from .ports import Port

__all__ = ["Generator", "Implicit"]


def Generator(*shape: int, space: Space | None = None) -> Variable:
    """A node that a network makes of its parents: x = g(parents). It samples, and has no density.

    Its randomness is that of its parents: of latents, or of the data where all are Given, as in translation. Objectives that compare samples train it:
    `Adversarial(model, critics)` and `Matching(model, distance)`.

    Args:
        shape: the event shape.
        space: where values live, the real line by default; `Interval(0, 1)` puts a sigmoid behind the network, `Positive()` an
            exponential, `Simplex()` a softmax.

    Raises:
        GraphError: a finite space, through which no gradient could reach the network.

    Source: Mohamed and Lakshminarayanan (2016), https://arxiv.org/abs/1610.03483.

    Example:
        >>> import dgm_ppl as dgm
        >>> dgm.BayesNet(z=dgm.Normal(8, loc=0.0, scale=1.0), x=dgm.Generator(1, 28, 28).given("z", net=dgm.MLP(64)))
        z ~ Normal(8, loc=0.0, scale=1.0)
        x | z ~ Generator(1, 28, 28), MLP(64)
    """
    if space is not None and (not isinstance(space, Space) or space.integer or space.cardinality is not None):
        raise GraphError(f"Generator: expected a space of real numbers such as dgm.Interval(0, 1); got {space!r}; samples must be differentiable in the network")
    return Variable(Implicit(), checked_shape(shape, "Generator"), declared_space=space)


@dataclass(frozen=True, repr=False)
class Implicit(Architecture):
    """The kind of `Generator` nodes."""

    def exact(self, variable: Variable) -> bool:
        return False

    def space(self, variable: Variable) -> Space:
        return Real()

    def summary(self, variable: Variable) -> str:
        space = [] if variable.declared_space is None else [f"space={variable.space!r}"]
        return f"Generator({', '.join([*map(str, variable.shape), *space])})"

    def caption(self, variable: Variable) -> str:
        return f"Generator({', '.join(map(str, variable.shape))})"

    def check(self, name: str, variable: Variable, parents: Mapping[str, Variable]) -> None:
        if not parents:
            raise GraphError(f"node {name!r}: a Generator makes its value of its parents; got none; try dgm.Generator(...).given('z', net=dgm.MLP(128))")

    def build(self, name: str, variable: Variable, ports: Sequence[Port], *, plates: Sequence[int], all_plates: int, shared: Shared) -> Conditional:
        return Generating(name, variable, ports, plates=plates, all_plates=all_plates, shared=shared)


class Generating(Conditional):
    """x = g(parents), mapped to the node's space."""

    density = None

    def __init__(self, name: str, variable: Variable, ports: Sequence[Port], *, plates: Sequence[int], all_plates: int, shared: Shared):
        super().__init__(name, variable, ports)
        computed = Variable(Delta, variable.shape, parents=variable.parents, net=variable.net, fn=variable.fn)
        self.function = Parametric(name, computed, ports, plates=plates, all_plates=all_plates, shared=shared)
        self.mapped = type(variable.space) is not Real

    @property
    def reparameterized(self) -> bool:
        return True

    @property
    def functional(self) -> bool:
        return True

    def prepare(self, *parents: Tensor) -> Tensor:
        value = self.function.prepare(*parents)[0]
        return transform_to(self.variable.space.constraint)(value) if self.mapped else value

    def draw(self, batch: Sequence[int], prepared: Tensor, noise: Noise) -> Tensor:
        try:
            return prepared.expand(*batch, *self.variable.shape)
        except RuntimeError as error:
            raise GraphError(f"node {self.name!r}: expected its fn to give the shape {self.variable.shape}, worlds and plates {tuple(batch)} before it; got {tuple(prepared.shape)}; check what is summed, and the plates") from error

    def surprisals(self, value: Tensor, prepared: Any) -> Tensor:
        raise self.without_density("its log-density")

    def forward(self, *parents: Tensor, validate_args: bool | None = None) -> ConditionalDistribution:
        return ConditionalDistribution(self, self.prepare(*parents), leading(self.ports, parents), validate_args)
