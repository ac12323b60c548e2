"""Fully connected networks."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from torch import nn

from .base import Net, Shapes, numbers
from .checks import activation_class, nonempty, rate, widths

__all__ = ["MLP"]


@dataclass(frozen=True, init=False, repr=False)
class MLP(Net):
    """A multilayer perceptron; without widths it is linear.

    Args:
        *hidden: widths of the hidden layers.
        activation: module class put after each hidden layer.
        dropout: probability of dropping a hidden unit in training, in `[0, 1)`.
        norm: put a `LayerNorm` before each activation.

    Raises:
        ValueError: for a width that is not a positive integer or a dropout outside `[0, 1)`.
        TypeError: for an activation that is not a module class.

    Example:
        >>> MLP(400).build(((20,),), ((1, 28, 28),))
        Sequential(
          (0): Linear(in_features=20, out_features=400, bias=True)
          (1): ReLU()
          (2): Linear(in_features=400, out_features=784, bias=True)
        )
    """

    flatten = True

    hidden: tuple[int, ...]
    activation: type[nn.Module]
    dropout: float
    norm: bool

    def __init__(
        self, *hidden: int, activation: type[nn.Module] = nn.ReLU, dropout: float = 0.0, norm: bool = False
    ) -> None:
        self._freeze(
            hidden=widths("MLP", "hidden", hidden),
            activation=activation_class("MLP", activation),
            dropout=rate("MLP", "dropout", dropout),
            norm=bool(norm),
        )

    def build(self, inputs: Shapes, outputs: Shapes) -> nn.Sequential:
        nonempty(self.label(), inputs, outputs)
        sizes = (numbers(inputs), *self.hidden)
        hidden = [layer for size in pairwise(sizes) for layer in self._layer(*size)]
        return nn.Sequential(*hidden, nn.Linear(sizes[-1], numbers(outputs)))

    def _layer(self, features: int, width: int) -> Iterator[nn.Module]:
        yield nn.Linear(features, width)
        if self.norm:
            yield nn.LayerNorm(width)
        yield self.activation()
        if self.dropout:
            yield nn.Dropout(self.dropout)
