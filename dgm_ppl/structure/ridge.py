"""Ridge regression of many columns at once, each with the penalty that generalised cross-validation chooses."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["Ridge"]


class Ridge:
    """Regression on fixed features and a constant (Golub, Heath and Wahba, 1979, for the penalty).

    >>> features = torch.linspace(-1, 1, 50).double().unsqueeze(1)
    >>> Ridge(features).remainder(3 * features).abs().max() < 1e-6
    tensor(True)
    """

    def __init__(self, features: Tensor):
        self._rows = len(features)
        self._basis, sizes, _ = torch.linalg.svd(features - features.mean(0), full_matrices=False)
        penalties = sizes[0] ** 2 * 10.0 ** torch.arange(-8, 0.1, 0.5, dtype=sizes.dtype)
        self._shrinkage = sizes**2 / (sizes**2 + penalties.unsqueeze(1))                # (penalties, directions)

    def remainder(self, targets: Tensor) -> Tensor:
        """What the regression leaves of each column, `(rows, columns)`."""
        targets = targets - targets.mean(0)
        along = self._basis.T @ targets
        left = (targets**2).sum(0) - (2 * self._shrinkage - self._shrinkage**2) @ along**2
        spare = self._rows - self._shrinkage.sum(1, keepdim=True) - 1
        best = (left / spare**2).argmin(0)
        return targets - self._basis @ (self._shrinkage[best].T * along)
