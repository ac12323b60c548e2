"""Densities, samplers and closed-form divergences as plain functions of parameters: what a training step evaluates.

Distribution objects cost more than the mathematics on small nets, so the direct path calls these. A family without forms of
its own goes through its distribution's methods. Parameters are tensors, or plain numbers where they are fixed scalars.
Samplers take their noise from an object with `normal(shape, like)` and use the generator exactly as Pyro does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import kl_divergence

from .shapes import broadcast

__all__ = ["Forms", "LogNormalForms", "LogitNormalForms", "Noise", "NormalForms", "Params", "ShardedNoise", "noise"]

Params = Sequence[Any]
HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


class Noise:
    """The noise of a single process.

    A sampler that is not made of normal noise draws from `widen(parameters)` and returns `narrow(draw)`.
    """

    sharded: ClassVar[bool] = False
    moved: ClassVar[bool] = False                   # whether gradients in the noise are wanted of what it makes

    def normal(self, shape: Sequence[int], like: Tensor) -> Tensor:
        return torch.randn(shape, dtype=like.dtype, device=like.device)

    def widen(self, local: Tensor) -> Tensor:
        return local

    def narrow(self, whole: Tensor) -> Tensor:
        return whole


noise = Noise()


@dataclass(frozen=True)
class ShardedNoise(Noise):
    """The noise of rows `offset ... offset + local` out of `total`: what one process holding all rows would draw.

    `axis` is the position of the rows among the dimensions of a value. The draw is one of all rows, the local rows standing
    in for the others; samplers that reject proposals (Gamma and its kin) then differ from one process, in noise alone.
    """

    offset: int
    total: int
    local: int
    axis: int = 0

    sharded: ClassVar[bool] = True

    def normal(self, shape: Sequence[int], like: Tensor) -> Tensor:
        whole = (*shape[: self.axis], self.total, *shape[self.axis + 1:])
        return self.narrow(torch.randn(whole, dtype=like.dtype, device=like.device))

    def widen(self, local: Tensor) -> Tensor:
        rows = (torch.arange(self.total, device=local.device) - self.offset) % self.local
        return local.index_select(self.axis, rows)

    def narrow(self, whole: Tensor) -> Tensor:
        return whole.narrow(self.axis, self.offset, self.local)


@dataclass(frozen=True)
class Forms:
    """The formulas of one parameterization, through the distribution's methods unless a subclass knows better.

    `surprisal` is -log p, per element of the family's own event; `kl` is the divergence of two members per element, or None.
    `params` are those of the signature, then the logarithms of those in `logarithms`, which are often known without a `log`.
    """

    distribution: Callable
    signature: tuple[str, ...]
    event_dim: int = 0
    reparameterized: bool = True

    functional: ClassVar[bool] = False
    logarithms: ClassVar[tuple[str, ...]] = ()
    lean: ClassVar[bool] = False                    # whether `log_density` takes None for a parameter whose logarithm it has

    @property
    def of_tables(self) -> Forms:
        """The formulas where a table holds the parameters, so that a probability may be zero."""
        return self

    def build(self, params: Params, like: Tensor) -> torch.distributions.Distribution:
        dtype = next((value.dtype for value in params if isinstance(value, Tensor)), _float(like))
        placed = {name: value if isinstance(value, Tensor) else like.new_full((), value, dtype=dtype) for name, value in zip(self.signature, params)}
        return self.distribution(**placed, validate_args=False)

    def surprisal(self, value: Tensor, params: Params) -> Tensor:
        return -self.build(params, value).log_prob(value)

    def log_prob(self, value: Tensor, params: Params) -> Tensor:
        return -self.surprisal(value, params)

    def log_density(self, value: Tensor, params: Params, elements: int) -> Tensor:
        """log p of a value whose last dimensions are `elements` independent ones, `(*batch)`."""
        surprisals = self.surprisal(value, params)
        return -surprisals.sum(tuple(range(-elements, 0))) if elements else -surprisals

    def log_probabilities(self, params: Params, like: Tensor) -> Tensor | None:
        """log p of every state, `(*batch, states)`, of finite families that have it at hand."""
        return None

    def sample(self, shape: Sequence[int], params: Params, like: Tensor, noise: Noise) -> Tensor:
        built = self.build(params, like)
        expanded = built.expand(shape[: len(shape) - self.event_dim])
        if noise.sharded:
            whole = {name: noise.widen(getattr(expanded, name)) for name in self.signature}
            expanded = self.distribution(**whole, validate_args=False)
        return noise.narrow(expanded.rsample() if self.reparameterized else expanded.sample())

    def kl(self, q: Params, other: Forms, p: Params, like: Tensor) -> Tensor | None:
        ours, theirs = self.build(q, like), other.build(p, like)
        batch = broadcast(ours.batch_shape, theirs.batch_shape)
        try:
            return kl_divergence(ours.expand(batch), theirs.expand(batch))      # torch fills in infinities by masks, which do not broadcast
        except NotImplementedError:
            return None


def _float(like: Tensor) -> torch.dtype:
    return like.dtype if like.is_floating_point() else torch.get_default_dtype()


MANY = 30_000                                                                # elements whose passes cost more than a gradient written in Python


class _NormalLogDensity(torch.autograd.Function):
    """log N(x; loc, scale) summed over the last dimensions, with a gradient in half the passes over the elements that autograd makes.

    Where every row of values meets every row of parameters, sums over rows are products of matrices.
    """

    @staticmethod
    def forward(ctx, value: Tensor, loc: Tensor, log_scale: Tensor, elements: int) -> Tensor:
        inverse = (-log_scale).exp()
        z = (loc - value) * inverse
        ctx.save_for_backward(value, loc, log_scale, z, inverse)
        ctx.elements = elements
        dims, event = tuple(range(-elements, 0)), z.shape[-elements:]
        spread = (log_scale if log_scale.shape[-elements:] == event else log_scale.expand(*log_scale.shape[:-elements], *event)).sum(dims)
        squares = ((z * z) @ z.new_ones(event[0], 1)).squeeze(-1) if elements == 1 else (z * z).sum(dims)
        return squares.mul_(-0.5).sub_(spread.add_(HALF_LOG_TWO_PI * math.prod(event)))

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple:
        value, loc, log_scale, z, inverse = ctx.saved_tensors
        ones, event = (1,) * ctx.elements, z.shape[-ctx.elements:]
        if torch.is_grad_enabled():                                         # a gradient of the gradient is asked for
            inverse = (-log_scale).exp()
            z = (loc - value) * inverse
        weight, found = gradient.reshape(*gradient.shape, *ones), [None, None, None, None]
        rows = 0 if ctx.needs_input_grad[0] or ctx.elements > 1 else _grid(value, loc, log_scale, z)
        if rows:
            flat, weights = z.reshape(rows, -1, event[0]), gradient.reshape(rows, 1, -1)
            pulled, squared = ((weights @ each).reshape(loc.shape) for each in (flat, flat * flat))
        else:
            whole = z * weight
            if ctx.needs_input_grad[0]:
                found[0] = (whole * inverse).sum_to_size(value.shape)
            squared = (whole * z).sum_to_size(log_scale.shape)
            pulled = whole.sum_to_size(loc.shape) if loc.shape == log_scale.shape else None
        if ctx.needs_input_grad[1]:
            found[1] = -(whole * inverse).sum_to_size(loc.shape) if pulled is None else -(pulled * inverse)
        if ctx.needs_input_grad[2]:
            repeated = math.prod(event) // math.prod(log_scale.shape[-ctx.elements:])
            whole = weight.sum_to_size((*log_scale.shape[: -ctx.elements], *ones))
            found[2] = squared - (whole if repeated == 1 else whole * repeated)
        return tuple(found)


def _grid(value: Tensor, loc: Tensor, log_scale: Tensor, z: Tensor) -> int:
    """The rows of parameters, where the dimensions to the left are theirs alone and the others the values' alone; else zero."""
    split = z.ndim - value.ndim
    alone = loc.shape == log_scale.shape and loc.shape[:split] == z.shape[:split] and all(size == 1 for size in loc.shape[split:-1]) and loc.shape[-1] == z.shape[-1]
    return math.prod(loc.shape[:split]) if alone and split > 0 else 0


