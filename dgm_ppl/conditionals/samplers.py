"""Ways back from noise to a value, step by step along a denoiser."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..families import Noise, Setting
from ..graph import GraphError
from .guidance import is_number, weights_of

if TYPE_CHECKING:
    from .denoising import Denoiser

__all__ = ["DDIM", "AdamsBashforth", "Ancestral", "DPMSolver", "Heun", "Sampler"]


@dataclass(frozen=True, init=False, repr=False)
class Sampler(Setting):
    """Takes noise out in `steps` steps; to add one, write `step`.

    `guidance` weighs parents by name (classifier-free guidance, Ho and Salimans, 2022, https://arxiv.org/abs/2207.12598): 1 is the model's own
    conditional, more follows the parent more. `clip` keeps the clean value within [-clip, clip] on the way.
    """

    steps: int
    guidance: tuple[tuple[str, float], ...] = ()
    clip: float | None = None

    def __init__(self, steps: int = 250, *, guidance: Mapping[str, float] | tuple = (), clip: float | None = None):
        self._hold(steps, guidance, clip)

    def _hold(self, steps: int, guidance: Mapping[str, float] | tuple, clip: float | None) -> None:
        kind = type(self).__name__
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
            raise GraphError(f"{kind}: expected a positive whole number of steps; got {steps!r}")
        if clip is not None and not (is_number(clip) and clip > 0):
            raise GraphError(f"{kind}: expected clip above 0; got {clip!r}")
        for name, value in (("steps", steps), ("guidance", weights_of(kind, guidance)), ("clip", clip)):
            object.__setattr__(self, name, value)

    @property
    def deterministic(self) -> bool:
        """Whether the value is a function of the noise that it starts from."""
        return True

    def __call__(self, denoiser: Denoiser, noise: Noise) -> Tensor:
        value, memory = denoiser.start(noise), None
        times = torch.linspace(1.0, 0.0, self.steps + 1, device=value.device, dtype=value.dtype)
        for t, s in zip(times[:-1], times[1:]):
            value, memory = self.step(denoiser, value, t, s, noise, memory)
        return value / denoiser.schedule.levels(times[-1])[0]

    @abstractmethod
    def step(self, denoiser: Denoiser, value: Tensor, t: Tensor, s: Tensor, noise: Noise, memory: object) -> tuple[Tensor, object]:
        """From time t to the earlier time s; `memory` is what the last step left behind."""

    def denoised(self, denoiser: Denoiser, value: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """The clean value, within bounds, and the noise that goes with it."""
        clean, found = denoiser(value, t)
        if self.clip is None:
            return clean, found
        alpha, sigma = denoiser.schedule.levels(t)
        clean = clean.clamp(-self.clip, self.clip)
        return clean, (value - alpha * clean) / sigma


def _vanishing(denoiser: Denoiser, t: Tensor, s: Tensor) -> Tensor:
    """1 - SNR(t) / SNR(s): the share of the noise at s that is fresh, seen from t."""
    return -torch.expm1(denoiser.schedule.log_snr(t)[0] - denoiser.schedule.log_snr(s)[0])


@dataclass(frozen=True, init=False, repr=False)
class Ancestral(Sampler):
    """The generative chain itself: z_s ~ q(z_s | z_t, x = the clean value).

    Source: Ho et al. (2020), https://arxiv.org/abs/2006.11239.
    """

    @property
    def deterministic(self) -> bool:
        return False

    def step(self, denoiser: Denoiser, value: Tensor, t: Tensor, s: Tensor, noise: Noise, memory: object) -> tuple[Tensor, object]:
        _, found = self.denoised(denoiser, value, t)
        (alpha_t, sigma_t), (alpha_s, sigma_s) = denoiser.schedule.levels(t), denoiser.schedule.levels(s)
        fresh = _vanishing(denoiser, t, s)
        mean = alpha_s / alpha_t * (value - sigma_t * fresh * found)
        return mean + sigma_s * fresh.sqrt() * noise.normal(value.shape, value), None


@dataclass(frozen=True, init=False, repr=False)
class DDIM(Sampler):
    """z_s = alpha_s x + sigma_s noise, deterministic; `eta` = 1 puts back the chain's fresh noise.

    Source: Song et al. (2021), https://arxiv.org/abs/2010.02502.
    """

    eta: float = 0.0

    def __init__(self, steps: int = 50, *, eta: float = 0.0, guidance: Mapping[str, float] | tuple = (), clip: float | None = None):
        self._hold(steps, guidance, clip)
        if not (is_number(eta) and 0 <= eta <= 1):
            raise GraphError(f"DDIM: expected eta between 0 and 1; got {eta!r}")
        object.__setattr__(self, "eta", float(eta))

    @property
    def deterministic(self) -> bool:
        return not self.eta

    def step(self, denoiser: Denoiser, value: Tensor, t: Tensor, s: Tensor, noise: Noise, memory: object) -> tuple[Tensor, object]:
        clean, found = self.denoised(denoiser, value, t)
        alpha, sigma = denoiser.schedule.levels(s)
        if not self.eta:
            return alpha * clean + sigma * found, None
        fresh = self.eta**2 * sigma.square() * _vanishing(denoiser, t, s)
        return alpha * clean + (sigma.square() - fresh).clamp_min(0).sqrt() * found + fresh.sqrt() * noise.normal(value.shape, value), None


@dataclass(frozen=True, init=False, repr=False)
class Heun(Sampler):
    """Heun's second-order steps along the probability flow dz/dt = alpha' x + sigma' noise, two evaluations each.

    Source: Karras et al. (2022), https://arxiv.org/abs/2206.00364.
    """

    def __init__(self, steps: int = 20, *, guidance: Mapping[str, float] | tuple = (), clip: float | None = None):
        self._hold(steps, guidance, clip)

    def step(self, denoiser: Denoiser, value: Tensor, t: Tensor, s: Tensor, noise: Noise, memory: object) -> tuple[Tensor, object]:
        first = self._velocity(denoiser, value, t)
        second = self._velocity(denoiser, value + (s - t) * first, s)
        return value + (s - t) * (first + second) / 2, None

    def _velocity(self, denoiser: Denoiser, value: Tensor, t: Tensor) -> Tensor:
        clean, found = self.denoised(denoiser, value, t)
        alpha_rate, sigma_rate = denoiser.schedule.rates(t)
        return alpha_rate * clean + sigma_rate * found


@dataclass(frozen=True, init=False, repr=False)
class DPMSolver(Sampler):
    """DPM-Solver++(2M): second-order steps in log-SNR with one evaluation each; the last, which may leap far, is of first order.

    Source: Lu et al. (2022), https://arxiv.org/abs/2211.01095.
    """

    def __init__(self, steps: int = 20, *, guidance: Mapping[str, float] | tuple = (), clip: float | None = None):
        self._hold(steps, guidance, clip)

    def step(self, denoiser: Denoiser, value: Tensor, t: Tensor, s: Tensor, noise: Noise, memory: object) -> tuple[Tensor, object]:
        clean, _ = self.denoised(denoiser, value, t)
        (_, sigma_t), (alpha_s, sigma_s) = denoiser.schedule.levels(t), denoiser.schedule.levels(s)
        width = (denoiser.schedule.log_snr(s)[0] - denoiser.schedule.log_snr(t)[0]) / 2
        target = clean
        if memory is not None:
            earlier, last_width = memory
            share = torch.where(s > 0, width / last_width / 2, 0.0)
            target = (1 + share) * clean - share * earlier
        return sigma_s / sigma_t * value - alpha_s * torch.expm1(-width) * target, (clean, width)


@dataclass(frozen=True, init=False, repr=False)
class AdamsBashforth(Sampler):
    """Second-order steps along the probability flow dz = x dalpha + noise dsigma with one evaluation each.

    x and noise are those of the last two evaluations, extrapolated in the angle atan(sigma / alpha) to the middle of the step. Of the few-step samplers it
    keeps nearest to the flow at most schedules.

    Source: Liu et al. (2022), https://arxiv.org/abs/2202.09778, whose linear multistep methods these are, in other coordinates.
    """

    def __init__(self, steps: int = 20, *, guidance: Mapping[str, float] | tuple = (), clip: float | None = None):
        self._hold(steps, guidance, clip)

    def step(self, denoiser: Denoiser, value: Tensor, t: Tensor, s: Tensor, noise: Noise, memory: object) -> tuple[Tensor, object]:
        now = clean, found = self.denoised(denoiser, value, t)
        (alpha_t, sigma_t), (alpha_s, sigma_s) = denoiser.schedule.levels(t), denoiser.schedule.levels(s)
        angle = torch.atan2(sigma_t, alpha_t)
        if memory is not None:
            (earlier, before), last_angle = memory
            share = (torch.atan2(sigma_s, alpha_s) - angle) / (angle - last_angle) / 2
            clean, found = clean + share * (clean - earlier), found + share * (found - before)
        return value + (alpha_s - alpha_t) * clean + (sigma_s - sigma_t) * found, (now, angle)
