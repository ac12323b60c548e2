"""A figure in the DOT language: the last of three steps from a graph to its picture.

Nested plates are nested clusters. Plates that cross cannot be, so `columns` places their marks and boxes, and the source
carries positions that `neato -n2` only has to draw.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

import graphviz

from .chart_html import chart_rows
from .columns import LABEL, place
from .figure import Arrow, Box, Figure, Key, Mark, Placement, Shape
from .looks import ARROWS, BOX, COLORS, EDGE, FAINT, GRAPH, INK, LINES, NODE, PAPER, mark_looks
from .measure import CAPTION_SIZE, LABEL_SIZE, text_width
from .plates import Nest, crossing, drawable, nested

__all__ = ["Source", "write_dot"]


@dataclass(frozen=True)
class Source:
    """Text in the DOT language, and the options with which the program draws it."""

    text: str
    options: tuple[str, ...]


def write_dot(figure: Figure) -> Source:
    """Return the DOT source of a figure; the same figure gives the same text."""
    placement = figure.placement
    if placement is None:
        figure = drawable(figure)
        placement = place(figure) if crossing(figure.boxes) else None
    options = ("-Kdot",) if placement is None else ("-Kneato", "-n2")
    graph = graphviz.Digraph("graph", comment=f"dot {' '.join(options)}", graph_attr=GRAPH, node_attr=NODE, edge_attr=EDGE)
    if figure.legend:
        graph.attr(label=_legend(figure))
    if placement is None:
        if any(mark.shape is Shape.GROUP for mark in figure.marks):
            graph.attr(rankdir="LR")                                        # groups are wide and many stand side by side
        _write_nested(graph, figure)
    else:
        _write_placed(graph, figure, placement)
    for i, arrow in enumerate(figure.arrows):
        _write_arrow(graph, arrow, figure, masked=placement is not None, id=f"arrow{i}")
    return Source(graph.source, options)


def _name(figure: Figure, key: Key) -> str:
    """A mark's name in the source: its own where it is a plain word, else its number."""
    return key if isinstance(key, str) and key.isidentifier() else str(figure.place[key])


def _write_nested(graph: graphviz.Digraph, figure: Figure) -> None:
    boxed = {key for box in figure.boxes for key in box.members}
    for mark in figure.marks:
        if mark.key not in boxed:
            _write_mark(graph, mark, figure)
    for nest in nested(figure.boxes):
        _write_nest(graph, nest, figure)


def _write_nest(graph: graphviz.Digraph, nest: Nest, figure: Figure) -> None:
    with graph.subgraph(name=_cluster(nest.box, figure)) as cluster:
        cluster.attr(**BOX, labeljust="r", **_box_text(nest.box, figure))
        for key in nest.members:
            _write_mark(cluster, figure.mark(key), figure)
        for inner in nest.inner:
            _write_nest(cluster, inner, figure)


def _write_placed(graph: graphviz.Digraph, figure: Figure, placement: Placement) -> None:
    graph.attr(splines="true")
    for mark in figure.marks:
        x, y = placement.centres[mark.key]
        _write_mark(graph, mark, figure, pos=f"{x:.2f},{y:.2f}")
    for box in figure.boxes:
        with graph.subgraph(name=_cluster(box, figure)) as cluster:
            cluster.attr(**BOX, **_box_text(box, figure), **_box_place(box, figure, placement))
            for key in box.members:
                cluster.node(_name(figure, key))


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


def _box_text(box: Box, figure: Figure) -> dict[str, str]:
    return {"id": f"box{figure.boxes.index(box)}", "label": _text(box.label), "tooltip": _tooltip(f"plate {box.label}")}


def _write_mark(graph: graphviz.Digraph, mark: Mark, figure: Figure, **place: str) -> None:
    graph.node(_name(figure, mark.key), id=f"mark{figure.place[mark.key]}", label=_mark_label(mark),
               tooltip=_tooltip(mark.tooltip), **mark_looks(mark), **place)


def _mark_label(mark: Mark) -> str:
    title = _html(mark.title) if mark.shape is Shape.NETWORK else f"<B>{_html(mark.title)}</B>"
    ink = INK if mark.color else FAINT
    captions = [f'<FONT POINT-SIZE="{CAPTION_SIZE:.0f}" COLOR="{ink}">{_html(text)}</FONT>' for text in mark.captions]
    if mark.chart is None:
        return f"<{'<BR/>'.join([title, *captions])}>"
    rows = "".join(f'<TR><TD COLSPAN="3">{line}</TD></TR>' for line in [title, *captions])
    return f'<<TABLE BORDER="0" CELLSPACING="2" CELLPADDING="0">{rows}{chart_rows(mark.chart, _html)}</TABLE>>'


def _legend(figure: Figure) -> str:
    words = (f'<FONT COLOR="{COLORS[role]}"><B>{LINES[role]}</B>&nbsp;&nbsp;{role.value}</FONT>' for role in figure.legend)
    return f"<{' &nbsp;&nbsp;&nbsp; '.join(words)}>"


def _html(text: str) -> str:
    """Text as an HTML-like label reads it, where a backslash starts an escape and a line break vanishes."""
    return escape(" ".join(text.split()), quote=False).replace("\\", r"\\")


def _text(text: str) -> str:
    """Text as a plain label, in which entities and escapes are read."""
    return graphviz.escape(text.replace("&", "&amp;"))


def _tooltip(text: str) -> str:
    """Text as a tooltip, in which escapes are read twice."""
    return _text(text.replace("\\", r"\\"))


def _write_arrow(graph: graphviz.Digraph, arrow: Arrow, figure: Figure, *, masked: bool, id: str) -> None:
    """Write an arrow downwards whichever way it points, so that it agrees with the rows."""
    looks = {**ARROWS[arrow.role], "id": id}
    if arrow.label:
        looks["label"] = _masked(arrow.label) if masked else _text(f" {arrow.label} ")
    if arrow.heads != 1 or arrow.upward:
        looks["dir"] = {0: "none", 1: "back", 2: "both"}[arrow.heads]
    ends = (arrow.head, arrow.tail) if arrow.upward else (arrow.tail, arrow.head)
    graph.edge(*(_name(figure, key) for key in ends), tooltip=_arrow_tooltip(arrow), **looks)


def _masked(label: str) -> str:
    """A label with paper behind it, for programs that set it on the line."""
    return f'<<TABLE BORDER="0" CELLPADDING="1"><TR><TD BGCOLOR="{PAPER}">{_html(label)}</TD></TR></TABLE>>'


def _arrow_tooltip(arrow: Arrow) -> str:
    ends = " → ".join(key if isinstance(key, str) else key[1] for key in (arrow.tail, arrow.head))
    return _tooltip("\n".join(filter(None, [f"{ends}: {arrow.label}" if arrow.label else ends, arrow.detail])))
