"""Many tests at once: p-values adjusted so that all may be held against one level."""

from __future__ import annotations

import numpy as np

__all__ = ["benjamini_hochberg", "holm"]


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """Adjusted p-values that keep the expected share of false rejections among all rejections below the level.

    Benjamini and Hochberg (1995). Where every statement is true, a rejection has at most the level's probability.

    >>> benjamini_hochberg(np.array([0.01, 0.04, 0.03, 0.8]))
    array([0.04      , 0.05333333, 0.05333333, 0.8       ])
    """
    order = np.argsort(-p)
    raised = p[order] * len(p) / np.arange(len(p), 0, -1)
    return _returned(np.minimum.accumulate(raised), order)


def holm(p: np.ndarray) -> np.ndarray:
    """Adjusted p-values that keep the probability of any false rejection below the level (Holm, 1979).

    >>> holm(np.array([0.01, 0.04, 0.03, 0.8]))
    array([0.04, 0.09, 0.09, 0.8 ])
    """
    order = np.argsort(p)
    raised = p[order] * np.arange(len(p), 0, -1)
    return _returned(np.maximum.accumulate(raised), order)


def _returned(adjusted: np.ndarray, order: np.ndarray) -> np.ndarray:
    back = np.empty_like(adjusted)
    back[order] = np.minimum(adjusted, 1.0)
    return back
