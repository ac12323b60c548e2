"""The likelihood of sequences, the hidden nodes of their chain eliminated exactly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..compile import Model
from ..exact import ChainEngine, Observed, chain_engine, engine_for, watch
from .marginal import missing_key

__all__ = ["SequenceLikelihood"]


class SequenceLikelihood:
    """-log p(observed sequences) of each world for batches that lack some nodes or cells, from the engine that fits what they have."""

    def __init__(self, model: Model):
        self.model = model
        self._engines: dict[frozenset[str], ChainEngine] = {}

    def prepare(self, data: Mapping[str, Any]) -> dict[str, Tensor]:
        """Encoded columns, rows first, with a column for the missing cells of each node that has any.

        Raises:
            GraphError: hidden nodes that cannot be eliminated, with the reason.
        """
        watched, layout = watch(self.model, data), self.model.layout
        if watched.holes or not watched.values.keys() >= set(self.model.random):
            chain_engine(self.model, watched)                               # what cannot be eliminated is refused here
        holes = {}
        for name, hole in watched.holes.items():
            inner = len(layout.members[name]) + len(layout.events[name])
            holes[missing_key(name)] = hole if hole.ndim > inner else hole.unsqueeze(0)
        return {**layout.rowed(watched.values), **holes}

    def hides(self, batch: Mapping[str, Tensor]) -> bool:
        """Whether something of a batch has to be eliminated."""
        return any(name not in batch or missing_key(name) in batch for name in self.model.random)

    def surprisals(self, batch: Mapping[str, Tensor]) -> Tensor:
        """-log p of each world, `(rows)`."""
        layout = self.model.layout
        values = {name: value for name, value in batch.items() if name in layout.members}
        holes = {name: layout.align(name, batch[missing_key(name)]) for name in values if missing_key(name) in batch}
        key = frozenset(batch) | {str(layout.sizes(values).get(self.model.net.chains[0]))}
        if key not in self._engines:
            self._engines[key] = engine_for(self.model, [name for name in values if name in self.model.net], holes, steps=layout.sizes(values)[self.model.net.chains[0]])
        engine, sizes = self._engines[key], layout.sizes(values)
        aligned = self.model.determined(layout.align_all(values), sizes)
        rows = torch.Size(layout.worlds(values)).numel()
        return -engine.log_evidence(Observed(aligned, holes, rows, layout.size(engine.chain.name, sizes))).to(self.model.anchor.dtype)
