"""The next state of an attention over all steps so far, from the state before it and what is read at a step."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from .base import Net, Shapes, numbers
from .checks import positive

__all__ = ["AttentionState"]


@dataclass(frozen=True, init=False, repr=False)
class AttentionState(Net):
    """Attention with a learned query a head over all steps from the beginning to this one, or, reading from the end, from this one on.

    A step s counts in the state of step t by `softmax_s(k(reads_s) - d |t - s|)`, `k` and the values being computed by a network and `d > 0` learned, of every
    head its own (Lee et al., 2019, https://arxiv.org/abs/1810.00825; distances as Press et al., 2022, https://arxiv.org/abs/2108.12409). As the query is the same at all
    steps, the sums of one step follow from those of the step before (Milakov and Gimelshein, 2018, https://arxiv.org/abs/1805.02867): the state is, for each head, the
    weighted mean of the values and the logarithm of the sum of weights. What stands before the first step counts as one step more.

    Args:
        heads: how many queries.
        features: numbers of a head's values; the state is `heads * (features + 1)` wide.

    Raises:
        ValueError: a number that is not positive and whole, a node of another shape, or nothing to read besides the state.

    Example:
        >>> AttentionState(4, features=6).width
        28
        >>> from dgm_ppl import Delta, lead
        >>> Delta(28).given(lead("h", initial=0.0), "x", net=AttentionState(4, features=6))
        Delta(28) | h[+1], x, AttentionState(4), h[+1] = 0.0 at first
    """

    flatten = True

    heads: int
    features: int

    def __init__(self, heads: int, *, features: int = 8) -> None:
        self._freeze(heads=positive("AttentionState", "heads", heads), features=positive("AttentionState", "features", features))

    @property
    def width(self) -> int:
        """Of the state, the event of the node."""
        return self.heads * (self.features + 1)

    def build(self, inputs: Shapes, outputs: Shapes) -> nn.Module:
        if numbers(outputs) != self.width or len(inputs) < 2 or numbers(inputs[:1]) != self.width:
            raise ValueError(
                f"{self!r}: expected a node of shape ({self.width},) whose first parent is its own state a step before, and something to read; got the parents "
                f"{list(inputs)} and the outputs {list(outputs)}; try dgm.Delta({self.width}).given(dgm.lag('h', initial=0.0), 'x', net={self!r})"
            )
        return AttendingStep(numbers(inputs[1:]), self.heads, self.features)


class AttendingStep(nn.Module):
    """The module of `AttentionState`: its input is the state and what is read, side by side."""

    def __init__(self, reads: int, heads: int, features: int):
        super().__init__()
        self.heads, self.width = heads, heads * (features + 1)
        self.hidden, self.outputs = nn.Sequential(nn.Linear(reads, 2 * self.width), nn.Tanh()), nn.Linear(2 * self.width + reads, self.width)
        self.slopes = nn.Parameter(torch.linspace(-3.0, 1.0, heads))        # softplus of them: from heads that see far to heads that see near

    def forward(self, features: Tensor) -> Tensor:
        state, reads = features[..., : self.width].unflatten(-1, (self.heads, -1)), features[..., self.width:]
        found = self.outputs(torch.cat([self.hidden(reads), reads], -1)).unflatten(-1, (self.heads, -1))
        before, score = state[..., :1] - softplus(self.slopes).unsqueeze(-1), found[..., :1]
        total = torch.logaddexp(before, score)
        values = (before - total).exp() * state[..., 1:] + (score - total).exp() * found[..., 1:]
        return torch.cat([total, values], -1).flatten(-2)
