"""A learned graph held against the true one."""

from __future__ import annotations

from dataclasses import dataclass

from ..graph import DAG, GraphError, MixedGraph, cpdag

__all__ = ["Comparison", "compare"]


@dataclass(frozen=True)
class Comparison:
    """How far a learned graph is from the true one, as classes of equivalent graphs.

    `precision` and `recall` are those of the edges without their heads; `distance` is the structural Hamming distance
    (Tsamardinos, Brown and Aliferis, 2006): how many pairs of nodes are joined in one, or joined in another way.
    """

    precision: float
    recall: float
    distance: int

    def __str__(self) -> str:
        return f"edges: precision {self.precision:.2f}, recall {self.recall:.2f}; structural Hamming distance {self.distance}"


def compare(learned: DAG | MixedGraph, truth: DAG | MixedGraph) -> Comparison:
    """Compare two graphs over the same nodes; of a DAG its class of equivalent graphs is taken.

    >>> print(compare(DAG("a -> b -> c"), DAG("a -> b <- c")))
    edges: precision 1.00, recall 1.00; structural Hamming distance 2
    """
    if set(learned.nodes) != set(truth.nodes):
        odd = sorted(set(learned.nodes) ^ set(truth.nodes))
        raise GraphError(f"compare: expected graphs over the same nodes; got {odd[0]!r} in one alone; try learned.subgraph(truth.nodes)")
    found, true = _edges(learned), _edges(truth)
    common = len(found.keys() & true.keys())
    distance = sum(found.get(pair) != true.get(pair) for pair in found.keys() | true.keys())
    return Comparison(common / max(len(found), 1), common / max(len(true), 1), distance)


def _edges(graph: DAG | MixedGraph) -> dict[frozenset[str], object]:
    """Each joined pair of nodes and how it is joined."""
    marks = cpdag(graph) if isinstance(graph, DAG) else graph
    undirected = {pair: "--" for pair in marks.undirected} | {pair: "<->" for pair in marks.bidirected}
    return undirected | {frozenset(arrow): arrow for arrow in marks.directed}
