"""What diffusions share: a network that takes noise out of a value at any time, trained by regression, run backwards to sample."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..families import Architecture, Finite, Interval, Noise, Positive, Real, Space, Variable
from ..families import noise as plain_noise
from ..families.variable import whole
from ..graph import GraphError
from ..nets import Net
from .base import Conditional
from .distribution import ConditionalDistribution, leading
from .flow.links import Affine, Link, over, scaled_as
from .guidance import Dropping, check_guidance, check_shares
from .networks import Shared, network_of
from .ports import Port
from .probability_flow import flow_log_density
from .samplers import Sampler
from .schedules import Schedule

__all__ = ["FEATURES", "Denoiser", "Denoising", "DenoisingConditional", "check_taken_in", "time_features"]

FEATURES = 32                                           # sines and cosines of the time that the network reads
FASTEST = 40.0                                          # radians that the fastest of them turns from t = 0 to 1; faster ones make flows rough


@dataclass(frozen=True, repr=False)
class Denoising(Architecture):
    """What the kinds of diffusion declare in common."""

    net: Any
    sampler: Sampler
    drop: tuple[tuple[str, float], ...] = ()
    preprocess: Affine | None = None
    context: int = 64

    @property
    def net_label(self) -> str:
        return self.net.label() if isinstance(self.net, Net) else type(self.net).__name__

    def space(self, variable: Variable) -> Any:
        return Real()

    def as_guide_of(self, variable: Variable, latent: Variable) -> Variable:
        if self.sampler.clip is not None:
            raise GraphError(f"amortize: the draws of a guide are weighed by the flow's density, which a clipped sampler does not draw from; got sampler={self.sampler!r}; leave clip out")
        if not isinstance(latent.space, (Real, Positive, Interval)):
            return variable
        kind = self if self.preprocess is not None else replace(self, preprocess=scaled_as(latent))
        return replace(variable, family=kind, shape=variable.shape or latent.shape, declared_space=variable.declared_space or over(latent))

    def options(self, variable: Variable) -> list[str]:
        """What a declaration says of how values and parents are taken in."""
        found = [f"drop={dict(self.drop)}"] if self.drop else []
        found += [f"space={variable.declared_space!r}"] if variable.declared_space is not None else []
        found += [f"preprocess={self.preprocess!r}"] if self.preprocess is not None else []
        return found + ([f"context={self.context}"] if self.context != 64 else [])

    def check(self, name: str, variable: Variable, parents: Mapping[str, Variable]) -> None:
        if variable.fn is not None:
            raise GraphError(f"node {name!r}: fn computes parameters, and a denoiser has none; write .given({', '.join(map(repr, variable.parents))}), or let a network sum the parents up: .given(..., net=dgm.MLP(128))")
        if variable.net is not None and self.drop:
            raise GraphError(f"node {name!r}: drop leaves parents out one by one, which the network that sums them up cannot do without; write .given({', '.join(map(repr, variable.parents))}) alone")
        check_shares(name, self.drop, variable.parents)
        if not isinstance(variable.space, (Real, Positive, Interval, Finite)):
            raise GraphError(f"node {name!r}: noise is added to real numbers, to positive ones by their logarithm and to bounded ones by their log-odds; got {variable.space}; try dgm.Flow(..., space=...)")
        if self.preprocess is not None:
            self.preprocess.check(f"node {name!r}", variable.shape)
        check_guidance(name, self.sampler.guidance, [parent for parent, _ in self.drop], variable.parents)


def check_taken_in(place: str, space: Any, preprocess: Any, context: Any) -> None:
    """Raises for a space, a scaling or a context that no denoiser has."""
    if space is not None and not isinstance(space, Space):
        raise GraphError(f"{place}: expected a space such as dgm.Positive(); got {space!r}")
    if preprocess is not None and not isinstance(preprocess, Affine):
        raise GraphError(f"{place}: expected preprocess=dgm.Affine(loc, scale); got {preprocess!r}")
    if (whole(context) or 0) < 1:
        raise GraphError(f"{place}: expected a positive whole number for context; got {context!r}")


class DenoisingConditional(Conditional):
    """p(x | parents) by a denoising network: `denoiser(prepared, batch)` gives the clean value and the noise in a noisy one."""

    schedule: Any

    def __init__(self, name: str, variable: Variable, ports: Sequence[Port], schedule: Schedule, shared: Shared, plates: Sequence[int] = ()):
        super().__init__(name, variable, ports)
        kind: Denoising = variable.family
        self.register_buffer("anchor", torch.empty(0), persistent=False)
        learned = schedule.module()
        self.schedule = schedule if learned is None else learned
        self.sampler, self.dropping = kind.sampler, Dropping(kind.drop, ports)
        read = [Port("noisy", Real(), variable.shape), Port("time", Real(), (FEATURES,))]
        if kind.drop:
            read.append(Port("present", Real(), (len(kind.drop),)))
        self.encoder = None if variable.net is None or not ports else network_of(name, variable.net, ports, ("context",), [(kind.context,)], shared, plates)
        read += [Port(port.name, Real(), port.encoded_shape) for port in ports] if self.encoder is None else [Port("context", Real(), (kind.context,))]
        self.network = network_of(name, kind.net, read, ("denoised",), [variable.shape], shared)
        self.link = Link(variable.space if variable.declared_space is not None else Real(), affine=kind.preprocess)

    @property
    def finite(self) -> bool:
        return False

    @property
    def functional(self) -> bool:
        return True

    # ---- what the parents determine

    def prepare(self, *parents: Tensor) -> tuple[list[Tensor], tuple[int, ...]]:
        """The encoded parents, or what a network sums them up to, and their batch."""
        if self.encoder is not None:
            (context,) = self.encoder(*parents)
            return [context], tuple(context.shape[:-1])
        return [port.encode(value, self.anchor) for port, value in zip(self.ports, parents)], leading(self.ports, parents)

    def denoiser(self, prepared: Any, batch: Sequence[int], guidance: Sequence[tuple[str, float]] = (), drop: bool = False) -> Denoiser:
        """The network over these parents; `guidance` weighs parents, `drop` leaves some out at random as training does."""
        present = self.dropping.present(batch, self.anchor, drop and self.training)
        return Denoiser(self, prepared[0], tuple(batch), present, guidance)

    # ---- learning

    def events(self, value: Tensor) -> tuple[int, ...]:
        return tuple(range(-len(self.variable.shape), 0))

    def times(self, batch: Sequence[int], like: Tensor) -> Tensor:
        """Times in [0, 1], uniform each and spread evenly over the batch, so that their mean varies little."""
        count = math.prod(batch)
        spread = torch.arange(count, device=like.device, dtype=like.dtype) / max(count, 1)
        return ((spread + torch.rand((), device=like.device, dtype=like.dtype)) % 1.0).reshape(*batch)

    def spread(self, times: Tensor) -> Tensor:
        """A number a world as one that multiplies its event."""
        return times.reshape(*times.shape, *(1,) * len(self.variable.shape))

    def read(self, output: Tensor, noisy: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """The clean value and the noise that the network's output stands for."""
        raise NotImplementedError

    def matching_loss(self, value: Tensor, prepared: Any, weighting: Any) -> Tensor:
        """The denoising error at a random time, weighted, `(*batch)`."""
        raise NotImplementedError

    # ---- sampling

    def draw(self, batch: Sequence[int], prepared: Any, noise: Noise) -> Tensor:
        with torch.set_grad_enabled(noise.moved and torch.is_grad_enabled()):
            return self.decode(self.sampler(self.denoiser(prepared, batch, self.sampler.guidance), noise))

    def sampling(self, how: Any) -> DenoisingConditional:
        if not isinstance(how, Sampler):
            raise GraphError(f"node {self.name!r}: expected a sampler such as dgm.DDIM(20) or dgm.DPMSolver(20, guidance={{'y': 2.0}}); got {how!r}")
        check_guidance(self.name, how.guidance, self.dropping.names, self.variable.parents)
        if self.density != "bound" and not how.deterministic:
            raise GraphError(f"node {self.name!r}: its density is that of draws along the flow, which takes a sampler without fresh noise; got {how!r}; try dgm.Heun(20)")
        twin = copy(self)
        twin.sampler = how
        return twin

    def decode(self, value: Tensor) -> Tensor:
        """From what is diffused to the node's own values."""
        return value if self.link.plain else self.link.value(value.flatten(value.ndim - len(self.variable.shape)) if self.variable.shape else value.unsqueeze(-1), self.variable.shape)

    def encode(self, value: Tensor) -> Tensor:
        """From the node's values to what is diffused."""
        return self.linked(value)[0]

    def linked(self, value: Tensor) -> tuple[Tensor, Tensor | float]:
        """What is diffused, and the log-determinant of the map to it, `(*batch)`."""
        if self.link.plain:
            return value, 0.0
        flat, ladj = self.link.real(value, self.variable.shape)
        return flat.reshape(value.shape), ladj

    def flow_density(self, value: Tensor, prepared: Any, batch: Sequence[int], **accuracy: Any) -> Tensor:
        """log p(value) of the probability flow, `(*batch)`; `accuracy` is what `flow_log_density` takes."""
        clean, ladj = self.linked(value.expand(*batch, *self.variable.shape))
        return flow_log_density(self.denoiser(prepared, batch), clean, **accuracy) + ladj

    def forward(self, *parents: Tensor, validate_args: bool | None = None) -> ConditionalDistribution:
        prepared = self.prepare(*parents)
        return ConditionalDistribution(self, prepared, prepared[1], validate_args)


