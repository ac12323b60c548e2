"""JSON, the library's own declaration: complete for every net, versioned, and read without executing anything.

What it holds is described in `dgm_ppl.formats.declaration`; a document's name and properties stand beside it under
`document`.
"""

from __future__ import annotations

import json
from typing import Any

from ..graph import GraphError
from ..network import BayesNet
from .declaration import describe, restore
from .document import Document, Lines
from .errors import FormatError
from .format import Files
from .json_text import parsed
from .source import Source

__all__ = ["read", "write"]

_NUMBERS = ("float64", "float32", "int64", "int32", "bool")


def read(source: Source, normalise: bool = False) -> Document:
    """Return the net of a JSON file; `normalise` is for formats whose tables may be rough.

    A net with code in it (a module, a function) needs `dgm_ppl.formats.restore`, which is given the code.
    """
    written = parsed(source, _check)
    if not isinstance(written, dict):
        raise source.error(f"expected a dgm_ppl net; got a {type(written).__name__}", 1)
    try:
        return Document(restore(written), **_beside(written.get("document", {})))
    except GraphError as error:
        raise source.error(str(error)) from error
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
        raise source.error(f"expected a complete declaration; got {type(error).__name__}: {error}") from error


def _check(mapping: dict) -> None:
    """Array types are a short list, so that a file cannot ask for cells of any size."""
    if mapping.get("dtype", "float64") not in _NUMBERS:
        raise ValueError(f"expected a dtype of {', '.join(_NUMBERS)}; got {str(mapping['dtype'])[:40]!r}")


def _beside(written: dict[str, Any]) -> dict[str, Any]:
    lists = {key: {name: _lines(lines) for name, lines in written[key].items()} for key in ("node_properties", "table_properties") if key in written}
    return {"name": str(written.get("name", "")), "properties": _lines(written.get("properties", ())), **lists}


def _lines(lines: list) -> Lines:
    return tuple(map(str, lines))


def write(document: Document) -> Files:
    """Return a document's net as JSON."""
    if not isinstance(document.net, BayesNet):
        raise FormatError("expected a BayesNet; got a DAG, which declares no distributions; try the suffix .dot")
    beside = {
        "name": document.name, "properties": document.properties,
        "node_properties": dict(document.node_properties), "table_properties": dict(document.table_properties),
    }
    written = {**describe(document.net), **({"document": beside} if any(beside.values()) else {})}
    return {"": json.dumps(written, ensure_ascii=False, allow_nan=False) + "\n"}
