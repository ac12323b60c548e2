"""A picture as PDF, drawn from the strokes that the drawing program lists, since not every such program writes PDF."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import matplotlib
from matplotlib import patches
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.figure import Figure
from matplotlib.path import Path
from matplotlib.transforms import Affine2D, Transform

from .dot import Source
from .render import render

__all__ = ["write_pdf"]

Stroke = Mapping[str, Any]

_PAD = 4.0
_PARTS = ("_draw_", "_ldraw_", "_hdraw_", "_tdraw_")
_DASHES = {"dashed": (0, (4, 2.5)), "dotted": (0, (1, 2.5))}
_ALIGNED = {"l": "left", "c": "center", "r": "right"}


def write_pdf(source: Source) -> bytes:
    """Return a source drawn as PDF; the same source gives the same bytes."""
    drawn = json.loads(render(source, "json"))
    parts = (drawn, *drawn.get("objects", ()), *drawn.get("edges", ()))
    strokes = [part[name] for part in parts for name in _PARTS if name in part]
    _, _, width, height = (float(edge) for edge in drawn["bb"].split(","))
    with matplotlib.rc_context({"pdf.use14corefonts": _plain(strokes), "font.family": "sans-serif", "text.usetex": False}):
        figure = Figure(figsize=((width + 2 * _PAD) / 72, (height + 2 * _PAD) / 72))
        for group in strokes:
            _Pen(figure).draw(group)
        page = BytesIO()
        FigureCanvasPdf(figure).print_pdf(page, metadata={"CreationDate": None})
    return page.getvalue()


def _plain(strokes: list[list[Stroke]]) -> bool:
    """Whether the fonts that every PDF reader has can write all the text."""
    text = "".join(stroke["text"] for group in strokes for stroke in group if stroke["op"] == "T")
    return text == text.encode("cp1252", "ignore").decode("cp1252")


@dataclass
class _Pen:
    """Draws strokes; colours, line styles and fonts hold until the next one is chosen."""

    figure: Figure
    chosen: dict[str, Any] = field(default_factory=lambda: {
        "line": "black", "fill": "none", "width": 1.0, "dashes": "solid", "size": 14.0, "bold": False})

    @property
    def points(self) -> Transform:
        """From points above the lower left corner of the drawing to the page."""
        return Affine2D().translate(_PAD, _PAD).scale(1 / 72) + self.figure.dpi_scale_trans

    def draw(self, strokes: list[Stroke]) -> None:
        for stroke in strokes:
            _OPERATIONS.get(stroke["op"], _Pen.skip)(self, stroke)

    def skip(self, stroke: Stroke) -> None:
        """Pass over what changes nothing on paper."""

    def line_color(self, stroke: Stroke) -> None:
        self.chosen["line"] = stroke["color"]

    def fill_color(self, stroke: Stroke) -> None:
        self.chosen["fill"] = stroke["color"]

    def style(self, stroke: Stroke) -> None:
        wide = re.fullmatch(r"setlinewidth\((.*)\)", stroke["style"])
        if wide:
            self.chosen["width"] = float(wide[1])
        else:
            self.chosen["dashes"] = _DASHES.get(stroke["style"], "solid")

    def font(self, stroke: Stroke) -> None:
        self.chosen["size"] = stroke["size"]

    def font_style(self, stroke: Stroke) -> None:
        self.chosen["bold"] = bool(stroke["fontchar"] & 1)

    def ellipse(self, stroke: Stroke) -> None:
        x, y, rx, ry = stroke["rect"]
        self._add(patches.Ellipse((x, y), 2 * rx, 2 * ry, **self._looks(stroke["op"] == "E")))

    def polygon(self, stroke: Stroke) -> None:
        self._add(patches.Polygon(stroke["points"], **self._looks(stroke["op"] == "P")))

    def polyline(self, stroke: Stroke) -> None:
        self._add(patches.Polygon(stroke["points"], closed=False, **self._looks(False)))

    def curve(self, stroke: Stroke) -> None:
        codes = [Path.MOVETO] + [Path.CURVE4] * (len(stroke["points"]) - 1)
        self._add(patches.PathPatch(Path(stroke["points"], codes), **self._looks(stroke["op"] == "b")))

    def text(self, stroke: Stroke) -> None:
        (x, y), words = stroke["pt"], stroke["text"].replace(r"\\", "\\")  # one of the programs doubles backslashes
        self.figure.text(x, y, words, color=self.chosen["line"], fontsize=self.chosen["size"], va="baseline",
                         fontweight="bold" if self.chosen["bold"] else "medium", ha=_ALIGNED[stroke["align"]],
                         transform=self.points, parse_math=False)

    def _looks(self, filled: bool) -> dict[str, Any]:
        return {"facecolor": self.chosen["fill"] if filled else "none", "edgecolor": self.chosen["line"],
                "linewidth": self.chosen["width"], "linestyle": self.chosen["dashes"]}

    def _add(self, patch: patches.Patch) -> None:
        patch.set_transform(self.points)
        self.figure.add_artist(patch)


_OPERATIONS = {
    "c": _Pen.line_color, "C": _Pen.fill_color, "S": _Pen.style, "F": _Pen.font, "t": _Pen.font_style, "T": _Pen.text,
    "E": _Pen.ellipse, "e": _Pen.ellipse, "P": _Pen.polygon, "p": _Pen.polygon, "L": _Pen.polyline,
    "b": _Pen.curve, "B": _Pen.curve,
}
