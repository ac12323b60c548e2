"""How large a mark will be, near enough to place it before any program has drawn it. All lengths are points."""

from __future__ import annotations

from math import sqrt
from unicodedata import east_asian_width

from .charts import Chart
from .figure import Mark, Shape

__all__ = ["BAR_WIDTH", "CAPTION_SIZE", "CHART_WIDTH", "COLUMN_HEIGHT", "LABEL_SIZE", "TITLE_SIZE", "extent", "text_width"]

TITLE_SIZE, LABEL_SIZE, CAPTION_SIZE = 13.0, 10.5, 9.0
BAR_WIDTH, CHART_WIDTH, COLUMN_HEIGHT = 60, 120, 30
_MARGIN = (9.0, 5.0)
_NARROW, _WIDE = set("fijlrtI.,:;'|!()[]{} -/\\\""), set("mwMWOQG@%&")


def text_width(text: str, size: float) -> float:
    """Return the width of a line in a sans serif type of this size.

    >>> text_width("iii", 10.0) < text_width("mmm", 10.0) < text_width("変数名", 10.0)
    True
    """
    return sum(map(_ems, text)) * size


def _ems(character: str) -> float:
    if east_asian_width(character) in "WF":
        return 1.0
    return 0.3 if character in _NARROW else 0.85 if character in _WIDE else 0.58


def extent(mark: Mark) -> tuple[float, float]:
    """Return the width and the height of a mark."""
    title = CAPTION_SIZE if mark.shape is Shape.NETWORK else TITLE_SIZE
    lines = [(mark.title, title), *((caption, CAPTION_SIZE) for caption in mark.captions)]
    width, height = max(text_width(text, size) for text, size in lines), sum(1.2 * size for _, size in lines)
    if mark.chart:
        wide, high = _chart_extent(mark.chart)
        return max(width, wide) + 2 * _MARGIN[0], height + high + 3 * _MARGIN[1]
    around = sqrt(2) if mark.shape is Shape.VARIABLE else 1.0
    return max((width + _MARGIN[0]) * around, 40.0), max((height + _MARGIN[1]) * around, 20.0)


def _chart_extent(chart: Chart) -> tuple[float, float]:
    if chart.rows is None:
        return CHART_WIDTH, COLUMN_HEIGHT + 14.0
    return BAR_WIDTH + max(text_width(state, CAPTION_SIZE) for state in chart.states) + 34.0, 13.0 * chart.rows
