"""The door to ArviZ, versions 0.x and 1.x."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy

from ..graph import GraphError

__all__ = ["to_arviz"]


def to_arviz(posterior: Mapping[str, numpy.ndarray], observed: Mapping[str, numpy.ndarray]) -> Any:
    """Draws `(chains, draws, ...)` and observed data as InferenceData (ArviZ 0.x) or a DataTree (1.x)."""
    try:
        import arviz as library
    except ImportError:
        try:
            import arviz_base as library
        except ImportError as error:
            raise GraphError("to_arviz: ArviZ is not installed; try pip install 'dgm-ppl[posterior]'") from error
    groups = {"posterior": dict(posterior), "observed_data": dict(observed)}
    if hasattr(library, "InferenceData"):
        return library.from_dict(**groups)
    return library.from_dict(groups)
