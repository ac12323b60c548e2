"""A picture as one interactive page: nothing is loaded from anywhere, the file is all there is."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from .figure import Figure, Mark, Role, Shape
from .page_script import SCRIPT, STYLE

__all__ = ["page_data", "write_page"]

_HELP = ("Point at a node to see what it depends on, click to keep it, shift-click to give or take evidence. "
         "Drag to move, turn the wheel to zoom, double-click to see everything.")
_NO_DEPENDENCE = frozenset({Role.GUIDE, Role.CUT, Role.REMOVED, Role.GONE})

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>Graph</title><meta name="viewport" content="width=device-width">
<style>{style}</style></head>
<body>
<main>
{svg}
</main>
<aside>
<label><input type="radio" name="view" value="blanket" checked> Markov blanket</label>
<label><input type="radio" name="view" value="paths"> Open paths, given the evidence</label>
<div id="about"></div>
<button id="clear">Clear</button>
</aside>
<script>{script}
start({data});
</script>
</body>
</html>
"""


def write_page(figure: Figure, svg: str) -> str:
    """Return a page around `svg`, the figure's drawing: nodes show their Markov blankets and, given evidence, open paths."""
    data = json.dumps(page_data(figure), ensure_ascii=False).replace("<", r"\u003c")
    drawing = _without_tooltips(svg[svg.index("<svg"):])
    return _PAGE.format(style=STYLE, svg=drawing, script=SCRIPT, data=data)


def _without_tooltips(svg: str) -> str:
    """The page shows what tooltips say; titles would cover the drawing."""
    return re.sub(r'<title>.*?</title>|xlink:title="[^"]*"', "", svg, flags=re.S)


def page_data(figure: Figure) -> dict[str, Any]:
    """Return the dependences of a figure as data: node numbers, edges, and the parts of the drawing that show each edge.

    A hidden common cause is a node of its own that is not shown. Arrows of a guide and arrows that were cut or removed
    are no dependences of the model.
    """
    shown = [(i, mark) for i, mark in enumerate(figure.marks) if _is_node(mark)]
    place = {mark.key: n for n, (_, mark) in enumerate(shown)}
    parts, hidden = _parts(figure, place)
    return {
        "names": [mark.title for _, mark in shown] + [""] * hidden,
        "about": [mark.tooltip for _, mark in shown],
        "marks": [f"mark{i}" for i, _ in shown],
        "known": [n for n, (_, mark) in enumerate(shown) if mark.shaded],
        "edges": [list(edge) for edge in parts],
        "parts": {f"{a} {b}": ids for (a, b), ids in parts.items()},
        "directed": all(arrow.heads for arrow in figure.arrows if {arrow.tail, arrow.head} <= place.keys()),
        "shown": len(shown), "help": _HELP,
    }


def _is_node(mark: Mark) -> bool:
    return mark.shape is not Shape.NETWORK


def _parts(figure: Figure, place: dict) -> tuple[dict[tuple[int, int], list[str]], int]:
    """The drawing's parts by edge, and the number of hidden causes."""
    parts, hidden = defaultdict(list), 0
    for tail, head, heads, ids in _edges(figure, place):
        if heads == 2:
            for end in (tail, head):
                parts[len(place) + hidden, end] += ids
            hidden += 1
        else:
            parts[tail, head] += ids
    return dict(parts), hidden


def _edges(figure: Figure, place: dict) -> Iterator[tuple[int, int, int, list[str]]]:
    """Each dependence with its arrows and, where a network stands on the way, the network."""
    arrows = [(f"arrow{i}", arrow) for i, arrow in enumerate(figure.arrows) if arrow.role not in _NO_DEPENDENCE]
    marks = {mark.key: f"mark{i}" for i, mark in enumerate(figure.marks)}
    out = {arrow.tail: (name, arrow) for name, arrow in arrows if arrow.tail not in place}
    for name, arrow in arrows:
        if arrow.tail in place and arrow.head in place:
            yield place[arrow.tail], place[arrow.head], arrow.heads, [name]
        elif arrow.tail in place:
            last, onward = out[arrow.head]
            yield place[arrow.tail], place[onward.head], 1, [name, marks[arrow.head], last]