class NormalForms(Forms):
    """N(x; loc, scale): -log p = z^2 / 2 + log scale + log(2 pi) / 2 with z = (x - loc) / scale."""

    functional = True
    logarithms = ("scale",)
    lean = True

    def surprisal(self, value: Tensor, params: Params) -> Tensor:
        loc, scale, log_scale = params
        z = value if _is(loc, 0) else value - loc
        z = z if _is(scale, 1) else z / scale
        return 0.5 * (z * z) + (log_scale + HALF_LOG_TWO_PI)

    def log_density(self, value: Tensor, params: Params, elements: int) -> Tensor:
        """Of many elements the sum of squares first, then the logarithms of the scales: fewer passes over them."""
        loc, scale, log_scale = params
        if elements and isinstance(log_scale, Tensor) and isinstance(loc, Tensor) and log_scale.ndim >= elements:
            if math.prod(broadcast(value.shape, loc.shape)) >= MANY:
                return _NormalLogDensity.apply(value, loc, log_scale, elements)
        return super().log_density(value, (loc, log_scale.exp(), log_scale) if scale is None else params, elements)

    def sample(self, shape: Sequence[int], params: Params, like: Tensor, noise: Noise) -> Tensor:
        loc, scale, _ = params
        return loc + noise.normal(shape, like) * scale

    def kl(self, q: Params, other: Forms, p: Params, like: Tensor) -> Tensor | None:
        if type(other) is not type(self):
            return super().kl(q, other, p, like)
        (loc, scale, log_scale), (other_loc, other_scale, other_log_scale) = q, p
        if not isinstance(loc, Tensor) and not isinstance(scale, Tensor):
            return super().kl(q, other, p, like)
        z = loc if _is(other_loc, 0) else loc - other_loc
        if not _is(other_scale, 1):
            z, scale, log_scale = z / other_scale, scale / other_scale, log_scale - other_log_scale
        return 0.5 * (z * z + scale * scale - 1) - log_scale


class LogNormalForms(NormalForms):
    """log x is normal: -log p(x) is that of log x plus log x; the divergence is the one of the logarithms."""

    lean = False

    def surprisal(self, value: Tensor, params: Params) -> Tensor:
        logarithm = value.log()
        return super().surprisal(logarithm, params) + logarithm

    def log_density(self, value: Tensor, params: Params, elements: int) -> Tensor:
        return Forms.log_density(self, value, params, elements)

    def sample(self, shape: Sequence[int], params: Params, like: Tensor, noise: Noise) -> Tensor:
        return super().sample(shape, params, like, noise).exp()


class LogitNormalForms(Forms):
    """The log-odds of x within its bounds are normal."""

    def sample(self, shape: Sequence[int], params: Params, like: Tensor, noise: Noise) -> Tensor:
        loc, scale, *bounds = params
        share = (loc + noise.normal(shape, like) * scale).sigmoid()
        return share if not bounds else bounds[0] + (bounds[1] - bounds[0]) * share


def _is(value: Any, number: float) -> bool:
    return not isinstance(value, Tensor) and value == number
