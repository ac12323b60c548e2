"""One call from a graph to its picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..graph.names import Names
from .figure import compose
from .picture import Picture
from .relations import relate

__all__ = ["draw"]


def draw(graph: Any, *, guide: Any = None, observed: Names = (), sizes: Mapping[str, int] | None = None) -> Picture:
    """Return the picture of a graph in plate notation.

    Shaded nodes are observed, double-lined ones deterministic, small boxes inputs, large boxes plates. A network's label
    stands on its arrow, or on the way where one network reads several parents; so does the parameter that a parent enters.

    Arguments:
        graph: a `DAG` or a `BayesNet`.
        guide: a `BayesNet` over the same names; its arrows are dashed over the model's, and what it takes as given is shaded.
        observed: names of further nodes to shade.
        sizes: sizes of plates whose declarations leave them open.

    Raises `GraphError` for a name that the graph lacks.

    >>> from dgm_ppl.graph import DAG
    >>> draw(DAG("age -> height, age -> vocabulary"), observed="height")
    Picture(3 nodes, 2 arrows)
    """
    return Picture(compose(relate(graph, guide=guide, observed=observed, sizes=sizes)))
