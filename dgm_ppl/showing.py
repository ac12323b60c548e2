"""Notebooks: graphs, nets, guides, models and results shown as pictures at the end of a cell.

The classes themselves know nothing of pictures, and importing the package changes nothing in a notebook; `%load_ext dgm_ppl`,
or `dgm.notebook()`, tells IPython how each of them is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from io import StringIO
from types import MappingProxyType
from typing import Any

from .compile import Model
from .drawing import Picture, draw
from .graph import DAG, GraphError, MixedGraph
from .network import BayesNet, RecognitionNet
from .queries import Posterior
from .training import Run

__all__ = ["load_ipython_extension", "notebook", "shown"]

MANY = 150
"""A graph with more nodes is drawn as so many groups at most."""


def notebook() -> None:
    """Show graphs, nets, guides, models and results as pictures in the running notebook; `%load_ext dgm_ppl` does the same.

    Raises `GraphError` outside of IPython.
    """
    try:
        from IPython import get_ipython
    except ImportError:
        found = None
    else:
        found = get_ipython()
    if found is None:
        raise GraphError("notebook: expected a running notebook or IPython; got none; try dgm.draw(net).save('net.svg')")
    load_ipython_extension(found)


def load_ipython_extension(ipython: Any) -> None:
    """What `%load_ext dgm_ppl` calls."""
    for kind in SHOWN:
        ipython.display_formatter.mimebundle_formatter.for_type(kind, shown)


def shown(value: Any) -> dict[str, str]:
    """The mime bundle of a graph, net, model or result: a picture as SVG, and text.

    >>> sorted(shown(DAG("a -> b")))
    ['image/svg+xml', 'text/plain']
    """
    kind = next(kind for kind in type(value).__mro__ if kind in SHOWN)
    picture = SHOWN[kind](value)
    text = {"text/plain": repr(value)}
    return text if picture is None else {"image/svg+xml": picture, **text}


def _graph(graph: DAG | MixedGraph | BayesNet) -> str:
    return _drawn(graph)


def _guide(guide: RecognitionNet) -> str:
    return _drawn(guide.model, guide=guide)


def _model(model: Model) -> str:
    return shown(model.net)["image/svg+xml"]


def _posterior(posterior: Posterior) -> str | None:
    """The net with evidence shaded and marginals in the nodes, for one row of evidence."""
    if posterior.worlds:
        return None
    net = posterior.model.net
    marginals = {name: posterior.marginals[name] for name in posterior.names if not net[name].shape and not net.plates_of(name)}
    return _drawn(net, evidence=list(posterior.evidence), posterior=marginals)


def _run(run: Run) -> str:
    written = StringIO()
    run.plot().savefig(written, format="svg")
    return written.getvalue()


def _drawn(graph: DAG | MixedGraph | BayesNet, **options: Any) -> str:
    count = len(graph.nodes) if isinstance(graph, MixedGraph) else len(graph)
    picture: Picture = draw(graph, collapse=MANY if count > MANY else None, **options)
    return picture.svg()


SHOWN: Mapping[type, Callable[[Any], str | None]] = MappingProxyType({
    DAG: _graph, MixedGraph: _graph, BayesNet: _graph, RecognitionNet: _guide, Model: _model, Posterior: _posterior, Run: _run,
})
"""What shows an object of each kind, or of a kind derived from it."""
