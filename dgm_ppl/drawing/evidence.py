"""What is known about a figure's variables: evidence shades them and writes the value below the name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from ..graph.names import Names, chosen
from .figure import Figure, Mark

__all__ = ["shaded", "valued", "values_of"]


def shaded(figure: Figure, evidence: Mapping[str, Any] | Names) -> Figure:
    """Return the figure with evidence shaded: a mapping from names to values, or names alone.

    >>> figure = shaded(Figure((Mark("rain", "rain"),), ()), {"rain": "yes"})
    >>> figure.mark("rain").shaded, figure.mark("rain").captions
    (True, ('= yes',))
    """
    values = values_of(evidence, figure, "draw: evidence")
    return figure.changed(lambda mark: replace(valued(mark, values[mark.key]), shaded=True), values)


def values_of(given: Mapping[str, Any] | Names, figure: Figure, place: str) -> dict[str, Any]:
    """Return a value for each of the names, None where only names are given."""
    values = given if isinstance(given, Mapping) else {}
    return {name: values.get(name) for name in chosen(given, figure.names, place)}


def valued(mark: Mark, value: Any, form: str = "= {}") -> Mark:
    """Return the mark with a value among its captions."""
    return mark if value is None else replace(mark, captions=(*mark.captions, form.format(_written(value))))


def _written(value: Any) -> str:
    if isinstance(value, str):
        return value
    array = np.asarray(value)
    if array.size != 1:
        return f"{' × '.join(map(str, array.shape))} values"
    return f"{array.item():.4g}" if array.dtype.kind == "f" else str(array.item())
