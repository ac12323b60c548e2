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
from .sequences import MISSING, SequenceLikelihood

__all__ = ["MaximumLikelihood"]


class MaximumLikelihood(Objective):
    """-log p(x), the mean over worlds, of data that have a value for every random node; of sequences, the hidden nodes of their chain eliminated exactly.

    Raises:
        GraphError: a node without data (`ELBO` marginalises it), a node without a density.
    """

    def __init__(self, model: Model):
        super().__init__()
        self.model = model
        for node in model.schedule:
            if node.conditional.density is None:
                raise GraphError(f"MaximumLikelihood: node {node.name!r} has no density; use an adversarial objective")
        self._sequences = SequenceLikelihood(model) if model.net.chains else None

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_sequences": None}                        # engines are of this copy's model

    def __setstate__(self, state: dict) -> None:
        super().__setstate__(state)
        self._sequences = SequenceLikelihood(self.model) if self.model.net.chains else None

    def prepare(self, data: Mapping[str, Any]) -> dict[str, Tensor]:
        if self._sequences is not None:
            return self._sequences.prepare(data)
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
        if self._hidden(batch):
            return self._sequences.surprisals(batch)
        return added(self._surprisals(batch, PerWorld()).values())

    def _hidden(self, batch: Mapping[str, Tensor]) -> bool:
        """Whether something of a sequence has to be eliminated."""
        return self._sequences is not None and (any(name not in batch for name in self.model.random) or any(name.startswith(MISSING) for name in batch))

    def _mean_loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        if self._hidden(batch):
            return self._sequences.surprisals(batch).mean()
        total = Total(self.model.layout.worlds(batch))
        return total.mean(self._surprisals(batch, total).values())

    def _surprisals(self, batch: Mapping[str, Tensor], reduce: Reduction) -> dict[str, Tensor]:
        layout = self.model.layout
        return self.model.surprisals(layout.align_all(batch), layout.sizes(batch) if layout.rank else {}, reduce)

    def declaration(self) -> dict:
        return {"objective": "MaximumLikelihood", "model": describe(self.model.net)}
