"""One call from a graph to its picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..graph import GraphError
from ..graph.names import Names
from ..network import BayesNet
from .answers import Answer, answered, in_words
from .beside import beside
from .collapse import collapsed, communities
from .coloring import colored
from .evidence import shaded
from .figure import compose
from .intervention import cut
from .marginals import charted
from .picture import Picture
from .relations import Graph, declared, relate

__all__ = ["draw"]


def draw(
    graph: Graph,
    *,
    guide: Graph | None = None,
    observed: Names = (),
    evidence: Mapping[str, Any] | Names = (),
    do: Mapping[str, Any] | Names = (),
    posterior: Answer | Mapping[str, Any] | None = None,
    color_by: Mapping[str, float] | None = None,
    sizes: Mapping[str, int] | None = None,
    collapse: int | Mapping[str, Names] | None = None,
    apart: bool = False,
    unroll: int | None = None,
) -> Picture:
    """Return the picture of a graph in plate notation.

    A chain is drawn as two slices: its nodes in a box, and beside it what they read some steps back, `z[-1]`; or all steps, with `unroll`.

    Shaded nodes are observed, double-lined ones deterministic, small boxes inputs, large boxes plates. A network's label
    stands on its arrow, or on the way where one network reads several parents; so does the parameter that a parent enters.

    Arguments:
        graph: a `DAG`, a `BayesNet`, a compiled model, or a `MixedGraph` such as an equivalence class (lines without heads) or a graph with
            hidden common causes (dashed, with two heads).
        guide: another graph over the same names; its arrows are dashed over the model's, and what it takes as given is shaded.
        observed: names of further nodes to shade.
        evidence: values of nodes, shown on them, or names alone; they are shaded.
        do: values that nodes are set to, or names alone; the arrows into them are cut.
        posterior: what `dgm.posterior` answered for one row, whose evidence is shown too; or for each node probabilities,
            samples or a distribution. Each is a small chart: a bar for a state, or the outline of a density.
        color_by: a number for each node, shown as its colour.
        sizes: sizes of plates whose declarations leave them open.
        collapse: groups of nodes, by name, to draw as one; or about how many marks a large graph may have.
        apart: the guide is drawn beside the model, not over it.
        unroll: for how many steps the chains of a net are written out, `z[0]`, `z[1]`, ...

    Raises `GraphError` for a name that the graph lacks.

    >>> from dgm_ppl.graph import DAG
    >>> dag = DAG("rain -> wet <- sprinkler")
    >>> draw(dag, evidence={"wet": "yes"}, posterior={"rain": [0.3, 0.7]})
    Picture(3 nodes, 2 arrows)
    """
    if unroll is not None:
        graph, guide = (_unrolled(each, unroll) for each in (graph, guide))
    relations = relate(graph, guide=guide, observed=observed, sizes=sizes)
    if apart:
        relations = replace(relations, dependences=tuple(one for one in relations.dependences if not one.guide))
    known, marginals = answered(posterior, relations)
    figure = shaded(compose(relations), in_words(evidence or known, relations))
    figure = charted(cut(figure, in_words(do, relations)), marginals, relations)
    figure = colored(figure, color_by or {})
    groups = communities(figure, collapse) if isinstance(collapse, int) else collapse
    figure = collapsed(figure, groups or {})
    return Picture(beside(figure, compose(relate(guide, sizes=_of(guide, sizes)))) if apart and guide is not None else figure)


def _unrolled(graph: Graph | None, steps: int) -> Graph | None:
    graph = None if graph is None else declared(graph)
    if graph is not None and not isinstance(graph, BayesNet):
        raise GraphError(f"draw: unroll: expected a net with a chain; got {type(graph).__name__}; leave unroll out")
    return None if graph is None else graph.unroll(steps)


def _of(guide: Graph, sizes: Mapping[str, int] | None) -> dict[str, int]:
    """The sizes of the plates that the guide has too."""
    plates = relate(guide).plates
    return {plate.name: sizes[plate.name] for plate in plates if sizes and plate.name in sizes}
