"""networkx graphs with tables on their nodes, and back; nodes, parents and numbers are plain Python and numpy."""

from __future__ import annotations

from typing import Any

import numpy

from ..graph.lazy import networkx as nx
from ..network import BayesNet
from .contents import Flat
from .document import Document
from .draft import Draft, Node, assemble, drafted
from .errors import FormatError
from .source import Source

__all__ = ["from_networkx", "to_networkx"]


def to_networkx(net: BayesNet) -> nx.DiGraph:
    """Return a `DiGraph` whose nodes carry `states`, `parents` (in the table's order) and `probs`.

    `probs` has the shape `(*parents' states, states)`. For the graph alone use `net.dag.to_networkx()`.

    Raises:
        FormatError: a node has no fixed table.

    >>> from dgm_ppl.families import Bernoulli
    >>> graph = to_networkx(BayesNet(rain=Bernoulli(probs=0.25), wet=Bernoulli(probs=[0.0, 1.0]).given("rain")))
    >>> graph.nodes["wet"]["parents"], graph.nodes["wet"]["probs"].tolist()
    (('rain',), [[1.0, 0.0], [0.0, 1.0]])
    """
    draft, graph = drafted(Document(net)), nx.DiGraph()
    for node in draft.nodes:
        graph.add_node(node.name, states=node.states, parents=node.parents, probs=node.contents.values)
    graph.add_edges_from((parent, node.name) for node in draft.nodes for parent in node.parents)
    return graph


def from_networkx(graph: nx.DiGraph, *, normalise: bool = False) -> BayesNet:
    """Return the net of a graph whose nodes carry `states` and `probs`, and `parents` where there are several.

    Raises:
        FormatError: an attribute is missing or does not fit. For a graph without tables use `DAG(graph)`.

    >>> graph = nx.DiGraph([("a", "b")])
    >>> graph.nodes["a"].update(states=["no", "yes"], probs=[0.5, 0.5])
    >>> graph.nodes["b"].update(states=["no", "yes"], probs=[[0.9, 0.1], [0.2, 0.8]])
    >>> from_networkx(graph)["b"].parents
    ('a',)
    """
    if not isinstance(graph, nx.DiGraph) or graph.is_multigraph():
        raise FormatError(f"expected a networkx DiGraph; got {type(graph).__name__}")
    return assemble(Source("networkx graph", b""), Draft([_node(graph, name) for name in graph]), normalise).net


def _node(graph: nx.DiGraph, name: Any) -> Node:
    if not isinstance(name, str):
        raise FormatError(f"expected nodes named by strings; got {name!r}; try nx.relabel_nodes(graph, str)", path="networkx graph")
    held, arrows = graph.nodes[name], tuple(graph.predecessors(name))
    for key in ("states", "probs"):
        if key not in held:
            raise FormatError(f"node {name!r}: expected the attribute {key!r}; got {sorted(held)}; try DAG(graph) for a graph without tables",
                              path="networkx graph")
    parents = tuple(held.get("parents", arrows))
    if set(parents) != set(arrows):
        raise FormatError(f"node {name!r}: expected the parents {sorted(arrows)}; got the attribute {parents}", path="networkx graph")
    values = numpy.array(held["probs"], dtype=numpy.float64)
    wanted = (*(len(graph.nodes[parent].get("states", ())) for parent in parents), len(held["states"]))
    if values.shape != wanted:
        raise FormatError(f"node {name!r}: expected probs of the shape {wanted}; got {values.shape}", path="networkx graph")
    return Node(name, tuple(map(str, held["states"])), parents, Flat(values.reshape(-1)))
