"""Checks of the arguments that several builders share; each returns the checked value."""

from numbers import Integral
from typing import Any

from torch import nn

from .base import Shapes, numbers, show_shapes

__all__ = ["activation_class", "nonempty", "odd", "positive", "rate", "some", "widths"]


def positive(owner: str, name: str, value: Any) -> int:
    """Check a positive integer.

    >>> positive("ConvNet", "stride", 0)
    Traceback (most recent call last):
    ValueError: ConvNet: expected stride to be a positive integer; got 0; try stride=2
    """
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{owner}: expected {name} to be a positive integer; got {value!r}; try {name}=2")
    return int(value)


def widths(owner: str, name: str, values: Any) -> tuple[int, ...]:
    """Check widths of layers, each a positive integer.

    >>> widths("MLP", "hidden", [400, 0])
    Traceback (most recent call last):
    ValueError: MLP: expected each width in hidden to be a positive integer; got 0; try 64
    """
    if isinstance(values, Integral):
        raise ValueError(f"{owner}: expected {name} to be a tuple of widths; got {values}; try {name}=({values},)")
    for value in values:
        if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
            mend = f"{owner}(*{value!r})" if isinstance(value, (list, tuple)) else "64"
            raise ValueError(
                f"{owner}: expected each width in {name} to be a positive integer; got {value!r}; try {mend}"
            )
    return tuple(map(int, values))


def some(owner: str, name: str, values: tuple[int, ...]) -> tuple[int, ...]:
    """Check that there is at least one layer."""
    if not values:
        raise ValueError(f"{owner}: expected at least one width in {name}; got none; try {owner}(32, 64)")
    return values


def odd(owner: str, name: str, value: Any) -> int:
    """Check an odd positive integer: only an odd kernel can be centred on a pixel."""
    if positive(owner, name, value) % 2 == 0:
        raise ValueError(f"{owner}: expected {name} to be odd; got {value}; try {name}={value + 1}")
    return int(value)


def rate(owner: str, name: str, value: Any) -> float:
    """Check a probability below one."""
    if not 0.0 <= value < 1.0:
        raise ValueError(f"{owner}: expected {name} in [0, 1); got {value!r}; try {name}=0.1")
    return float(value)


def activation_class(owner: str, value: Any) -> type[nn.Module]:
    """Check that an activation is a module class, neither its name nor an instance."""
    if not (isinstance(value, type) and issubclass(value, nn.Module)):
        mend = "try activation=nn.ReLU"
        raise TypeError(f"{owner}: expected activation to be a class of torch.nn; got {value!r}; {mend}")
    return value


def nonempty(owner: str, inputs: Shapes, outputs: Shapes) -> None:
    """Check that there is something to compute from and something to compute."""
    if numbers(inputs) == 0:
        got = show_shapes(inputs) or "none"
        raise ValueError(f"{owner}: expected a parent to compute from; got {got}; try .given('z')")
    if numbers(outputs) == 0:
        got = show_shapes(outputs) or "none"
        raise ValueError(f"{owner}: expected a parameter to compute; got {got}; try leaving net out")
