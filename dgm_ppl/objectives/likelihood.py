"""Maximum likelihood from complete data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ..compile import Model
from ..compile.reduction import PerWorld, Reduction, Total, added
from ..formats.declaration import describe
from ..graph import GraphError
from .base import Objective

__all__ = ["MaximumLikelihood"]


class MaximumLikelihood(Objective):
    """-log p(x), the mean over worlds, of data that have a value for every random node.

    Raises:
        GraphError: a node without data (`ELBO` marginalises it), a node without a density.
    """

    def __init__(self, model: Model):
        super().__init__()
        self.model = model
        for node in model.schedule:
            if node.conditional.density is None:
                raise node.conditional.without_density("maximum likelihood")

    def prepare(self, data: Mapping[str, Any]) -> dict[str, Tensor]:
        values = self.model.layout.rowed(self.model.encode(data))
        for name in self.model.random:
            if name not in values:
                raise GraphError(
                    f"MaximumLikelihood: node {name!r} has no data; give a column {name!r}, or treat it as latent: "
                    f"dgm.ELBO(model, dgm.compile(dgm.amortize(net, observed={[n for n in self.model.random if n in values]})))"
                )
        return values

    def forward(self, batch: Mapping[str, Tensor], player: int = 0) -> Tensor:
        return self._mean_loss(batch)

    def world_losses(self, batch: Mapping[str, Tensor]) -> Tensor:
        return added(self._surprisals(batch, PerWorld()).values())

    def _mean_loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        total = Total(self.model.layout.worlds(batch))
        return total.mean(self._surprisals(batch, total).values())

    def _surprisals(self, batch: Mapping[str, Tensor], reduce: Reduction) -> dict[str, Tensor]:
        layout = self.model.layout
        return self.model.surprisals(layout.align_all(batch), layout.sizes(batch) if layout.rank else {}, reduce)

    def declaration(self) -> dict:
        return {"objective": "MaximumLikelihood", "model": describe(self.model.net)}
