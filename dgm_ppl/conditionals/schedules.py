"""How much of a value is left and how much noise is in it at each time of a diffusion."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from ..families import Setting
from ..families.variable import whole
from ..graph import GraphError

__all__ = ["Cosine", "Learned", "LogLinear", "Schedule", "Straight", "VarianceExploding", "VariancePreserving"]


class Schedule(Setting):
    """z_t = alpha(t) x + sigma(t) noise for t in [0, 1]; log-SNR(t) = log(alpha^2 / sigma^2) falls.

    To add one that preserves variance (alpha^2 + sigma^2 = 1), write `log_snr`; another writes `levels` and `rates` too.
    """

    @abstractmethod
    def log_snr(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """The logarithm of the signal-to-noise ratio, and its derivative in t, which is negative."""

    def levels(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """alpha and sigma."""
        ratio, _ = self.log_snr(t)
        return ratio.sigmoid().sqrt(), (-ratio).sigmoid().sqrt()

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """The derivatives of alpha and sigma in t."""
        alpha, sigma = self.levels(t)
        _, slope = self.log_snr(t)
        return slope * alpha * sigma.square() / 2, -slope * sigma * alpha.square() / 2

    def time_of(self, log_snr: Tensor) -> Tensor | None:
        """The time at which the log-SNR has this value; None where it is not known in closed form."""
        return None

    def even(self, share: Tensor) -> tuple[Tensor, Tensor]:
        """Times for shares in [0, 1], spread evenly over the log-SNR where that is known, and the factor that keeps means over t unbiased.

        The bound is an integral over the log-SNR, so that evenly spread its terms have equal weights and vary least.
        """
        (high, _), (low, _) = self.log_snr(torch.zeros_like(share)), self.log_snr(torch.ones_like(share))
        t = self.time_of(high - (high - low) * share)
        if t is None:
            return share, torch.ones_like(share)
        t = t.clamp(0, 1)
        return t, (high - low) / -self.log_snr(t)[1]

    def module(self) -> nn.Module | None:
        """What is learned; None where nothing is."""
        return None


LARGEST = 32.0                                          # |log-SNR| beyond which signal and noise cannot both be held by 24 binary digits


def _check_numbers(schedule: Schedule, **values: Any) -> None:
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise GraphError(f"{type(schedule).__name__}: expected a number for {name}; got {value!r}")


def _check_ends(schedule: Schedule, high: float, low: float, mend: str = "try high=13.0, low=-13.0") -> None:
    """Raises for log signal-to-noise ratios at t = 0 and t = 1 between which nothing can be diffused."""
    name = type(schedule).__name__
    if low >= 0 and math.inf > high > low:
        raise GraphError(
            f"{name}: expected low, the log signal-to-noise ratio at t = 1, below 0; got {low!r}: more signal than noise is left there, so that draws, which start from noise "
            f"alone, would miss the model; {mend}"
        )
    if not (math.isfinite(high) and math.isfinite(low) and high > low):
        raise GraphError(
            f"{name}: expected finite log signal-to-noise ratios with high, that of t = 0, above low, that of t = 1; got high={high!r}, low={low!r}: "
            f"noise that vanishes at t = 0, or a step without noise, has no density; {mend}"
        )
    if high <= 0:
        raise GraphError(f"{name}: expected high, the log signal-to-noise ratio at t = 0, above 0; got {high!r}: more noise than signal would be left in what is drawn; {mend}")
    if high > LARGEST or low < -LARGEST:
        raise GraphError(
            f"{name}: expected log signal-to-noise ratios within [-{LARGEST:g}, {LARGEST:g}]; got {high:.4g} at t = 0 and {low:.4g} at t = 1: added to the other, the smaller of "
            f"signal and noise would be lost to rounding; {mend}"
        )


@dataclass(frozen=True, repr=False)
class LogLinear(Schedule):
    """log-SNR(t) = high - (high - low) t, variance preserving."""

    high: float = 13.0
    low: float = -5.0

    def __post_init__(self) -> None:
        _check_numbers(self, high=self.high, low=self.low)
        _check_ends(self, self.high, self.low)

    def log_snr(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return self.high - (self.high - self.low) * t, torch.full_like(t, self.low - self.high)

    def time_of(self, log_snr: Tensor) -> Tensor:
        return (self.high - log_snr) / (self.high - self.low)


@dataclass(frozen=True, repr=False)
class Cosine(Schedule):
    """alpha(t) = cos(pi t / 2), cut to log-SNR between `high` and `low`.

    Source: Nichol and Dhariwal (2021), https://arxiv.org/abs/2102.09672.
    """

    high: float = 13.0
    low: float = -13.0

    def __post_init__(self) -> None:
        _check_numbers(self, high=self.high, low=self.low)
        _check_ends(self, self.high, self.low)

    def log_snr(self, t: Tensor) -> tuple[Tensor, Tensor]:
        first, span = self._angles()
        last = math.atan(math.exp(self.low / 2))                                # of the angle that is left to pi / 2, which is small at t = 1
        sine, cosine = (first + span * t).sin(), (last + span * (1 - t)).sin()
        return 2 * (cosine / sine).log(), -2 * span / (sine * cosine)

    def time_of(self, log_snr: Tensor) -> Tensor:
        first, span = self._angles()
        return ((-log_snr / 2).exp().atan() - first) / span

    def _angles(self) -> tuple[float, float]:
        first = math.atan(math.exp(-self.high / 2))
        return first, math.atan(math.exp(-self.low / 2)) - first


@dataclass(frozen=True, repr=False)
class VariancePreserving(Schedule):
    """alpha(t)^2 = exp(-B(t)), B' rising linearly from `least` to `most`; t = 0 stands for `start`.

    Source: Song et al. (2021), https://arxiv.org/abs/2011.13456.
    """

    least: float = 0.1
    most: float = 20.0
    start: float = 1e-4

    def __post_init__(self) -> None:
        _check_numbers(self, least=self.least, most=self.most, start=self.start)
        if not (0 < self.least <= self.most < math.inf and 0 < self.start < 1):
            raise GraphError(f"VariancePreserving: expected 0 < least <= most and 0 < start < 1, so that there is noise at t = 0; got {self!r}")
        high, low = (-math.log(math.expm1(min(max(self.least * time + (self.most - self.least) * time**2 / 2, 1e-300), 700.0))) for time in (self.start, 1.0))
        _check_ends(self, high, low, "try VariancePreserving(0.1, 20.0)")

    def log_snr(self, t: Tensor) -> tuple[Tensor, Tensor]:
        time = self.start + (1 - self.start) * t
        total = self.least * time + (self.most - self.least) * time.square() / 2
        rate = (self.least + (self.most - self.least) * time) * (1 - self.start)
        return -total.expm1().log(), rate / torch.expm1(-total)

    def time_of(self, log_snr: Tensor) -> Tensor:
        total, growth = torch.log1p((-log_snr).exp()), self.most - self.least
        time = 2 * total / (self.least + (self.least**2 + 2 * growth * total).sqrt())
        return (time - self.start) / (1 - self.start)


@dataclass(frozen=True, repr=False)
class VarianceExploding(Schedule):
    """alpha(t) = 1, sigma(t) from `least` to `most`, geometrically.

    Source: Song et al. (2021), https://arxiv.org/abs/2011.13456.
    """

    least: float = 0.002
    most: float = 50.0

    def __post_init__(self) -> None:
        _check_numbers(self, least=self.least, most=self.most)
        if not 0 < self.least < self.most < math.inf:
            raise GraphError(f"VarianceExploding: expected 0 < least < most, both finite, so that there is noise at t = 0; got {self!r}")
        _check_ends(self, -2 * math.log(self.least), -2 * math.log(self.most), "try VarianceExploding(0.002, 50.0)")

    def log_snr(self, t: Tensor) -> tuple[Tensor, Tensor]:
        span = math.log(self.most / self.least)
        return -2 * (math.log(self.least) + span * t), torch.full_like(t, -2 * span)

    def time_of(self, log_snr: Tensor) -> Tensor:
        return (-log_snr / 2 - math.log(self.least)) / math.log(self.most / self.least)

    def levels(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return torch.ones_like(t), (-self.log_snr(t)[0] / 2).exp()

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(t), math.log(self.most / self.least) * self.levels(t)[1]


@dataclass(frozen=True, repr=False)
class Straight(Schedule):
    """alpha(t) = 1 - t, sigma(t) = t: the straight lines of flow matching, `margin` kept from both ends."""

    margin: float = 1e-4

    def _time(self, t: Tensor) -> Tensor:
        return self.margin + (1 - 2 * self.margin) * t

    def log_snr(self, t: Tensor) -> tuple[Tensor, Tensor]:
        time = self._time(t)
        return 2 * ((1 - time) / time).log(), -2 * (1 - 2 * self.margin) / (time * (1 - time))

    def levels(self, t: Tensor) -> tuple[Tensor, Tensor]:
        time = self._time(t)
        return 1 - time, time

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        rate = 1 - 2 * self.margin
        return torch.full_like(t, -rate), torch.full_like(t, rate)


@dataclass(frozen=True, repr=False)
class Learned(Schedule):
    """A log-SNR that falls as a small monotone network says, its ends learned too, variance preserving.

    The bound depends on the ends alone, its variance on what lies between.

    Source: Kingma et al. (2021), https://arxiv.org/abs/2107.00630.
    """

    high: float = 13.0
    low: float = -5.0
    width: int = 16

    def __post_init__(self) -> None:
        _check_numbers(self, high=self.high, low=self.low)
        _check_ends(self, self.high, self.low)
        if (whole(self.width) or 0) < 1:
            raise GraphError(f"Learned: expected a positive whole number for width; got {self.width!r}; try 16")

    def log_snr(self, t: Tensor) -> tuple[Tensor, Tensor]:
        raise GraphError("Learned: a schedule that is learned belongs to a compiled node; read model.conditional('x').schedule")

    def module(self) -> nn.Module:
        return MonotoneSchedule(float(self.high), float(self.low), self.width)


class MonotoneSchedule(nn.Module):
    """The log-SNR of `Learned`: high + (low - high) share(t), with share rising from 0 to 1."""

    def __init__(self, high: float, low: float, width: int):
        super().__init__()
        self.high, self.raw_span = nn.Parameter(torch.tensor(high)), nn.Parameter(torch.tensor(high - low).expm1().log())
        self.weights, self.slopes = nn.Parameter(torch.full((width,), -3.0)), nn.Parameter(torch.linspace(0.5, 3.0, width))
        self.centres = nn.Parameter(torch.linspace(0.0, 1.0, width))

    def _rise(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """An increasing function and its derivative: t and sigmoids of t."""
        weights, slopes = softplus(self.weights), softplus(self.slopes)
        inner = (slopes * (t.unsqueeze(-1) - self.centres)).sigmoid()
        return t + (weights * inner).sum(-1), 1 + (weights * slopes * inner * (1 - inner)).sum(-1)

    def log_snr(self, t: Tensor) -> tuple[Tensor, Tensor]:
        (first, _), (last, _) = self._rise(torch.zeros_like(t)), self._rise(torch.ones_like(t))
        value, rate = self._rise(t)
        span = softplus(self.raw_span)
        return self.high - span * (value - first) / (last - first), -span * rate / (last - first)

    def even(self, share: Tensor) -> tuple[Tensor, Tensor]:
        """As they are: where the steps lie is what is learned."""
        return share, torch.ones_like(share)

    def levels(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return Schedule.levels(self, t)

    def rates(self, t: Tensor) -> tuple[Tensor, Tensor]:
        return Schedule.rates(self, t)
