"""Intake: prepare a user's data at the boundary, once, and open a feed of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from ..data import columns
from ..families.randomness import seeded
from .devices import place
from .feed import Batch, Feed, Resident, Stream, Transform

__all__ = ["Intake"]

Prepare: TypeAlias = Callable[[Mapping[str, Any]], Mapping[str, Tensor]]


@dataclass(frozen=True)
class Intake:
    """How data reach an objective: checked and encoded by `prepare`, placed on a device, perhaps transformed each time.

    A transform takes a batch of columns and returns those that it changes. Columns that change are checked by one
    transformed copy of the data and stay resident as they were given; the others stay resident as prepared.
    """

    prepare: Prepare
    device: torch.device
    dtype: torch.dtype | None
    transform: Transform | None
    seed: int

    def open(self, data: Any, batch_size: int | None, *, shuffle: bool) -> Feed:
        """The feed of some data: a stream of a `DataLoader`, else columns resident on the device."""
        if isinstance(data, DataLoader):
            return Stream(data, self._streamed, self.seed)
        found = columns(data, ragged=True)                                  # one world may have plates of several sizes; rows are counted when prepared
        if self.transform is None:
            return Resident(self._placed(found), batch_size, self.seed, shuffle=shuffle)
        resident, dtypes = self._transformed(found)
        transform = _casting(self.transform, dtypes)
        return Resident(resident, batch_size, self.seed, shuffle=shuffle, transform=transform)

    def _placed(self, found: Mapping[str, Any]) -> Batch:
        return place(self.prepare(found), self.device, self.dtype)

    def _numbers(self, found: Mapping[str, Any]) -> Batch:
        numbers = {name: column for name, column in found.items() if isinstance(column, Tensor)}
        return place(numbers, self.device, self.dtype)

    def _streamed(self, found: Mapping[str, Any]) -> Batch:
        changed = {} if self.transform is None else self.transform(self._numbers(found))
        return self._placed({**found, **changed})

    def _transformed(self, found: Mapping[str, Any]) -> tuple[Batch, dict[str, torch.dtype]]:
        given = self._numbers(found)
        with seeded(self.seed, self.device):
            changed = {name: c for name, c in self.transform(dict(given)).items() if c is not given.get(name)}
        encoded = self._placed({**found, **changed})
        for name, column in changed.items():
            _check_shape(name, column, encoded)
        dtypes = {name: encoded[name].dtype for name in changed}
        return {**encoded, **{name: given[name] for name in changed if name in given}}, dtypes


def _check_shape(name: str, column: Tensor, encoded: Batch) -> None:
    if name not in encoded or encoded[name].shape != column.shape:
        wanted = f"shape {tuple(encoded[name].shape)}" if name in encoded else f"one of {', '.join(encoded)}"
        raise ValueError(
            f"transform: expected column {name!r} to have {wanted}, as the objective takes it; got "
            f"{tuple(column.shape)}; try returning it in that shape"
        )


def _casting(transform: Transform, dtypes: Mapping[str, torch.dtype]) -> Transform:
    def cast(batch: Batch) -> Batch:
        changed = transform(batch)
        return {name: column.to(dtypes.get(name, column.dtype)) for name, column in changed.items()}

    return cast
