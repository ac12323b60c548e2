"""Messages along a chain of finite states by an associative scan: products of matrices two by two (Särkkä and García-Fernández, 2021, doi:10.1109/TAC.2020.2976316)."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["backward_scan", "forward_scan", "tiny_of"]


def _matrices(transition: Tensor, seen: Tensor, real: Tensor | None) -> Tensor:
    """The factors of all steps but the first, `(steps - 1, rows, from, to)`; the identity behind the end."""
    factors = (transition if transition.ndim == 4 else transition.reshape(1, 1, *transition.shape)) * seen[1:].transpose(1, 2).unsqueeze(-2)
    if real is None:
        return factors
    return torch.where(real[1:].transpose(1, 2).unsqueeze(-1), factors, torch.eye(factors.shape[-1], dtype=factors.dtype, device=factors.device))


def _products(matrices: Tensor) -> Tensor:
    """The products of the first matrices, of the first two, and so on, each up to a factor (Blelloch, 1990)."""
    count = len(matrices)
    if count == 1:
        return matrices
    paired = _products(_unit(matrices[0: count - 1: 2] @ matrices[1::2]))
    found = torch.empty_like(matrices)
    found[0], found[1::2] = matrices[0], paired
    if count > 2:
        found[2::2] = _unit(paired[: (count - 1) // 2] @ matrices[2::2])
    return found


def _unit(matrices: Tensor) -> Tensor:
    return matrices / matrices.amax((-1, -2), keepdim=True).clamp_min(tiny_of(matrices))


def forward_scan(initial: Tensor, transition: Tensor, seen: Tensor, real: Tensor | None) -> tuple[Tensor, Tensor]:
    """Filtered probabilities `(steps, states, rows)`, and what each step was divided by `(steps, 1, rows)`."""
    first = (initial * seen[0]).T.unsqueeze(-2)                             # (rows, 1, states)
    factors = _matrices(transition, seen, real)
    later = (first @ _products(_unit(factors))).squeeze(-2).transpose(1, 2)
    filtered = torch.cat([first.squeeze(-2).T.unsqueeze(0), later])
    filtered = filtered / filtered.sum(1, keepdim=True).clamp_min(tiny_of(seen))
    reached = (filtered[:-1].transpose(1, 2).unsqueeze(-2) @ factors).sum(-1)  # (steps - 1, rows, 1)
    return filtered, torch.cat([first.sum(-1).T.unsqueeze(0), reached.transpose(1, 2)])


def backward_scan(transition: Tensor, weighted: Tensor, real: Tensor | None) -> Tensor:
    """p(what is seen later | state) up to a factor for each step and row, `(steps, states, rows)`."""
    factors = _matrices(transition, weighted, real)
    raw = _products(_unit(factors.flip(0).transpose(-1, -2))).sum(-2).flip(0).transpose(1, 2)
    return torch.cat([raw, torch.ones_like(weighted[-1:])])


def tiny_of(like: Tensor) -> float:
    """The smallest number above zero, to divide by in place of zero."""
    return torch.finfo(like.dtype).tiny
