"""Recurrent networks over an event."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from .base import Shape, Shapes
from .causal import CausalNet, Event, Stepper
from .checks import activation_class, positive, rate
from .sequences import Line, added, line_fits

__all__ = ["Recurrent"]


@dataclass(frozen=True, init=False, repr=False)
class Recurrent(CausalNet):
    """A recurrent network that reads the elements one after another, in any order (Graves, 2013, https://arxiv.org/abs/1308.0850).

    Args:
        width: of the embedding and of the hidden state.
        layers: stacked cells.
        cell: `nn.LSTM`, `nn.GRU` or `nn.RNN`.
        dropout: between layers, in training.
        grouped: the first event dimension is time, and the elements of one step are independent given the steps before.

    Example:
        >>> import torch
        >>> Recurrent(8, cell=nn.GRU).causal(Event((4,), states=3, outputs=3), ())(torch.zeros(2, 4, dtype=torch.long)).shape
        torch.Size([2, 4, 3])
    """

    over_time = True

    width: int
    layers: int
    cell: type[nn.Module]
    dropout: float
    grouped: bool

    def __init__(self, width: int, *, layers: int = 1, cell: type[nn.Module] = nn.LSTM, dropout: float = 0.0, grouped: bool = False) -> None:
        if cell not in (nn.LSTM, nn.GRU, nn.RNN):
            raise ValueError(f"Recurrent: expected cell to be nn.LSTM, nn.GRU or nn.RNN; got {cell!r}; try cell=nn.GRU")
        self._freeze(
            width=positive("Recurrent", "width", width), layers=positive("Recurrent", "layers", layers), cell=activation_class("Recurrent", cell),
            dropout=rate("Recurrent", "dropout", dropout), grouped=bool(grouped),
        )

    def check(self, event: Event) -> None:
        line_fits(self, event, self.grouped)

    def context_shape(self, event: Event) -> Shape:
        return (self.width,)

    def causal(self, event: Event, parents: Shapes) -> RecurrentLine:
        self.check(event)
        return RecurrentLine(event, parents, self)


class RecurrentLine(Line):
    """The module of `Recurrent`."""

    def __init__(self, event: Event, parents: Shapes, net: Recurrent):
        super().__init__(event, parents, net.width, grouped=net.grouped)
        self.cells = net.cell(net.width, net.width, net.layers, batch_first=True, dropout=net.dropout if net.layers > 1 else 0.0)

    def forward(self, values: Tensor, context: Sequence[Tensor] = (), order: int = 0) -> Tensor:
        return self.outputs(self.cells(added(self.shifted(values), context))[0])

    def stepper(self, context: Sequence[Tensor], rows: int, order: int = 0) -> RecurrentStepper:
        return RecurrentStepper(self, context, rows)


class RecurrentStepper(Stepper):
    """Goes on from the hidden state."""

    def __init__(self, network: RecurrentLine, context: Sequence[Tensor], rows: int):
        self.network, self.held, self.rows, self.state = network, tuple(context), rows, None

    def step(self, turn: int, previous: Tensor | None) -> Tensor:
        inputs = added(self.network.inputs(turn, previous, self.rows), self.held)
        features, self.state = self.network.cells(inputs[:, None], self.state)
        return self.network.outputs_at(features[:, 0])

    def take(self, rows: Tensor) -> None:
        self.held, self.rows = tuple(part[rows] for part in self.held), len(rows)
        if isinstance(self.state, tuple):
            self.state = tuple(part[:, rows] for part in self.state)
        elif isinstance(self.state, Tensor):
            self.state = self.state[:, rows].contiguous()
