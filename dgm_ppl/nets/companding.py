"""Waveforms as a few hundred codes, finer near silence."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .checks import positive

__all__ = ["mu_law", "mu_law_inverse"]


def mu_law(audio: Tensor, states: int = 256) -> Tensor:
    """Codes 0 ... states - 1 of a waveform in [-1, 1]: sign(x) log(1 + mu |x|) / log(1 + mu), rounded, with mu = states - 1 (ITU-T G.711).

    Raises:
        ValueError: a waveform outside [-1, 1].

    >>> mu_law(torch.tensor([-1.0, 0.0, 0.01, 1.0]))
    tensor([  0, 128, 157, 255])
    """
    mu = positive("mu_law", "states", states) - 1
    largest = float(audio.abs().max()) if audio.numel() else 0.0
    if not largest <= 1:
        raise ValueError(f"mu_law: expected a waveform in [-1, 1]; got numbers up to {largest:g}; try audio / {largest:g}, or pcm / 32768 for 16-bit samples")
    pressed = audio.sign() * (mu * audio.abs()).log1p() / math.log1p(mu)
    return ((pressed + 1) / 2 * mu + 0.5).long()


def mu_law_inverse(codes: Tensor, states: int = 256) -> Tensor:
    """The waveform in [-1, 1] that codes stand for.

    >>> mu_law_inverse(torch.tensor([0, 255]))
    tensor([-1.,  1.])
    """
    mu = positive("mu_law_inverse", "states", states) - 1
    if codes.is_floating_point() or bool(((codes < 0) | (codes > mu)).any()):
        raise ValueError(f"mu_law_inverse: expected codes 0 to {mu}; got {codes.dtype} from {codes.min().item():g} to {codes.max().item():g}; try states={int(codes.max()) + 1}")
    pressed = codes.to(torch.get_default_dtype()) / mu * 2 - 1
    return pressed.sign() * torch.expm1(pressed.abs() * math.log1p(mu)) / mu
