"""What a guide sees of data with missing cells: which are there, and the values of those."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor

from ..graph import GraphError
from ..network import SequenceGuide
from .model import Model
from .schedule import Node

__all__ = ["SeenCells", "completed_by", "masks_of"]


def masks_of(guide: Model) -> Mapping[str, str]:
    """For each observed node of which a guide reads where cells are missing, the input that says so."""
    return guide.net.masks if isinstance(guide.net, SequenceGuide) else {}


def completed_by(guide: Model) -> Mapping[str, str]:
    """For each observed node of which a guide draws what is missing, the input that has what is there."""
    return guide.net.completed if isinstance(guide.net, SequenceGuide) else {}


class SeenCells:
    """The inputs of a guide that say which cells are there, for one pattern of observed nodes.

    `masks` names them by node, `completed_by` those with the values of nodes that the guide completes; of a node that is `absent` all cells are missing.
    """

    def __init__(self, model: Model, guide: Model, observed: Collection[str]):
        self.model, self.masks, self.completed_by = model, masks_of(guide), completed_by(guide)
        self.subset = guide.net.subset if isinstance(guide.net, SequenceGuide) else None
        self.absent = tuple(name for name in self.masks if name not in observed) if self.subset is not None else ()
        self.blanks = tuple(name for name in self.absent if name not in self.completed_by)      # the guide reads them as missing everywhere, the model draws them
        self.inputs = (*self.masks.values(), *self.completed_by.values())
        self.told = (*self.masks.values(), *(self.completed_by.get(name, name) for name in self.masks))

    def check(self, observed: Collection[str], data: Sequence[str]) -> None:
        """Raises `GraphError` for data without a node that the guide is told of."""
        for name in self.completed_by:
            if name not in (*observed, *self.absent):
                raise GraphError(f"guide: it is given what is there of {name!r}, which the data lack; add {name!r} to the data, NaN where it is missing, or derive the guide without it")
        if self.absent:
            self.subset.check(data)

    def masked(self, values: Mapping[str, Tensor], holes: Mapping[str, Tensor], worlds: Sequence[int] = (), sizes: Mapping[str, int] = {}) -> dict[str, Tensor]:
        """Aligned values with the guide's masks, and zero (or another value of the node) in their holes, whatever stood there."""
        found = dict(values)
        for name in self.absent:
            declared = self.model.net[name]
            found[self.completed_by.get(name, name)] = blank = declared.space.example((*self.model.layout.batch(name, worlds, sizes), *declared.shape), self.model.anchor)
            found[self.masks[name]] = torch.zeros_like(blank, dtype=self.model.anchor.dtype)
            if name in self.completed_by:
                found.pop(name, None)
        for name, mask in self.masks.items():
            if name in self.absent:
                continue
            if name in holes:
                example = self.model.net[name].space.example(self.model.net[name].shape, values[name]).to(values[name].dtype)
                found[name] = torch.where(holes[name], example, values[name])
            there = values[name].new_ones(values[name].shape, dtype=self.model.anchor.dtype)
            found[mask] = there.masked_fill(holes[name], 0.0) if name in holes else there
            if name in self.completed_by:
                found[self.completed_by[name]] = found.pop(name)
        return found

    def counted(self, node: Node, term: Tensor, found: Mapping[str, Tensor]) -> Tensor:
        """A node's term where its cells are there: of a missing one that nobody reads it is zero."""
        there = found[self.masks[node.name]] > 0
        return torch.where(there.flatten(there.ndim - node.joint).all(-1) if node.joint else there, term, 0.0)
