"""A conditional given its parents as a Pyro distribution, for kinds that no distribution class stands for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from pyro.distributions import TorchDistribution, constraints
from torch import Tensor

from ..families import noise
from ..families.shapes import broadcast
from .base import Conditional
from .ports import Port

__all__ = ["ConditionalDistribution", "leading"]


def leading(ports: Sequence[Port], parents: Sequence[Tensor]) -> tuple[int, ...]:
    """The batch dimensions that the parents' values have together."""
    return broadcast(*(value.shape[: value.ndim - port.rank] for port, value in zip(ports, parents))) if ports else ()


class ConditionalDistribution(TorchDistribution):
    """p(node | parents) over what `conditional.prepare(*parents)` returned: it samples and scores as the direct path does.

    It holds no value between calls but what `prepared` holds, so nothing in it can go stale.
    """

    arg_constraints = {}

    def __init__(self, conditional: Conditional, prepared: Any, batch_shape: Sequence[int], validate_args: bool | None = None):
        self.conditional, self.prepared = conditional, prepared
        super().__init__(torch.Size(batch_shape), torch.Size(conditional.variable.shape), validate_args=validate_args)

    @property
    def has_rsample(self) -> bool:
        return self.conditional.reparameterized

    @property
    def has_enumerate_support(self) -> bool:
        return self.conditional.finite

    @property
    def support(self) -> constraints.Constraint:
        own, rank = self.conditional.variable.space.constraint, len(self.event_shape)
        return constraints.independent(own, rank - own.event_dim) if rank > own.event_dim else own

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> ConditionalDistribution:
        return ConditionalDistribution(self.conditional, self.prepared, batch_shape, self._validate_args)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        if not self.has_rsample:
            raise NotImplementedError(f"node {self.conditional.name!r} is not reparameterized; use sample")
        return self._drawn(sample_shape)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        with torch.no_grad():
            return self._drawn(sample_shape)

    def _drawn(self, sample_shape: Sequence[int]) -> Tensor:
        return self.conditional.draw((*sample_shape, *self.batch_shape), self.prepared, noise)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        found = self.conditional.log_density(value, self.prepared)
        return found.expand(broadcast(found.shape, self.batch_shape))

    def enumerate_support(self, expand: bool = True) -> Tensor:
        space, like = self.conditional.variable.space, next(iter(self.conditional.buffers()))
        states = torch.arange(space.cardinality, device=like.device, dtype=torch.long if space.integer else like.dtype)
        states = states.reshape(-1, *(1,) * len(self.batch_shape))
        return states.expand(-1, *self.batch_shape) if expand else states