class Denoiser:
    """E[x | z_t, parents] and the noise in z_t, for one batch of parents. `schedule` says what t stands for."""

    def __init__(self, conditional: DenoisingConditional, parents: Sequence[Tensor], batch: tuple[int, ...], present: Tensor | None, guidance: Sequence[tuple[str, float]]):
        self.conditional, self.parents, self.batch, self.present, self.guidance = conditional, list(parents), batch, present, guidance
        self.schedule, self.event = conditional.schedule, conditional.variable.shape
        self.like = conditional.anchor

    def __call__(self, noisy: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """The clean value and the noise, both `(*batch, *event)`; `t` is `(*batch)` or a number."""
        clean, found = self._once(noisy, t, self.present)
        if not self.guidance:
            return clean, found
        alpha, sigma = (self.conditional.spread(level) for level in self.schedule.levels(t))
        guided = self.conditional.dropping.guided(lambda present: self._once(noisy, t, present)[1], found, self.present, self.guidance)
        return (noisy - sigma * guided) / alpha, guided

    def _once(self, noisy: Tensor, t: Tensor, present: Tensor | None) -> tuple[Tensor, Tensor]:
        t = t.expand(self.batch)
        parents = self.conditional.dropping.left(self.parents, present)
        extra = [] if present is None else [present]
        (output,) = self.conditional.network(noisy, time_features(t, FEATURES), *extra, *parents)
        return self.conditional.read(output, noisy, t)

    def start(self, noise: Noise = plain_noise) -> Tensor:
        """z_1: pure noise of the size that the schedule ends with."""
        alpha, sigma = self.schedule.levels(self.like.new_ones(()))
        return (alpha.square() + sigma.square()).sqrt() * noise.normal((*self.batch, *self.event), self.like)


def time_features(t: Tensor, count: int) -> Tensor:
    """Sines and cosines of the time at geometric frequencies, `(*batch, count)`."""
    half = count // 2
    frequencies = torch.exp(torch.arange(half, device=t.device, dtype=t.dtype) * (math.log(FASTEST) / (half - 1)))
    angles = t.unsqueeze(-1) * frequencies
    return torch.cat([angles.sin(), angles.cos()], -1)
