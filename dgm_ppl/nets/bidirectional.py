"""A recurrent network that sums a sequence up, read from both ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .base import Net, Shapes, numbers, show_shapes
from .checks import activation_class, nonempty, positive
from .images import as_vectors

__all__ = ["Bidirectional"]


@dataclass(frozen=True, init=False, repr=False)
class Bidirectional(Net):
    """A recurrent network over the first dimension of its parents, forwards and backwards; its last states and the mean over the steps give the parameters.

    Parents of two dimensions and more, `(time, ...)`, are sequences, of one length; where there are none the first with one dimension, `(time,)`, is.
    The others are joined to what was summed up.

    Args:
        width: of the hidden state in each direction.
        layers: stacked cells.
        cell: `nn.GRU`, `nn.LSTM` or `nn.RNN`.

    Raises:
        ValueError: another cell; in `build`, no sequence among the parents, or sequences of several lengths.

    Source: Schuster and Paliwal (1997), doi:10.1109/78.650093.

    Example:
        >>> module = Bidirectional(16).build(((20, 5), (3,)), ((8,),))
        >>> module(torch.zeros(2, 20, 5), torch.zeros(2, 3)).shape
        torch.Size([2, 8])
    """

    flatten = False

    width: int
    layers: int
    cell: type[nn.Module]

    def __init__(self, width: int, *, layers: int = 1, cell: type[nn.Module] = nn.GRU) -> None:
        if cell not in (nn.GRU, nn.LSTM, nn.RNN):
            raise ValueError(f"Bidirectional: expected cell to be nn.GRU, nn.LSTM or nn.RNN; got {cell!r}; try cell=nn.GRU")
        self._freeze(width=positive("Bidirectional", "width", width), layers=positive("Bidirectional", "layers", layers), cell=activation_class("Bidirectional", cell))

    def build(self, inputs: Shapes, outputs: Shapes) -> nn.Module:
        nonempty(self.label(), inputs, outputs)
        places = [place for place, shape in enumerate(inputs) if len(shape) > 1] or [place for place, shape in enumerate(inputs) if shape][:1]
        if len({inputs[place][0] for place in places}) != 1:
            raise ValueError(f"{self.label()}: expected sequences (time, ...) of one length among the parents; got {show_shapes(inputs)}; try MLP(128)")
        return BothWays(self, inputs, numbers(outputs), places)


class BothWays(nn.Module):
    """The module of `Bidirectional`."""

    def __init__(self, net: Bidirectional, inputs: Shapes, outputs: int, places: Sequence[int]) -> None:
        super().__init__()
        self.places, self.others = tuple(places), tuple(place for place in range(len(inputs)) if place not in places)
        self.steps = inputs[places[0]][0]
        self.features = tuple(numbers([inputs[place]]) // self.steps for place in places)
        self.cells = net.cell(sum(self.features), net.width, net.layers, batch_first=True, bidirectional=True)
        self.head = nn.Linear(4 * net.width + numbers([inputs[place] for place in self.others]), outputs)

    def forward(self, *parents: Tensor) -> Tensor:
        rows = len(parents[0])
        sequences = [parents[place].reshape(rows, self.steps, features) for place, features in zip(self.places, self.features)]
        steps, state = self.cells(torch.cat(sequences, -1))
        last = state[0] if isinstance(state, tuple) else state              # (layers * directions, rows, width)
        return self.head(torch.cat([last[-2], last[-1], steps.mean(1), *(as_vectors(parents[place]) for place in self.others)], -1))
