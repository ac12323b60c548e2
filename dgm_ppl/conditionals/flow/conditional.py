"""A normalizing flow given its parents: log p(x) = log N(f(x); 0, 1) + log |det df/dx|."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ...families import Noise, Variable
from ...families.shapes import broadcast
from ...graph import GraphError
from ..base import Conditional
from ..distribution import ConditionalDistribution, leading
from ..networks import Shared, network_of
from ..ports import Port
from ..predictors import Function, joined
from .bijection import Bijection, Settled
from .dequantization import Dequantizer
from .links import Link

__all__ = ["FlowConditional", "context_of"]


def context_of(name: str, variable: Variable, ports: Sequence[Port], size: int, shared: Shared, plates: Sequence[int] = ()) -> tuple[nn.Module | None, int]:
    """What turns the parents into a context, and the length of the context: a network, a function, or nothing for the encoded parents themselves."""
    if not ports:
        return None, 0
    if variable.fn is not None:
        return Function(name, variable.fn, ports, ("context",), ((size,),)), size
    if variable.net is not None:
        return network_of(name, variable.net, ports, ("context",), ((size,),), shared, plates), size
    return None, sum(port.features for port in ports)


class FlowConditional(Conditional):
    """p(node | parents) as a normalizing flow of the event's numbers in one vector; whole numbers are dequantized first."""

    functional = True

    def __init__(self, name: str, variable: Variable, ports: Sequence[Port], flow: Bijection | nn.Module, link: Link, *, encoder: nn.Module | None = None, length: int = 0, dequantizer: Dequantizer | None = None):
        super().__init__(name, variable, ports)
        self.register_buffer("anchor", torch.empty(0), persistent=False)
        self.event, self.link = variable.shape, link
        self.encoder, self.length, self.flow, self.dequantizer = encoder, length, flow, dequantizer
        self.features = link.features(variable.shape)
        self.density = "exact" if dequantizer is None else "bound"
        self._bare = dequantizer is None and link.plain and self.event == (self.features,)

    @property
    def reparameterized(self) -> bool:
        return self.dequantizer is None

    @property
    def invertible(self) -> bool:
        """Whether values and normal noise map to each other, one to one."""
        return self.dequantizer is None and not self.flow.kind.circular

    def prepare(self, *parents: Tensor) -> Settled:
        return self.flow.settle(self.context(*parents))

    def context(self, *parents: Tensor) -> Tensor | None:
        """What the flow sees of the parents, `(*batch, context)`."""
        if not self.ports:
            return None
        if self.encoder is not None:
            found = self.encoder(*parents)[0]
            if found.shape[-1] != self.length:
                raise GraphError(f"node {self.name!r}: fn must return {self.length} numbers, the flow's context; got the shape {tuple(found.shape)}; say context={found.shape[-1]}")
            return found
        return joined(self.ports, parents, self._buffers["anchor"])

    def noise(self, value: Tensor, prepared: Settled) -> Tensor:
        """The standard normal noise that a value comes from, `(*batch, features)`."""
        return prepared.noise(self.link.real(value, self.event)[0])

    def value(self, noise: Tensor, prepared: Settled) -> Tensor:
        """The value of noise `(*batch, features)`: the inverse of `noise`."""
        found = self.link.value(prepared.sample(noise), self.event)
        return found if self.dequantizer is None else self.dequantizer.whole(found)

    def draw(self, batch: Sequence[int], prepared: Settled, noise: Noise) -> Tensor:
        z = noise.normal((*batch, self.features), self._buffers["anchor"])
        return prepared.sample(z) if self._bare else self.value(z, prepared)

    def surprisals(self, value: Tensor, prepared: Settled) -> Tensor:
        if self._bare:
            return prepared.surprisal(value)
        if self.dequantizer is not None:
            return self._bound(value, prepared)
        x, ladj = self.link.real(value, self.event)
        found = prepared.surprisal(x)
        return found if ladj is None else found - ladj

    def _bound(self, value: Tensor, prepared: Settled) -> Tensor:
        """The surprisal of the number with noise, whose mean is an upper bound."""
        rank = len(self.event)
        outer = value.shape[: value.ndim - rank]
        batch = broadcast(outer, prepared.batch)
        value = value if outer == batch else value.expand(*batch, *self.event)
        filled, score = self.dequantizer.filled(value, rank, self._buffers["anchor"])
        x, ladj = self.link.real(filled, self.event)
        found = prepared.surprisal(x) if ladj is None else prepared.surprisal(x) - ladj
        return self.dequantizer.merged(found if score is None else found + score)

    @property
    def event_adjacency(self) -> Tensor | None:
        return self.flow.adjacency() if self.dequantizer is None and self.features == math.prod(self.event) else None

    def residuals(self, value: Tensor, prepared: Settled) -> Tensor:
        z = self.noise(value, prepared)
        return z.reshape(*z.shape[:-1], *self.event)

    def forward(self, *parents: Tensor, validate_args: bool | None = None) -> ConditionalDistribution:
        settled = self.prepare(*parents)
        return ConditionalDistribution(self, settled, settled.batch if self.encoder is not None else leading(self.ports, parents), validate_args)
