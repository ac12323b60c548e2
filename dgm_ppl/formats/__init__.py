"""Networks in files and in other programs' objects: one module a format, one error for all of them, declarations as data."""

from typing import TYPE_CHECKING

from ..graph.lazy import later
from .declaration import describe, restore
from .errors import FormatError

if TYPE_CHECKING:
    from .document import Document
    from .files import BIF, DOT, FORMATS, JSON, MERMAID, NET, UAI, XDSL, XMLBIF, read, read_document, write
    from .format import Format
    from .networkx_graph import from_networkx, to_networkx
    from .pgmpy_model import from_pgmpy, to_pgmpy
    from .pyro_source import to_pyro, to_pyro_state

LATER = {                                                                   # grammars and writers, loaded when a file is read or written
    "document": ["Document"],
    "files": ["BIF", "DOT", "FORMATS", "JSON", "MERMAID", "NET", "UAI", "XDSL", "XMLBIF", "read", "read_document", "write"],
    "format": ["Format"],
    "networkx_graph": ["from_networkx", "to_networkx"],
    "pgmpy_model": ["from_pgmpy", "to_pgmpy"],
    "pyro_source": ["to_pyro", "to_pyro_state"],
}

__all__ = ["FormatError", "describe", "restore", *(name for names in LATER.values() for name in names)]
__getattr__ = later(__name__, LATER)
