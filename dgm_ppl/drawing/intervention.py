"""What `do` does to a figure: the arrows into what is set are cut (Pearl, 2009)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from ..graph.names import Names
from .evidence import valued, values_of
from .figure import Arrow, Figure, Key, Mark, Role

__all__ = ["cut"]


def cut(figure: Figure, do: Mapping[str, Any] | Names) -> Figure:
    """Return the figure after `do`: a mapping from names to values, or names alone.

    Every arrow of the model into such a variable is crossed out, with the network that it comes from; arrows out of it stay.

    >>> figure = cut(Figure((Mark("h", "h"), Mark("x", "x"), Mark("y", "y")), (Arrow("h", "x"), Arrow("x", "y"))), "x")
    >>> [arrow.role.value for arrow in figure.arrows]
    ['cut', 'model']
    """
    values = values_of(do, figure, "draw: do")
    networks = {arrow.tail for arrow in figure.arrows if _enters(arrow, values) and not isinstance(arrow.tail, str)}
    severed = {*values, *networks}
    arrows = tuple(_cut(arrow, values) if _enters(arrow, severed) else arrow for arrow in figure.arrows)
    marks = tuple(replace(mark, role=Role.CUT) if mark.key in networks else mark for mark in figure.marks)
    return replace(figure, marks=marks, arrows=arrows).changed(lambda mark: _forced(mark, values[mark.key]), values)


def _enters(arrow: Arrow, keys: Collection[Key]) -> bool:
    return arrow.head in keys and arrow.role is Role.MODEL


def _cut(arrow: Arrow, values: Collection[str]) -> Arrow:
    return replace(arrow, role=Role.CUT, label="×" if arrow.head in values else arrow.label)


def _forced(mark: Mark, value: Any) -> Mark:
    mark = replace(mark, captions=(), forced=True)
    return replace(mark, captions=("do",)) if value is None else valued(mark, value, "do = {}")
