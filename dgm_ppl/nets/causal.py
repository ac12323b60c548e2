"""Networks over an event: the parameters of every element, each computed from the elements before it and from the parents."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from .base import Net, Shape, Shapes

__all__ = ["Causal", "CausalNet", "Event", "Naive", "Stepper", "flat_context", "natural_order", "one_order"]


@dataclass(frozen=True)
class Event:
    """What a network over an event is built for.

    `shape` is the event's; the network reads `width` numbers an element, or its code where there are `states`, and writes
    `outputs` numbers an element. `orders` are the orders asked for, each the elements (in C order) from first to last; `parents`
    are, where a graph over the elements was asked for, those that each element may depend on. `padded` are the places, among the
    nodes that the network reads, of sequences `(length, features)` whose last feature says whether the step counts; the others of one that does not are zero.
    """

    shape: Shape
    width: int = 1
    outputs: int = 1
    states: int | None = None
    orders: tuple[tuple[int, ...], ...] = ()
    parents: tuple[tuple[int, ...], ...] | None = None
    padded: tuple[int, ...] = ()

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def features(self) -> int:
        """The numbers that stand for an element where codes are one-hot."""
        return self.states or self.width

    @property
    def order(self) -> tuple[int, ...]:
        """The elements from first to last: as asked for, else each after its parents, else as they come."""
        if self.orders:
            return self.orders[0]
        return tuple(range(self.size)) if self.parents is None else _topological(self.parents)

    def reads(self) -> Tensor:
        """`(size, size)`, true where the graph lets the row's element depend on the column's."""
        found = torch.zeros(self.size, self.size, dtype=torch.bool)
        for element, above in enumerate(self.parents):
            found[element, list(above)] = True
        return found

    def one_hot(self, values: Tensor, like: Tensor) -> Tensor:
        """Values as numbers `(*batch, features)`, codes one-hot."""
        return nn.functional.one_hot(values, self.states).to(like.dtype) if self.states else values

    def zeros(self, rows: int, elements: Sequence[int], like: Tensor) -> Tensor:
        """Values not yet known, as the network reads them."""
        if self.states:
            return torch.zeros(rows, *elements, dtype=torch.long, device=like.device)
        return like.new_zeros(rows, *elements, self.width)


class CausalNet(Net):
    """A frozen description of a network over an event, for `dgm.Autoregressive(family, net=...)`.

    To add one, write a frozen dataclass in a file of its own (fields as for any `Net`), and in it `check`, which says what
    event it cannot take and the nearest that it can, `context_shape` and `causal`, which builds the `Causal` module; then a line in
    `tests/nets/causal_cases.py`, which runs every contract test on it.
    """

    flatten: ClassVar[bool] = False
    over_time: ClassVar[bool] = False                   # whether elements come one after another in time: what reads them reads a sequence

    @abstractmethod
    def causal(self, event: Event, parents: Shapes) -> Causal:
        """The module for an event, conditioned on encoded parents of these shapes.

        Raises:
            ValueError: if a net of this kind cannot take them.
        """

    def check(self, event: Event) -> None:
        """Raises `ValueError` where the net cannot take the event, with the nearest that it can."""

    def context_shape(self, event: Event) -> Shape:
        """The shape in which a network of the parents hands what it computed to this one."""
        return (64,)

    def with_one_order(self) -> CausalNet:
        """The net that has one of its orders alone."""
        return self

    def build(self, inputs: Shapes, outputs: Shapes) -> nn.Module:
        raise ValueError(
            f"net {self.label()}: reads the event itself, and stands in the distribution, not in .given; "
            f"try dgm.Autoregressive(..., net={self.label()}).given('z')"
        )


class Causal(nn.Module, ABC):
    """The module that a `CausalNet` becomes.

    `module(values, context)` gives `(n, *shape, outputs)` from values `(n, *shape, width)` (codes: `(n, *shape)`) and from what
    `context(*parents)` made of the encoded parents, tensors `(n, ...)`. The outputs of an element depend on the elements in its
    row of `adjacency` and on no others. `schedule` says in which groups the elements are drawn, and a `stepper` computes one group
    after another without computing anything twice.
    """

    orders: int = 1                                                         # the number of orders that were declared
    agnostic: bool = False                                                  # whether it is trained in every order
    differentiable: bool = False                                            # whether gradients pass through the stepper

    def __init__(self, event: Event):
        super().__init__()
        self.event = event

    @abstractmethod
    def forward(self, values: Tensor, context: Sequence[Tensor] = (), order: int = 0) -> Tensor:
        """The outputs of every element."""

    @abstractmethod
    def schedule(self, order: int = 0) -> list[list[int]]:
        """The elements, by place in C order, in the groups in which they are drawn, one of the same size after another."""

    def context(self, *parents: Tensor) -> tuple[Tensor, ...]:
        """What the parents determine, computed once; `forward` and `stepper` take it."""
        return parents

    def adjacency(self, order: int = 0) -> Tensor:
        """`(size, size)`, true where the outputs of the row's element may depend on the column's: on all groups before its own."""
        found = torch.zeros(self.event.size, self.event.size, dtype=torch.bool)
        before: list[int] = []
        for group in self.schedule(order):
            found[torch.tensor(group)[:, None], torch.tensor(before, dtype=torch.long)] = True
            before += group
        return found

    def stepper(self, context: Sequence[Tensor], rows: int, order: int = 0) -> Stepper:
        """A stepper for so many rows."""
        return Naive(self, context, rows, order)

    def trained(self, order: Sequence[int]) -> int | tuple[int, ...] | None:
        """An order, from first to last, as `forward` takes it; None where the network was not trained in it."""
        declared = [[element for group in self.schedule(number) for element in group] for number in range(self.orders)]
        return declared.index(list(order)) if list(order) in declared else None

    def random_order(self) -> Tensor:
        """An order for one evaluation in training, as `forward` takes it."""
        raise NotImplementedError

    @property
    def like(self) -> Tensor:
        """A parameter, for its dtype and device."""
        return next(self.parameters())


class Stepper(ABC):
    """The outputs of one group of elements after another."""

    @abstractmethod
    def step(self, turn: int, previous: Tensor | None) -> Tensor:
        """The outputs `(n, group, outputs)` of the group whose turn it is; `previous` are the last group's values `(n, group, width)`, codes `(n, group)`."""

    @abstractmethod
    def take(self, rows: Tensor) -> None:
        """Goes on with these rows, which may repeat: beams that were kept."""


