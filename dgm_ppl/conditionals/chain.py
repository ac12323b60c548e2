"""An autoregressive node, compiled: its density by one evaluation of the network, its draws element by element."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from ..families import Noise, Variable
from ..families.shapes import broadcast, whole
from ..graph import GraphError
from ..nets.causal import Causal
from .base import Conditional
from .distribution import ConditionalDistribution, leading
from .drawing import Drawing, Transform, transforms_of
from .elements import AfterToken, AtLength, Endings, draw_elements, rows_of
from .parametric import Parametric
from .ports import Port, broadcast_batch
from .predictors import Network
from .sources import before_end, check_lengths, with_presence, within

__all__ = ["AutoregressiveConditional"]

Prepared = tuple[tuple[Tensor, ...], tuple[int, ...], Sequence[Tensor]]


class AutoregressiveConditional(Conditional):
    """log p(x | parents) = sum_i log p(x_i | x_before(i), parents), to the end of the sequence where it has one.

    A network of several orders is their equal mixture, log (1/K) sum_k p_k(x | parents); in training mode one order is drawn for each
    evaluation, which bounds it. `order` fixes one: a number of those declared, or the elements from first to last.
    """

    stepwise = True

    def __init__(
        self, name: str, variable: Variable, ports: Sequence[Port], base: Parametric, network: Causal, reader: Network | None = None, length: Parametric | None = None,
        order: int | tuple[int, ...] | None = None, ends: Mapping[str, int | Parametric] = MappingProxyType({}),
    ):
        super().__init__(name, variable, ports)
        self.base, self.network, self.reader, self.length = base, network, reader, length
        self.token_ends = {source: end for source, end in ends.items() if isinstance(end, int)}
        self.length_ends = [source for source in ends if source not in self.token_ends]
        self.source_lengths = nn.ModuleList(ends[source] for source in self.length_ends)
        self.order = 0 if order is None and network.orders == 1 and not network.agnostic else order
        self.transforms: tuple[Transform, ...] = ()
        self.register_buffer("anchor", torch.empty(0), persistent=False)
        self._read = [i for i, port in enumerate(self.ports) if port.name in variable.parents]
        self.line = variable.shape[: base.elements]                             # the elements; what is left of the event's shape is one element's
        self._shapes = [base.variable.parameter_shape(parameter)[base.elements:] for parameter in base.computed]
        self._sizes = [math.prod(shape) for shape in self._shapes]
        self._axes = tuple(range(-len(self.line), 0))

    @property
    def finite(self) -> bool:
        return False

    @property
    def functional(self) -> bool:
        return self.base.functional

    @property
    def reparameterized(self) -> bool:
        return self.base.reparameterized and self.network.differentiable and self.order is not None

    @property
    def event_adjacency(self) -> Tensor | None:
        return self.network.adjacency(self.order) if isinstance(self.order, int) else None

    def in_order(self, order: Sequence[int]) -> AutoregressiveConditional:
        """This conditional evaluated and drawn in one order, sharing its weights.

        Raises:
            GraphError: an order in which the network was not trained.
        """
        found = order.tolist() if callable(getattr(order, "tolist", None)) else order
        elements = tuple(whole(element) for element in found) if isinstance(found, Sequence) and not isinstance(found, str) else ()
        if None in elements or sorted(elements) != list(range(self.variable.numel)):
            shown = f"{list(found)[:8]}" if elements else repr(found)
            raise GraphError(f"node {self.name!r}: expected the numbers 0 to {self.variable.numel - 1} in some order, from first to last; got {shown}; try {self.name}=range({self.variable.numel})")
        place = self.network.trained(elements)
        if place is None:
            raise GraphError(
                f"node {self.name!r}: log_prob was asked of the order {list(elements)[:8]}{'...' if len(elements) > 8 else ''}, which was not trained; trained: "
                f"{self.network.orders} order{'s' * (self.network.orders > 1)} of {self.variable.family.net!r}; try net=dgm.MADE(..., agnostic=True), or order= with this one"
            )
        twin = copy.copy(self)
        twin.order = place
        return twin

    # ---- the direct path

    def prepare(self, *parents: Tensor) -> Prepared:
        """What the network made of the parents, `(*their batch, ...)` each, that batch, and the parents."""
        if not self._read:
            return (), (), parents
        batch, encoded = self._encoded_parents(parents)
        context = self.network.context(*(value.reshape(-1, *value.shape[len(batch):]) for value in encoded))
        return tuple(part.reshape(*batch, *part.shape[1:]) for part in context), batch, parents

    def _encoded_parents(self, parents: Sequence[Tensor]) -> tuple[tuple[int, ...], Sequence[Tensor]]:
        """The batch of the parents of `given`, and what the network reads of them."""
        ports, read = [self.ports[i] for i in self._read], [parents[i] for i in self._read]
        if self.reader is not None:
            return leading(ports, read), self.reader(*read)
        encoded, ranks = [port.encode(value, self.anchor) for port, value in zip(ports, read)], [port.encoded_rank for port in ports]
        for place, port in enumerate(ports):
            counted = self._source_steps(port, read[place], parents)
            if counted is not None:
                encoded[place], ranks[place] = with_presence(encoded[place], ranks[place], counted), 2
        encoded = broadcast_batch(encoded, ranks)
        return tuple(encoded[0].shape[: encoded[0].ndim - ranks[0]]), encoded

    def _source_steps(self, port: Port, value: Tensor, parents: Sequence[Tensor]) -> Tensor | None:
        """Which steps of a parent count; None where all do."""
        if port.name in self.token_ends:
            return before_end(value, self.token_ends[port.name])
        if port.name not in self.length_ends:
            return None
        length = self.source_lengths[self.length_ends.index(port.name)]
        return within(length.value(length.prepare(*parents)), port.event[0])

    def surprisals(self, value: Tensor, prepared: Prepared) -> Tensor:
        if self.order is not None:
            return self._added(value, prepared, self.order)
        if self.training:
            return self._added(value, prepared, self.network.random_order())
        by_order = torch.stack([self._added(value, prepared, order) for order in range(self.network.orders)])
        return math.log(len(by_order)) - (-by_order).logsumexp(0)

    def _added(self, value: Tensor, prepared: Prepared, order: Any) -> Tensor:
        return self._terms(value, prepared, order).sum(self._axes)

    def residuals(self, value: Tensor, prepared: Prepared) -> Tensor:
        """-log p of each element given those before it, `(*batch, *event)`; nothing after the end."""
        return self._terms(value, prepared, 0 if self.order is None else self.order)

    def _terms(self, value: Tensor, prepared: Prepared, order: Any) -> Tensor:
        context, lead, parents = prepared
        event = self.variable.shape
        batch = broadcast(lead, value.shape[: value.ndim - len(event)])
        rows = self.encoded(value)
        found = self.network(rows_of(rows, batch, rows.ndim - value.ndim + len(event)), [rows_of(part, batch, part.ndim - len(lead)) for part in context], order)
        terms = self.base.surprisals(value, self.base.complete(self.cut(found.reshape(*batch, *self.line, -1)), parents))
        counted = self.counted(value, prepared)
        return terms if counted is None else torch.where(counted, terms, 0.0)

    def encoded(self, value: Tensor) -> Tensor:
        """A value as the network reads it: codes, or numbers in a last dimension of their own."""
        space = self.variable.space
        if space.integer:
            return value
        encoded = space.encode(value)
        return encoded if encoded.ndim > value.ndim or len(self.line) < len(self.variable.shape) else encoded.unsqueeze(-1)

    def cut(self, found: Tensor) -> list[Tensor]:
        """The parameters `(..., *own shape)` from the outputs `(..., numbers)` of elements."""
        pieces = (found,) if len(self._sizes) == 1 else found.split(self._sizes, -1)
        return [piece.reshape(*piece.shape[:-1], *shape) if len(shape) != 1 else piece for piece, shape in zip(pieces, self._shapes)]

    # ---- the end of a sequence

    def counted(self, value: Tensor, prepared: Prepared) -> Tensor | None:
        """Which elements come before the end, or are it; None where all do."""
        end = self.variable.family.end
        if end is not None:
            return before_end(value, end)
        if self.length is None:
            return None
        lengths = self._lengths(prepared)
        return within(lengths, self.variable.shape[0]).reshape(*lengths.shape, -1, *(1,) * (len(self.line) - 1))

    def endings(self, batch: Sequence[int], prepared: Prepared) -> Endings:
        """Where the sequences of a batch end, as they are drawn."""
        end = self.variable.family.end
        if end is not None:
            return AfterToken(end)
        if self.length is None:
            return Endings()
        space, event = self.variable.space, self.variable.shape
        filling = self.anchor.new_zeros(()) if space.cardinality is not None else space.example((), self.anchor)
        return AtLength(self._lengths(prepared).expand(tuple(batch)), math.prod(event[1:]), filling)

    def _lengths(self, prepared: Prepared) -> Tensor:
        return self.length.value(self.length.prepare(*prepared[2]))

    # ---- draws

    def draw(self, batch: Sequence[int], prepared: Prepared, noise: Noise) -> Tensor:
        return self.draw_as(batch, prepared, noise, Drawing())

    def sampling(self, how: Any) -> AutoregressiveConditional:
        """This conditional, whose elements are drawn from transformed distributions, its weights shared."""
        twin = copy.copy(self)
        twin.transforms = transforms_of(how)
        return twin

    def _check_drawn(self, prepared: Prepared) -> None:
        """Raises where a length that was drawn goes beyond its event; those in data were checked when they came in."""
        events = {port.name: port.event for port in self.ports}
        counted = [("its length", self.length, self.variable.family.length, self.variable.shape)] if self.length is not None else []
        counted += [(f"the end of {source!r}", length, dict(self.variable.family.ends)[source], events[source]) for source, length in zip(self.length_ends, self.source_lengths)]
        for what, length, expression, event in counted:
            check_lengths(self.name, what, str(expression), event, length.value(length.prepare(*prepared[2])), drawn=True)

    def draw_as(self, batch: Sequence[int], prepared: Prepared, noise: Noise, drawing: Drawing) -> Tensor:
        self._check_drawn(prepared)
        drawing = drawing if drawing.transforms or not self.transforms else replace(drawing, transforms=self.transforms)
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.reparameterized and not drawing.transforms):
            if drawing.known is not None:
                return draw_elements(self, batch, prepared, noise, self._completing(drawing.known), drawing)
            if self.order is not None:
                return draw_elements(self, batch, prepared, noise, self.order, drawing)
            return self._mixed(batch, prepared, noise, drawing)

    def _mixed(self, batch: Sequence[int], prepared: Prepared, noise: Noise, drawing: Drawing) -> Tensor:
        """A sample from the mixture of orders: each row has one of its own."""
        context, lead, parents = prepared
        rows = math.prod(batch)
        chosen = torch.randint(self.network.orders, (rows,), device=self.anchor.device)
        held = [rows_of(part, batch, part.ndim - len(lead)) for part in context]
        above = [rows_of(parent, batch, port.rank) for parent, port in zip(parents, self.ports)]
        order, drawn = chosen.argsort(stable=True), []
        counts = chosen.bincount(minlength=self.network.orders).tolist()
        for number, mine in enumerate(order.split(counts)):
            if len(mine):
                own = tuple(part[mine] for part in held), (len(mine),), [parent[mine] for parent in above]
                drawn.append(draw_elements(self, (len(mine),), own, noise, number, drawing))
        return torch.cat(drawn)[order.argsort()].reshape(*batch, *self.variable.shape)

    def _completing(self, known: Tensor) -> int | Sequence[int]:
        """An order in which what is known comes before what depends on it.

        Raises:
            GraphError: something known depends on something that is not, in every order that was trained.
        """
        cells = known.flatten().tolist()
        if self.network.agnostic:
            return [*(place for place, one in enumerate(cells) if one), *(place for place, one in enumerate(cells) if not one)]
        if self.order is None:
            raise GraphError(
                f"node {self.name!r}: a part of it can be completed in one order; its net mixes {self.network.orders}; ask model.in_order({self.name}=...) "
                f"first, or train any order: net=dgm.MADE(..., agnostic=True)"
            )
        flat = known.flatten().cpu()
        late = (self.network.adjacency(self.order).cpu() & flat[:, None] & ~flat).nonzero()
        if len(late):
            element, missing = late[0].tolist()
            raise GraphError(
                f"node {self.name!r}: element {element} is known but element {missing}, on which it depends, is not, so the rest would be no draw given what is "
                f"known; try a beginning of the order, an order= that begins with what is known, or any subset with net=dgm.MADE(..., agnostic=True)"
            )
        return self.order

    def forward(self, *parents: Tensor, validate_args: bool | None = None) -> ConditionalDistribution:
        return ConditionalDistribution(self, self.prepare(*parents), leading(self.ports, parents), validate_args)
