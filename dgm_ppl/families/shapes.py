"""Shapes that broadcast."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor

__all__ = ["broadcast", "side_by_side", "whole"]


def broadcast(*shapes: Sequence[int]) -> tuple[int, ...]:
    """The common shape of tensors that broadcast, at a tenth of the price of `torch.broadcast_shapes`; sizes that differ are found by `expand`.

    >>> broadcast((5, 1, 2), (3, 1))
    (5, 3, 2)
    """
    first = tuple(shapes[0])
    if all(tuple(shape) == first for shape in shapes[1:]):
        return first
    return tuple(max(sizes) for sizes in zip_longest(*map(reversed, shapes), fillvalue=1))[::-1]


def side_by_side(parts: Sequence[Tensor], axis: int) -> Tensor:
    """Tensors joined along a dimension, counted from the right; some may lack dimensions that others have.

    >>> side_by_side([torch.zeros(1, 2), torch.ones(5, 3, 2)], -2).shape
    torch.Size([5, 4, 2])
    """
    shapes = [tuple(1 if place == part.ndim + axis else size for place, size in enumerate(part.shape)) for part in parts]
    common = broadcast(*shapes)
    if any(shape != common for shape in shapes):
        parts = [part.expand(*common[:axis], part.shape[axis], *common[len(common) + axis + 1:]) for part in parts]
    return torch.cat(list(parts), axis)


def whole(value: Any) -> int | None:
    """A whole number of any kind as an int, else None."""
    if isinstance(value, bool):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None
