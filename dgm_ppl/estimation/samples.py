"""Weighted cases of one node: its parents and its value, row by row."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..compile import Model
from ..conditionals import Parametric
from ..families.shapes import broadcast

__all__ = ["Samples", "samples_of"]


@dataclass(frozen=True, eq=False)
class Samples:
    """Cases of a node: parents as its conditional takes them and values, `(rows, *event)` each, a weight a row.

    `there` says which elements count, `(rows, *elements)`, where some are missing.
    """

    parents: Sequence[Tensor]
    value: Tensor
    weight: Tensor
    there: Tensor | None = None

    def configuration(self, conditional: Parametric) -> Tensor:
        """The row of parameters that the finite parents select, `(rows)`."""
        if conditional.configurations is None:
            return torch.zeros(len(self.value), dtype=torch.long, device=self.value.device)
        return conditional.configurations(*self.parents)

    def weights(self, elements: int) -> Tensor:
        """The weight of every element, `(rows, elements)`."""
        weight = self.weight.unsqueeze(1).expand(-1, elements)
        return weight if self.there is None else weight * self.there.reshape(len(weight), -1).expand(-1, elements)


def samples_of(
    model: Model, name: str, values: Mapping[str, Tensor], weight: Tensor, sizes: Mapping[str, int], gaps: Mapping[str, Tensor] = {},
) -> Samples:
    """The cases of a node from aligned values of it and its parents, plates and rows in one dimension.

    Args:
        values: aligned, with one dimension of rows; deterministic parents among them.
        weight: `(rows)`.
        gaps: terms that are left out, aligned.
    """
    conditional, rank = model.conditionals[name], model.layout.rank
    value, event = values[name], len(model.net[name].shape)
    received = [port.receive(values[port.name]) for port in conditional.ports]
    batch = broadcast((len(weight), *(1,) * rank), value.shape[: value.ndim - event], model.layout.batch(name, (len(weight),), sizes))
    parents = [_flat(parent, batch, port.rank) for parent, port in zip(received, conditional.ports)]
    weight = weight.reshape(-1, *(1,) * rank).expand(batch).reshape(-1)
    there = None if name not in gaps else ~_flat(gaps[name], batch, conditional.elements)
    return Samples(parents, _flat(value, batch, event), weight, there)


def _flat(value: Tensor, batch: Sequence[int], inner: int) -> Tensor:
    event = value.shape[value.ndim - inner:]
    return value.expand(*batch, *event).reshape(math.prod(batch), *event)
