"""Whole numbers as densities see them: with noise in [0, 1) added, so that the density of the sum bounds the probability of the number from below."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from ...families import Setting, Space
from ...families.variable import whole
from ...graph import GraphError
from .bijection import Bijection
from .kinds import FlowKind, Inverse, RealNVP

__all__ = ["Dequantization", "Dequantizer", "UniformDequantization", "VariationalDequantization"]


class Dequantization(Setting):
    """The noise q(u | y) of log P(y) >= E_q [log p(y + u) - log q(u | y)]; with several samples, log of the mean over them, which is nearer."""

    samples: int

    def _check_samples(self) -> None:
        if (whole(self.samples) or 0) < 1:
            raise GraphError(f"{type(self).__name__}: expected a positive whole number of samples; got {self.samples!r}")

    def check(self, shape: tuple[int, ...]) -> None:
        """Raises `ValueError` for an event shape that the noise cannot take."""

    @abstractmethod
    def build(self, shape: Sequence[int]) -> nn.Module | None:
        """The noise's own network, for an event."""


@dataclass(frozen=True, repr=False)
class UniformDequantization(Dequantization):
    """Uniform noise on [0, 1) (Theis et al., 2016, https://arxiv.org/abs/1511.01844).

    >>> UniformDequantization(samples=8)
    UniformDequantization(samples=8)
    """

    samples: int = 1

    def __post_init__(self) -> None:
        self._check_samples()

    def build(self, shape: Sequence[int]) -> None:
        return None


@dataclass(frozen=True, repr=False)
class VariationalDequantization(Dequantization):
    """Noise from a flow that reads the number, trained with the density (Ho et al., 2019, https://arxiv.org/abs/1902.00275)."""

    kind: FlowKind = Inverse(RealNVP(2))
    samples: int = 1

    def __post_init__(self) -> None:
        self._check_samples()
        if not isinstance(self.kind, FlowKind):
            raise GraphError(f"VariationalDequantization: expected a kind of flow such as dgm.Inverse(dgm.RealNVP()); got {self.kind!r}")

        if self.kind.circular:
            raise GraphError(f"VariationalDequantization: expected noise on the real line; got {self.kind!r}, of angles; try dgm.Inverse(dgm.RealNVP())")

    def check(self, shape: tuple[int, ...]) -> None:
        self.kind.check(shape)

    def build(self, shape: Sequence[int]) -> Bijection:
        return Bijection(self.kind, shape, math.prod(shape))


class Dequantizer(nn.Module):
    """From whole numbers `(*batch, *event)` to numbers that fill the line, and back."""

    def __init__(self, declared: Dequantization, space: Space, event: Sequence[int]):
        super().__init__()
        self.samples, self.features = declared.samples, math.prod(event)
        self.states, self.codes = space.cardinality, space.integer
        self.noise = declared.build(event)

    def filled(self, value: Tensor, rank: int, like: Tensor) -> tuple[Tensor, Tensor | None]:
        """y + u, `(samples, *batch, *event)` where there are several, and log q(u | y), None where it is zero."""
        y = value.to(like.dtype) if self.codes else value
        if self.samples > 1:
            y = y.expand(self.samples, *y.shape)
        if self.noise is None:
            return y + torch.rand(y.shape, dtype=y.dtype, device=y.device), None
        seen = 2 * y / (self.states - 1) - 1 if self.states else y.log1p()
        seen = seen.reshape(*seen.shape[: seen.ndim - rank], self.features)
        settled = self.noise.settle(seen)
        free = settled.sample(torch.randn(seen.shape, dtype=seen.dtype, device=seen.device))
        score = -settled.surprisal(free) - (logsigmoid(free) + logsigmoid(-free)).sum(-1)
        return y + free.sigmoid().reshape(y.shape), score

    def merged(self, surprisals: Tensor) -> Tensor:
        """-log of the mean over the samples."""
        return surprisals if self.samples == 1 else math.log(self.samples) - torch.logsumexp(-surprisals, 0)

    def whole(self, value: Tensor) -> Tensor:
        """The whole number under a real one."""
        found = value.detach().floor()
        found = found.clamp(0, self.states - 1) if self.states else found.clamp_min(0)
        return found.long() if self.codes else found

