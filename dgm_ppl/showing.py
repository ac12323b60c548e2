"""Notebooks: graphs, nets, guides, models and results are pictures at the end of a cell.

The classes know nothing of pictures: their `_repr_mimebundle_` (`graph.Displayed`) asks for this module by name when they are shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from io import StringIO
from types import MappingProxyType
from typing import Any

from .compile import Model
from .diagnostics import Agreement, Calibration, Gaps, GuideComparison, Weights
from .drawing import Picture, draw, draw_steps
from .graph import DAG, Displayed, Inversion, MixedGraph
from .guides.program_guide import ProgramGuide
from .network import BayesNet, RecognitionNet, SequenceGuide
from .queries import Posterior
from .structure import Verdicts
from .training import Run

__all__ = ["shown"]

MANY = 150
"""A graph with more nodes is drawn as so many groups at most."""

SVG, HTML, TEXT = "image/svg+xml", "text/html", "text/plain"


def shown(value: Displayed) -> dict[str, str]:
    """The mime bundle of a graph, net, model or result: a picture as SVG where there is one, and text.

    >>> sorted(shown(DAG("a -> b")))
    ['image/svg+xml', 'text/plain']
    """
    kind = next(kind for kind in type(value).__mro__ if kind in SHOWN)
    return {**SHOWN[kind](value), TEXT: repr(value)}


def _graph(graph: DAG | MixedGraph | BayesNet) -> dict[str, str]:
    return _drawn(graph)


def _guide(guide: RecognitionNet | SequenceGuide) -> dict[str, str]:
    return _drawn(guide.model, guide=guide)


def _model(model: Model | ProgramGuide) -> dict[str, str]:
    net = model.net
    return _guide(net) if isinstance(net, (RecognitionNet, SequenceGuide)) else _drawn(net)


def _posterior(posterior: Posterior) -> dict[str, str]:
    """The net with evidence shaded and marginals in the nodes, for one row of evidence."""
    return {} if posterior.worlds else _drawn(posterior.model.net, posterior=posterior)


def _inversion(inversion: Inversion) -> dict[str, str]:
    return {SVG: draw_steps(inversion).svg()}


def _verdicts(verdicts: Verdicts) -> dict[str, str]:
    return {HTML: verdicts.html()}


def _run(run: Run | Calibration | Gaps | GuideComparison | Agreement | Weights) -> dict[str, str]:
    written = StringIO()
    run.plot().savefig(written, format="svg")
    return {SVG: written.getvalue()}


def _drawn(graph: DAG | MixedGraph | BayesNet, **options: Any) -> dict[str, str]:
    count = len(graph.nodes) if isinstance(graph, MixedGraph) else len(graph)
    picture: Picture = draw(graph, collapse=MANY if count > MANY else None, **options)
    return {SVG: picture.svg()}


SHOWN: Mapping[type, Callable[[Any], dict[str, str]]] = MappingProxyType({
    DAG: _graph, MixedGraph: _graph, BayesNet: _graph, RecognitionNet: _guide, SequenceGuide: _guide, Model: _model, ProgramGuide: _model, Posterior: _posterior,
    Inversion: _inversion, Verdicts: _verdicts, Run: _run, Calibration: _run, Gaps: _run, Agreement: _run, Weights: _run, GuideComparison: _run,
})
"""What shows an object of each kind, or of a kind derived from it."""