class Naive(Stepper):
    """Evaluates the whole network for every group: what a stepper is held against, and what serves a network without one of its own."""

    def __init__(self, network: Causal, context: Sequence[Tensor], rows: int, order: int = 0):
        self.network, self.held, self.order = network, tuple(context), order
        self.groups = network.schedule(order)
        self.known: dict[int, Tensor] = {}
        self.empty = network.event.zeros(rows, (), network.like)

    def step(self, turn: int, previous: Tensor | None) -> Tensor:
        if turn:
            self.known |= dict(zip(self.groups[turn - 1], previous.unbind(1)))
        event = self.network.event
        values = torch.stack([self.known.get(element, self.empty) for element in range(event.size)], 1)
        found = self.network(values.reshape(len(values), *event.shape, *values.shape[2:]), self.held, self.order)
        return found.reshape(len(values), event.size, -1)[:, self.groups[turn]]

    def take(self, rows: Tensor) -> None:
        self.known = {element: value[rows] for element, value in self.known.items()}
        self.held, self.empty = tuple(part[rows] for part in self.held), self.empty[rows]


def _topological(parents: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """The elements, each after its parents, otherwise as they come."""
    order: list[int] = []
    known: set[int] = set()
    while len(order) < len(parents):
        ready = [element for element, above in enumerate(parents) if element not in known and known.issuperset(above)]
        order += ready
        known |= set(ready)
    return tuple(order)


def one_order(net: CausalNet, event: Event, *, graph: bool = True) -> None:
    """Raises where several orders, or a graph that the net cannot honour, were asked for."""
    if len(event.orders) > 1:
        raise ValueError(f"{net.label()}: expected one order; got {len(event.orders)}; try MADE(500), which mixes them")
    if event.parents is not None and not graph:
        raise ValueError(f"{net.label()}: honours an order, not any graph over the elements; try MADE(64), NADE(64) or FVSBN(), or order= for adjacency=")


def natural_order(net: CausalNet, event: Event) -> None:
    """Raises where an order or a graph was asked of a net that has one of its own."""
    if event.orders or event.parents is not None:
        raise ValueError(f"{net.label()}: has an order of its own; got order= or adjacency=; try Transformer(64) or MADE(500) for another order, MADE(500) for a graph")


def flat_context(parents: Sequence[Tensor]) -> Tensor:
    """The encoded parents in one vector, `(n, features)`."""
    return torch.cat([parent.flatten(1) if parent.ndim > 1 else parent[:, None] for parent in parents], 1)


