"""Posterior marginals inside the marks of a figure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..graph.names import chosen
from .charts import chart
from .figure import Figure
from .relations import Relations

__all__ = ["charted"]


def charted(figure: Figure, posterior: Mapping[str, Any], relations: Relations) -> Figure:
    """Return the figure with the marginals of `posterior` in its marks, states named as `relations` name them."""
    chosen(posterior, figure.names, "draw: posterior")
    states = {node.name: node.states for node in relations.nodes}
    return figure.changed(lambda mark: replace(mark, chart=chart(mark.key, posterior[mark.key], states[mark.key])), posterior)
