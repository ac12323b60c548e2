"""One call from a graph to its picture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..graph import DAG
from ..graph.names import Names
from ..network import BayesNet
from .coloring import colored
from .evidence import shaded
from .figure import compose
from .intervention import cut
from .marginals import charted
from .picture import Picture
from .relations import relate
from .undirected import headless

__all__ = ["draw"]


def draw(
    graph: DAG | BayesNet,
    *,
    guide: DAG | BayesNet | None = None,
    observed: Names = (),
    evidence: Mapping[str, Any] | Names = (),
    do: Mapping[str, Any] | Names = (),
    posterior: Mapping[str, Any] | None = None,
    color_by: Mapping[str, float] | None = None,
    sizes: Mapping[str, int] | None = None,
    undirected: Iterable[tuple[str, str]] = (),
) -> Picture:
    """Return the picture of a graph in plate notation.

    Shaded nodes are observed, double-lined ones deterministic, small boxes inputs, large boxes plates. A network's label
    stands on its arrow, or on the way where one network reads several parents; so does the parameter that a parent enters.

    Arguments:
        graph: a `DAG` or a `BayesNet`.
        guide: another graph over the same names; its arrows are dashed over the model's, and what it takes as given is shaded.
        observed: names of further nodes to shade.
        evidence: values of nodes, shown on them, or names alone; they are shaded.
        do: values that nodes are set to, or names alone; the arrows into them are cut.
        posterior: for each node probabilities, samples or a distribution, shown as a small chart.
        color_by: a number for each node, shown as its colour.
        sizes: sizes of plates whose declarations leave them open.
        undirected: pairs of nodes whose arrows are drawn without heads, as in an equivalence class.

    Raises `GraphError` for a name that the graph lacks.

    >>> dag = DAG("rain -> wet <- sprinkler")
    >>> draw(dag, evidence={"wet": "yes"}, posterior={"rain": [0.3, 0.7]})
    Picture(3 nodes, 2 arrows)
    """
    relations = relate(graph, guide=guide, observed=observed, sizes=sizes)
    figure = shaded(compose(relations), evidence)
    figure = charted(cut(figure, do), posterior or {}, relations)
    return Picture(headless(colored(figure, color_by or {}), undirected))
