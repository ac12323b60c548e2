"""Evidence on chains: sequences with missing cells, read once and laid out for the engines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy
import torch
from torch import Tensor

from ..data import columns
from ..graph import GraphError
from ..network.padding import is_ragged, real_steps
from .factors import Compiled
from .hidden import Observed
from .soft import Likelihood

__all__ = ["Watched", "watch"]


@dataclass(frozen=True, eq=False)
class Watched:
    """Encoded evidence in the user's layout; `holes` says which cells are missing, of the shape of the value, where any are."""

    model: Compiled
    values: Mapping[str, Tensor]
    holes: Mapping[str, Tensor]

    @cached_property
    def worlds(self) -> tuple[int, ...]:
        return self.model.layout.worlds(self.values)

    @cached_property
    def sizes(self) -> dict[str, int]:
        return self.model.layout.sizes(self.values)

    def observed(self, chain: str) -> Observed:
        """Aligned values with one dimension of rows."""
        layout, rows = self.model.layout, torch.Size(self.worlds).numel()
        values = {name: self._rowed(name, value, rows) for name, value in layout.align_all(self.values).items()}
        holes = {name: self._rowed(name, layout.align(name, hole), rows) for name, hole in self.holes.items()}
        return Observed(self.model.determined(values, self.sizes), holes, rows, layout.size(chain, self.sizes))

    def longer(self, steps: int) -> Watched:
        """The evidence with so many steps behind the end of every sequence, of which nothing is seen.

        Raises:
            GraphError: an input of the chain, which is not known there.
        """
        layout, net, chain = self.model.layout, self.model.net, self.model.net.chains[0]
        values, holes = dict(self.values), dict(self.holes)
        total = layout.size(chain, self.sizes)
        lengths = values.get(chain)
        if lengths is not None:
            values[chain] = lengths + steps
        for name in (name for name in self.values if name in net.plates[chain].nodes):
            if name in net.inputs:
                raise GraphError(f"predict: the input {name!r} is not known after the end; append its values there, and NaN to what is observed, and ask for the marginals")
            value, place = values[name], net.plates_of(name).index(chain)
            axis = place - len(net.plates_of(name)) - len(layout.events[name])
            shape = list(value.shape)
            shape[axis] = steps
            values[name] = torch.cat([value, net[name].space.example(tuple(shape), value).to(value.dtype)], axis)
            hole = holes[name].expand(value.shape) if name in holes else torch.zeros_like(value, dtype=torch.bool)
            hole = torch.cat([hole, torch.ones(shape, dtype=torch.bool, device=value.device)], axis)
            if lengths is not None:
                ended = ~real_steps(lengths, total + steps)
                hole = hole | ended.reshape(*ended.shape[:-1], *(1,) * place, total + steps, *(1,) * (-axis - 1))
            holes[name] = hole
        return Watched(self.model, values, holes)

    def ends(self, steps: int) -> Tensor:
        """The positions of so many steps behind the end of each row's sequence, `(rows, steps)`."""
        chain, rows = self.model.net.chains[0], torch.Size(self.worlds).numel()
        after = torch.arange(steps, device=self.model.anchor.device)
        if chain not in self.values:
            return (self.model.layout.size(chain, self.sizes) + after).expand(rows, steps)
        return self.values[chain].expand(self.worlds).reshape(rows, 1) + after

    def _rowed(self, name: str, value: Tensor, rows: int) -> Tensor:
        inner = value.shape[value.ndim - self.model.layout.rank - len(self.model.layout.events[name]):]
        return value.expand(*self.worlds, *inner).reshape(rows, *inner)


def watch(model: Compiled, data: Any) -> Watched:
    """Evidence checked and encoded; a missing cell is NaN or None, and a column of nothing else is no evidence.

    Raises:
        GraphError: what `Model.encode` raises.
    """
    data = data if isinstance(data, Mapping) else columns(data, ragged=True)
    net, layout = model.net, model.layout
    for name, value in data.items():
        if isinstance(value, Likelihood):
            raise GraphError(f"node {name!r}: soft evidence is not taken by nets with a chain; give states, or put what was seen into the net as a child of {name!r}")
    filled, holes = {}, {}
    for name, value in data.items():
        if name not in net or value is None:
            filled[name] = value
            continue
        if is_ragged(value):
            parts = [_parted(net[name].space, one) for one in value]
            filled[name] = [one for one, _ in parts]
            if any(bool(hole.any()) for _, hole in parts):
                holes[name] = _padded([hole for _, hole in parts], len(layout.members[name]), layout, name)
        else:
            filled[name], hole = _parted(net[name].space, value)
            if bool(hole.any()):
                holes[name] = hole
    values = model.encode({name: value for name, value in filled.items() if value is not None})
    found = {}
    for name, hole in holes.items():
        hole = hole.to(values[name].device)
        for chain in (chain for chain in net.chains if chain in values and name in net.plates[chain].nodes):
            hole = hole & _real(layout, name, hole, chain, values[chain])
        if name in net.inputs and bool(hole.any()):
            raise GraphError(f"node {name!r} has missing cells (NaN or None) and is an input, which has no distribution to sum over; fill them in")
        if bool(hole.any()):
            found[name] = hole
    gone = [name for name, hole in found.items() if bool(hole.all())]
    return Watched(model, {name: value for name, value in values.items() if name not in gone}, {name: hole for name, hole in found.items() if name not in gone})


def _parted(space: Any, value: Any) -> tuple[Any, Tensor]:
    """A column with something legal in its holes, and where these are."""
    if isinstance(value, Tensor):
        hole = value.isnan() if value.is_floating_point() else torch.zeros_like(value, dtype=torch.bool)
        return (torch.where(hole, space.example((), value.new_zeros(())).to(value.dtype), value) if bool(hole.any()) else value), hole
    try:
        array = numpy.asarray(value)
    except ValueError:                                                      # rows that differ, which are refused when they are encoded
        return value, torch.zeros((), dtype=torch.bool)
    if array.dtype.kind == "O":
        gone = numpy.array([cell is None or cell != cell for cell in array.ravel()], dtype=bool).reshape(array.shape)
        legal = next((cell for cell in array.ravel() if not (cell is None or cell != cell)), 0.0)
        return numpy.where(gone, legal, array), torch.from_numpy(gone)
    if array.dtype.kind == "f":
        gone = numpy.isnan(array)
        return numpy.where(gone, space.example((), torch.zeros(())).item(), array), torch.from_numpy(gone)
    return value, torch.zeros(array.shape, dtype=torch.bool)


def _padded(holes: list[Tensor], plates: int, layout: Any, name: str) -> Tensor:
    place = layout.net.plates_of(name).index(layout.net.chain_of(name).name)
    longest = max(hole.shape[place] for hole in holes)
    shape = list(holes[0].shape)
    shape[place] = longest
    found = torch.zeros(len(holes), *shape, dtype=torch.bool)
    for row, hole in enumerate(holes):
        found[row].narrow(place, 0, hole.shape[place]).copy_(hole)
    return found


def _real(layout: Any, name: str, hole: Tensor, chain: str, lengths: Tensor) -> Tensor:
    plates, event = layout.net.plates_of(name), layout.events[name]
    place = plates.index(chain)
    axis = place - len(plates) - len(event)
    kept = real_steps(lengths, hole.shape[axis])
    return kept.reshape(*kept.shape[:-1], *(1,) * place, kept.shape[-1], *(1,) * (-axis - 1))
