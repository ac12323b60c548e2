"""Chains of finite states: likelihood, filtering, smoothing, most probable path and posterior draws, in scaled linear space.

Everything is laid out steps first and rows last: what is seen `(steps, states, rows)`, a transition `(states before, states after)`, the
same at every step, or `(steps - 1, rows or 1, states before, states after)`. The likelihood's gradient is in closed form: it is made of posterior probabilities,
so that nothing but one pass back is needed (Rabiner, 1989, doi:10.1109/5.18626). On a GPU messages go by an associative scan, whose
depth is the logarithm of the number of steps (Särkkä and García-Fernández, 2021, doi:10.1109/TAC.2020.2976316).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .scan import backward_scan, forward_scan, tiny_of

__all__ = ["Potentials", "draw_paths", "filtered_evidence", "log_likelihood", "most_probable_path", "smoothed"]


@dataclass(frozen=True, eq=False)
class Potentials:
    """What a hidden chain is made of, for rows of evidence.

    `initial` `(states, rows or 1)` probabilities; `transition` probabilities; `seen` `(steps, states, rows)` log-likelihoods of what is observed;
    `real` `(steps, 1, rows)` the steps within each sequence, None where all are.
    """

    initial: Tensor
    transition: Tensor
    seen: Tensor
    real: Tensor | None = None

    @property
    def homogeneous(self) -> bool:
        return self.transition.ndim == 2

    def parallel(self) -> bool:
        """Whether messages go by a scan: it takes `states` times the arithmetic, which pays only on parallel hardware and small states."""
        steps, states, _ = self.seen.shape
        return self.seen.is_cuda and steps >= 16 * states


@dataclass(frozen=True, eq=False)
class Messages:
    """Filtered probabilities `(steps, states, rows)`, what each step was divided by `(steps, 1, rows)`, and the likelihoods, scaled."""

    filtered: Tensor
    scale: Tensor
    seen: Tensor
    shift: Tensor

    @property
    def log_evidence(self) -> Tensor:
        """log p(evidence) `(rows)`, in double precision; minus infinity where it is impossible."""
        return (self.scale.double().log() + self.shift.double()).sum((0, 1))


def log_likelihood(potentials: Potentials) -> Tensor:
    """log p(evidence) `(rows)`, summed over all paths, in double precision; differentiable.

    The gradient is zero where the evidence is impossible.
    """
    return _LogLikelihood.apply(potentials.initial, potentials.transition, potentials.seen, potentials.real)


def smoothed(potentials: Potentials) -> tuple[Tensor, Tensor, Tensor]:
    """log p(evidence) `(rows)`, and the probabilities of each state given the steps up to then, and given all, `(steps, states, rows)`; differentiable.

    Steps behind the end of a sequence repeat its last one.
    """
    if torch.is_grad_enabled() and any(each.requires_grad for each in (potentials.initial, potentials.transition, potentials.seen)):
        return _plain_smoothed(potentials)
    forward = _forward(potentials)
    backward = _backward(potentials, forward)
    together = forward.filtered * backward
    return forward.log_evidence, forward.filtered, together / together.sum(1, keepdim=True).clamp_min(tiny_of(together))


def filtered_evidence(potentials: Potentials) -> Tensor:
    """log p(what is seen up to each step), `(steps, rows)`, in double precision."""
    found = _forward(potentials)
    return (found.scale.double().log() + found.shift.double()).squeeze(1).cumsum(0)


class _LogLikelihood(torch.autograd.Function):
    @staticmethod
    def forward(ctx, initial: Tensor, transition: Tensor, seen: Tensor, real: Tensor | None) -> Tensor:
        potentials = Potentials(initial, transition, seen, real)
        messages = _forward(potentials)
        ctx.real = real
        ctx.save_for_backward(initial, transition, seen, messages.filtered, messages.scale, messages.seen)
        return messages.log_evidence

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():                                         # the gradient is to be differentiated too
            inputs = ctx.saved_tensors[:3]
            wanted = [each for each, needed in zip(inputs, ctx.needs_input_grad) if needed]
            found = iter(torch.autograd.grad(_plain_log_likelihood(*inputs, ctx.real), wanted, gradient, create_graph=True))
            return *(next(found) if needed else None for needed in ctx.needs_input_grad[:3]), None
        initial, transition, _, filtered, scale, seen = ctx.saved_tensors
        potentials = Potentials(initial, transition, seen, ctx.real)
        messages = Messages(filtered, scale, seen, scale)
        behind = _backward(potentials, messages)
        possible = (scale > 0).all(0)                                       # (1, rows)
        weight = torch.where(possible, gradient.to(seen.dtype), 0.0)
        weighted = behind * weight
        arriving = weighted * seen / scale.clamp_min(tiny_of(scale))          # d log p / d (predicted probability), (steps, states, rows)
        wanted = ctx.needs_input_grad
        posterior = filtered * weighted if wanted[2] else None
        first = _like(arriving[0], initial) if wanted[0] else None
        if ctx.real is not None:
            arriving = torch.where(ctx.real, arriving, 0.0)
            posterior = torch.where(ctx.real, posterior, 0.0) if posterior is not None else None
        return first, _transition_gradient(filtered, arriving, transition) if wanted[1] else None, posterior, None


def _plain_log_likelihood(initial: Tensor, transition: Tensor, seen: Tensor, real: Tensor | None) -> Tensor:
    """The same by operations that can be differentiated again and again."""
    return _plain_forward(Potentials(initial, transition, seen, real))[0]


def _plain_forward(potentials: Potentials) -> tuple[Tensor, list[Tensor], Tensor]:
    """log p(evidence) `(rows)`, the filtered probabilities of each step, and the likelihoods, scaled."""
    shift = potentials.seen.detach().amax(1, keepdim=True)
    likelihood, across, real = (potentials.seen - shift).exp(), potentials.transition.transpose(-1, -2), potentials.real
    state, total, filtered = potentials.initial * likelihood[0], shift[0].double(), []
    for step in range(len(likelihood)):
        if step:
            moved = _moved_on(across, step, state) * likelihood[step]
            state = moved if real is None else torch.where(real[step], moved, state)
            total = total + (shift[step] if real is None else torch.where(real[step], shift[step], 0.0)).double()
        scale = state.sum(0, keepdim=True)
        state, total = state / scale, total + scale.double().log()
        filtered.append(state)
    return total.squeeze(0), filtered, likelihood


def _moved_on(matrices: Tensor, step: int, value: Tensor) -> Tensor:
    """One step through matrices `(to, from)`."""
    if matrices.ndim == 2:
        return matrices @ value
    return torch.matmul(matrices[step - 1], value.T.unsqueeze(-1)).squeeze(-1).T


def _plain_smoothed(potentials: Potentials) -> tuple[Tensor, Tensor, Tensor]:
    total, filtered, likelihood = _plain_forward(potentials)
    behind, found = torch.ones_like(filtered[-1]), [filtered[-1]]
    for step in range(len(filtered) - 1, 0, -1):
        before = _moved_on(potentials.transition, step, likelihood[step] * behind)
        behind = before if potentials.real is None else torch.where(potentials.real[step], before, behind)
        together = filtered[step - 1] * behind
        mass = together.sum(0, keepdim=True)
        behind, together = behind / mass, together / mass
        found.append(together)
    return total, torch.stack([each.expand_as(filtered[-1]) for each in filtered]), torch.stack(found[::-1])


def _like(gradient: Tensor, tensor: Tensor) -> Tensor:
    return gradient.sum(-1, keepdim=True) if tensor.shape[-1] == 1 != gradient.shape[-1] else gradient


def _transition_gradient(filtered: Tensor, arriving: Tensor, transition: Tensor) -> Tensor:
    if transition.ndim == 2:
        return torch.bmm(filtered[:-1], arriving[1:].transpose(1, 2)).sum(0)
    left, right = filtered[:-1].permute(0, 2, 1), arriving[1:].permute(0, 2, 1)  # (steps - 1, rows, states)
    found = left.unsqueeze(-1) * right.unsqueeze(-2)
    return found.sum(1, keepdim=True) if transition.shape[1] == 1 != found.shape[1] else found


# ---- messages


def _scaled(log: Tensor) -> tuple[Tensor, Tensor]:
    """Likelihoods divided by the largest of each step and row, and the logarithm of that."""
    log = log.contiguous()
    shift = log.amax(1, keepdim=True)
    shift = torch.where(shift == -torch.inf, 0.0, shift)
    return (log - shift).exp(), shift


def _forward(potentials: Potentials) -> Messages:
    seen, shift = _scaled(potentials.seen.detach())
    initial = potentials.initial.detach()
    if potentials.parallel():
        filtered, scale = forward_scan(initial, potentials.transition.detach(), seen, potentials.real)
    else:
        filtered, scale = _forward_steps(initial, potentials.transition.detach(), seen, potentials.real)
    return Messages(filtered, scale, seen, shift if potentials.real is None else torch.where(potentials.real, shift, 0.0))


def _forward_steps(initial: Tensor, transition: Tensor, seen: Tensor, real: Tensor | None) -> tuple[Tensor, Tensor]:
    filtered, scale = torch.empty_like(seen), seen.new_empty(len(seen), 1, seen.shape[-1])
    tiny, across = tiny_of(seen), transition.T if transition.ndim == 2 else transition.transpose(-1, -2)
    for step in range(len(seen)):
        here, factor = filtered[step], scale[step]
        if step == 0:
            torch.mul(initial, seen[0], out=here)
        else:
            _across(across, step, filtered[step - 1], here).mul_(seen[step])
        torch.sum(here, 0, keepdim=True, out=factor)
        here.div_(factor.clamp_min(tiny))
        if real is not None and step:
            here.copy_(torch.where(real[step], here, filtered[step - 1]))
            factor.copy_(torch.where(real[step], factor, 1.0))
    return filtered, scale


def _across(matrices: Tensor, step: int, value: Tensor, out: Tensor) -> Tensor:
    """One step through matrices `(to, from)`."""
    if matrices.ndim == 2:
        return torch.mm(matrices, value, out=out)
    return out.copy_(torch.matmul(matrices[step - 1], value.T.unsqueeze(-1)).squeeze(-1).T)


def _backward(potentials: Potentials, messages: Messages) -> Tensor:
    """p(what is seen later | state), divided so that its product with the filtered probabilities sums to one, `(steps, states, rows)`."""
    weighted = messages.seen / messages.scale.clamp_min(tiny_of(messages.scale))
    transition = potentials.transition.detach()
    if potentials.parallel():
        raw = backward_scan(transition, weighted, potentials.real)
        return raw / (messages.filtered * raw).sum(1, keepdim=True).clamp_min(tiny_of(raw))
    found = torch.empty_like(weighted)
    found[-1] = 1.0
    for step in range(len(weighted) - 1, 0, -1):
        here = found[step - 1]
        _across(transition, step, weighted[step] * found[step], here)
        if potentials.real is not None:
            here.copy_(torch.where(potentials.real[step], here, found[step]))
    return found


# ---- paths


def most_probable_path(potentials: Potentials) -> tuple[Tensor, Tensor]:
    """The most probable states `(steps, rows)`, and log p(they, evidence) `(rows)` (Viterbi, 1967, doi:10.1109/TIT.1967.1054010)."""
    seen, real = potentials.seen, potentials.real
    score, steps = potentials.initial.log() + seen[0], len(seen)
    came = torch.empty(steps, *score.shape, dtype=torch.long, device=seen.device)
    moves = potentials.transition.log()
    for step in range(1, steps):
        move = moves.unsqueeze(-1) if potentials.homogeneous else moves[step - 1].permute(1, 2, 0)  # (from, to, rows)
        best, came[step] = (score.unsqueeze(1) + move).max(0)
        best = best + seen[step]
        if real is not None:
            stay = torch.arange(len(score), device=seen.device).unsqueeze(1)
            came[step], best = torch.where(real[step], came[step], stay), torch.where(real[step], best, score)
        score = best
    total, state = score.max(0)
    path = [state]
    for step in range(steps - 1, 0, -1):
        path.append(came[step].gather(0, path[-1].unsqueeze(0)).squeeze(0))
    return torch.stack(path[::-1]), total


def draw_paths(potentials: Potentials, samples: int) -> Tensor:
    """Independent draws of the states given the evidence, `(samples, steps, rows)`: filtered forwards, drawn backwards."""
    filtered, real = _forward(potentials).filtered, potentials.real
    steps, states, rows = filtered.shape
    current = _categorical(filtered[-1].T.expand(samples, rows, states))
    found = [current]
    for step in range(steps - 1, 0, -1):
        if potentials.homogeneous:
            into = potentials.transition.T[current]                         # (samples, rows, from)
        else:
            matrices = potentials.transition[step - 1].transpose(-1, -2)    # (rows or 1, to, from)
            into = matrices.expand(rows, states, states)[torch.arange(rows, device=current.device), current]
        drawn = _categorical(filtered[step - 1].T * into)
        current = drawn if real is None else torch.where(real[step].squeeze(0), drawn, current)
        found.append(current)
    return torch.stack(found[::-1], 1)


def _categorical(weights: Tensor) -> Tensor:
    cumulated = weights.cumsum(-1)
    uniform = torch.rand_like(cumulated[..., :1]) * cumulated[..., -1:]
    return (cumulated <= uniform).sum(-1).clamp_max(weights.shape[-1] - 1)
