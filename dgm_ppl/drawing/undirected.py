"""Lines without heads: the arrows whose direction data alone cannot tell, as in an equivalence class of graphs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from ..graph import GraphError
from ..graph.names import chosen
from .figure import Arrow, Figure

__all__ = ["headless"]


def headless(figure: Figure, pairs: Iterable[tuple[str, str]]) -> Figure:
    """Return the figure with the arrow between each of the pairs, whichever way it points, without its head.

    Raises `GraphError` where there is no arrow.

    >>> from .figure import Mark
    >>> figure = headless(Figure((Mark("a", "a"), Mark("b", "b")), (Arrow("a", "b"),)), [("b", "a")])
    >>> figure.arrows[0].headed
    False
    """
    ends = {frozenset((arrow.tail, arrow.head)) for arrow in figure.arrows}
    lines = {_line(pair, ends, figure) for pair in pairs}
    return replace(figure, arrows=tuple(_without_head(arrow, lines) for arrow in figure.arrows))


def _line(pair: tuple[str, str], ends: set[frozenset], figure: Figure) -> frozenset:
    a, b = chosen(pair, figure.names, "draw: undirected")
    if frozenset((a, b)) not in ends:
        raise GraphError(f"draw: undirected: expected two nodes with an arrow between them; got {a!r} and {b!r}; "
                         "try pairs out of dag.edges")
    return frozenset((a, b))


def _without_head(arrow: Arrow, lines: set[frozenset]) -> Arrow:
    return replace(arrow, headed=False) if frozenset((arrow.tail, arrow.head)) in lines else arrow
