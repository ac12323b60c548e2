"""What a format is: a name, suffixes, and how documents come in and go out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from .document import Document
from .draft import Draft, assemble, drafted
from .source import Source

__all__ = ["Files", "Format", "tabular"]

Files = Mapping[str, str]
"""Texts by what is added to the path: `""` is the file itself, others lie beside it."""


@dataclass(frozen=True)
class Format:
    """A file format, told by its suffixes; another one is a module with `parse` and `render`, and a line in the table.

    `read(source, normalise)` returns a `Document` or raises `FormatError`; `write(document)` returns the files' texts.
    A format that is only written has no `read`.
    """

    name: str
    suffixes: tuple[str, ...]
    read: Callable[[Source, bool], Document] | None
    write: Callable[[Document], Files]

    def __repr__(self) -> str:
        return self.name


def tabular(name: str, suffixes: tuple[str, ...], parse: Callable[[Source], Draft], render: Callable[[Draft], str | Files]) -> Format:
    """Return a format of states and tables: `parse` and `render` know its text, what formats share is checked here."""

    def read(source: Source, normalise: bool) -> Document:
        return assemble(source, parse(source), normalise)

    def write(document: Document) -> Files:
        rendered = render(drafted(document))
        return {"": rendered} if isinstance(rendered, str) else rendered

    return Format(name, suffixes, read, write)
