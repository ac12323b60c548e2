"""A flow's transformation with its base distribution: what a context settles, sampled and scored."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ...families.shapes import broadcast
from .door import zuko
from .kinds import FlowKind

__all__ = ["Bijection", "Settled"]

HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


class Bijection(nn.Module):
    """A flow's transformation with its base distribution, over vectors of `features` numbers `(*batch, features)`.

    Flows behave the same in training and in evaluation; zuko, told of evaluation, would drop the gradients of inverses.
    """

    def __init__(self, kind: FlowKind, shape: int | Sequence[int], context: int):
        super().__init__()
        self.kind = kind
        self.transform = kind.build(shape, context) if isinstance(shape, int) else kind.build_for(shape, context)

    def train(self, mode: bool = True) -> Bijection:
        return super().train(True)

    def adjacency(self) -> Tensor | None:
        """Which numbers of the noise depend on which of the value's: those up to it, of a single autoregressive transformation.

        Several of them in turn, which change their order, let every number depend on every other, and so do couplings: None.
        """
        masked = zuko().flows.autoregressive.MaskedAutoregressiveTransform
        layers = [layer for layer in self.transform.modules() if isinstance(layer, masked)] if self.kind.ordered else []
        return layers[0].order.unsqueeze(-1) > layers[0].order if len(layers) == 1 else None

    def settle(self, context: Tensor | None) -> Settled:
        """The transformation given a context."""
        return Settled(self.kind, self.transform(context), () if context is None else context.shape[:-1])


class Settled:
    """A transformation whose parents are known. It remembers its last draw, by identity and version, for inverse flows alone."""

    __slots__ = ("_drawn", "_score", "_version", "batch", "kind", "transform")

    def __init__(self, kind: FlowKind, transform: Any, batch: Sequence[int]):
        self.kind, self.transform, self.batch = kind, transform, tuple(batch)
        self._drawn, self._version, self._score = None, 0, None

    def sample(self, z: Tensor) -> Tensor:
        """The value of standard normal noise `(*batch, features)`."""
        z = self._based(z)
        if not self.kind.inverse:
            return self.transform.inv(z)
        x, ladj = self.transform.call_and_ladj(z)
        self._drawn, self._version, self._score = x, x._version, self._base(z) + ladj
        return x

    def surprisal(self, x: Tensor) -> Tensor:
        """-log p(x), `(*batch)`."""
        if x is self._drawn and x._version == self._version:
            return self._score
        batch = broadcast(x.shape[:-1], self.batch)
        x = x if x.shape[:-1] == batch else x.expand(*batch, x.shape[-1])
        if not self.kind.inverse:
            z, ladj = self.transform.call_and_ladj(x)
            return self._base(z) - ladj
        z = self.transform.inv(x)
        return self._base(z) + self.transform.call_and_ladj(z)[1]

    def noise(self, x: Tensor) -> Tensor:
        """What `x`, `(*batch, features)`, is the value of."""
        x = x.expand(*broadcast(x.shape[:-1], self.batch), x.shape[-1])
        return self.transform.inv(x) if self.kind.inverse else self.transform(x)

    def _based(self, z: Tensor) -> Tensor:
        return math.pi * torch.erf(z / math.sqrt(2)) if self.kind.circular else z

    def _base(self, z: Tensor) -> Tensor:
        """The surprisal of the base distribution."""
        if self.kind.circular:
            return torch.full_like(z[..., 0], z.shape[-1] * math.log(2 * math.pi))
        return 0.5 * z.square().sum(-1) + z.shape[-1] * HALF_LOG_TWO_PI
