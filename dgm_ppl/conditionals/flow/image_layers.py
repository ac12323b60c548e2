"""Layers of image flows: each maps `(n, channels, height, width)` to an image of as many numbers, with its log-determinant `(n,)`, and back."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["ActNorm", "ChannelCoupling", "CheckerboardCoupling", "Mixing", "Steps", "squeeze", "unsqueeze"]


def squeeze(x: Tensor) -> Tensor:
    """Every block of 2 x 2 pixels as four channels."""
    n, c, h, w = x.shape
    return x.reshape(n, c, h // 2, 2, w // 2, 2).permute(0, 1, 3, 5, 2, 4).reshape(n, 4 * c, h // 2, w // 2)


def unsqueeze(x: Tensor) -> Tensor:
    """The inverse of `squeeze`."""
    n, c, h, w = x.shape
    return x.reshape(n, c // 4, 2, 2, h, w).permute(0, 1, 4, 2, 5, 3).reshape(n, c // 4, 2 * h, 2 * w)


class ActNorm(nn.Module):
    """A learned scale and shift a channel. It starts as the identity: a flow standardizes its data by `preprocess`, not by its first batch."""

    def __init__(self, channels: int):
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(channels, 1, 1))
        self.shift = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return (x + self.shift) * self.log_scale.exp(), (self.log_scale.sum() * math.prod(x.shape[2:])).expand(len(x))

    def inverse(self, y: Tensor, context: Tensor | None) -> Tensor:
        return y * (-self.log_scale).exp() - self.shift


class Mixing(nn.Module):
    """An invertible 1 x 1 convolution W = P L (U + diag s) (Kingma and Dhariwal, 2018, https://arxiv.org/abs/1807.03039)."""

    def __init__(self, channels: int):
        super().__init__()
        rotation = torch.linalg.qr(torch.randn(channels, channels))[0]
        permutation, lower, upper = torch.linalg.lu(rotation)
        diagonal = upper.diagonal()
        self.lower, self.upper, self.log_size = nn.Parameter(lower.tril(-1)), nn.Parameter(upper.triu(1)), nn.Parameter(diagonal.abs().log())
        self.register_buffer("permutation", permutation)
        self.register_buffer("sign", diagonal.sign())
        self.register_buffer("identity", torch.eye(channels), persistent=False)

    def _weight(self) -> Tensor:
        return self.permutation @ (self.lower.tril(-1) + self.identity) @ (self.upper.triu(1) + torch.diag_embed(self.sign * self.log_size.exp()))

    def forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        return nn.functional.conv2d(x, self._weight()[..., None, None]), (self.log_size.sum() * math.prod(x.shape[2:])).expand(len(x))

    def inverse(self, y: Tensor, context: Tensor | None) -> Tensor:
        return nn.functional.conv2d(y, torch.linalg.inv(self._weight())[..., None, None])


class CouplingNet(nn.Module):
    """The convolutional network of a coupling: log-scales (bounded) and shifts, given the kept part and a context."""

    def __init__(self, inputs: int, outputs: int, hidden: int, context: int):
        super().__init__()
        self.first, self.second = nn.Conv2d(inputs, hidden, 3, padding=1), nn.Conv2d(hidden, hidden, 1)
        self.last = nn.Conv2d(hidden, 2 * outputs, 3, padding=1)
        self.conditioned = nn.Linear(context, hidden) if context else None
        with torch.no_grad():
            self.last.weight.mul_(0.1)                                      # near the identity, yet gradients reach every layer
            self.last.bias.zero_()

    def forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        hidden = self.first(x)
        if self.conditioned is not None:
            hidden = hidden + self.conditioned(context)[..., None, None]
        raw, shift = self.last(self.second(hidden.relu()).relu()).chunk(2, 1)
        return raw / (1 + (raw / math.log(1e-3)).abs()), shift


class ChannelCoupling(nn.Module):
    """Half of the channels are scaled and shifted as the other half says; `flipped` exchanges the halves."""

    def __init__(self, channels: int, hidden: int, context: int, *, flipped: bool = False):
        super().__init__()
        self.kept, self.flipped = (channels // 2 if flipped else channels - channels // 2), flipped
        self.channels = channels
        self.network = CouplingNet(self.kept, channels - self.kept, hidden, context)

    def _halves(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if self.flipped:
            moved, kept = x.split([self.channels - self.kept, self.kept], 1)
            return kept, moved
        return x.split([self.kept, self.channels - self.kept], 1)

    def _whole(self, kept: Tensor, moved: Tensor) -> Tensor:
        return torch.cat([moved, kept] if self.flipped else [kept, moved], 1)

    def forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        kept, moved = self._halves(x)
        log_scale, shift = self.network(kept, context)
        return self._whole(kept, moved * log_scale.exp() + shift), log_scale.sum((1, 2, 3))

    def inverse(self, y: Tensor, context: Tensor | None) -> Tensor:
        kept, moved = self._halves(y)
        log_scale, shift = self.network(kept, context)
        return self._whole(kept, (moved - shift) * (-log_scale).exp())


class CheckerboardCoupling(nn.Module):
    """Every other pixel is scaled and shifted as the others say (Dinh et al., 2017)."""

    def __init__(self, shape: Sequence[int], hidden: int, context: int, *, flipped: bool = False):
        super().__init__()
        channels, height, width = shape
        board = (torch.arange(height)[:, None] + torch.arange(width)) % 2 == int(flipped)
        self.register_buffer("kept", board.to(torch.get_default_dtype()), persistent=False)
        self.network = CouplingNet(channels, channels, hidden, context)

    def _parts(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        log_scale, shift = self.network(x * self.kept, context)
        return log_scale * (1 - self.kept), shift * (1 - self.kept)

    def forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        log_scale, shift = self._parts(x, context)
        return x * log_scale.exp() + shift, log_scale.sum((1, 2, 3))

    def inverse(self, y: Tensor, context: Tensor | None) -> Tensor:
        log_scale, shift = self._parts(y, context)
        return (y - shift) * (-log_scale).exp()


class Steps(nn.ModuleList):
    """Layers one after another."""

    def forward(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        total = None
        for layer in self:
            x, ladj = layer(x, context)
            total = ladj if total is None else total + ladj
        return x, total

    def inverse(self, y: Tensor, context: Tensor | None) -> Tensor:
        for layer in reversed(self):
            y = layer.inverse(y, context)
        return y
