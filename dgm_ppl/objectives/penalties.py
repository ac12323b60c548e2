"""What is added to a critic's or a model's loss: bounds on a critic's slope, cycles that must close, codes that must be readable."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..compile import Model
from ..compile.reduction import PerWorld
from ..families import Setting
from ..graph import GraphError, did_you_mean
from .critics import CriticNetwork

__all__ = ["R1", "R2", "Consistency", "CriticPenalty", "GradientPenalty", "ModelTerm", "MutualInformation"]

Values = Sequence[Tensor]


def _positive(kind: str, name: str, value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
        raise GraphError(f"{kind}: expected {name} above 0; got {value!r}")


class CriticPenalty(Setting):
    """A term of the critic's loss."""

    @abstractmethod
    def __call__(self, critic: CriticNetwork, real: Values, fake: Values) -> Tensor:
        """The penalty, one number a world (and plate member)."""


@dataclass(frozen=True, repr=False)
class GradientPenalty(CriticPenalty):
    """weight (|grad D| - target)^2 at points between real and generated worlds, which keeps D near 1-Lipschitz.

    Source: Gulrajani et al. (2017), https://arxiv.org/abs/1704.00028.
    """

    weight: float = 10.0
    target: float = 1.0

    def __post_init__(self) -> None:
        _positive("GradientPenalty", "weight", self.weight)

    def __call__(self, critic: CriticNetwork, real: Values, fake: Values) -> Tensor:
        rows = real[critic.smooth[0]].shape[0]
        between = real[critic.smooth[0]].new_empty(rows).uniform_()
        mixed = list(real)
        for i in critic.smooth:
            share = between.reshape(-1, *(1,) * (real[i].ndim - 1))
            mixed[i] = torch.lerp(fake[i].to(real[i].dtype), real[i], share)
        slope = critic.squared_slope(mixed)
        return self.weight * ((slope + 1e-12).sqrt() - self.target).square()


@dataclass(frozen=True, repr=False)
class R1(CriticPenalty):
    """weight / 2 |grad D|^2 at the data. Source: Mescheder et al. (2018), https://arxiv.org/abs/1801.04406."""

    weight: float = 1.0

    def __post_init__(self) -> None:
        _positive("R1", "weight", self.weight)

    def __call__(self, critic: CriticNetwork, real: Values, fake: Values) -> Tensor:
        return self.weight / 2 * critic.squared_slope(real)


@dataclass(frozen=True, repr=False)
class R2(CriticPenalty):
    """weight / 2 |grad D|^2 at generated worlds. Source: Mescheder et al. (2018), https://arxiv.org/abs/1801.04406."""

    weight: float = 1.0

    def __post_init__(self) -> None:
        _positive("R2", "weight", self.weight)

    def __call__(self, critic: CriticNetwork, real: Values, fake: Values) -> Tensor:
        return self.weight / 2 * critic.squared_slope(fake)


class ModelTerm(Setting):
    """A term of the model's loss."""

    def check(self, model: Model) -> None:
        """Raises `GraphError` for names that the model lacks."""

    @property
    def covers(self) -> tuple[str, ...]:
        """The nodes that this term trains."""
        return ()

    @property
    def reads(self) -> tuple[str, ...]:
        """The nodes that this term looks at."""
        return self.covers

    @property
    def modules(self) -> tuple[Any, ...]:
        """Modules that are trained beside the model."""
        return ()

    @abstractmethod
    def __call__(self, found: Mapping[str, Tensor]) -> Tensor:
        """The term, one number a world, from every node's generated value."""

    def describe(self) -> str:
        return repr(self)


