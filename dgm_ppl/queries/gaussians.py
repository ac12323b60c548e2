"""Gaussians and mixtures of them as answers: moments, quantiles, distributions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints

from ..exact import Mixture
from ..graph import GraphError

__all__ = ["Moments", "Reshaped", "mixture_of", "quantile_of"]


@dataclass(frozen=True, eq=False)
class Moments:
    """A mixture of Gaussians over n numbers: `probs` `(*batch, c)`, `means` `(*batch, c, n)`, `covariances` `(*batch, c, n, n)`.

    `free` is zero for numbers that are seen, None where none is; `repeated` counts the batch dimensions that are members of plates; the answers are of `dtype`.
    """

    probs: Tensor
    means: Tensor
    covariances: Tensor
    free: Tensor | None
    repeated: int
    dtype: torch.dtype

    @classmethod
    def of(cls, parts: Sequence[tuple[Mixture, Sequence[str]]], names: Sequence[str], arrange: Callable[[Tensor], Tensor], repeated: int, dtype: torch.dtype) -> Moments:
        """The joint of some nodes, which may come from several blocks: those are independent, but for what finite nodes they share."""
        mixed = [mixture for mixture, _ in parts if mixture.probs.shape[-1] > 1]
        if len(parts) > 1 and len(mixed) > 1:
            raise GraphError(
                f"joint: {', '.join(names)} hang on finite nodes in parts that are integrated apart, and their joint is not one mixture; ask post.sample(1000), or for "
                f"each alone"
            )
        count = max(mixture.probs.shape[-1] for mixture, _ in parts)
        chosen = [(mixture, _at(mixture, held, mixture.means.device)) for mixture, held in parts]
        means = torch.cat([_component(mixture.means[..., at], count, 1) for mixture, at in chosen], -1)
        covariances = _diagonal([_component(mixture.covariances[..., at, :][..., at], count, 2) for mixture, at in chosen])
        free = None
        if any(mixture.free is not None for mixture, _ in chosen):
            free = torch.cat([_component(torch.ones_like(mixture.means)[..., at] if mixture.free is None else mixture.free[..., at], count, 1) for mixture, at in chosen], -1)
        found = [name for _, held in parts for name in held]
        if found != list(names):
            sizes = {name: mixture.places[name].stop - mixture.places[name].start for mixture, held in parts for name in held}
            starts = {name: sum(sizes[other] for other in found[: found.index(name)]) for name in found}
            order = torch.cat([torch.arange(starts[name], starts[name] + sizes[name]) for name in names]).to(means.device)
            means, covariances, free = means[..., order], covariances[..., order, :][..., order], None if free is None else free[..., order]
        probs = (mixed or [parts[0][0]])[0].probs
        return cls(arrange(probs), arrange(means), arrange(covariances), None if free is None else arrange(free), repeated, dtype)

    @property
    def mean(self) -> Tensor:
        """`(*batch, n)`."""
        return (self.probs.unsqueeze(-1) * self.means).sum(-2).to(self.dtype)

    @property
    def covariance(self) -> Tensor:
        """`(*batch, n, n)`."""
        apart = self.means - (self.probs.unsqueeze(-1) * self.means).sum(-2, keepdim=True)
        within = self.covariances + apart.unsqueeze(-1) * apart.unsqueeze(-2)
        return (self.probs.unsqueeze(-1).unsqueeze(-1) * within).sum(-3).to(self.dtype)

    @property
    def variance(self) -> Tensor:
        """`(*batch, n)`."""
        apart = self.means - (self.probs.unsqueeze(-1) * self.means).sum(-2, keepdim=True)
        within = self.covariances.diagonal(dim1=-2, dim2=-1) + apart.square()
        return (self.probs.unsqueeze(-1) * within).sum(-2).to(self.dtype)


def _at(mixture: Mixture, names: Sequence[str], device: torch.device) -> Tensor:
    return torch.cat([torch.arange(mixture.places[name].start, mixture.places[name].stop, device=device) for name in names])


def _component(value: Tensor, count: int, inner: int) -> Tensor:
    """A single component repeated as often as another block has some."""
    shape = value.shape
    return value.expand(*shape[: value.ndim - inner - 1], count, *shape[value.ndim - inner:])


def _diagonal(blocks: Sequence[Tensor]) -> Tensor:
    """Square matrices along the diagonal of a larger one."""
    if len(blocks) == 1:
        return blocks[0]
    sizes = [block.shape[-1] for block in blocks]
    rows = [
        torch.cat([block if other == position else block.new_zeros(*block.shape[:-1], size) for other, size in enumerate(sizes)], -1)
        for position, block in enumerate(blocks)
    ]
    return torch.cat(rows, -2)


def mixture_of(moments: Moments, event: Sequence[int]) -> dist.TorchDistribution:
    """The distribution over values of an event shape; a point where a number is seen."""
    means = moments.means.to(moments.dtype)
    if not event:
        scale = moments.covariances[..., 0, 0].clamp_min(0).sqrt().to(moments.dtype)
        component = dist.Normal(means[..., 0], scale, validate_args=False)
    else:
        component = dist.MultivariateNormal(means, scale_tril=_factor(moments).to(moments.dtype), validate_args=False)
        if len(event) > 1:
            component = Reshaped(component, tuple(event))
    if moments.probs.shape[-1] > 1:
        return dist.MixtureSameFamily(dist.Categorical(probs=moments.probs.to(moments.dtype), validate_args=False), component, validate_args=False)
    single = _first(component, event, moments)
    return single.to_event(moments.repeated) if moments.repeated else single


def _first(component: dist.TorchDistribution, event: Sequence[int], moments: Moments) -> dist.TorchDistribution:
    means = moments.means[..., 0, :].to(moments.dtype)
    if not event:
        return dist.Normal(means[..., 0], component.scale[..., 0], validate_args=False)
    base = component.base if isinstance(component, Reshaped) else component
    single = dist.MultivariateNormal(means, scale_tril=base.scale_tril[..., 0, :, :], validate_args=False)
    return Reshaped(single, tuple(event)) if len(event) > 1 else single


def _factor(moments: Moments) -> Tensor:
    """The Cholesky factor of each covariance, with rows of zeros for numbers that are seen."""
    if moments.free is None:
        return torch.linalg.cholesky(moments.covariances)
    return torch.linalg.cholesky(moments.covariances + torch.diag_embed(1 - moments.free)) * moments.free.unsqueeze(-1)


def quantile_of(moments: Moments, q: float) -> Tensor:
    """The q-quantile of each number, `(*batch, n)`, by bisection of the mixture's distribution function."""
    deviations = moments.covariances.diagonal(dim1=-2, dim2=-1).clamp_min(torch.finfo(moments.means.dtype).tiny).sqrt()
    low, high = (moments.means - 40 * deviations).amin(-2), (moments.means + 40 * deviations).amax(-2)
    for _ in range(100):
        middle = (low + high) / 2
        below = (moments.probs.unsqueeze(-1) * torch.special.ndtr((middle.unsqueeze(-2) - moments.means) / deviations)).sum(-2) < q
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return high.to(moments.dtype)


class Reshaped(dist.TorchDistribution):
    """A distribution over vectors as one over arrays of another shape."""

    arg_constraints: dict = {}
    support = constraints.real

    def __init__(self, base: dist.TorchDistribution, event: tuple[int, ...]):
        self.base, self.event = base, event
        super().__init__(base.batch_shape, torch.Size(event), validate_args=False)

    @property
    def has_rsample(self) -> bool:
        return self.base.has_rsample

    def expand(self, batch_shape: Sequence[int], _instance: object = None) -> Reshaped:
        return Reshaped(self.base.expand(batch_shape), self.event)

    def log_prob(self, value: Tensor) -> Tensor:
        return self.base.log_prob(value.reshape(*value.shape[: value.ndim - len(self.event)], math.prod(self.event)))

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        drawn = self.base.rsample(torch.Size(sample_shape))
        return drawn.reshape(*drawn.shape[:-1], *self.event)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with torch.no_grad():
            return self.rsample(sample_shape)

    @property
    def mean(self) -> Tensor:
        return self.base.mean.reshape(*self.batch_shape, *self.event)

    @property
    def variance(self) -> Tensor:
        return self.base.variance.reshape(*self.batch_shape, *self.event)
