"""A normalizing flow given its parents: log p(x) = log N(f(x); 0, 1) + log |det df/dx|."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ...families import Noise, Variable
from ...families.shapes import broadcast
from ..base import Conditional
from ..distribution import ConditionalDistribution, leading
from ..networks import Shared, network_of
from ..ports import Port
from ..predictors import Function, joined
from .door import zuko
from .kinds import FlowKind
from .links import Link

__all__ = ["Bijection", "FlowConditional", "context_of"]

HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


class Bijection(nn.Module):
    """A flow's transformation with its base distribution, over vectors of `features` numbers `(*batch, features)`.

    Flows behave the same in training and in evaluation; zuko, told of evaluation, would drop the gradients of inverses.
    """

    def __init__(self, kind: FlowKind, features: int, context: int):
        super().__init__()
        self.kind, self.features = kind, features
        self.transform = kind.build(features, context)

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


def context_of(name: str, variable: Variable, ports: Sequence[Port], size: int, shared: Shared) -> tuple[nn.Module | None, int]:
    """What turns the parents into a context, and the length of the context: a network, a function, or nothing for the encoded parents themselves."""
    if not ports:
        return None, 0
    if variable.fn is not None:
        return Function(name, variable.fn, ("context",), ((size,),)), size
    if variable.net is not None:
        return network_of(name, variable.net, ports, ("context",), ((size,),), shared), size
    return None, sum(port.features for port in ports)


class FlowConditional(Conditional):
    """p(node | parents) as a normalizing flow of the event's numbers in one vector."""

    functional = True
    reparameterized = True

    def __init__(self, name: str, variable: Variable, ports: Sequence[Port], kind: FlowKind, link: Link, *, context: int, shared: Shared):
        super().__init__(name, variable, ports)
        self.register_buffer("anchor", torch.empty(0), persistent=False)
        self.event, self.link = variable.shape, link
        self.encoder, length = context_of(name, variable, self.ports, context, shared)
        self.features = link.features(variable.shape)
        self.flow = Bijection(kind, self.features, length)

    def prepare(self, *parents: Tensor) -> Settled:
        return self.flow.settle(self.context(*parents))

    def context(self, *parents: Tensor) -> Tensor | None:
        """What the flow sees of the parents, `(*batch, context)`."""
        if not self.ports:
            return None
        if self.encoder is not None:
            return self.encoder(*parents)[0]
        return joined(self.ports, parents, self._buffers["anchor"])

    def draw(self, batch: Sequence[int], prepared: Settled, noise: Noise) -> Tensor:
        z = noise.normal((*batch, self.features), self._buffers["anchor"])
        x = prepared.sample(z)
        return x if self.link.plain and self.event == x.shape[-1:] else self.link.value(x, self.event)

    def surprisals(self, value: Tensor, prepared: Settled) -> Tensor:
        if self.link.plain and self.event == (self.features,):
            return prepared.surprisal(value)
        x, ladj = self.link.real(value, self.event)
        found = prepared.surprisal(x)
        return found if ladj is None else found - ladj

    @property
    def event_adjacency(self) -> Tensor | None:
        return self.flow.adjacency() if self.features == math.prod(self.event) else None

    def residuals(self, value: Tensor, prepared: Settled) -> Tensor:
        z = prepared.noise(self.link.real(value, self.event)[0])
        return z.reshape(*z.shape[:-1], *self.event)

    def forward(self, *parents: Tensor, validate_args: bool | None = None) -> ConditionalDistribution:
        return ConditionalDistribution(self, self.prepare(*parents), leading(self.ports, parents), validate_args)
