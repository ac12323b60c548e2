"""Networks in files and in other programs' objects: one module a format, one error for all of them, declarations as data."""

from .declaration import describe, restore
from .document import Document
from .errors import FormatError
from .files import BIF, DOT, FORMATS, JSON, MERMAID, NET, UAI, XDSL, XMLBIF, read, read_document, write
from .format import Format
from .networkx_graph import from_networkx, to_networkx
from .pgmpy_model import from_pgmpy, to_pgmpy
from .pyro_source import to_pyro, to_pyro_state

__all__ = [
    "BIF", "DOT", "Document", "FORMATS", "Format", "FormatError", "JSON", "MERMAID", "NET", "UAI", "XDSL", "XMLBIF", "describe", "from_networkx",
    "from_pgmpy", "read", "read_document", "restore", "to_networkx", "to_pgmpy", "to_pyro", "to_pyro_state", "write",
]
