"""The exact density of a denoiser's deterministic flow, by an ordinary differential equation."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from .denoising import Denoiser

__all__ = ["LARGEST_EXACT", "flow_log_density"]

LARGEST_EXACT = 64                                      # elements of an event whose divergence is taken exactly


def flow_log_density(denoiser: Denoiser, value: Tensor, *, rtol: float = 1e-5, atol: float = 1e-5, probes: int | None = None) -> Tensor:
    """log p(value) `(*batch)` of the flow dz/dt = alpha'(t) clean(z, t) + sigma'(t) noise(z, t), solved by torchdiffeq.

    The divergence is exact for events of up to 64 elements, else the mean over `probes` random directions (Hutchinson, 1990), which
    leaves the estimate unbiased. Differentiable where gradients are on.

    Source: Song et al. (2021), https://arxiv.org/abs/2011.13456; Grathwohl et al. (2019), https://arxiv.org/abs/1810.01367.
    """
    from torchdiffeq import odeint  # wanted here alone

    event, batch = denoiser.event, denoiser.batch
    numel, rows = math.prod(event), math.prod(batch)
    exact = probes is None and numel <= LARGEST_EXACT
    directions = None if exact else _signs((probes or 1, rows, numel), value)
    graph = torch.is_grad_enabled()

    def velocity(t: Tensor, flat: Tensor) -> Tensor:
        noisy, t = flat.reshape(*batch, *event), t.clamp(0, 1)              # the solver looks past the end
        alpha_rate, sigma_rate = denoiser.schedule.rates(t)
        clean, found = denoiser(noisy, t)
        return (alpha_rate * clean + sigma_rate * found).reshape(rows, numel)

    def moving(t: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            flat = state[0] if state[0].requires_grad else state[0].detach().requires_grad_()
            moved = velocity(t, flat)
            divergence = _trace(moved, flat, graph) if exact else _probed(moved, flat, directions, graph)
        return (moved, divergence) if graph else (moved.detach(), divergence.detach())

    alpha, _ = denoiser.schedule.levels(value.new_zeros(()))
    start = (alpha * value).reshape(rows, numel)
    ends = value.new_tensor([0.0, 1.0])
    last, change = (path[-1] for path in odeint(moving, (start, start.new_zeros(rows)), ends, rtol=rtol, atol=atol, method="dopri5", options={"norm": _size}))
    alpha_last, sigma_last = denoiser.schedule.levels(value.new_ones(()))
    size = (alpha_last.square() + sigma_last.square()).sqrt()
    prior = -(last / size).square().sum(1) / 2 - numel * (math.log(2 * math.pi) / 2 + size.log())
    return (prior + change + numel * alpha.log()).reshape(batch)


def _size(state: tuple[Tensor, Tensor]) -> Tensor:
    """The size of an error: that of the row whose value is farthest off, or a tenth of the log-density's over all rows, which jumps at every kink of a network."""
    return torch.maximum(state[0].square().mean(1).max().sqrt(), state[1].square().mean().sqrt() / 10)


def _signs(shape: tuple[int, ...], like: Tensor) -> Tensor:
    return torch.randint(0, 2, shape, device=like.device).to(like.dtype) * 2 - 1


def _trace(moved: Tensor, flat: Tensor, graph: bool) -> Tensor:
    """The sum of each element's derivative in itself; rows do not depend on each other."""
    parts = [torch.autograd.grad(moved[:, i].sum(), flat, retain_graph=True, create_graph=graph)[0][:, i] for i in range(flat.shape[1])]
    return torch.stack(parts).sum(0)


def _probed(moved: Tensor, flat: Tensor, directions: Tensor, graph: bool) -> Tensor:
    parts = [(torch.autograd.grad((moved * one).sum(), flat, retain_graph=True, create_graph=graph)[0] * one).sum(1) for one in directions]
    return torch.stack(parts).mean(0)
