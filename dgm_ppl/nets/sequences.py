"""What networks over sequences share: the elements on a line, their embedding, what comes out, and the parents' vector."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .base import Shapes, numbers
from .causal import Causal, CausalNet, Event, flat_context, one_order

__all__ = ["Line", "added", "line_fits"]


def line_fits(net: CausalNet, event: Event, grouped: bool, *, any_order: bool = True) -> None:
    """Raises where a line of the elements cannot be what was asked for."""
    one_order(net, event, graph=False)
    if event.orders and (grouped or not any_order):
        raise ValueError(f"{net.label()}: goes through {'time steps' if grouped else 'the elements'} as they come; got order=; leave it out, or try Transformer(64)")
    if grouped and len(event.shape) < 2:
        raise ValueError(f"{net.label()}: grouped=True expects an event of time steps and what each has, (time, ...); got {event.shape}; the nearest: {(*event.shape, 1)}, or leave grouped out")


class Line(Causal):
    """A network over the elements one after another, or over time steps whose elements are independent given the steps before.

    A subclass computes the features of each step, `(n, steps, width)`, from the embedded steps before it.
    """

    def __init__(self, event: Event, parents: Shapes, width: int, *, grouped: bool = False):
        super().__init__(event)
        self.group = math.prod(event.shape[1:]) if grouped else 1
        self.steps, self.width = event.size // self.group, width
        self.order = event.order
        self.natural = self.order == tuple(range(event.size))
        places = torch.tensor(self.order)
        self.register_buffer("forwards", places, persistent=False)
        self.register_buffer("backwards", places.argsort(), persistent=False)
        self.register_buffer("offsets", torch.arange(self.group) * (event.states or 0), persistent=False)
        self.embedding = nn.Embedding(self.group * event.states, width) if event.states else nn.Linear(self.group * event.width, width)
        self.start = nn.Parameter(0.02 * torch.randn(width))
        self.output = nn.Linear(width, self.group * event.outputs)
        self.conditioning = nn.Linear(numbers(parents), width, bias=False) if parents else None

    def schedule(self, order: int = 0) -> list[list[int]]:
        return [list(self.order[first: first + self.group]) for first in range(0, self.event.size, self.group)]

    def context(self, *parents: Tensor) -> tuple[Tensor, ...]:
        return (self.conditioning(flat_context(parents)),)

    def embed(self, values: Tensor) -> Tensor:
        """Steps `(n, ..., group, width)`, codes `(n, ..., group)`, as vectors `(n, ..., features)`."""
        if not self.event.states:
            return self.embedding(values.flatten(-2))
        if self.group == 1:
            return self.embedding(values[..., 0])
        return self.embedding(values + self.offsets).sum(-2) / math.sqrt(self.group)

    def shifted(self, values: Tensor) -> Tensor:
        """What each step sees of the one before it, `(n, steps, features)`; the first sees the start."""
        tail = values.shape[1 + len(self.event.shape):]
        flat = values.reshape(len(values), self.event.size, *tail)
        ordered = flat if self.natural else flat[:, self.forwards]
        before = self.embed(ordered.reshape(len(values), self.steps, self.group, *tail)[:, :-1])
        return torch.cat([self.start.expand(len(values), 1, -1), before], 1)

    def inputs(self, turn: int, previous: Tensor | None, rows: int) -> Tensor:
        """What one step sees of the one before it, `(n, features)`."""
        return self.embed(previous) if turn else self.start.expand(rows, -1)

    def outputs(self, features: Tensor) -> Tensor:
        """The outputs of every element, `(n, *shape, outputs)`, from features of the steps."""
        found = self.output(features).reshape(len(features), self.event.size, self.event.outputs)
        found = found if self.natural else found[:, self.backwards]
        return found.reshape(len(features), *self.event.shape, self.event.outputs)

    def outputs_at(self, features: Tensor) -> Tensor:
        """The outputs of one step's elements, `(n, group, outputs)`."""
        return self.output(features).unflatten(-1, (self.group, self.event.outputs))


def added(features: Tensor, context: Sequence[Tensor]) -> Tensor:
    """Features of steps with the parents' vector added to each."""
    return features if not context else features + (context[0][:, None] if features.ndim == 3 else context[0])