@dataclass(frozen=True, repr=False)
class Consistency(ModelTerm):
    """weight times the mean absolute difference of two nodes: a cycle that closes, a reconstruction, an identity.

    Source: Zhu et al. (2017), https://arxiv.org/abs/1703.10593.
    """

    node: str
    target: str
    weight: float = 10.0

    def __post_init__(self) -> None:
        _positive("Consistency", "weight", self.weight)

    def check(self, model: Model) -> None:
        for name in (self.node, self.target):
            if name not in model.net:
                raise GraphError(f"{self!r}: no node {name!r}{did_you_mean(name, model.net)}")
        if model.net[self.node].shape != model.net[self.target].shape:
            raise GraphError(f"{self!r}: {self.node!r} has the shape {model.net[self.node].shape}, {self.target!r} has {model.net[self.target].shape}; expected one shape")
        if model.net[self.node].space.integer or model.net[self.target].space.integer:
            raise GraphError(f"{self!r}: {self.node!r} has values in {model.net[self.node].space}, {self.target!r} in {model.net[self.target].space}; expected real numbers, whose difference has a gradient")

    @property
    def covers(self) -> tuple[str, ...]:
        return (self.node,)

    @property
    def reads(self) -> tuple[str, ...]:
        return self.node, self.target

    def __call__(self, found: Mapping[str, Tensor]) -> Tensor:
        apart = (found[self.node] - found[self.target]).abs()
        return self.weight * apart.reshape(len(apart), -1).mean(1)


@dataclass(frozen=True, eq=False, repr=False)
class MutualInformation(ModelTerm):
    """-weight E[log q(latent | generated)], the mean over plate members: a lower bound of the information between a latent and what is made of it (InfoGAN).

    `guide` is a compiled recognition net with the latent; its parameters are trained with the model's. What q reads is drawn from the guide itself where it is a latent
    too, given what the model made: a code that only the model's other latents tell is none that can be read.

    Source: Chen et al. (2016), https://arxiv.org/abs/1606.03657.
    """

    latent: str
    guide: Model
    weight: float = 1.0

    def __post_init__(self) -> None:
        _positive("MutualInformation", "weight", self.weight)
        if not isinstance(self.guide, Model) or self.latent not in self.guide.random:
            raise GraphError(f"MutualInformation: expected a compiled guide with the latent {self.latent!r}; try dgm.compile(dgm.amortize(net, observed='x', collapse=False))")

    def check(self, model: Model) -> None:
        if self.latent not in model.random:
            raise GraphError(f"MutualInformation: the model has no latent {self.latent!r}{did_you_mean(self.latent, model.random)}")
        guide = self.guide.net
        for name in (self.latent, *guide.ancestors(self.latent)):
            if name not in model.net and not guide[name].is_deterministic:
                raise GraphError(f"MutualInformation: the guide reads {name!r}, which the model has not{did_you_mean(name, model.net)}; try dgm.compile(dgm.amortize(net, observed='x'))")
            if name in model.net and (guide[name].shape != model.net[name].shape or guide[name].space.cardinality != model.net[name].space.cardinality):
                raise GraphError(
                    f"MutualInformation: {name!r} is {guide[name].summary} in the guide and {model.net[name].summary} in the model; expected one shape and the same states"
                )
        for node in self.guide.schedule:
            if node.name in guide.ancestors(self.latent) and not (node.deterministic or node.conditional.reparameterized):
                read = f"dgm.compile(dgm.BayesNet(x=dgm.Given(...), {self.latent}={guide[self.latent].caption}.given('x', net=dgm.MLP(128))))"
                raise GraphError(f"MutualInformation: the guide reads its latent {node.name!r} ~ {guide[node.name].caption} to tell {self.latent!r}, and draws of it have no gradient; give one that reads data alone: {read}")

    @property
    def modules(self) -> tuple[Any, ...]:
        return (self.guide,)

    def __call__(self, found: Mapping[str, Tensor]) -> Tensor:
        node, value, guide = next(node for node in self.guide.schedule if node.name == self.latent), found[self.latent], self.guide
        seen = {name: found[name] for name in guide.net.inputs}
        read = guide.run({**seen, self.latent: value}, value.shape[:1], guide.layout.sizes(seen))
        members = math.prod(value.shape[1: value.ndim - node.event_rank])
        return self.weight / members * PerWorld()(node, node.conditional.surprisals(value, node.prepare(read)), value)

    def describe(self) -> str:
        return f"MutualInformation({self.latent!r}, {self.guide.net!r}, weight={self.weight})"
