"""Fully connected networks over an event, masked so that each element sees those before it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from .base import Shape, Shapes, numbers
from .causal import Causal, CausalNet, Event, Stepper, flat_context, one_order
from .checks import activation_class, positive, widths

__all__ = ["FVSBN", "MADE"]


@dataclass(frozen=True, repr=False)
class FVSBN(CausalNet):
    """A fully visible sigmoid belief network: each element's parameters are linear in the elements before it (Frey, 1998).

    It takes an event of any shape, any order and any graph over the elements.

    Example:
        >>> import torch
        >>> FVSBN().causal(Event((4,)), ())(torch.ones(2, 4, 1)).shape
        torch.Size([2, 4, 1])
    """

    def check(self, event: Event) -> None:
        one_order(self, event)

    def causal(self, event: Event, parents: Shapes) -> Masked:
        self.check(event)
        return Masked(event, parents, (), nn.ReLU, (event.order,), agnostic=False)


@dataclass(frozen=True, init=False, repr=False)
class MADE(CausalNet):
    """A masked autoencoder for distribution estimation (Germain et al., 2015, https://arxiv.org/abs/1502.03509).

    A hidden unit sees the elements before some place of the order, and is seen by the elements from that place on; with a graph
    over the elements it sees the parents of one of them (Chen et al., 2023, https://arxiv.org/abs/2311.02221). Each
    element also sees all its parents linearly, so that no arrow is lost where there are fewer hidden units than elements.

    Args:
        *hidden: widths of the hidden layers.
        activation: module class put after each hidden layer.
        orders: the number of orders, drawn at random (seed `seed`) where the declaration gives none. With several the density is
            their equal mixture, and in training mode each evaluation takes one of them at random, which bounds it.
        agnostic: trained on an order drawn anew for each evaluation, so that every order may be asked for afterwards and any
            subset of the elements completed (Uria, Murray and Larochelle, 2014, https://arxiv.org/abs/1310.1757).
        seed: of the orders.

    Example:
        >>> import torch
        >>> MADE(8).causal(Event((4,)), ()).adjacency().int()
        tensor([[0, 0, 0, 0],
                [1, 0, 0, 0],
                [1, 1, 0, 0],
                [1, 1, 1, 0]], dtype=torch.int32)
    """

    hidden: tuple[int, ...]
    activation: type[nn.Module]
    orders: int
    agnostic: bool
    seed: int

    def __init__(self, *hidden: int, activation: type[nn.Module] = nn.ReLU, orders: int = 1, agnostic: bool = False, seed: int = 0) -> None:
        if not hidden:
            raise ValueError("MADE: expected at least one hidden width; got none; try MADE(500), or FVSBN() for a linear one")
        self._freeze(
            hidden=widths("MADE", "hidden", hidden), activation=activation_class("MADE", activation), orders=positive("MADE", "orders", orders),
            agnostic=bool(agnostic), seed=int(seed),
        )

    def check(self, event: Event) -> None:
        if event.parents is not None and (self.orders > 1 or self.agnostic):
            raise ValueError(f"{self.label()}: a graph over the elements goes with one order; got orders={self.orders}, agnostic={self.agnostic}; try MADE({self.hidden[0]})")
        if event.orders and self.orders not in (1, len(event.orders)):
            raise ValueError(f"{self.label()}: expected {self.orders} orders; got {len(event.orders)} in order=; leave one of the two out")

    def with_one_order(self) -> MADE:
        return MADE(*self.hidden, activation=self.activation, agnostic=self.agnostic, seed=self.seed)

    def context_shape(self, event: Event) -> Shape:
        return (self.hidden[0],)

    def causal(self, event: Event, parents: Shapes) -> Masked:
        self.check(event)
        return Masked(event, parents, self.hidden, self.activation, _orders(event, self.orders, self.seed), agnostic=self.agnostic)


def _orders(event: Event, count: int, seed: int) -> tuple[tuple[int, ...], ...]:
    """The orders asked for, or so many drawn at random; a single one is that of the elements."""
    if len(event.orders) > 1:
        return event.orders
    if count == 1 or event.orders or event.parents is not None:
        return (event.order,)
    generator = torch.Generator().manual_seed(seed)
    return tuple(tuple(torch.randperm(event.size, generator=generator, device="cpu").tolist()) for _ in range(count))


class Masked(Causal):
    """Layers of masked weights; units are sorted by the place of the order from which on all that they see is known."""

    differentiable = True

    def __init__(self, event: Event, parents: Shapes, hidden: Sequence[int], activation: type[nn.Module], orders: Sequence[Sequence[int]], *, agnostic: bool):
        super().__init__(event)
        self.orders, self.agnostic, self.hidden = len(orders), agnostic, tuple(hidden)
        sizes = [event.size * event.features, *hidden]
        self.layers = nn.ModuleList(nn.Linear(before, after) for before, after in zip(sizes, hidden))
        self.output = nn.Linear(sizes[-1] if hidden else sizes[0], event.size * event.outputs)
        self.direct = nn.Linear(sizes[0], event.size * event.outputs, bias=False) if hidden else None
        self.activation = activation()
        self.conditioning = nn.Linear(numbers(parents), sum(hidden) + self.output.out_features, bias=False) if parents else None
        places = torch.argsort(torch.tensor([list(order) for order in orders]), 1)
        self.register_buffer("places", places, persistent=False)            # of each element in each order
        self.order_lists = [list(order) for order in orders]
        self._label(event)
        degrees = [self._buffers[f"degrees_{layer}"].tolist() for layer in range(len(hidden))]
        self.ready = [[bisect_right(units, turn) for turn in range(event.size)] for units in degrees]      # units ready at each turn
        if len(orders) == 1:
            for number, mask in enumerate(self._masks(self.places[0])):
                self.register_buffer(f"mask_{number}", mask, persistent=False)

    def _label(self, event: Event) -> None:
        """What the hidden units see: a place of the order each, or the parents of an element each."""
        if event.parents is None:
            for layer, width in enumerate(self.hidden):
                degrees = 1 + torch.arange(width) * max(event.size - 1, 1) // width
                self.register_buffer(f"degrees_{layer}", degrees, persistent=False)
            return
        rows = event.reads()
        last = (rows * (self.places[0] + 1)).amax(1)
        sets = {tuple(rows[element].tolist()): int(last[element]) for element in last.argsort(stable=True).tolist() if rows[element].any()}
        sets = sets or {(False,) * event.size: 0}
        choice = list(sets)
        self.register_buffer("rows", rows, persistent=False)
        for layer, width in enumerate(self.hidden):
            picked = [choice[unit * len(choice) // width] for unit in range(width)]
            self.register_buffer(f"seen_{layer}", torch.tensor(picked), persistent=False)
            self.register_buffer(f"degrees_{layer}", torch.tensor([sets[one] for one in picked]), persistent=False)

    # ---- masks

    def masks(self, order: int | Tensor | Sequence[int]) -> list[Tensor]:
        """A mask for each layer's weight, then the output's, then the direct one's.

        An order is the number of a declared one, the elements from first to last, or a tensor of the elements' places.
        """
        if isinstance(order, Tensor):
            return self._masks(order)
        if not isinstance(order, int):
            return self._masks(torch.tensor(order, device=self.places.device).argsort())
        if self.orders == 1:
            return [self._buffers[f"mask_{number}"] for number in range(len(self.hidden) + 1 + (self.direct is not None))]
        return self._masks(self.places[order])

    def _masks(self, places: Tensor) -> list[Tensor]:
        units = [self._buffers[f"degrees_{layer}"] for layer in range(len(self.hidden))]
        if self.event.parents is None:
            seen = [places < degrees[:, None] for degrees in units[:1]]
            between = [before <= after[:, None] for before, after in zip(units, units[1:])]
            read = [units[-1] <= places[:, None]] if units else []
            direct = places < places[:, None]
        else:
            sets = [self._buffers[f"seen_{layer}"] for layer in range(len(self.hidden))]
            seen = sets[:1]
            between = [_within(before, after) for before, after in zip(sets, sets[1:])]
            read = [_within(sets[-1], self.rows)] if sets else []
            direct = self.rows
        event = self.event
        seen = [mask.repeat_interleave(event.features, 1) for mask in seen]
        read = [mask.repeat_interleave(event.outputs, 0) for mask in read]
        direct = direct.repeat_interleave(event.outputs, 0).repeat_interleave(event.features, 1)
        return [mask.to(self.like.dtype) for mask in (*seen, *between, *read, direct)]

    # ---- evaluation

    def schedule(self, order: int = 0) -> list[list[int]]:
        return [[element] for element in self.order_lists[order]]

    def trained(self, order: Sequence[int]) -> int | tuple[int, ...] | None:
        return tuple(order) if self.agnostic else super().trained(order)

    def random_order(self) -> Tensor:
        """The places of the elements in any order, or in one of those declared."""
        if self.agnostic:
            return torch.randperm(self.event.size, device=self.places.device)
        return self.places[torch.randint(self.orders, (), device=self.places.device)]

    def adjacency(self, order: int = 0) -> Tensor:
        return super().adjacency(order) if self.event.parents is None else self.rows

    def context(self, *parents: Tensor) -> tuple[Tensor, ...]:
        return (self.conditioning(flat_context(parents)),) if parents else ()

    def forward(self, values: Tensor, context: Sequence[Tensor] = (), order: int | Tensor | Sequence[int] = 0) -> Tensor:
        inputs = self.event.one_hot(values, self.output.weight).reshape(len(values), -1)
        masks, shifts = self.masks(order), self._shifts(context)
        hidden = inputs
        for layer, mask, shift in zip(self.layers, masks, shifts):
            hidden = functional.linear(hidden, layer.weight * mask, layer.bias)
            hidden = self.activation(hidden if shift is None else hidden + shift)
        found = functional.linear(hidden, self.output.weight * masks[len(self.layers)], self.output.bias)
        if self.direct is not None:
            found = found + functional.linear(inputs, self.direct.weight * masks[-1])
        found = found if shifts[-1] is None else found + shifts[-1]
        return found.reshape(len(values), *self.event.shape, self.event.outputs)

    def _shifts(self, context: Sequence[Tensor]) -> Sequence[Tensor | None]:
        """What the parents add to each layer."""
        sizes = [*self.hidden, self.output.out_features]
        return context[0].split(sizes, 1) if context else [None] * len(sizes)

    def stepper(self, context: Sequence[Tensor], rows: int, order: int | Sequence[int] = 0) -> MaskedStepper:
        return MaskedStepper(self, self._shifts(context), rows, order)


def _within(inner: Tensor, outer: Tensor) -> Tensor:
    """For each outer set and each inner one, whether it is a subset."""
    return (outer.logical_not().float() @ inner.float().T) == 0


class MaskedStepper(Stepper):
    """Each input is added once to the units that see it, each unit is computed once, when all that it sees is known."""

    def __init__(self, network: Masked, shifts: Sequence[Tensor | None], rows: int, order: int | Sequence[int]):
        self.event, self.activation, self.ready = network.event, network.activation, network.ready
        self.order = network.order_lists[order] if isinstance(order, int) else list(order)
        masks = network.masks(order)
        layers = [*network.layers, network.output]
        weights = [layer.weight * mask for layer, mask in zip(layers, masks)]
        self.inward = [weight.T.contiguous() for weight in weights[:-1]]    # (inputs, outputs)
        skip = weights[-1] if network.direct is None else network.direct.weight * masks[-1]
        size, outputs, features = self.event.size, self.event.outputs, self.event.features
        self.skip = skip.reshape(size, outputs, size, features)[:, :, self.order].flatten(2)
        self.outward = None if network.direct is None else weights[-1].reshape(size, outputs, -1)
        start = network.like.new_zeros(rows, 1)
        self.sums = [start + layer.bias if shift is None else shift + layer.bias for layer, shift in zip(layers, shifts)]
        self.done = [0] * len(self.inward)
        self.inputs, self.last = self.sums[0][:, :0], self.sums[0][:, :0]

    def step(self, turn: int, previous: Tensor | None) -> Tensor:
        element = self.order[turn]
        if turn:
            self._receive(self.order[turn - 1], self.event.one_hot(previous[:, 0], self.inputs))
        self._compute(turn)
        outputs = self.event.outputs
        found = self.sums[-1][:, element * outputs: (element + 1) * outputs] + functional.linear(self.inputs, self.skip[element, :, : self.inputs.shape[1]])
        if self.last.shape[1]:
            found = found + functional.linear(self.last, self.outward[element, :, : self.last.shape[1]])
        return found[:, None]

    def _receive(self, element: int, value: Tensor) -> None:
        self.inputs = torch.cat([self.inputs, value], 1)
        if self.inward:
            features = slice(element * self.event.features, (element + 1) * self.event.features)
            self.sums[0] = torch.addmm(self.sums[0], value, self.inward[0][features])

    def _compute(self, turn: int) -> None:
        """The units that became ready."""
        for layer, ready in enumerate(self.ready):
            start, stop = self.done[layer], ready[turn]
            if stop == start:
                continue
            units = self.activation(self.sums[layer][:, start:stop])
            self.done[layer] = stop
            if layer + 1 < len(self.inward):
                self.sums[layer + 1] = torch.addmm(self.sums[layer + 1], units, self.inward[layer + 1][start:stop])
            else:
                self.last = torch.cat([self.last, units], 1)

    def take(self, rows: Tensor) -> None:
        self.sums = [part[rows] for part in self.sums]
        self.inputs, self.last = self.inputs[rows], self.last[rows]
