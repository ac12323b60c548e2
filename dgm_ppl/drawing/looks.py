"""How roles look: the colours, strokes and shapes of every picture, as DOT attributes.

The colours are those of Okabe and Ito (2008), which colour-blind readers tell apart; strokes differ too, for grey print.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from .figure import Mark, Role, Shape
from .measure import CAPTION_SIZE, LABEL_SIZE, TITLE_SIZE

__all__ = ["ARROWS", "BOX", "COLORS", "EDGE", "FAINT", "GRAPH", "INK", "LINES", "NODE", "PAPER", "SHADE", "mark_looks"]

Looks = Mapping[str, str]

FONT = "Helvetica"
INK, FAINT, SHADE, PAPER = "#000000", "#555555", "#d3d3d3", "#ffffff"

COLORS: Mapping[Role, str] = MappingProxyType({
    Role.MODEL: INK, Role.GUIDE: "#0072b2", Role.HIDDEN: FAINT, Role.CUT: "#999999",
    Role.ADDED: "#0072b2", Role.REMOVED: "#d55e00", Role.TURNED: "#8a3d77",
    Role.JOINED: "#0072b2", Role.GONE: "#aaaaaa",
})

LINES: Mapping[Role, str] = MappingProxyType({
    Role.MODEL: "—", Role.GUIDE: "– –", Role.HIDDEN: "– –", Role.CUT: "· · ·",
    Role.ADDED: "—", Role.REMOVED: "· · ·", Role.TURNED: "– –",
    Role.JOINED: "—", Role.GONE: "· · ·",
})
"""Each role's stroke, for legends."""

GRAPH: Looks = MappingProxyType({
    "fontname": FONT, "fontsize": str(LABEL_SIZE), "nodesep": "0.3", "ranksep": "0.42", "pad": "0.06",
})
NODE: Looks = MappingProxyType({
    "fontname": FONT, "fontsize": str(TITLE_SIZE), "style": "filled", "fillcolor": PAPER, "penwidth": "1.1",
    "margin": "0.06,0.03", "width": "0.55", "height": "0.4",
})
EDGE: Looks = MappingProxyType({
    "fontname": FONT, "fontsize": str(CAPTION_SIZE), "fontcolor": FAINT, "arrowsize": "0.75", "penwidth": "1.1",
})
BOX: Looks = MappingProxyType({
    "fontsize": str(LABEL_SIZE), "style": "rounded", "color": FAINT, "fontcolor": FAINT, "margin": "10", "labelloc": "b",
})


def _drawn(role: Role, **looks: str) -> Looks:
    return MappingProxyType({"color": COLORS[role], "fontcolor": COLORS[role], **looks})


ARROWS: Mapping[Role, Looks] = MappingProxyType({
    Role.MODEL: {},
    Role.GUIDE: _drawn(Role.GUIDE, style="dashed", weight="0"),
    Role.HIDDEN: _drawn(Role.HIDDEN, style="dashed"),
    Role.CUT: _drawn(Role.CUT, style="dotted", fontsize="14"),
    Role.ADDED: _drawn(Role.ADDED, penwidth="2.2"),
    Role.REMOVED: _drawn(Role.REMOVED, style="dotted", penwidth="1.6"),
    Role.TURNED: _drawn(Role.TURNED, style="dashed", penwidth="2.2"),
    Role.JOINED: _drawn(Role.JOINED, penwidth="2.4"),
    Role.GONE: _drawn(Role.GONE, style="dotted"),
})
_STROKES: Mapping[Role, Looks] = MappingProxyType({
    Role.MODEL: {},
    Role.GUIDE: _drawn(Role.GUIDE, style="rounded,filled,dashed"),
    Role.CUT: _drawn(Role.CUT, style="rounded,filled,dotted"),
    Role.ADDED: _drawn(Role.ADDED, penwidth="2.2"),
    Role.REMOVED: _drawn(Role.REMOVED, style="filled,dotted", penwidth="1.6"),
    Role.GONE: _drawn(Role.GONE, style="filled,dotted"),
})
_SHAPES: Mapping[Shape, Looks] = MappingProxyType({
    Shape.VARIABLE: {"shape": "ellipse"},
    Shape.INPUT: {"shape": "box", "margin": "0.08,0.03", "width": "0.3", "height": "0.28"},
    Shape.GROUP: {"shape": "box3d", "margin": "0.12,0.06"},
    Shape.NETWORK: {"shape": "box", "style": "rounded,filled", "fontsize": str(CAPTION_SIZE), "margin": "0.06,0.02",
                    "width": "0.2", "height": "0.2"},
})


def mark_looks(mark: Mark) -> dict[str, str]:
    """Return the DOT attributes of a mark, its label apart."""
    looks = {**_SHAPES[mark.shape], **_STROKES[mark.role]}
    if mark.shaded or mark.forced:
        looks["fillcolor"] = SHADE
    if mark.color:
        looks |= {"fillcolor": mark.color, "penwidth": "2.4" if mark.shaded else "1.1"}
    if mark.double:
        looks["peripheries"] = "2"
    if mark.chart:
        looks |= {"shape": "box", "style": "rounded,filled", "margin": "0.06,0.04"}
    if mark.forced:
        looks |= {"shape": "box", "penwidth": "2.4", "margin": "0.1,0.06"}
    return looks
