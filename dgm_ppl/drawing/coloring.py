"""Marks coloured by any number: how surprising, how certain, how influential each variable is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import isfinite

from ..graph import GraphError
from ..graph.names import chosen
from .evidence import valued
from .figure import Figure

__all__ = ["colored"]

_PAPER, _HIGH, _LOW = (255, 255, 255), (76, 160, 210), (230, 159, 60)


def colored(figure: Figure, numbers: Mapping[str, float]) -> Figure:
    """Return the figure with variables coloured by `numbers`, which are written below the names too.

    Zero is white, the number farthest from zero full blue, or orange where it is negative.

    >>> from .figure import Mark
    >>> figure = colored(Figure((Mark("a", "a"), Mark("b", "b")), ()), {"a": 0.0, "b": 2.0})
    >>> [mark.color for mark in figure.marks]
    ['#ffffff', '#4ca0d2']
    """
    chosen(numbers, figure.names, "draw: color_by")
    values = {name: _number(name, value) for name, value in numbers.items()}
    most = max(map(abs, values.values()), default=0.0) or 1.0
    return figure.changed(lambda mark: replace(valued(mark, values[mark.key], "{}"), color=_blend(values[mark.key] / most)),
                          values)


def _number(name: str, value: float) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    if not isfinite(number):
        raise GraphError(f"draw: color_by: node {name!r}: expected a finite number; got {value!r}; "
                         "try leaving the node out")
    return number


def _blend(share: float) -> str:
    """White at 0, one hue at 1 and another at -1, evenly lighter in between."""
    far = _HIGH if share >= 0 else _LOW
    return "#" + "".join(f"{round(a + (b - a) * abs(share)):02x}" for a, b in zip(_PAPER, far))
