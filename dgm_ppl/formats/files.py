"""Reading and writing networks: the format is the path's suffix, or the one that is passed."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

from ..graph import DAG
from ..network import BayesNet
from . import bif, dot, json_net, mermaid, net as hugin, uai, xdsl, xmlbif
from .document import Document
from .errors import FormatError
from .format import Format, tabular
from .source import Source

__all__ = ["BIF", "DOT", "FORMATS", "JSON", "MERMAID", "NET", "UAI", "XDSL", "XMLBIF", "read", "read_document", "write"]

BIF = tabular("BIF", (".bif",), bif.parse, bif.render)
XMLBIF = tabular("XMLBIF", (".xmlbif", ".xml"), xmlbif.parse, xmlbif.render)
XDSL = tabular("XDSL", (".xdsl",), xdsl.parse, xdsl.render)
UAI = tabular("UAI", (".uai",), uai.parse, uai.render)
NET = tabular("NET", (".net",), hugin.parse, hugin.render)
DOT = Format("DOT", (".dot", ".gv"), dot.read, dot.write)
MERMAID = Format("MERMAID", (".mmd", ".mermaid"), None, mermaid.write)
JSON = Format("JSON", (".json",), json_net.read, json_net.write)

FORMATS = (BIF, XMLBIF, XDSL, UAI, NET, DOT, MERMAID, JSON)
"""Every format; the first with a path's suffix is the path's."""


def read(path: str | os.PathLike, format: Format | None = None, *, normalise: bool = False) -> BayesNet | DAG:
    """Read a network: a `BayesNet` of `Categorical` nodes with fixed tables, a `DAG` from DOT, any net from JSON.

    Probabilities are the float64 numbers that the file spells. A table's rows must sum to one within 1e-6; with
    `normalise` each is divided by its sum. A suffix `.gz` after the format's means gzip. Nothing in a file is executed.

    Arguments:
        path: the file; its suffix says the format: .bif, .xmlbif or .xml, .xdsl, .uai, .net, .dot or .gv, .json.
        format: the format where the suffix does not say, such as `dgm.formats.BIF`.

    Raises:
        FormatError: the file is not of its format, or its tables are not probabilities; it names file, line and token.

    Example:
        >>> import pathlib, tempfile
        >>> from dgm_ppl import Bernoulli
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "rain.bif"
        >>> write(BayesNet(rain=Bernoulli(probs=0.25)), path)
        >>> read(path)
        rain ~ Categorical(['0', '1'], probs=[0.75, 0.25])
    """
    return read_document(path, format, normalise=normalise).net


def read_document(path: str | os.PathLike, format: Format | None = None, *, normalise: bool = False) -> Document:
    """Read a network with its name and properties, as `read` does otherwise."""
    path = Path(path)
    format = _format(path, format)
    if format.read is None:
        raise FormatError(f"{format} is only written; try the suffix .dot", path=path.name)
    return format.read(Source.open(path), normalise)


def write(net: BayesNet | DAG | Document, path: str | os.PathLike, format: Format | None = None) -> None:
    """Write a network so that `read` gives it back, bit for bit where the format holds tables.

    DOT and Mermaid hold the graph alone, the other formats but JSON only nodes with fixed tables. A `Document` brings
    its name and its properties along. The file is written beside and moved into place.

    Raises:
        FormatError: the format cannot hold the net; nothing is written.
    """
    path = Path(path)
    format = _format(path, format)
    document = net if isinstance(net, Document) else Document(_checked(net, path))
    try:
        texts = {suffix: text.encode() for suffix, text in format.write(document).items()}
    except FormatError as error:
        raise FormatError(error.problem, path=path.name) from error
    except UnicodeEncodeError as error:
        raise FormatError(f"expected names and labels that UTF-8 has; got {error.object[error.start:error.end]!r}", path=path.name) from None
    source = Source(path, b"")
    for suffix, data in reversed(texts.items()):
        _replace(source.plain.with_name(source.plain.name + suffix) if suffix else path, data)


def _checked(net: object, path: Path) -> BayesNet | DAG:
    if not isinstance(net, (BayesNet, DAG)):
        raise FormatError(f"expected a BayesNet, a DAG or a Document; got a {type(net).__name__}; try write(net, path)", path=path.name)
    return net


def _format(path: Path, format: Format | None) -> Format:
    if format is not None:
        if not isinstance(format, Format):
            raise FormatError(f"expected a format such as dgm.formats.BIF; got {format!r}", path=path.name)
        return format
    suffix = Source(path, b"").plain.suffix.lower()
    for known in FORMATS:
        if suffix in known.suffixes:
            return known
    suffixes = ", ".join(suffix for known in FORMATS for suffix in known.suffixes)
    raise FormatError(f"expected one of the suffixes {suffixes}, perhaps with .gz; got {suffix!r}; try format=dgm.formats.BIF", path=path.name)


def _replace(path: Path, data: bytes) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(gzip.compress(data, mtime=0) if path.suffix.lower() == ".gz" else data)
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
