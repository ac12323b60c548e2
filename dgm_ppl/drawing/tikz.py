"""A figure as a TikZ picture for LaTeX, placed as the drawing program places it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from unicodedata import lookup

from .dot import Source
from .figure import Arrow, Figure, Mark, Role, Shape
from .layout import Layout, Line, Point, lay_out
from .looks import COLORS
from .plates import drawable

__all__ = ["write_tikz"]

_HEADER = r"""% Needs \usepackage{tikz} and \usetikzlibrary{arrows.meta, shapes.geometric}
\begin{tikzpicture}[
  x=1bp, y=1bp, >={Latex[length=5bp]}, inner sep=0pt, align=center,
  bn-variable/.style={draw, fill=white, ellipse}, bn-input/.style={draw, fill=black!20},
  bn-group/.style={draw, fill=white, line width=1.5bp},
  bn-network/.style={draw, fill=white, rounded corners=3bp, font=\scriptsize},
  bn-chart/.style={draw, fill=white, rounded corners=3bp},
  bn-shaded/.style={fill=black!20}, bn-forced/.style={draw, fill=black!20, rectangle, very thick},
  bn-plate/.style={draw=black!65, rounded corners=6bp}, bn-note/.style={font=\scriptsize, text=black!65},
"""
_STROKES = {
    Role.MODEL: "", Role.GUIDE: "dashed", Role.HIDDEN: "dashed", Role.CUT: "dotted",
    Role.ADDED: "very thick", Role.REMOVED: "dotted, thick", Role.TURNED: "dashed, very thick", Role.JOINED: "very thick", Role.GONE: "dotted",
}
_GREEK = tuple("""alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau upsilon phi chi
psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega""".split())
_SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
    "×": r"$\times$", "…": r"\dots{}",
    **{lookup(f"GREEK {'CAPITAL' if letter.istitle() else 'SMALL'} LETTER {letter.upper().replace('BD', 'D')}"): rf"$\{letter}$"
       for letter in _GREEK},
}


def write_tikz(figure: Figure, source: Source) -> str:
    """Return a `tikzpicture`; names such as `mu`, `z` and `z_1` are set as mathematics.

    Names in other scripts than Latin and Greek need an engine that has fonts for them, such as LuaLaTeX.
    """
    figure = figure if figure.placement else drawable(figure)
    layout = lay_out(source)
    styles = (f"  bn-{role.value}/.style={{{_style(role)}}}," for role in Role)
    lines = [*styles, "]", *_boxes(figure, layout), *_marks(figure, layout), *_arrows(figure, layout), r"\end{tikzpicture}"]
    return _HEADER + "\n".join(lines) + "\n"


def _style(role: Role) -> str:
    return ", ".join(filter(None, [f"color={_rgb(COLORS[role])}", _STROKES[role]]))


def _rgb(color: str) -> str:
    red, green, blue = bytes.fromhex(color[1:])
    return f"{{rgb,255:red,{red};green,{green};blue,{blue}}}"


def _boxes(figure: Figure, layout: Layout) -> Iterator[str]:
    for box, rectangle, label in zip(figure.boxes, layout.boxes, layout.labels):
        left, bottom, right, top = map(_number, rectangle)
        yield rf"\draw[bn-plate] ({left},{bottom}) rectangle ({right},{top});"
        yield rf"\node[bn-note] at {_place(label)} {{{_escaped(box.label)}}};"


def _marks(figure: Figure, layout: Layout) -> Iterator[str]:
    for i, (mark, (left, bottom, right, top)) in enumerate(zip(figure.marks, layout.marks)):
        size = f"minimum width={_number(right - left)}bp, minimum height={_number(top - bottom)}bp"
        place = _place(((left + right) / 2, (bottom + top) / 2))
        yield rf"\node[{_looks(mark)}, {size}] (mark{i}) at {place} {{{_text(mark)}}};"


def _looks(mark: Mark) -> str:
    shape = "bn-chart" if mark.chart else f"bn-{mark.shape.value}"
    flags = {"bn-shaded": mark.shaded, "double": mark.double, "bn-forced": mark.forced}
    color = f"fill={_rgb(mark.color)}" if mark.color else ""
    role = "" if mark.role is Role.MODEL else f"bn-{mark.role.value}"
    return ", ".join(filter(None, [role, shape, *(flag for flag, on in flags.items() if on), color]))


def _text(mark: Mark) -> str:
    title = _escaped(mark.title) if mark.shape is Shape.NETWORK else _mathematics(mark.title)
    lines = [*mark.captions, *(mark.chart.lines if mark.chart else ())]
    return r" \\ ".join([title, *(rf"{{\scriptsize {_escaped(line)}}}" for line in lines)])


def _mathematics(name: str) -> str:
    """A Greek or single letter as mathematics, with what follows an underscore as its index.

    >>> _mathematics("mu"), _mathematics("z_1"), _mathematics("rain")
    ('$\\\\mu$', '$z_{1}$', 'rain')
    """
    letter, _, index = name.partition("_")
    if letter in _GREEK:
        letter = "\\" + letter
    elif not re.fullmatch("[A-Za-z]", letter):
        return _escaped(name)
    shown = index if len(index) < 2 or index.isdigit() else rf"\mathrm{{{_escaped(index)}}}"
    return f"${letter}_{{{shown}}}$" if index else f"${letter}$"


def _arrows(figure: Figure, layout: Layout) -> Iterator[str]:
    for arrow, line in zip(figure.arrows, layout.lines):
        tips = f"{'<' if line.start else ''}-{'>' if line.end else ''}"
        yield rf"\draw[bn-{arrow.role.value}, {tips}] {_path(line)};"
        if arrow.label and line.label:
            yield rf"\node[bn-note{_tint(arrow)}] at {_place(line.label)} {{{_escaped(arrow.label)}}};"


def _tint(arrow: Arrow) -> str:
    return "" if arrow.role is Role.MODEL else f", text={_rgb(COLORS[arrow.role])}"


def _path(line: Line) -> str:
    steps = [line.points[i : i + 3] for i in range(1, len(line.points), 3)]
    curves = "".join(f" .. controls {_place(a)} and {_place(b)} .. {_place(c)}" for a, b, c in steps)
    start = f"{_place(line.start)} -- " if line.start else ""
    return f"{start}{_place(line.points[0])}{curves}" + (f" -- {_place(line.end)}" if line.end else "")


def _place(point: Point) -> str:
    return f"({_number(point[0])},{_number(point[1])})"


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _escaped(text: str) -> str:
    return "".join(_SPECIAL.get(character, character) for character in " ".join(text.split()))
