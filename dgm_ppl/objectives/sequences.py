"""The likelihood of sequences, the hidden nodes of their chain eliminated exactly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..compile import Model
from ..exact import FiniteChain, Observed, chain_engine, watch

__all__ = ["SequenceLikelihood"]

MISSING = "missing cells of "


class SequenceLikelihood:
    """-log p(observed sequences) of each world for batches that lack some nodes or cells, from the engine that fits what they have."""

    def __init__(self, model: Model):
        self.model = model
        self._engines: dict[frozenset[str], FiniteChain] = {}

    def prepare(self, data: Mapping[str, Any]) -> dict[str, Tensor]:
        """Encoded columns, rows first, with a column for the missing cells of each node that has any.

        Raises:
            GraphError: hidden nodes that cannot be eliminated, with the reason.
        """
        watched, layout = watch(self.model, data), self.model.layout
        chain_engine(self.model, watched)
        holes = {}
        for name, hole in watched.holes.items():
            inner = len(layout.members[name]) + len(layout.events[name])
            holes[MISSING + name] = hole if hole.ndim > inner else hole.unsqueeze(0)
        return {**layout.rowed(watched.values), **holes}

    def surprisals(self, batch: Mapping[str, Tensor]) -> Tensor:
        """-log p of each world, `(rows)`."""
        layout = self.model.layout
        values = {name: value for name, value in batch.items() if not name.startswith(MISSING)}
        holes = {name.removeprefix(MISSING): layout.align(name.removeprefix(MISSING), hole) for name, hole in batch.items() if name.startswith(MISSING)}
        key = frozenset(batch)
        if key not in self._engines:
            self._engines[key] = FiniteChain(self.model, [name for name in values if name in self.model.net], holes)
        engine, sizes = self._engines[key], layout.sizes(values)
        aligned = self.model.determined(layout.align_all(values), sizes)
        rows = torch.Size(layout.worlds(values)).numel()
        return -engine.log_evidence(Observed(aligned, holes, rows, layout.size(engine.chain.name, sizes))).to(self.model.anchor.dtype)
