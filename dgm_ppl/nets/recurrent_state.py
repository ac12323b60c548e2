"""The next state of a recurrent network, from the state before it and what is read at a step."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .base import Net, Shapes, numbers
from .checks import positive

__all__ = ["RecurrentState"]


@dataclass(frozen=True, init=False, repr=False)
class RecurrentState(Net):
    """One step of a recurrent network: for a deterministic node of a chain whose first parent is its own state a step before.

    `h_t = cell((reads_t), h_{t-1})` (gated: Cho et al., 2014, https://arxiv.org/abs/1406.1078).

    Args:
        width: of the state, the event of the node.
        cell: `nn.GRUCell` or `nn.RNNCell`.

    Raises:
        ValueError: a width that is not a positive whole number, another cell, a node of another shape, or nothing to read besides the state.

    Example:
        >>> RecurrentState(8).build(((8,), (3,)), ((8,),))
        StateStep(
          (cell): GRUCell(3, 8)
        )
        >>> from dgm_ppl import Delta, lead
        >>> Delta(8).given(lead("h", initial=0.0), "x", net=RecurrentState(8))
        Delta(8) | h[+1], x, RecurrentState(8), h[+1] = 0.0 at first
    """

    flatten = True

    width: int
    cell: type[nn.Module]

    def __init__(self, width: int, *, cell: type[nn.Module] = nn.GRUCell) -> None:
        if cell not in (nn.GRUCell, nn.RNNCell):
            raise ValueError(f"RecurrentState: expected cell to be nn.GRUCell or nn.RNNCell; got {cell!r}; try cell=nn.GRUCell")
        self._freeze(width=positive("RecurrentState", "width", width), cell=cell)

    def build(self, inputs: Shapes, outputs: Shapes) -> nn.Module:
        if numbers(outputs) != self.width or len(inputs) < 2 or numbers(inputs[:1]) != self.width:
            raise ValueError(
                f"{self!r}: expected a node of shape ({self.width},) whose first parent is its own state a step before, and something to read; got the parents "
                f"{list(inputs)} and the outputs {list(outputs)}; try dgm.Delta({self.width}).given(dgm.lag('h', initial=0.0), 'x', net={self!r})"
            )
        return StateStep(self.cell(numbers(inputs[1:]), self.width), self.width)


class StateStep(nn.Module):
    """The module of `RecurrentState`: its input is the state and what is read, side by side."""

    def __init__(self, cell: nn.Module, width: int):
        super().__init__()
        self.cell, self.width = cell, width

    def forward(self, features: Tensor) -> Tensor:
        rows = features.reshape(-1, features.shape[-1])
        return self.cell(rows[:, self.width:], rows[:, : self.width]).reshape(*features.shape[:-1], self.width)

    def scan(self, reads: Tensor, state: Tensor) -> Tensor:
        """The states of all steps `(rows, steps, width)`, from what is read at them `(rows, steps, numbers)` and the state before the first `(rows, width)`:
        what `forward` gives step by step, in one call."""
        cell, run = self.cell, torch.gru if isinstance(self.cell, nn.GRUCell) else torch.rnn_tanh
        weights = cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh
        with torch.backends.cudnn.flags(enabled=False):                     # which wants the weights in one piece of memory, and has no second derivatives
            return run(reads, state.unsqueeze(0).contiguous(), weights, True, 1, 0.0, True, False, True)[0]
