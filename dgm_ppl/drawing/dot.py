"""A figure in the DOT language: the last of three steps from a graph to its picture.

Nested plates are nested clusters. Plates that cross cannot be, so `columns` places their marks and boxes, and the source
carries positions that `neato -n2` only has to draw.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

import graphviz

from .columns import LABEL, Placement, place
from .figure import Arrow, Box, Figure, Key, Mark, Role, Shape
from .measure import CAPTION_SIZE, LABEL_SIZE, TITLE_SIZE, text_width
from .plates import Nest, crossing, drawable, nested

__all__ = ["Source", "identifiers", "write_dot"]

FONT = "Helvetica"
INK, FAINT, SHADE, PAPER, GUIDE_INK = "#000000", "#555555", "#d3d3d3", "#ffffff", "#0072b2"

_GRAPH = {"fontname": FONT, "nodesep": "0.3", "ranksep": "0.42", "pad": "0.06"}
_NODE = {"fontname": FONT, "fontsize": str(TITLE_SIZE), "style": "filled", "fillcolor": PAPER, "penwidth": "1.1",
         "margin": "0.06,0.03", "width": "0.55", "height": "0.4"}
_EDGE = {"fontname": FONT, "fontsize": str(CAPTION_SIZE), "fontcolor": FAINT, "arrowsize": "0.75", "penwidth": "1.1"}
_BOX = {"fontsize": str(LABEL_SIZE), "style": "rounded", "color": FAINT, "fontcolor": FAINT, "margin": "10", "labelloc": "b"}
_SHAPES = {
    Shape.VARIABLE: {"shape": "ellipse"},
    Shape.INPUT: {"shape": "box", "margin": "0.08,0.03", "width": "0.3", "height": "0.28"},
    Shape.NETWORK: {"shape": "box", "style": "rounded,filled", "fontsize": str(CAPTION_SIZE), "margin": "0.06,0.02",
                    "width": "0.2", "height": "0.2"},
}
_MARKS = {Role.MODEL: {}, Role.GUIDE: {"style": "rounded,filled,dashed", "color": GUIDE_INK, "fontcolor": GUIDE_INK}}
_ARROWS = {Role.MODEL: {}, Role.GUIDE: {"style": "dashed", "color": GUIDE_INK, "fontcolor": GUIDE_INK, "weight": "0"}}


@dataclass(frozen=True)
class Source:
    """Text in the DOT language, and the options with which the program draws it."""

    text: str
    options: tuple[str, ...]


def write_dot(figure: Figure) -> Source:
    """Return the DOT source of a figure; the same figure gives the same text."""
    figure = drawable(figure)
    placement = place(figure) if crossing(figure.boxes) else None
    options = ("-Kdot",) if placement is None else ("-Kneato", "-n2")
    graph = graphviz.Digraph("graph", comment=f"dot {' '.join(options)}", graph_attr=_GRAPH, node_attr=_NODE, edge_attr=_EDGE)
    ids = identifiers(figure)
    if placement is None:
        _write_nested(graph, figure, ids)
    else:
        _write_placed(graph, figure, ids, placement)
    for arrow in figure.arrows:
        _write_arrow(graph, arrow, ids, masked=placement is not None)
    return Source(graph.source, options)


def identifiers(figure: Figure) -> dict[Key, str]:
    """Return each mark's name in the source: its own where it is a plain word, else its number.

    >>> identifiers(Figure((Mark("z", "z"), Mark("odd name", "odd name")), ()))
    {'z': 'z', 'odd name': '1'}
    """
    plain = (mark.key if isinstance(mark.key, str) and mark.key.isidentifier() else str(i)
             for i, mark in enumerate(figure.marks))
    return {mark.key: name for mark, name in zip(figure.marks, plain)}


def _write_nested(graph: graphviz.Digraph, figure: Figure, ids: Mapping[Key, str]) -> None:
    boxed = {key for box in figure.boxes for key in box.members}
    for mark in figure.marks:
        if mark.key not in boxed:
            _write_mark(graph, mark, ids)
    for nest in nested(figure.boxes):
        _write_nest(graph, nest, figure, ids)


def _write_nest(graph: graphviz.Digraph, nest: Nest, figure: Figure, ids: Mapping[Key, str]) -> None:
    with graph.subgraph(name=_cluster(nest.box, figure)) as cluster:
        cluster.attr(**_BOX, labeljust="r", **_box_text(nest.box))
        for key in nest.members:
            _write_mark(cluster, figure.mark(key), ids)
        for inner in nest.inner:
            _write_nest(cluster, inner, figure, ids)


def _write_placed(graph: graphviz.Digraph, figure: Figure, ids: Mapping[Key, str], placement: Placement) -> None:
    graph.attr(splines="true")
    for mark in figure.marks:
        x, y = placement.centres[mark.key]
        _write_mark(graph, mark, ids, pos=f"{x:.2f},{y:.2f}")
    for box in figure.boxes:
        with graph.subgraph(name=_cluster(box, figure)) as cluster:
            cluster.attr(**_BOX, **_box_text(box), **_box_place(box, figure, placement))
            for key in box.members:
                cluster.node(ids[key])


def _box_place(box: Box, figure: Figure, placement: Placement) -> dict[str, str]:
    """The rectangle, and the label at the lower corner that no crossing box covers."""
    left, bottom, right, top = placement.rectangles[box.name]
    width = text_width(box.label, LABEL_SIZE)
    others = [r for name, r in placement.rectangles.items() if name != box.name and r[0] < right < r[2]]
    x = left + width / 2 + 10 if others else right - width / 2 - 10
    return {"bb": f"{left:.2f},{bottom:.2f},{right:.2f},{top:.2f}", "lp": f"{x:.2f},{bottom + LABEL / 2:.2f}",
            "lwidth": f"{width / 72:.2f}", "lheight": "0.2"}


def _cluster(box: Box, figure: Figure) -> str:
    return f"cluster_{figure.boxes.index(box)}"


def _box_text(box: Box) -> dict[str, str]:
    return {"label": _text(box.label), "tooltip": _tooltip(f"plate {box.label}")}


def _write_mark(graph: graphviz.Digraph, mark: Mark, ids: Mapping[Key, str], **place: str) -> None:
    looks = _SHAPES[mark.shape] | _MARKS[mark.role]
    if mark.shaded:
        looks |= {"fillcolor": SHADE}
    if mark.double:
        looks |= {"peripheries": "2"}
    graph.node(ids[mark.key], label=_mark_label(mark), tooltip=_tooltip(mark.tooltip), **looks, **place)


def _mark_label(mark: Mark) -> str:
    title = _html(mark.title) if mark.shape is Shape.NETWORK else f"<B>{_html(mark.title)}</B>"
    captions = (f'<BR/><FONT POINT-SIZE="{CAPTION_SIZE}" COLOR="{FAINT}">{_html(text)}</FONT>' for text in mark.captions)
    return f"<{title}{''.join(captions)}>"


def _html(text: str) -> str:
    """Text as an HTML-like label reads it, where a backslash starts an escape and a line break vanishes."""
    return escape(" ".join(text.split()), quote=False).replace("\\", r"\\")


def _text(text: str) -> str:
    """Text as a plain label, in which entities and escapes are read."""
    return graphviz.escape(text.replace("&", "&amp;"))


def _tooltip(text: str) -> str:
    """Text as a tooltip, in which escapes are read twice."""
    return _text(text.replace("\\", r"\\"))


def _write_arrow(graph: graphviz.Digraph, arrow: Arrow, ids: Mapping[Key, str], masked: bool) -> None:
    """Write an arrow downwards whichever way it points, so that it agrees with the rows."""
    looks = dict(_ARROWS[arrow.role])
    if arrow.label:
        looks["label"] = _masked(arrow.label) if masked else _text(f" {arrow.label} ")
    if not arrow.headed:
        looks["dir"] = "none"
    elif arrow.upward:
        looks["dir"] = "back"
    ends = (arrow.head, arrow.tail) if arrow.upward else (arrow.tail, arrow.head)
    graph.edge(*(ids[key] for key in ends), tooltip=_arrow_tooltip(arrow), **looks)


def _masked(label: str) -> str:
    """A label with paper behind it, for programs that set it on the line."""
    return f'<<TABLE BORDER="0" CELLBORDER="0" CELLPADDING="1"><TR><TD BGCOLOR="{PAPER}">{_html(label)}</TD></TR></TABLE>>'


def _arrow_tooltip(arrow: Arrow) -> str:
    ends = " → ".join(key if isinstance(key, str) else key[1] for key in (arrow.tail, arrow.head))
    return _tooltip(f"{ends}: {arrow.label}" if arrow.label else ends)
