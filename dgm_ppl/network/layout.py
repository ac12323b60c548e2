"""Data against the declaration: names, labels, shapes and supports, checked and encoded once at the boundary.

A user's value is `(*worlds, *plates of the node, *event)`. Inside, every value is aligned: `(*worlds, *plates of the net, *event)`
with singletons for the plates that the node is not in, so that conditionals broadcast without knowing about plates.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy
import torch
from torch import Tensor

from ..conditionals.drawing import Partial, Prefix
from ..families import Architecture, Variable
from ..families.shapes import whole
from ..graph import GraphError, did_you_mean
from .padding import checked_lengths, filled, is_ragged, padded

if TYPE_CHECKING:
    from .bayes_net import BayesNet

__all__ = ["Layout"]


class Layout:
    """The shapes of a net's values, and the way in and out."""

    def __init__(self, net: BayesNet):
        self.net, self.rank = net, len(net.plates)
        names = list(net.plates)
        self.members = {name: tuple(names.index(plate) for plate in net.plates_of(name)) for name in net} | {chain: tuple(names.index(plate) for plate in net.around(chain)) for chain in net.chains}
        self.events = {name: net[name].shape for name in net} | dict.fromkeys(net.chains, ())     # a chain's name holds the lengths of sequences

    # ---- the way in

    def encode(self, data: Mapping[str, Any], *, allow: Iterable[str] = (), require: Iterable[str] = (), like: Tensor | None = None) -> dict[str, Tensor]:
        """Columns as checked tensors in the user's layout: codes for labels, the model's dtype and device for numbers.

        Names in `allow` that the net lacks are left out silently; names in `require` must be there.

        Raises:
            GraphError: an unknown name, a label outside the states, a shape or a value that the declaration excludes.
        """
        if not isinstance(data, Mapping):
            raise GraphError(f"data: expected a dict of node names to tensors; got {type(data).__name__}; try {{'x': x}}")
        for name in data:
            if name not in self.net and name not in allow and name not in self.net.chains:
                chains = self.net.chains
                raise GraphError(f"data: no node{' or chain' if chains else ''} {name!r}{did_you_mean(str(name), [*self.net, *chains])}")
        like = torch.empty(0) if like is None else like
        values, lengths = self._columns(data, like)
        for name in (*self.net.inputs, *require):
            if name not in values:
                raise GraphError(f"node {name!r} needs a value{'' if name in require else ', it is a Given input'}; add {name!r} to the data")
        for name, value in values.items():
            if self.net[name].is_deterministic:
                raise GraphError(f"node {name!r} is deterministic and cannot be observed; observe a noisy child of it instead")
            self._check_shape(name, value, self.net.plates_of(name))
            self._check_values(name, value)
        for name in values:
            if isinstance(self.net[name].family, Architecture):
                self.net[name].family.check_values(name, self.net, values)
        values |= self._by_member(lengths, values)
        self.worlds(values)
        self.sizes(values)
        return values

    def _columns(self, data: Mapping[str, Any], like: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Tensors by node, and the lengths of sequences by chain, where some are shorter than others."""
        values, lengths = {}, {chain: checked_lengths(chain, data[chain], None, like) for chain in self.net.chains if chain in data}
        for name in (name for name in data if name in self.net):
            chain = self.net.chain_of(name)
            if chain is None or not is_ragged(data[name]):
                given = data[name]
                values[name] = self.tensor(name, filled(self, name, given, lengths) if isinstance(given, Tensor) and lengths else given, like)
                continue
            values[name], found = padded(self, name, data[name], like)
            other = lengths.setdefault(chain.name, found)
            if other.shape != found.shape or bool((other.to(found) != found).any()):
                raise GraphError(f"data: the sequences of {name!r} have the lengths {found.tolist()[:6]}; by another column they are {other.tolist()[:6]}")
        if not lengths:
            return values, {}
        steps = self.sizes({name: value for name, value in values.items() if value.ndim >= len(self.members[name]) + len(self.events[name])})
        lengths = {chain: checked_lengths(chain, value, steps.get(chain), like) for chain, value in lengths.items()}
        return {name: filled(self, name, value, lengths) for name, value in values.items()}, lengths

    def _by_member(self, lengths: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Lengths `(*worlds, *plates around the chain)`: where they are those of worlds, one for all members."""
        found = dict(lengths)
        for chain in (chain for chain in lengths if self.members[chain]):
            worlds, around, sizes = self.worlds(values), self.net.around(chain), self.sizes(values)
            if found[chain].ndim < len(worlds) + len(around):
                found[chain] = found[chain].reshape(*found[chain].shape, *(1,) * len(around)).expand(*found[chain].shape, *(self.size(plate, sizes) for plate in around))
        return found

    def encode_one(self, name: str, value: Any) -> Tensor:
        """A value to set one node to, on the CPU and in double precision: one for all plate members, or one each."""
        event, plates = self.net[name].shape, self.net.plates_of(name)
        found = self.tensor(name, value, torch.empty(0, dtype=torch.float64))
        found = found if found.ndim else found.expand(event)
        if found.ndim > len(event) + len(plates):
            raise GraphError(f"node {name!r}: expected one value, {_shape_words(plates, event)}; got the shape {tuple(found.shape)}; set other values in other nets")
        self._check_shape(name, found, plates if found.ndim > len(event) else ())
        self._check_values(name, found)
        if isinstance(self.net[name].family, Architecture):
            self.net[name].family.check_values(name, self.net, {name: found})
        return found

    def tensor(self, name: str, value: Any, like: Tensor) -> Tensor:
        variable = self.net[name]
        if isinstance(value, (Partial, Prefix)):
            raise GraphError(f"node {name!r}: a part of an event is evidence for draws alone; got {type(value).__name__}; try model.sample(100, given={{{name!r}: dgm.{type(value).__name__}(...)}})")
        if not isinstance(value, Tensor):
            value = torch.as_tensor(_numbers(name, variable, value))
        wanted = torch.long if variable.space.integer else like.dtype
        if variable.space.integer and value.is_floating_point():
            self._check_codes(name, value)
        return value.to(device=like.device, dtype=wanted)

    def _check_codes(self, name: str, value: Tensor) -> None:
        if bool(value.isnan().any()):
            raise _missing(name, self.net[name])
        broken = value != value.round()
        if bool(broken.any()):
            raise GraphError(f"node {name!r}: {self.net[name].summary} has values in {self._space(name)}; got {_sample(value[broken])}, which is not whole")

    def _check_shape(self, name: str, value: Tensor, plates: Sequence[str]) -> None:
        event = self.events[name]
        outer = value.ndim - len(event)
        if outer < len(plates) or tuple(value.shape[outer:]) != event:
            raise GraphError(f"node {name!r}: expected the shape {_shape_words(('*worlds', *plates), event)}; got {tuple(value.shape)}{self._mend(name, value)}")
        chain = self.net.chain_of(name)
        if not value.numel() and chain is not None and chain.name in plates and not value.shape[outer - len(plates) + list(plates).index(chain.name)]:
            raise GraphError(f"node {name!r}: sequences of length zero: got the shape {tuple(value.shape)}; expected at least one step in the chain {chain.name!r}")
        if not value.numel():
            raise GraphError(f"node {name!r} is empty: got the shape {tuple(value.shape)}; give at least one row")

    def _check_values(self, name: str, value: Tensor) -> None:
        states = None if value.is_floating_point() else self.net[name].space.cardinality
        if states is not None and _within(value, states):
            return
        if value.is_floating_point() and not bool(value.isfinite().all()):
            raise _missing(name, self.net[name]) if bool(value.isnan().any()) else GraphError(f"node {name!r}: expected finite numbers; got {_sample(value[value.isinf()])}")
        variable = self.net[name]
        legal = variable.space.constraint.check(value)
        if not bool(legal.all()):
            shown = value[~legal] if legal.shape == value.shape else value.reshape(-1, value.shape[-1])[~legal.reshape(-1)]
            raise GraphError(f"node {name!r}: {variable.summary} has values in {self._space(name)}; got {_sample(shown)}")

    def _space(self, name: str) -> str:
        variable = self.net[name]
        return f"{variable.space}, the codes of {list(variable.labels)}" if variable.labels else str(variable.space)

    def _mend(self, name: str, value: Tensor) -> str:
        event = self.events[name]
        cells = self.net[name].numel
        if value.ndim and cells and value.shape[-1] == cells and len(event) != 1:
            return f"; try {name}.reshape({', '.join(map(str, (*([-1] if value.ndim > 1 else []), *event)))})"
        return f"; the event shape is declared as {self.net[name].summary}"

    def worlds(self, values: Mapping[str, Tensor]) -> tuple[int, ...]:
        """The leading dimensions that the values share; Given inputs may lack them."""
        found: dict[tuple[int, ...], str] = {}
        for name, value in values.items():
            worlds = tuple(value.shape[: value.ndim - len(self.members[name]) - len(self.events[name])])
            if worlds or name in self.net and not self.net[name].is_given:
                found.setdefault(worlds, name)
        if len(found) > 1:
            (a, first), (b, second) = list(found.items())[:2]
            raise GraphError(f"data: {first!r} has the worlds {a}, {second!r} has {b}; expected the same rows in every column")
        return next(iter(found), ())

    def rowed(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The values with rows in front: a single world becomes one row, inputs without worlds are the same in every row."""
        worlds = self.worlds(values) or (1,)
        inner = {name: len(self.members[name]) + len(self.events[name]) for name in values}
        return {
            name: value if value.ndim > inner[name] else value.expand(*worlds, *value.shape) for name, value in values.items()
        }

    def sizes(self, values: Mapping[str, Tensor]) -> dict[str, int]:
        """The size of every plate, from the declaration and the data; a plate that neither tells is left out."""
        found = {plate.name: (plate.size, "the declaration") for plate in self.net.plates.values() if plate.size is not None}
        for name, value in values.items():
            plates = self.net.plates_of(name) if name in self.net else self.net.around(name) if name in self.net.chains else ()
            outer = value.ndim - len(self.events[name]) - len(plates)
            for plate, size in zip(plates, value.shape[outer:]):
                known, source = found.setdefault(plate, (size, repr(name)))
                if known != size:
                    raise GraphError(f"data: plate {plate!r} has {known} members by {source}, {size} by {name!r}")
        for chain in self.net.chains:
            if chain in values and chain not in found:
                found[chain] = int(values[chain].max()), "the lengths"
        return {plate: size for plate, (size, _) in found.items()}

    def sized(self, values: Mapping[str, Tensor], asked: Mapping[str, int]) -> dict[str, int]:
        """`sizes`, with those that were asked for.

        Raises:
            GraphError: an unknown plate, a size that is not positive, or not that of the declaration or the data.
        """
        found = self.sizes(values)
        for plate, size in asked.items():
            if plate not in self.net.plates:
                raise GraphError(f"sizes: no plate {plate!r}{did_you_mean(str(plate), self.net.plates)}")
            if (whole(size) or 0) < 1:
                raise GraphError(f"sizes: {self.net.plates[plate].word} {plate!r}: expected a positive whole number; got {size!r}")
            if found.setdefault(plate, whole(size)) != size:
                raise GraphError(f"sizes: {self.net.plates[plate].word} {plate!r} has {found[plate]} members by the declaration or the data; got {size}")
        return found

    # ---- aligned values

    @cached_property
    def absent(self) -> dict[str, tuple[int, ...]]:
        """For each node, where singletons stand for the plates it is not in, counted from the right, leftmost first."""
        return {
            name: tuple(position - self.rank - len(self.events[name]) for position in range(self.rank) if position not in self.members[name])
            for name in self.members
        }

    def align(self, name: str, value: Tensor) -> Tensor:
        """From the user's layout to the aligned one."""
        for axis in reversed(self.absent[name]):                            # from the right: positions to the left have not moved yet
            value = value.unsqueeze(axis)
        return value

    def release(self, name: str, value: Tensor) -> Tensor:
        """From the aligned layout to the user's."""
        for axis in self.absent[name]:
            value = value.squeeze(axis)
        return value

    def align_all(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Every value, aligned."""
        return {name: self.align(name, value) for name, value in values.items()} if self.rank else dict(values)

    def batch(self, name: str, worlds: Sequence[int], sizes: Mapping[str, int]) -> tuple[int, ...]:
        """The aligned batch shape of a node."""
        if not self.rank:
            return tuple(worlds)
        return (*worlds, *(self.size(plate, sizes) if name in self.net.plates[plate].nodes else 1 for plate in self.net.plates))

    def size(self, plate: str, sizes: Mapping[str, int]) -> int:
        """The size of a plate, or an error that says how to give it."""
        if plate not in sizes:
            raise GraphError(
                f"{self.net.plates[plate].word} {plate!r}: its size is not known; give it (plates={{{plate!r}: dgm.{type(self.net.plates[plate]).__name__}([...], size=8)}}) or give "
                f"values for one of its nodes {list(self.net.plates[plate].nodes)}, or ask sample(..., sizes={{{plate!r}: 8}})"
            )
        return sizes[plate]


def _within(codes: Tensor, states: int) -> bool:
    """Whether all codes are those of states, in one pass over them."""
    if codes.ndim == 0:
        return 0 <= codes.item() < states
    low, high = codes.aminmax()
    return bool((low >= 0) & (high < states))


def _shape_words(outer: Iterable[str], event: tuple[int, ...]) -> str:
    return f"({', '.join([*outer, *map(str, event)])})"


def _numbers(name: str, variable: Variable, value: Any) -> numpy.ndarray:
    try:
        array = numpy.asarray(value)
        if array.dtype.kind == "O" and array.size and isinstance(array.flat[0], (list, tuple, numpy.ndarray, Tensor)):
            raise ValueError("rows that differ")
    except ValueError as error:
        raise GraphError(f"node {name!r}: expected rows of one shape; got rows that differ; pad them to one shape") from error
    if array.dtype.kind not in "buif":
        return _codes(name, variable, array)
    return array if array.flags.writeable else array.copy()


def _codes(name: str, variable: Variable, array: numpy.ndarray) -> numpy.ndarray:
    cells = array.ravel().tolist()
    if any(map(_is_missing, cells)):
        raise _missing(name, variable)
    if all(isinstance(cell, Real) for cell in cells):
        return array.astype(float)
    if variable.labels is None:
        strange = next(cell for cell in cells if not isinstance(cell, Real))
        raise GraphError(f"node {name!r}: expected numbers; got {strange!r}; labels need named states: Categorical(['low', 'high'])")
    codes = {label: code for code, label in enumerate(variable.labels)}
    states, inverse = numpy.unique(array.astype(str), return_inverse=True)
    for state in map(str, states):
        if state not in codes:
            raise GraphError(f"node {name!r} has no state {state!r}{did_you_mean(state, variable.labels)}")
    return numpy.array([codes[str(state)] for state in states])[inverse].reshape(array.shape)


def _is_missing(cell: Any) -> bool:
    return cell is None or (not isinstance(cell, str) and str(cell) in ("nan", "NaT", "<NA>"))


def _missing(name: str, variable: Variable) -> GraphError:
    reading = "" if variable.is_given else f"; a guide that reads values and holes is dgm.amortize(net, observed=dgm.AnySubset({name!r})), over a chain dgm.amortize(net, {name!r}, missing={name!r})"
    return GraphError(f"node {name!r} has missing cells (NaN or None), which cannot be handled here: drop the rows or fill them in{reading}")


def _sample(values: Tensor) -> str:
    return ", ".join(f"{value:g}" for value in values.flatten()[:3].tolist())
