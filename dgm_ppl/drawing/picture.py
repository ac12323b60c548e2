"""A picture: one figure, written in any format, saved, or shown in a notebook."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

from .centring import centred
from .dot import Source, write_dot
from .figure import Figure, Shape
from .mermaid import write_mermaid
from .page import write_page
from .render import render
from .tikz import write_tikz

__all__ = ["Picture"]


@dataclass(frozen=True, repr=False)
class Picture:
    """A drawn graph. Notebooks show it by themselves; `save` writes it to a file.

    >>> from dgm_ppl.graph import DAG
    >>> from dgm_ppl.drawing import draw
    >>> picture = draw(DAG("rain -> wet <- sprinkler"), observed="wet")
    >>> picture
    Picture(3 nodes, 2 arrows)
    >>> picture.svg().count("<ellipse")
    3
    """

    figure: Figure

    @cached_property
    def _source(self) -> Source:
        return write_dot(self.figure)

    @property
    def dot(self) -> str:
        """The source in the DOT language; its first line says with which options `dot` draws it."""
        return self._source.text

    def svg(self) -> str:
        """Return the picture as SVG, with tooltips."""
        return centred(render(self._source, "svg").decode(), self.figure)

    def png(self, *, dpi: int = 192) -> bytes:
        """Return the picture as PNG, with so many dots to the inch."""
        return render(self._source, "png", f"-Gdpi={dpi}")

    def pdf(self) -> bytes:
        """Return the picture as PDF."""
        from .pdf import write_pdf                                          # matplotlib takes most of a second to load

        return write_pdf(self._source)

    def tikz(self) -> str:
        """Return the picture as a `tikzpicture` for LaTeX."""
        return write_tikz(self.figure, self._source)

    def mermaid(self) -> str:
        """Return the picture as a Mermaid flowchart."""
        return write_mermaid(self.figure)

    def html(self) -> str:
        """Return the picture as one interactive page, which needs nothing else."""
        return write_page(self.figure, self.svg())

    def save(self, path: str | os.PathLike) -> Path:
        """Write the picture in the format that the suffix names and return the path.

        The file is written beside and moved into place. Raises `ValueError` for a suffix that names no format.
        """
        path = Path(path)
        if path.suffix.lower() not in FORMATS:
            stem = path.with_suffix("").name or "picture"
            raise ValueError(f"save: expected a path that ends in {', '.join(FORMATS)}; got {path.name!r}; "
                             f"try picture.save('{stem}.svg')")
        _write(path, FORMATS[path.suffix.lower()](self))
        return path

    def __repr__(self) -> str:
        nodes = [mark for mark in self.figure.marks if mark.shape is not Shape.NETWORK]
        counts = {"node": len(nodes), "arrow": len(self.figure.arrows), "plate": len(self.figure.boxes)}
        said = (f"{n} {word}{'s' * (n != 1)}" for word, n in counts.items() if n)
        return f"Picture({', '.join(said)})"

    def _repr_svg_(self) -> str:
        return self.svg()

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return {"image/svg+xml": self.svg(), "text/plain": repr(self)}


def _write(path: Path, content: bytes) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(content)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


FORMATS: Mapping[str, Callable[[Picture], bytes]] = MappingProxyType({
    ".svg": lambda picture: picture.svg().encode(),
    ".png": Picture.png,
    ".pdf": Picture.pdf,
    ".dot": lambda picture: picture.dot.encode(),
    ".gv": lambda picture: picture.dot.encode(),
    ".html": lambda picture: picture.html().encode(),
    ".tex": lambda picture: picture.tikz().encode(),
    ".mmd": lambda picture: picture.mermaid().encode(),
})
