"""Where the drawing program put everything, for writers that draw by themselves. All lengths are points, upwards."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from .dot import Source
from .figure import Rectangle
from .render import render

__all__ = ["Layout", "Line", "Point", "lay_out"]

Point = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """A piecewise cubic curve through `points`; `start` and `end` are the tips of its arrow heads."""

    points: tuple[Point, ...]
    start: Point | None
    end: Point | None
    label: Point | None


@dataclass(frozen=True)
class Layout:
    """Rectangles of marks and boxes, lines of arrows and places of boxes' labels, in the figure's order."""

    marks: tuple[Rectangle, ...]
    lines: tuple[Line, ...]
    boxes: tuple[Rectangle, ...]
    labels: tuple[Point, ...]


def lay_out(source: Source) -> Layout:
    """Return the layout of a source as the drawing program finds it."""
    drawn = json.loads(render(source, "json"))
    found: dict[str, dict] = {part["id"]: part for part in (*drawn.get("objects", ()), *drawn.get("edges", ()))}
    boxes = _numbered(found, "box")
    return Layout(
        tuple(map(_rectangle, _numbered(found, "mark"))), tuple(map(_line, _numbered(found, "arrow"))),
        tuple(tuple(_numbers(box["bb"])) for box in boxes), tuple(_point(box["lp"]) for box in boxes),
    )


def _numbered(found: dict[str, dict], kind: str) -> list[dict]:
    parts = {int(name.removeprefix(kind)): part for name, part in found.items() if name.startswith(kind)}
    return [parts[i] for i in sorted(parts)]


def _numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"-?[\d.]+(?:e[+-]?\d+)?", text)]


def _point(text: str) -> Point:
    x, y = _numbers(text)
    return x, y


def _rectangle(part: dict[str, Any]) -> Rectangle:
    (x, y), w, h = _point(part["pos"]), 36 * float(part["width"]), 36 * float(part["height"])
    return x - w, y - h, x + w, y + h


def _line(part: dict[str, Any]) -> Line:
    words = part["pos"].split()
    tips = {word[0]: _point(word[2:]) for word in words if word[0] in "se"}
    points = tuple(_point(word) for word in words if word[0] not in "se")
    return Line(points, tips.get("s"), tips.get("e"), _point(part["lp"]) if "lp" in part else None)
