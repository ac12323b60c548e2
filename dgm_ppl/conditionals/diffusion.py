"""Diffusion models as nodes: a chain of noisy values from data to noise, turned round by a network."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..families import Finite, Real, Setting, Space, Variable
from ..families.shapes import broadcast
from ..families.variable import checked_shape
from ..graph import GraphError
from .denoising import Denoising, DenoisingConditional, check_taken_in
from .flow.links import Affine
from .guidance import is_number, shares_of
from .networks import Shared
from .ports import Port
from .probability_flow import LARGEST_EXACT
from .samplers import Ancestral, Heun, Sampler
from .schedules import Cosine, MonotoneSchedule, Schedule, Straight

__all__ = ["Clean", "Diffused", "Diffusion", "DiffusionKind", "LikelihoodWeighting", "MinSNR", "NoisePrediction", "Prediction", "SimpleWeighting", "Velocity", "Weighting"]


# ---- what a network's output stands for, and how errors are weighed


class Prediction(Setting):
    """What the network gives, turned into the clean value and the noise."""

    @abstractmethod
    def read(self, output: Tensor, noisy: Tensor, alpha: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """(clean value, noise)."""


@dataclass(frozen=True, repr=False)
class NoisePrediction(Prediction):
    """The network gives the noise. Source: Ho et al. (2020), https://arxiv.org/abs/2006.11239."""

    def read(self, output: Tensor, noisy: Tensor, alpha: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        return (noisy - sigma * output) / alpha, output


@dataclass(frozen=True, repr=False)
class Clean(Prediction):
    """The network gives the clean value."""

    def read(self, output: Tensor, noisy: Tensor, alpha: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        return output, (noisy - alpha * output) / sigma


@dataclass(frozen=True, repr=False)
class Velocity(Prediction):
    """The network gives v = alpha noise - sigma x, which is well scaled at both ends.

    Source: Salimans and Ho (2022), https://arxiv.org/abs/2202.00512.
    """

    def read(self, output: Tensor, noisy: Tensor, alpha: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        size = alpha.square() + sigma.square()
        return (alpha * noisy - sigma * output) / size, (sigma * noisy + alpha * output) / size


class Weighting(Setting):
    """The weight of the noise's squared error at a time."""

    @abstractmethod
    def __call__(self, log_snr: Tensor, slope: Tensor) -> Tensor:
        """A factor of |noise - its prediction|^2; slope is the derivative of log-SNR, negative."""


@dataclass(frozen=True, repr=False)
class LikelihoodWeighting(Weighting):
    """-d log-SNR / dt / 2: the variational bound. Source: Kingma et al. (2021), https://arxiv.org/abs/2107.00630."""

    def __call__(self, log_snr: Tensor, slope: Tensor) -> Tensor:
        return -slope / 2


@dataclass(frozen=True, repr=False)
class SimpleWeighting(Weighting):
    """1 at all times, which favours noisy ones and pictures that look well. Source: Ho et al. (2020), https://arxiv.org/abs/2006.11239."""

    def __call__(self, log_snr: Tensor, slope: Tensor) -> Tensor:
        return torch.ones_like(log_snr)


@dataclass(frozen=True, repr=False)
class MinSNR(Weighting):
    """min(SNR, most) / SNR. Source: Hang et al. (2023), https://arxiv.org/abs/2303.09556."""

    most: float = 5.0

    def __post_init__(self) -> None:
        if not (is_number(self.most) and self.most > 0):
            raise GraphError(f"MinSNR: expected most above 0; got {self.most!r}; try dgm.MinSNR(5.0)")

    def __call__(self, log_snr: Tensor, slope: Tensor) -> Tensor:
        return (self.most * (-log_snr).exp()).clamp_max(1.0)


# ---- the declaration


def Diffusion(
    *shape: int, net: Any, schedule: Schedule = Cosine(), prediction: Prediction = Velocity(), sampler: Sampler = Ancestral(250), levels: int | None = None,
    drop: Mapping[str, float] | None = None, space: Space | None = None, preprocess: Affine | None = None, context: int = 64, flow: bool = False,
) -> Variable:
    """A node whose value is noise made clean step by step: z_1 ~ N(0, 1), ..., z_0, x, each step by one network.

    log p(x) is bounded by the variational bound in continuous time, unbiased with one random time a world:

        log p(x) >= log p(x | z_0) - KL(q(z_1 | x) || p(z_1)) + 1/2 int_0^1 (d log-SNR / dt) E|noise - its prediction|^2 dt.

    Data are scaled to about unit variance before. `dgm.MaximumLikelihood` trains the bound, `dgm.Denoising` reweighed forms of it,
    and as a latent's prior it composes with `dgm.ELBO`. The exact density of the same network's probability flow is
    `dgm.log_prob(model, data, method=dgm.ProbabilityFlow())`.

    Args:
        shape: the event shape.
        net: the denoiser; it reads the noisy value, features of the time, and the encoded parents: `MLP(256, 256)`, `UNet(32, 64)`, `DiT(...)`.
        schedule: `Cosine()`, `VariancePreserving()`, `VarianceExploding()`, `LogLinear()`, `Learned()`.
        prediction: what the network gives: `Velocity()`, `NoisePrediction()`, `Clean()`.
        sampler: `Ancestral(250)`, `DDIM(50)`, `Heun(20)`, `DPMSolver(20)`, `AdamsBashforth(20)`; `model.sampling(x=dgm.DDIM(50))` changes it later.
        levels: for whole numbers 0 ... levels - 1 (pixels of 256 levels), so that the bound is one of their probability.
        drop: parents left out in training, with the share of worlds: needed for guidance by them.
        space: where values live: positive numbers are diffused as their logarithm, numbers between bounds as their log-odds.
        preprocess: `Affine(loc, scale)` after the space's own map.
        context: how many numbers a network given with the parents, `.given(..., net=...)`, sums them up to.
        flow: whether draws and the density are those of the probability flow, so that draws can be weighed exactly; guides ask for it.

    Raises:
        GraphError: a denoiser that cannot take the shape, a share outside (0, 1), an unknown parent.

    Source: Kingma et al. (2021), https://arxiv.org/abs/2107.00630; Song et al. (2021), https://arxiv.org/abs/2011.13456.

    Example:
        >>> import dgm_ppl as dgm
        >>> net = dgm.BayesNet(y=dgm.Given(states=3), x=dgm.Diffusion(2, net=dgm.MLP(32), sampler=dgm.DDIM(10), drop={"y": 0.1}).given("y"))
        >>> model = dgm.compile(net)
        >>> model.sample(5, given={"y": 1})["x"].shape
        torch.Size([5, 2])
    """
    checks = (("net", net, object), ("schedule", schedule, Schedule), ("prediction", prediction, Prediction), ("sampler", sampler, Sampler))
    for name, value, kind in checks:
        if not isinstance(value, kind) or isinstance(value, type):
            raise GraphError(f"Diffusion: expected {name} to be an object such as {name}={EXAMPLES[name]}; got {value!r}")
    if isinstance(schedule, Straight):
        raise GraphError("Diffusion: the straight schedule has no noise at t = 0; use dgm.FlowMatching, which it belongs to")
    if levels is not None and (isinstance(levels, bool) or not isinstance(levels, int) or levels < 2):
        raise GraphError(f"Diffusion: expected levels to be a whole number from 2; got {levels!r}; try levels=256")
    check_taken_in("Diffusion", space, preprocess, context)
    if levels is not None and (space is not None or preprocess is not None or flow):
        raise GraphError("Diffusion: levels are scaled by themselves and have no probability flow; leave out space, preprocess and flow")
    if flow and not sampler.deterministic:
        raise GraphError(f"Diffusion: flow=True draws along the probability flow, which takes a sampler without fresh noise; got {sampler!r}; try sampler=dgm.Heun(20)")
    kind = DiffusionKind(net, sampler, shares_of("Diffusion", drop), preprocess, context, schedule, prediction, levels, flow)
    return Variable(kind, checked_shape(shape, "Diffusion"), size=levels, declared_space=space)


EXAMPLES = {"net": "dgm.MLP(256, 256)", "schedule": "dgm.Cosine()", "prediction": "dgm.Velocity()", "sampler": "dgm.DDIM(50)"}


@dataclass(frozen=True, repr=False)
class DiffusionKind(Denoising):
    """What `Diffusion(...)` declares."""

    schedule: Schedule = Cosine()
    prediction: Prediction = Velocity()
    levels: int | None = None
    flow: bool = False

    @property
    def name(self) -> str:
        return "DiffusionKind"

    def exact(self, variable: Variable) -> bool:
        return self.flow and variable.numel <= LARGEST_EXACT

    def as_guide_of(self, variable: Variable, latent: Variable) -> Variable:
        """Drawn along the probability flow, whose density weighs the draws."""
        sampler = Heun(20) if self.sampler == Ancestral(250) else self.sampler
        if self.levels is not None:
            return variable
        if not sampler.deterministic:
            raise GraphError(f"amortize: a guide draws along the probability flow, which takes a sampler without fresh noise; got sampler={sampler!r}; try sampler=dgm.Heun(20)")
        found = super().as_guide_of(variable, latent)
        return replace(found, family=replace(found.family, sampler=sampler, flow=True))

    def space(self, variable: Variable) -> Any:
        return Real() if self.levels is None else Finite(self.levels)

    def summary(self, variable: Variable) -> str:
        options = [f"net={self.net!r}", f"schedule={self.schedule!r}", f"prediction={self.prediction!r}", f"sampler={self.sampler!r}"]
        options += [] if self.levels is None else [f"levels={self.levels}"]
        options += [*self.options(variable), *(["flow=True"] if self.flow else [])]
        return f"Diffusion({', '.join([*map(str, variable.shape), *options])})"

    def caption(self, variable: Variable) -> str:
        return f"Diffusion({', '.join(map(str, variable.shape))})"

    def build(self, name: str, variable: Variable, ports: Sequence[Port], *, plates: Any, all_plates: int, shared: Shared) -> Diffused:
        return (FlowDiffused if self.flow else Diffused)(name, variable, ports, self.schedule, shared, plates)


class Diffused(DenoisingConditional):
    """The variational bound of a diffusion, in continuous time."""

    density = "bound"

    def read(self, output: Tensor, noisy: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """The clean value and the noise that the network's output stands for."""
        alpha, sigma = (self.spread(level) for level in self.schedule.levels(t))
        return self.variable.family.prediction.read(output, noisy, alpha, sigma)

    @property
    def levels(self) -> int | None:
        return self.variable.family.levels

    def linked(self, value: Tensor) -> tuple[Tensor, Tensor | float]:
        return super().linked(value) if self.levels is None else (2 * value.to(self.anchor.dtype) / (self.levels - 1) - 1, 0.0)

    def decode(self, value: Tensor) -> Tensor:
        if self.levels is None:
            return super().decode(value)
        return ((value + 1) * (self.levels - 1) / 2).round().clamp(0, self.levels - 1).long()

    def surprisals(self, value: Tensor, prepared: Any) -> Tensor:
        """Minus the bound, with one random time and noise a world."""
        clean, ladj = self.linked(value)
        diffusion = self._errors(clean, prepared, LikelihoodWeighting())
        return diffusion + self._last(clean) + self._first(value, clean) - ladj

    def matching_loss(self, value: Tensor, prepared: Any, weighting: Weighting) -> Tensor:
        if isinstance(self.schedule, MonotoneSchedule):                     # whose ends cost something in the bound alone
            return Diffused.surprisals(self, value, prepared)
        return self._errors(self.encode(value), prepared, weighting)

    def _errors(self, clean: Tensor, prepared: Any, weighting: Weighting) -> Tensor:
        batch = broadcast(prepared[1], clean.shape[: clean.ndim - len(self.variable.shape)])
        clean = clean.expand(*batch, *self.variable.shape)
        t, noise = self.times(batch, clean), torch.randn_like(clean)
        factor = None
        if isinstance(weighting, LikelihoodWeighting):
            t, factor = self.schedule.even(t)
        alpha, sigma = (self.spread(level) for level in self.schedule.levels(t))
        _, found = self.denoiser(prepared, batch, drop=True)(alpha * clean + sigma * noise, t)
        errors = (noise - found).square().sum(self.events(clean)) if self.variable.shape else (noise - found).square()
        weighted = weighting(*self.schedule.log_snr(t)) * errors
        return weighted if factor is None else factor * weighted

    def _last(self, clean: Tensor) -> Tensor:
        """KL(q(z_1 | x) || p(z_1))."""
        alpha, sigma = self.schedule.levels(self.anchor.new_ones(()))
        own, prior = sigma.square(), alpha.square() + sigma.square()
        each = ((own + alpha.square() * clean.square()) / prior - 1 - (own / prior).log()) / 2
        return each.sum(self.events(clean)) if self.variable.shape else each

    def _first(self, value: Tensor, clean: Tensor) -> Tensor:
        """-E log p(x | z_0): of numbers in closed form, of levels by one draw."""
        alpha, sigma = self.schedule.levels(self.anchor.new_zeros(()))
        size = sigma / alpha
        if self.levels is None:
            return (math.log(2 * math.pi) + 1 + 2 * size.log()) / 2 * self.variable.numel
        seen = clean + size * torch.randn_like(clean)
        grid = self.encode(torch.arange(self.levels, device=clean.device))
        logits = -(seen.unsqueeze(-1) - grid).square() / (2 * size.square())
        each = -logits.log_softmax(-1).gather(-1, value.long().unsqueeze(-1)).squeeze(-1)
        return each.sum(self.events(each)) if self.variable.shape else each


class FlowDiffused(Diffused):
    """A diffusion that draws by its probability flow and has its density; the bound is what trains it."""

    regressed, accuracy = True, 1e-2                                        # solved with steps that all rows share

    def __init__(self, name: str, variable: Variable, ports: Sequence[Port], schedule: Schedule, shared: Shared, plates: Sequence[int] = ()):
        super().__init__(name, variable, ports, schedule, shared, plates)
        self.density = "exact" if variable.numel <= LARGEST_EXACT else "estimate"

    def surprisals(self, value: Tensor, prepared: Any) -> Tensor:
        return -self.flow_density(value, prepared, broadcast(prepared[1], value.shape[: value.ndim - len(self.variable.shape)]))

    def training_losses(self, value: Tensor, prepared: Any) -> Tensor:
        return super().surprisals(value, prepared)
