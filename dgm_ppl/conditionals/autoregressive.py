"""The chain rule over the elements of one node: each has a distribution whose parameters a network computes from those before it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..families import Architecture, Family, Noise, Variable
from ..families.shapes import broadcast
from ..graph import DAG, GraphError
from ..nets import CausalNet
from ..nets.causal import Causal, Event
from .base import Conditional
from .distribution import ConditionalDistribution, leading
from .networks import Shared, network_of, shared_module
from .ordering import graph_over, orders_over, parents_in
from .parametric import Parametric
from .ports import Port, broadcast_batch
from .predictors import Network

__all__ = ["Autoregression", "Autoregressive", "AutoregressiveConditional"]


def Autoregressive(base: Variable, *, net: CausalNet, order: Any = None, adjacency: Any = None) -> Variable:
    """A node whose elements are drawn one after another: p(x) = prod_i p(x_i | the elements before it, parents).

    Arguments:
        base: what an element is, and the event's shape: `Bernoulli(1, 28, 28)`, `Categorical(256, 100)`, `Normal(6)`. Parameters that
            it gives are fixed, the others are computed by `net`.
        net: a network over the event: `FVSBN`, `NADE`, `MADE`, `PixelCNN`, `PixelSNAIL`, `Transformer`, `WaveNet`, `Recurrent`. It reads
            the parents of `.given("c")`, or what a network of theirs makes of them: `.given("c", net=MLP(64))`.
        order: the numbers of the elements (C order), from first to last; several orders for a net that mixes orders.
        adjacency: a `DAG` over the elements (their numbers, or names in the order in which it declares them), or a matrix whose row says
            which elements an element depends on; honoured exactly.

    Raises:
        GraphError: a cycle, an order or graph of another size, a shape that the net cannot take.

    Example:
        >>> import dgm_ppl as dgm
        >>> net = dgm.BayesNet(c=dgm.Categorical(10), x=dgm.Autoregressive(dgm.Bernoulli(784), net=dgm.MADE(500)).given("c"))
        >>> net["x"]
        Autoregressive(Bernoulli(784), net=MADE(500)) | c
        >>> dgm.compile(net).sample(2)["x"].shape
        torch.Size([2, 784])
    """
    if not isinstance(base, Variable) or base.family is None:
        raise GraphError(f"Autoregressive: expected the distribution of an element with the event's shape; got {base!r}; try dgm.Autoregressive(dgm.Bernoulli(784), net=...)")
    if not base.shape:
        raise GraphError(f"Autoregressive: expected an event with elements; got {base!r}, a single one; try {base.family_name}({'...' if base.size else '8'}{', 8' if base.size else ''})")
    if not isinstance(base.family, Family) or base.is_deterministic:
        raise GraphError(f"Autoregressive: expected a family with parameters for its elements, such as dgm.Normal(6); got {base!r}")
    if base.family.event_dim:
        raise GraphError(f"Autoregressive: {base.family_name} is a distribution of whole vectors; got {base!r}; its elements have one of their own: try dgm.Normal(...)")
    if base.parents:
        raise GraphError(f"Autoregressive: parents are given to the node, not to its elements' distribution; try Autoregressive({base.summary}, net=...).given({', '.join(map(repr, base.parents))})")
    if not isinstance(net, CausalNet):
        raise GraphError(f"Autoregressive: expected net= to be a network over the event; got {net!r}; try net=dgm.MADE(500), or Transformer, PixelCNN, WaveNet, Recurrent")
    if not base.open_parameters:
        raise GraphError(f"Autoregressive: every parameter of {base!r} is given, so nothing is left for the net to compute; leave one out")
    graph = graph_over(base.numel, adjacency)
    return Variable(Autoregression(base, net, orders_over(base.numel, order, graph), graph), base.shape, size=base.size, labels=base.labels)


@dataclass(frozen=True, repr=False)
class Autoregression(Architecture):
    """What `Autoregressive(...)` declares."""

    base: Variable
    net: CausalNet
    orders: tuple[tuple[int, ...], ...] = ()
    graph: DAG | None = None

    @property
    def inner(self) -> tuple[Variable, ...]:
        return (self.base,)

    @property
    def net_label(self) -> str:
        return self.net.label()

    def space(self, variable: Variable) -> Any:
        return self.base.space

    def summary(self, variable: Variable) -> str:
        asked = {"order": self.orders[0] if len(self.orders) == 1 else self.orders or None, "adjacency": self.graph}
        return f"Autoregressive({', '.join([repr(self.base), f'net={self.net!r}', *(f'{name}={value!r}' for name, value in asked.items() if value is not None)])})"

    def caption(self, variable: Variable) -> str:
        return f"Autoregressive {self.base.caption}"

    def event(self) -> Event:
        """What the network is built for."""
        space, shape = self.base.space, self.base.shape
        outputs = [math.prod(self.base.parameter_shape(name)[len(shape):]) for name in self.base.open_parameters]
        width = math.prod(space.encoded_shape(shape)[len(shape):])
        states = space.cardinality if space.integer else None
        return Event(shape, 1 if states else width, sum(outputs), states, self.orders, self._parents())

    def _parents(self) -> tuple[tuple[int, ...], ...] | None:
        return parents_in(self.graph)

    def check(self, name: str, variable: Variable, parents: Any) -> None:
        if variable.fn is not None:
            raise GraphError(f"node {name!r}: fn= computes parameters, which {self.net.label()} does here; try .given(..., net=dgm.MLP(64)), whose output it reads")
        try:
            self.net.check(self.event())
        except ValueError as error:
            raise GraphError(f"node {name!r}: {error}") from error

    def build(self, name: str, variable: Variable, ports: Sequence[Port], *, plates: Any, all_plates: int, shared: Shared) -> AutoregressiveConditional:
        base = Parametric(name, self.base, ports, plates=plates, all_plates=all_plates, computed_outside=True)
        readers, event = [port for port in ports if port.name in variable.parents], self.event()
        read, reader = tuple(port.encoded_shape for port in readers), None
        if variable.net is not None:
            read = (self.net.context_shape(event),)
            reader = network_of(name, variable.net, readers, ("context",), read, shared)
        elif any(None in shape for shape in read):
            raise GraphError(f"node {name!r}: its network reads all members of a plate, so the plate needs a size: plates={{...: dgm.Plate([...], size=8)}}")
        try:
            network = shared_module(self.net, (event, read), lambda: self.net.causal(event, read), shared)
        except ValueError as error:
            raise GraphError(f"node {name!r}: {error}") from error
        return AutoregressiveConditional(name, variable, ports, base, network, reader)


class AutoregressiveConditional(Conditional):
    """log p(x | parents) = sum_i log p(x_i | x_before(i), parents)."""

    def __init__(self, name: str, variable: Variable, ports: Sequence[Port], base: Parametric, network: Causal, reader: Network | None = None):
        super().__init__(name, variable, ports)
        self.base, self.network, self.reader = base, network, reader
        self.register_buffer("anchor", torch.empty(0), persistent=False)
        self._read = [i for i, port in enumerate(self.ports) if port.name in variable.parents]
        self._shapes = [base.variable.parameter_shape(parameter)[len(variable.shape):] for parameter in base.computed]
        self._sizes = [math.prod(shape) for shape in self._shapes]

    @property
    def finite(self) -> bool:
        return False

    @property
    def functional(self) -> bool:
        return self.base.functional

    @property
    def reparameterized(self) -> bool:
        return self.base.reparameterized and self.network.differentiable

    def prepare(self, *parents: Tensor) -> tuple:
        """What the network made of the parents, `(*their batch, ...)` each, that batch, and the parents."""
        if not self._read:
            return (), (), parents
        batch, encoded = self._encoded_parents([parents[i] for i in self._read])
        context = self.network.context(*(value.reshape(-1, *value.shape[len(batch):]) for value in encoded))
        return tuple(part.reshape(*batch, *part.shape[1:]) for part in context), batch, parents

    def _encoded_parents(self, parents: Sequence[Tensor]) -> tuple[tuple[int, ...], list[Tensor]]:
        """The batch of the parents of `given`, and what the network reads of them."""
        ports = [self.ports[i] for i in self._read]
        if self.reader is not None:
            return leading(ports, parents), self.reader(*parents)
        encoded = broadcast_batch([port.encode(value, self.anchor) for port, value in zip(ports, parents)], [port.encoded_rank for port in ports])
        return tuple(encoded[0].shape[: encoded[0].ndim - ports[0].encoded_rank]), encoded

    @property
    def event_adjacency(self) -> Tensor:
        return self.network.adjacency()

    def surprisals(self, value: Tensor, prepared: tuple) -> Tensor:
        terms = self.residuals(value, prepared)
        return terms.sum(tuple(range(-len(self.variable.shape), 0))) if self.variable.shape else terms

    def residuals(self, value: Tensor, prepared: tuple) -> Tensor:
        context, lead, parents = prepared
        event = self.variable.shape
        batch = broadcast(lead, value.shape[: value.ndim - len(event)])
        rows = self._encoded(value)
        found = self.network(_rows(rows, batch, rows.ndim - value.ndim + len(event)), [_rows(part, batch, part.ndim - len(lead)) for part in context])
        terms = self.base.surprisals(value, self.base.complete(self._cut(found.reshape(*batch, *event, -1)), parents))
        return terms.expand(*batch, *event)

    def _encoded(self, value: Tensor) -> Tensor:
        """A value as the network reads it: codes, or numbers in a last dimension of their own."""
        space = self.variable.space
        if space.integer:
            return value
        encoded = space.encode(value)
        return encoded if encoded.ndim > value.ndim else encoded.unsqueeze(-1)

    def _cut(self, found: Tensor) -> list[Tensor]:
        """The parameters `(..., *own shape)` from the outputs `(..., numbers)` of elements."""
        pieces = (found,) if len(self._sizes) == 1 else found.split(self._sizes, -1)
        return [piece.reshape(*piece.shape[:-1], *shape) if len(shape) != 1 else piece for piece, shape in zip(pieces, self._shapes)]

    def draw(self, batch: Sequence[int], prepared: tuple, noise: Noise) -> Tensor:
        context, lead, parents = prepared
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.reparameterized):
            held = [_rows(part, batch, part.ndim - len(lead)) for part in context]
            rows = math.prod(batch)
            stepper, previous, drawn, schedule = self.network.stepper(held, rows), None, [], self.network.schedule()
            for turn, cells in enumerate(schedule):
                found = stepper.step(turn, previous).reshape(*batch, len(cells), -1)
                params = self.base.complete_at(cells, self._cut(found), parents)
                value = self.base.forms.sample((*batch, len(cells)), params, self.anchor, noise)
                drawn.append(value)
                encoded = self._encoded(value)
                previous = encoded.reshape(rows, len(cells), *encoded.shape[len(batch) + 1:])
            return self._arranged(torch.cat(drawn, -1), schedule)

    def _arranged(self, drawn: Tensor, schedule: Sequence[Sequence[int]]) -> Tensor:
        """Elements in the order in which they were drawn, as an event."""
        order = [element for group in schedule for element in group]
        places = sorted(range(len(order)), key=order.__getitem__)
        found = drawn if places == order else drawn[..., places]
        return found.reshape(*drawn.shape[:-1], *self.variable.shape)

    def forward(self, *parents: Tensor, validate_args: bool | None = None) -> ConditionalDistribution:
        return ConditionalDistribution(self, self.prepare(*parents), leading(self.ports, parents), validate_args)


def _rows(value: Tensor, batch: Sequence[int], rank: int) -> Tensor:
    """`(rows, *event)` of a value whose batch broadcasts to this one; `rank` counts the event's dimensions."""
    event = value.shape[value.ndim - rank:]
    return value.expand(*batch, *event).reshape(-1, *event)
