"""The neural autoregressive distribution estimator: one hidden layer for each element, all sharing their weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .base import Shape, Shapes, numbers
from .causal import Causal, CausalNet, Event, Stepper, flat_context, one_order
from .checks import positive

__all__ = ["NADE"]


@dataclass(frozen=True, init=False, repr=False)
class NADE(CausalNet):
    """h_i = sigmoid(c + sum_j W_j x_j) over the elements j before i, and the parameters of i are b_i + V_i h_i (Larochelle and Murray, 2011).

    It takes an event of any shape, one order, or a graph over the elements. Memory grows with elements times hidden units.

    Args:
        hidden: the number of hidden units of an element.

    Example:
        >>> import torch
        >>> NADE(8).causal(Event((4,)), ())(torch.ones(2, 4, 1)).shape
        torch.Size([2, 4, 1])
    """

    hidden: int

    def __init__(self, hidden: int) -> None:
        self._freeze(hidden=positive("NADE", "hidden", hidden))

    def check(self, event: Event) -> None:
        one_order(self, event)

    def context_shape(self, event: Event) -> Shape:
        return (self.hidden,)

    def causal(self, event: Event, parents: Shapes) -> SharedUnits:
        self.check(event)
        return SharedUnits(event, parents, self.hidden)


class SharedUnits(Causal):
    """The module of `NADE`."""

    differentiable = True

    def __init__(self, event: Event, parents: Shapes, hidden: int):
        super().__init__(event)
        self.inward = nn.Parameter(torch.randn(event.size, event.features, hidden) / math.sqrt(event.size * event.features))
        self.bias = nn.Parameter(torch.zeros(hidden))
        self.outward = nn.Parameter(torch.randn(event.size, event.outputs, hidden) / math.sqrt(hidden))
        self.output_bias = nn.Parameter(torch.zeros(event.size, event.outputs))
        self.conditioning = nn.Linear(numbers(parents), hidden + event.size * event.outputs, bias=False) if parents else None
        self.order = event.order
        self.register_buffer("places", torch.tensor(self.order), persistent=False)
        reads = None if event.parents is None else event.reads().to(self.bias.dtype)
        self.register_buffer("reads", reads, persistent=False)

    def schedule(self, order: int = 0) -> list[list[int]]:
        return [[element] for element in self.order]

    def adjacency(self, order: int = 0) -> Tensor:
        return super().adjacency(order) if self.reads is None else self.reads.bool()

    def context(self, *parents: Tensor) -> tuple[Tensor, ...]:
        shift = self.conditioning(flat_context(parents))
        return shift[:, : len(self.bias)], shift[:, len(self.bias):].unflatten(1, self.output_bias.shape)

    def forward(self, values: Tensor, context: Sequence[Tensor] = (), order: int = 0) -> Tensor:
        event = self.event
        inputs = event.one_hot(values, self.bias).reshape(len(values), event.size, event.features)
        terms = inputs * self.inward[:, 0] if event.features == 1 else torch.einsum("njf,jfh->njh", inputs, self.inward)
        start = self.bias if not context else (self.bias + context[0])[:, None]
        sums = start + (self._before(terms) if self.reads is None else torch.einsum("ij,njh->nih", self.reads, terms))
        found = torch.einsum("nih,iph->nip", sums.sigmoid(), self.outward) + self.output_bias
        found = found if not context else found + context[1]
        return found.reshape(len(values), *event.shape, event.outputs)

    def _before(self, terms: Tensor) -> Tensor:
        """The sum of the terms of the elements before each."""
        natural = self.order == tuple(range(self.event.size))
        ordered = terms if natural else terms[:, self.places]
        before = nn.functional.pad(ordered[:, :-1].cumsum(1), (0, 0, 1, 0))
        return before if natural else torch.empty_like(before).index_copy(1, self.places, before)

    def stepper(self, context: Sequence[Tensor], rows: int, order: int = 0) -> SharedUnitsStepper:
        return SharedUnitsStepper(self, context, rows)


class SharedUnitsStepper(Stepper):
    """Each element is added to the hidden sums once, when it is known."""

    def __init__(self, network: SharedUnits, context: Sequence[Tensor], rows: int):
        self.network, self.held = network, tuple(context)
        self.sums = network.bias + (context[0] if context else network.bias.new_zeros(rows, 1))
        self.terms: list[Tensor] = []                                       # of a graph, whose elements do not all see the same

    def step(self, turn: int, previous: Tensor | None) -> Tensor:
        network = self.network
        element = network.order[turn]
        if turn:
            inputs, last = network.event.one_hot(previous[:, 0], network.bias), network.order[turn - 1]
            if network.reads is None:
                self.sums = torch.addmm(self.sums, inputs, network.inward[last])
            else:
                self.terms.append(inputs @ network.inward[last])
        sums = self.sums
        for last, term in zip(network.order, self.terms):
            if last in network.event.parents[element]:
                sums = sums + term
        found = nn.functional.linear(sums.sigmoid(), network.outward[element], network.output_bias[element])
        return (found if not self.held else found + self.held[1][:, element])[:, None]

    def take(self, rows: Tensor) -> None:
        self.sums, self.terms, self.held = self.sums[rows], [term[rows] for term in self.terms], tuple(part[rows] for part in self.held)
