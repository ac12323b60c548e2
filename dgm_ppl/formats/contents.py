"""The two ways in which files give a table: all numbers in a row, or a row of numbers for each configuration of the parents."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy

from .errors import hint
from .source import Source

__all__ = ["Axes", "Contents", "Flat", "Rows", "cells", "spelt_shape"]

Axes = Sequence[tuple[str, tuple[str, ...]]]
"""The parents, each with its states."""


_MANY = 10**15


def cells(sizes: Iterable[int]) -> int:
    """Return the number of entries of a shape, or a very large number where it has more.

    >>> cells([2, 3]), cells([1000] * 1000) > 10**9
    (6, True)
    """
    count = 1
    for size in sizes:
        count *= size
        if count > _MANY:
            return _MANY
    return count


def spelt_shape(sizes: Sequence[int]) -> str:
    """Return a shape for a message.

    >>> spelt_shape([2, 3])
    '2 x 3'
    """
    return " x ".join(map(str, sizes[:12])) + (" x ..." if len(sizes) > 12 else "")


class Contents(ABC):
    """The numbers of one node's table, in the order of its format."""

    @abstractmethod
    def table(self, source: Source, name: str, axes: Axes, states: tuple[str, ...]) -> numpy.ndarray:
        """Return the probabilities as float64 of shape `(*parents' states, states)`, or raise `FormatError`."""

    @abstractmethod
    def line_of(self, labels: tuple[str, ...]) -> int | None:
        """Return the line of a configuration's row, as far as it is known."""


@dataclass(frozen=True)
class Flat(Contents):
    """All entries in one run: the last parent's states inside the first's, and the node's own states innermost.

    With `own_first` the node's own states are outermost instead, as in BIF's `table`.
    """

    values: numpy.ndarray
    line: int | None = None
    own_first: bool = False

    def table(self, source: Source, name: str, axes: Axes, states: tuple[str, ...]) -> numpy.ndarray:
        sizes = [len(labels) for _, labels in axes]
        wanted, shape = cells([*sizes, len(states)]), spelt_shape([*sizes, len(states)])
        if self.values.size != wanted:
            raise source.error(f"node {name!r}: expected {wanted:,} probabilities ({shape}); got {self.values.size:,}", self.line)
        if not self.own_first:
            return self.values.reshape(*sizes, len(states))
        return numpy.ascontiguousarray(numpy.moveaxis(self.values.reshape(len(states), *sizes), 0, -1))

    def line_of(self, labels: tuple[str, ...]) -> int | None:
        return self.line


@dataclass(frozen=True)
class Rows(Contents):
    """A row for each configuration, `(the parents' states, numbers, line)`, and perhaps a default for the others."""

    rows: Sequence[tuple[tuple[str, ...], list[float], int]]
    default: list[float] | None = None
    line: int | None = None

    def table(self, source: Source, name: str, axes: Axes, states: tuple[str, ...]) -> numpy.ndarray:
        sizes = [len(labels) for _, labels in axes]
        self._check_size(source, name, cells(sizes), len(states))
        table = numpy.empty((*sizes, len(states)))
        if self.default is not None:
            table[...] = _row(source, name, self.default, len(states), self.line)
        codes, seen = [{state: code for code, state in enumerate(labels)} for _, labels in axes], {}
        for labels, numbers, line in self.rows:
            at = _codes(source, name, axes, codes, labels, line)
            if at in seen:
                raise source.error(f"node {name!r}: the row of {list(labels)} is given twice, first in line {seen[at]}", line)
            seen[at] = line
            table[at] = _row(source, name, numbers, len(states), line)
        return table

    def _check_size(self, source: Source, name: str, configurations: int, states: int) -> None:
        if self.default is not None:
            source.reserve((configurations - len(self.rows)) * states, self.line)
        elif len(self.rows) < configurations:
            raise source.error(f"node {name!r}: expected a row for each of {configurations:,} configurations of its parents; "
                               f"got {len(self.rows):,}; add the missing rows, or a default", self.line)

    def line_of(self, labels: tuple[str, ...]) -> int | None:
        return next((line for named, _, line in self.rows if named == labels), self.line)


def _row(source: Source, name: str, numbers: list[float], states: int, line: int | None) -> list[float]:
    if len(numbers) != states:
        raise source.error(f"node {name!r}: expected {states} probabilities, one a state; got {len(numbers)}", line)
    return numbers


def _codes(source: Source, name: str, axes: Axes, codes: Sequence[dict[str, int]], labels: tuple[str, ...], line: int) -> tuple[int, ...]:
    if len(labels) != len(axes):
        parents = [parent for parent, _ in axes]
        raise source.error(f"node {name!r}: expected a row to name one state of each of {parents}; got {list(labels)}", line)
    at = tuple(map(dict.get, codes, labels))
    if None in at:
        label, (parent, known) = next((label, axis) for label, axis, code in zip(labels, axes, at) if code is None)
        raise source.error(f"node {name!r}: its parent {parent!r} has no state {label!r}{hint(label, known)}", line, label)
    return at
