"""A guide beside its model: two figures in one, where arrows of one over the other would be too many."""

from __future__ import annotations

from dataclasses import replace

from .dot import write_dot
from .figure import Arrow, Figure, Key, Placement, Rectangle, Role
from .layout import lay_out
from .plates import crossing, drawable

__all__ = ["beside"]

_GAP = 40.0


def beside(figure: Figure, guide: Figure) -> Figure:
    """Return both figures in one, the second one's marks and arrows as a guide's.

    >>> from .figure import Mark
    >>> both = beside(Figure((Mark("z", "z"), Mark("x", "x")), (Arrow("z", "x"),)), Figure((Mark("x", "x"), Mark("z", "z")), (Arrow("x", "z"),)))
    >>> [(mark.title, mark.role.value) for mark in both.marks], [arrow.role.value for arrow in both.arrows]
    ([('z', 'model'), ('x', 'model'), ('x', 'guide'), ('z', 'guide')], ['model', 'guide'])
    """
    figure, guide = drawable(figure), drawable(guide)
    marks = tuple(replace(mark, key=_key(mark.key), role=Role.GUIDE) for mark in guide.marks)
    arrows = tuple(replace(arrow, tail=_key(arrow.tail), head=_key(arrow.head), role=Role.GUIDE) for arrow in guide.arrows)
    boxes = tuple(replace(box, name=f"guide {box.name}", members=tuple(map(_key, box.members))) for box in guide.boxes)
    other = Figure(marks, arrows, boxes)
    placed = _side_by_side(figure, other) if crossing(figure.boxes) or crossing(other.boxes) else None
    return replace(figure, marks=figure.marks + marks, arrows=figure.arrows + arrows, boxes=figure.boxes + boxes,
                   legend=(*figure.legend, Role.GUIDE), placement=placed)


def _side_by_side(*figures: Figure) -> Placement:
    """Each figure as it is drawn alone, one to the right of the other; crossing plates cannot be left to the drawing program."""
    centres: dict[Key, tuple[float, float]] = {}
    rectangles: dict[str, Rectangle] = {}
    start = 0.0
    for figure in figures:
        layout = lay_out(write_dot(figure))
        every = (*layout.marks, *layout.boxes)
        shift, top = start - min(left for left, *_ in every), max(high for *_, high in every)
        centres |= {mark.key: (shift + (a + c) / 2, (b + d) / 2 - top) for mark, (a, b, c, d) in zip(figure.marks, layout.marks)}
        rectangles |= {box.name: (shift + a, b - top, shift + c, d - top) for box, (a, b, c, d) in zip(figure.boxes, layout.boxes)}
        start += max(right for _, _, right, _ in every) + shift - start + _GAP
    return Placement(centres, rectangles)


def _key(key: Key) -> Key:
    return ("guide copy", key) if isinstance(key, str) else (f"guide {key[0]}", key[1])
