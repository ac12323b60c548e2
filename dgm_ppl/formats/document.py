"""A net together with what its file says beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..graph import DAG
from ..network import BayesNet
from .errors import FormatError, hint

__all__ = ["Document", "Lines"]

Lines = tuple[str, ...]
"""Properties: one text each, mostly `key = value`, in the words of the format that they came from."""


@dataclass(frozen=True)
class Document:
    """A net, its name, and the properties that a file attaches to the network, to its nodes and to their tables.

    Properties are kept as the file writes them, so that reading, writing and reading again in one format gives the same
    document. Another format gets them as text.

    >>> document = Document(DAG("a -> b"), name="toy", node_properties={"a": ("position = (1, 2)",)})
    >>> document.name, document.node_properties["a"]
    ('toy', ('position = (1, 2)',))
    """

    net: BayesNet | DAG
    name: str = ""
    properties: Lines = ()
    node_properties: Mapping[str, Lines] = field(default_factory=dict)
    table_properties: Mapping[str, Lines] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in (*self.node_properties, *self.table_properties):
            if name not in self.net:
                raise FormatError(f"Document: expected properties of the net's nodes; got {name!r}{hint(name, self.net)}")

    @property
    def dag(self) -> DAG:
        """The graph alone."""
        return self.net if isinstance(self.net, DAG) else self.net.dag
