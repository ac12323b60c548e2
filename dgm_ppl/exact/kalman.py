"""Linear dynamical systems: likelihood, filtering, smoothing and posterior draws.

A state moves as `s_t = F_t s_{t-1} + b_t + noise of covariance Q_t` and is seen as `y_t = C_t s_t + d_t + noise of covariance R_t`, for rows of
sequences at once. Covariances that rows share are computed once. The smoother needs no inverse of a state covariance, so that parts of the state
may be certain (de Jong, 1989, doi:10.1093/biomet/76.2.275-281; Bierman, 1973).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

__all__ = ["Filtered", "System", "drawn_states", "filtered", "smoothed_moments"]


@dataclass(frozen=True, eq=False)
class System:
    """Steps first, then rows (or 1 where they are alike); steps may be 1 where they are alike, other than for what was seen.

    `mean` `(rows, n)` and `covariance` `(rows, n, n)` of the state at the first step; `moves` F `(steps - 1, rows, n, n)`, `offset` b `(steps - 1, rows, n)`,
    `noise` Q; `reads` C `(steps, rows, m, n)`, `constant` d `(steps, rows, m)`, `error` R `(steps, rows, m, m)`; `seen` y `(steps, rows, m)` and
    `gone` `(steps, rows, m)`, the numbers that are missing, None where none is.
    """

    mean: Tensor
    covariance: Tensor
    moves: Tensor
    offset: Tensor
    noise: Tensor
    reads: Tensor
    constant: Tensor
    error: Tensor
    seen: Tensor
    gone: Tensor | None = None

    def without_gone(self) -> System:
        """The system in which a missing number reads nothing and is seen where it was expected, with unit variance."""
        if self.gone is None:
            return self
        hole = self.gone
        reads = torch.where(hole.unsqueeze(-1), 0.0, self.reads)
        beside = hole.unsqueeze(-1) | hole.unsqueeze(-2)
        error = torch.where(beside, torch.eye(hole.shape[-1], dtype=self.error.dtype, device=self.error.device), self.error)
        return replace(self, reads=reads, error=error, constant=torch.where(hole, 0.0, self.constant), seen=torch.where(hole, 0.0, self.seen), gone=hole)


@dataclass(frozen=True, eq=False)
class Filtered:
    """log p(y) `(rows)`; moments of each state given what was seen up to then, `(steps, rows, n)` and `(steps, rows or 1, n, n)`; and for the way back
    at each step: C, the Cholesky factor of the covariance of what was expected, what was seen beyond it, and the gain."""

    log_evidence: Tensor
    means: Tensor
    covariances: Tensor
    back: list[tuple[Tensor, Tensor, Tensor, Tensor]]


def _at(value: Tensor, step: int) -> Tensor:
    return value[step if len(value) > 1 else 0]


def filtered(system: System) -> Filtered:
    """The Kalman filter (1960), by Cholesky factors; differentiable."""
    system = system.without_gone()
    mean, covariance = system.mean, system.covariance
    rows = system.seen.shape[1]
    total = system.seen.new_zeros(rows, dtype=torch.float64)
    means, covariances, back = [], [], []
    for step in range(len(system.seen)):
        if step:
            move = _at(system.moves, step - 1)
            mean = (move @ mean.unsqueeze(-1)).squeeze(-1) + _at(system.offset, step - 1)
            covariance = move @ covariance @ move.mT + _at(system.noise, step - 1)
        reads = _at(system.reads, step)
        across = covariance @ reads.mT                                      # (rows, n, m)
        root = torch.linalg.cholesky(reads @ across + _at(system.error, step))
        beyond = system.seen[step] - _at(system.constant, step) - (reads @ mean.unsqueeze(-1)).squeeze(-1)
        white = torch.linalg.solve_triangular(root, beyond.unsqueeze(-1), upper=False)
        half = torch.linalg.solve_triangular(root, across.mT, upper=False)  # (rows, m, n)
        total = total - 0.5 * white.squeeze(-1).square().sum(-1).double() - root.diagonal(dim1=-2, dim2=-1).log().sum(-1).double()
        mean = mean + (half.mT @ white).squeeze(-1)
        covariance = covariance - half.mT @ half
        covariance = 0.5 * (covariance + covariance.mT)
        gain = torch.linalg.solve_triangular(root.mT, half, upper=True).mT  # (rows, n, m)
        means.append(mean.expand(rows, -1))
        covariances.append(covariance)
        back.append((reads, root, beyond, gain))
    numbers = system.seen.shape[-1] * len(system.seen) - (0.0 if system.gone is None else system.gone.sum((0, -1)).double())
    total = total - 0.5 * math.log(2 * math.pi) * numbers
    return Filtered(total, torch.stack(means), torch.stack([each.expand(max(one.shape[0] for one in covariances), -1, -1) for each in covariances]), back)


def smoothed_moments(system: System, forward: Filtered) -> tuple[Tensor, Tensor]:
    """Means `(steps, rows, n)` and covariances `(steps, rows or 1, n, n)` of each state given all that was seen."""
    state = system.mean.shape[-1]
    pull = system.seen.new_zeros(1, state)
    weight = system.seen.new_zeros(1, state, state)
    identity = torch.eye(state, dtype=system.seen.dtype, device=system.seen.device)
    means, covariances = [], []
    for step in range(len(system.seen) - 1, -1, -1):
        mean, covariance = forward.means[step], forward.covariances[step]
        means.append(mean + (covariance @ pull.unsqueeze(-1)).squeeze(-1))
        covariances.append(covariance - covariance @ weight @ covariance)
        if step:
            reads, root, beyond, gain = forward.back[step]
            solved = torch.cholesky_solve(beyond.unsqueeze(-1), root)
            kept = identity - gain @ reads
            pull = (reads.mT @ solved).squeeze(-1) + (kept.mT @ pull.unsqueeze(-1)).squeeze(-1)
            weight = reads.mT @ torch.cholesky_solve(reads.expand(root.shape[0], *reads.shape[1:]), root) + kept.mT @ weight @ kept
            move = _at(system.moves, step - 1)
            pull, weight = (move.mT @ pull.unsqueeze(-1)).squeeze(-1), move.mT @ weight @ move
    most = max(each.shape[0] for each in covariances)
    return torch.stack(means[::-1]), torch.stack([each.expand(most, -1, -1) for each in covariances[::-1]])


def drawn_states(system: System, samples: int) -> Tensor:
    """Independent draws of the states given what was seen, `(samples, steps, rows, n)`: a draw of everything, its states corrected by the difference of
    the two smoothed means (Durbin and Koopman, 2002, doi:10.1093/biomet/89.3.603)."""
    system = system.without_gone()
    steps, rows, _ = system.seen.shape

    def noisy(covariance: Tensor) -> Tensor:
        values, vectors = torch.linalg.eigh(covariance)
        root = vectors * values.clamp_min(0).sqrt().unsqueeze(-2)
        return (root @ torch.randn(samples, rows, covariance.shape[-1], 1, dtype=system.seen.dtype, device=system.seen.device)).squeeze(-1)

    states, seen = [], []
    for step in range(steps):
        if step:
            state = (_at(system.moves, step - 1) @ states[-1].unsqueeze(-1)).squeeze(-1) + _at(system.offset, step - 1) + noisy(_at(system.noise, step - 1))
        else:
            state = system.mean + noisy(system.covariance)
        states.append(state)
        seen.append((_at(system.reads, step) @ state.unsqueeze(-1)).squeeze(-1) + _at(system.constant, step) + noisy(_at(system.error, step)))
    drawn, other = torch.stack(states, 1), torch.stack(seen, 1)             # (samples, steps, rows, ...)
    forward = filtered(system)
    mean = smoothed_moments(system, forward)[0]
    everything = replace(_repeated(system, samples), seen=other.transpose(0, 1).flatten(1, 2), gone=None)
    theirs = smoothed_moments(everything, filtered(everything))[0].unflatten(1, (samples, rows)).transpose(0, 1)
    return drawn + mean - theirs


def _repeated(system: System, samples: int) -> System:
    """The system with its rows repeated, sample by sample."""
    def repeat(value: Tensor, axis: int) -> Tensor:
        return value if value.shape[axis] == 1 else value.repeat(*(1,) * axis, samples, *(1,) * (value.ndim - axis - 1))

    later = {name: repeat(getattr(system, name), 1) for name in ("moves", "offset", "noise", "reads", "constant", "error", "seen")}
    return System(repeat(system.mean, 0), repeat(system.covariance, 0), gone=None, **later)
