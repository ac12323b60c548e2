"""How a conditional reads its parents: batch dimensions in line, plates it does not have moved into the event, values encoded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from ..families import Space
from ..families.shapes import broadcast

__all__ = ["Port", "broadcast_batch"]


@dataclass(frozen=True)
class Port:
    """One parent as a child sees it.

    Values arrive as `(*worlds, *plates of the net, *event)`, absent plates being singletons. `pooled` are the positions among the
    net's `plates` that the parent has and the child has not: the child sees them as leading event dimensions, of `sizes`
    where the plate declares one. A child whose network reads plates as sets sees the value as it is: `frame` are the net's plates
    with their declared sizes, and each of `readings` the positions of the plates over which it reads all members, inner ones first.
    """

    name: str
    space: Space
    event: tuple[int, ...]
    plates: int = 0
    pooled: tuple[int, ...] = ()
    sizes: tuple[int | None, ...] = ()
    frame: tuple[tuple[str, int | None], ...] = ()
    readings: tuple[tuple[int, ...], ...] = ()

    @property
    def plain(self) -> Port:
        """The parent as a child sees it whose network does not read plates as sets."""
        if not self.frame:
            return self
        pooled = tuple(sorted(self.readings[0]))
        return replace(self, pooled=pooled, sizes=tuple(self.frame[place][1] for place in pooled), frame=(), readings=())

    @property
    def rank(self) -> int:
        """The number of event dimensions that the child sees."""
        return len(self.event) + len(self.pooled)

    @property
    def shape(self) -> tuple[int | None, ...]:
        """The event that the child sees; None where a pooled plate has no declared size."""
        return (*self.sizes, *self.event)

    @property
    def encoded_shape(self) -> tuple[int | None, ...]:
        """The event after encoding."""
        return (*self.sizes, *self.space.encoded_shape(self.event))

    @cached_property
    def encoded_rank(self) -> int:
        """The number of dimensions of the encoded event."""
        return len(self.encoded_shape)

    @property
    def is_plain(self) -> bool:
        """Whether a flat network reads values just as they are."""
        example = torch.zeros(1)
        return self.encoded_rank == 1 and not self.space.integer and self.space.encode(example) is example

    @property
    def is_configuration(self) -> bool:
        """Whether the parent indexes a table: one finite value a batch entry."""
        return self.space.cardinality is not None and not self.shape

    @property
    def features(self) -> int:
        """The number of encoded numbers."""
        return math.prod(self.encoded_shape)

    def receive(self, value: Tensor) -> Tensor:
        """The aligned value with pooled plates moved into the event."""
        for count, position in enumerate(self.pooled):
            axis = position - self.plates - len(self.event) - count            # from the right, earlier moves lengthened the event
            value = value.movedim(axis, -len(self.event) - 1).unsqueeze(axis - 1)
        return value

    def encode(self, value: Tensor, like: Tensor) -> Tensor:
        """The value as a network reads it, in the event's own shape."""
        encoded = self.space.encode(value)
        return encoded if encoded.dtype is like.dtype else encoded.to(like.dtype)

    def encode_flat(self, value: Tensor, like: Tensor) -> Tensor:
        """The value as a network reads it, `(*batch, features)`."""
        encoded = self.encode(value, like)
        if self.encoded_rank == 1:
            return encoded
        return encoded.flatten(-self.encoded_rank) if self.encoded_rank else encoded.unsqueeze(-1)


def broadcast_batch(values: Sequence[Tensor], ranks: Sequence[int]) -> list[Tensor]:
    """Tensors expanded to common batch dimensions; `ranks` counts their event dimensions."""
    batches = [value.shape[: value.ndim - rank] for value, rank in zip(values, ranks)]
    if all(batch == batches[0] for batch in batches):
        return list(values)
    common = broadcast(*batches)
    return [value.expand(*common, *value.shape[value.ndim - rank:]) for value, rank in zip(values, ranks)]
