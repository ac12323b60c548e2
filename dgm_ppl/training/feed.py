"""Feeds: where minibatches come from, resident columns or a stream, in an order that a seed and the epoch fix."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from ..data import batch_columns, rows
from ..families.randomness import generator_states, seeded, set_generator_states
from .randomness import mix

__all__ = ["Batch", "Feed", "Resident", "Stream", "Transform"]

CPU = torch.device("cpu")

Batch: TypeAlias = "dict[str, Tensor]"
Transform: TypeAlias = Callable[[Batch], Mapping[str, Tensor]]


class Feed(Protocol):
    """Batches by epoch and index: asked again for the same, a feed gives the same as long as `keep` was not called."""

    rows: int | None
    batches: int | None

    def take(self, epoch: int, index: int) -> Batch: ...
    def ends(self, epoch: int, index: int) -> bool: ...
    def keep(self) -> None: ...


class Resident:
    """Prepared columns that stay on the device; a minibatch is an index selection.

    The rows are dealt out evenly: as few batches as `batch_size` allows, whose sizes differ by at most one. A short last batch would be a step as long as any other,
    of an optimizer that scales its steps, in a direction that a few rows chose.
    """

    def __init__(
        self, data: Batch, batch_size: int | None, seed: int, *, shuffle: bool, transform: Transform | None = None
    ) -> None:
        self.data, self.seed, self.transform = data, seed, transform
        self.rows = rows(data)
        self.size = min(batch_size or self.rows, self.rows)
        self.batches = -(-self.rows // self.size)
        self.shuffle = shuffle
        self.device = next(iter(data.values())).device
        self._order: tuple[int, Tensor] | None = None

    def take(self, epoch: int, index: int) -> Batch:
        """The batch of an epoch at an index; a batch of all rows comes in the order of the data."""
        batch = self._select(epoch, index)
        return batch if self.transform is None else {**batch, **self.transform(dict(batch))}

    def ends(self, epoch: int, index: int) -> bool:
        """Whether the epoch has no batch at this index any more."""
        return index >= self.batches

    def keep(self) -> None:
        """Nothing to let go: every batch can be selected again."""

    def _select(self, epoch: int, index: int) -> Batch:
        if self.batches == 1:
            return self.data
        rows = slice(index * self.rows // self.batches, (index + 1) * self.rows // self.batches)
        if not self.shuffle:
            return {name: column[rows] for name, column in self.data.items()}
        chosen = self._permutation(epoch)[rows]
        return {name: column.index_select(0, chosen) for name, column in self.data.items()}

    def _permutation(self, epoch: int) -> Tensor:
        if self._order is None or self._order[0] != epoch:
            generator = torch.Generator().manual_seed(mix(self.seed, epoch))
            self._order = epoch, torch.randperm(self.rows, generator=generator, device="cpu").to(self.device)
        return self._order[1]


class Stream:
    """Batches of a `DataLoader`, prepared one by one.

    Each epoch is read under a seed of its own, so that reading it again comes to the same place. One batch is fetched
    ahead to know where the epoch ends; those since the last `keep` are held, so that their steps can be taken again.
    """

    rows = None
    batches = None

    def __init__(self, loader: DataLoader, prepare: Callable[[Mapping[str, Any]], Batch], seed: int) -> None:
        self.loader, self.prepare, self.seed = loader, prepare, seed
        self._held: dict[tuple[int, int], dict[str, Any] | None] = {}
        self._next = (-1, 0)
        self._iterator: Iterator[Any] = iter(())
        self._states: dict[str, Tensor] = {}

    def take(self, epoch: int, index: int) -> Batch:
        """The batch of an epoch at an index."""
        found = self._fetch(epoch, index)
        if found is None:
            raise ValueError("data: expected at least one batch; got an empty DataLoader; try a data set that is not empty")
        return self.prepare(found)

    def ends(self, epoch: int, index: int) -> bool:
        """Whether the epoch has no batch at this index any more."""
        return self._fetch(epoch, index) is None

    def keep(self) -> None:
        """Lets go of the held batches but the one fetched ahead."""
        self._held = dict(list(self._held.items())[-1:])

    def _fetch(self, epoch: int, index: int) -> dict[str, Any] | None:
        if (epoch, index) not in self._held:
            if self._next != (epoch, index):
                self._open(epoch, skip=index)
            self._held[epoch, index] = self._read()
        return self._held[epoch, index]

    def _open(self, epoch: int, skip: int) -> None:
        seed = mix(self.seed, epoch)
        if self.loader.generator is not None:
            self.loader.generator.manual_seed(seed)
        with seeded(seed, CPU):
            self._iterator = iter(self.loader)
            self._states = generator_states(CPU)
        self._next = (epoch, 0)
        for _ in range(skip):
            self._read()

    def _read(self) -> dict[str, Any] | None:
        before = generator_states(CPU)
        try:
            set_generator_states(self._states, CPU)
            batch = next(self._iterator, None)
            self._states = generator_states(CPU)
        finally:
            set_generator_states(before, CPU)
        self._next = (self._next[0], self._next[1] + 1)
        return None if batch is None else batch_columns(batch)
