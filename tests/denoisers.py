"""Denoisers that are known in closed form, and one that is not quite right."""

from __future__ import annotations

import torch
from torch import nn

from dgm_ppl.conditionals.denoising import FEATURES

__all__ = ["MEAN", "SCALE", "Exact", "Known", "KnownField", "Rough"]

MEAN, SCALE = torch.tensor([0.5, -0.3]), torch.tensor([0.8, 1.4])


class Known(nn.Module):
    """The exact clean value of a Gaussian target: E[x | z] with t read back off its features."""

    def __init__(self, schedule):
        super().__init__()
        self.schedule, self.unused = schedule, nn.Parameter(torch.zeros(()))

    def forward(self, inputs):
        noisy, features = inputs.split([2, FEATURES], -1)
        half = FEATURES // 2
        t = torch.atan2(features[..., 0], features[..., half])              # the slowest pair turns by one radian
        alpha, sigma = (level.unsqueeze(-1) for level in self.schedule.levels(t))
        variance = alpha.square() * SCALE.square() + sigma.square()
        return MEAN + alpha * SCALE.square() / variance * (noisy - alpha * MEAN) + 0 * self.unused


class Exact:
    """The same in double precision as samplers ask for it, from `noise` on; `end` is where the probability flow leads."""

    def __init__(self, schedule, rows: int):
        self.schedule, self.mean, self.scale = schedule, MEAN.double(), SCALE.double()
        alpha, sigma = schedule.levels(torch.ones((), dtype=torch.double))
        self.noise = (alpha.square() + sigma.square()).sqrt() * torch.randn(rows, 2, dtype=torch.double, generator=torch.Generator().manual_seed(0))

    def start(self, noise):
        return self.noise

    def __call__(self, noisy, t):
        alpha, sigma = self.schedule.levels(t)
        clean = self.mean + alpha * self.scale.square() / self._variance(alpha, sigma) * (noisy - alpha * self.mean)
        return clean, (noisy - alpha * clean) / sigma

    def _variance(self, alpha, sigma):
        return alpha.square() * self.scale.square() + sigma.square()

    @property
    def end(self):
        (first, last) = (self.schedule.levels(torch.full((), t, dtype=torch.double)) for t in (1.0, 0.0))
        stretch = (self._variance(*last) / self._variance(*first)).sqrt()
        return (last[0] * self.mean + stretch * (self.noise - first[0] * self.mean)) / last[0]


class KnownField(nn.Module):
    """The exact clean value of a Gaussian picture of mean zero with this covariance."""

    def __init__(self, schedule, covariance):
        super().__init__()
        self.schedule, self.unused = schedule, nn.Parameter(torch.zeros(()))
        self.values, self.vectors = torch.linalg.eigh(covariance)

    def forward(self, inputs):
        noisy, features = inputs.split([len(self.values), FEATURES], -1)
        t = torch.atan2(features[..., 0], features[..., FEATURES // 2])
        alpha, sigma = (level.unsqueeze(-1) for level in self.schedule.levels(t))
        shrunk = alpha * self.values / (alpha.square() * self.values + sigma.square())
        return (noisy @ self.vectors * shrunk) @ self.vectors.T + 0 * self.unused


class Rough(nn.Module):
    """A denoiser and some error of its own, whose Jacobian is not symmetric, as those of trained networks are."""

    def __init__(self, exact: KnownField, error: float, frequency: float):
        super().__init__()
        self.exact, self.error, size = exact, error, len(exact.values)
        self.inwards, self.outwards = (frequency * each / size**0.5 for each in torch.randn(2, size, size, generator=torch.Generator().manual_seed(0)))

    def forward(self, inputs):
        noisy = inputs[..., : len(self.exact.values)]
        return self.exact(inputs) + self.error * torch.tanh(torch.sin(noisy @ self.inwards) @ self.outwards)
