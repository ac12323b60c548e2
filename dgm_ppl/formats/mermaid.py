"""Mermaid, the diagrams of GitHub and many notebooks, for graphs alone; it is only written.

The language is described at https://mermaid.js.org/syntax/flowchart.html. `dgm.draw` writes pictures in it; this is the
plain graph.
"""

from __future__ import annotations

from .document import Document
from .format import Files

__all__ = ["write"]


def write(document: Document) -> Files:
    """Return a document's graph as a Mermaid flowchart."""
    ids = {name: f"n{number}" for number, name in enumerate(document.dag.nodes)}
    nodes = (f'  {ids[name]}["{_escaped(name)}"]' for name in ids)
    arrows = (f"  {ids[tail]} --> {ids[head]}" for tail, head in document.dag.edges)
    return {"": "\n".join(["flowchart TD", *nodes, *arrows]) + "\n"}


def _escaped(name: str) -> str:
    """A name with everything but plain characters as numbered entities, as labels have them."""
    return "".join(c if c.isalnum() or c in " _,.()=+-%" else f"#{ord(c)};" for c in name)
