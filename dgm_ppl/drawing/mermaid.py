"""A figure as a Mermaid flowchart, which GitHub and many notebooks draw."""

from __future__ import annotations

from collections.abc import Iterator

from .figure import Arrow, Figure, Mark, Role, Shape
from .looks import COLORS, SHADE
from .plates import Nest, nested, uncrossed

__all__ = ["write_mermaid"]

_LINES = {Role.GUIDE: "-.-", Role.HIDDEN: "-.-", Role.CUT: "-.-", Role.REMOVED: "-.-", Role.ADDED: "===", Role.TURNED: "===", Role.JOINED: "===", Role.GONE: "-.-"}
_HEADS = {"---": "-->", "-.-": "-.->", "===": "==>"}


def write_mermaid(figure: Figure) -> str:
    """Return a Mermaid flowchart; plates that cross are written on their members, since its subgraphs cannot cross."""
    figure = uncrossed(figure)
    ids = {mark.key: f"n{i}" for i, mark in enumerate(figure.marks)}
    boxed = {key for box in figure.boxes for key in box.members}
    marks = (f"  {_mark(mark, ids)}" for mark in figure.marks if mark.key not in boxed)
    nests = (line for nest in nested(figure.boxes) for line in _nest(nest, figure, ids, "  "))
    arrows = (f"  {_arrow(arrow, ids)}" for arrow in figure.arrows)
    return "\n".join(["flowchart TD", *marks, *nests, *arrows, *_styles(figure, ids)]) + "\n"


def _nest(nest: Nest, figure: Figure, ids: dict, indent: str) -> Iterator[str]:
    yield f"{indent}subgraph p{figure.boxes.index(nest.box)}[{_quoted(nest.box.label)}]"
    yield from (f"{indent}  {_mark(figure.mark(key), ids)}" for key in nest.members)
    for inner in nest.inner:
        yield from _nest(inner, figure, ids, indent + "  ")
    yield f"{indent}end"


def _mark(mark: Mark, ids: dict) -> str:
    lines = (*mark.captions, *(mark.chart.lines if mark.chart else ()))
    title = _escaped(mark.title) if mark.shape is Shape.NETWORK else f"<b>{_escaped(mark.title)}</b>"
    opening, closing = _outline(mark)
    return f'{ids[mark.key]}{opening}"{"<br/>".join([title, *map(_escaped, lines)])}"{closing}'


def _outline(mark: Mark) -> tuple[str, str]:
    if mark.shape is Shape.GROUP:
        return "[[", "]]"
    if mark.shape is not Shape.VARIABLE or mark.forced or mark.chart:
        return ("(", ")") if mark.shape is Shape.NETWORK else ("[", "]")
    return ("(((", ")))") if mark.double else ("([", "])")


def _arrow(arrow: Arrow, ids: dict) -> str:
    line = _LINES.get(arrow.role, "---")
    label = f"|{_quoted(arrow.label)}|" if arrow.label else ""
    headed = {0: line, 1: _HEADS[line], 2: f"<{_HEADS[line]}"}[arrow.heads]
    return f"{ids[arrow.tail]} {headed}{label} {ids[arrow.head]}"


def _styles(figure: Figure, ids: dict) -> Iterator[str]:
    for mark in figure.marks:
        fill = mark.color or (SHADE if mark.shaded or mark.forced else "#ffffff")
        yield f"  style {ids[mark.key]} fill:{fill},stroke:{COLORS[mark.role]},color:#000000"
    for i, arrow in enumerate(figure.arrows):
        yield f"  linkStyle {i} stroke:{COLORS[arrow.role]}"


def _quoted(text: str) -> str:
    return f'"{_escaped(text)}"'


def _escaped(text: str) -> str:
    """Text with everything but plain characters as Mermaid's numbered entities."""
    plain = " ".join(text.split())
    return "".join(c if c.isalnum() or not c.isascii() or c in " ,.()=+-%" else f"#{ord(c)};" for c in plain)
