"""Sequences of several lengths in one batch: padded to the longest, with the number of steps of each under the chain's name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy
import torch
from torch import Tensor

from ..graph import GraphError

if TYPE_CHECKING:
    from .layout import Layout

__all__ = ["checked_lengths", "filled", "is_ragged", "padded", "real_steps"]


def is_ragged(value: Any) -> bool:
    """Whether a column is a list of sequences, which may differ in length."""
    if isinstance(value, numpy.ndarray):
        return value.dtype == object and value.ndim == 1 and bool(len(value)) and all(isinstance(one, (Tensor, numpy.ndarray, list, tuple)) for one in value)
    if not isinstance(value, (list, tuple)) or not value:
        return False
    return all(isinstance(one, (Tensor, numpy.ndarray)) for one in value) or (
        all(isinstance(one, (list, tuple)) for one in value) and len({len(one) for one in value}) > 1
    )


def padded(layout: Layout, name: str, value: Sequence[Any], like: Tensor) -> tuple[Tensor, Tensor]:
    """Sequences, each `(steps, *event)` with other plates in their places, as one tensor, and the number of steps of each.

    Raises:
        GraphError: a sequence without steps, or of another shape.
    """
    plates = layout.net.plates_of(name)
    place = plates.index(layout.net.chain_of(name).name)
    sequences = [layout.tensor(name, one, like) for one in value]
    for position, one in enumerate(sequences):
        if one.ndim != len(plates) + len(layout.events[name]):
            expected = ", ".join([*plates, *map(str, layout.events[name])])
            raise GraphError(f"node {name!r}: expected every sequence to have the shape ({expected}); got {tuple(one.shape)} for sequence {position}")
        if not one.shape[place]:
            raise GraphError(f"node {name!r}: sequence {position} has length zero; expected at least one step; leave it out")
    lengths = [one.shape[place] for one in sequences]
    shapes = {(*one.shape[:place], *one.shape[place + 1:]) for one in sequences}
    if len(shapes) > 1:
        raise GraphError(f"node {name!r}: expected sequences that differ in the number of steps alone; got the shapes {sorted(tuple(one.shape) for one in sequences)[:2]}")
    shape = list(sequences[0].shape)
    shape[place] = max(lengths)
    joined = layout.net[name].space.example((len(sequences), *shape), like).to(sequences[0].dtype)
    for row, one in enumerate(sequences):
        joined[row].narrow(place, 0, lengths[row]).copy_(one)
    return joined, torch.tensor(lengths, device=like.device)


def checked_lengths(chain: str, value: Any, steps: int | None, like: Tensor) -> Tensor:
    """The numbers of steps `(*worlds)`, or `(*worlds, *plates around the chain)`.

    Raises:
        GraphError: numbers that are not whole, below one, or above the number of steps of the data.
    """
    found = torch.as_tensor(value)
    mend = f"data[{chain!r}] holds the number of steps of every sequence"
    if found.is_floating_point() and bool((found != found.round()).any()) or found.dtype == torch.bool:
        raise GraphError(f"chain {chain!r}: expected whole numbers of steps; got {found.flatten()[:3].tolist()}; {mend}")
    found = found.to(device=like.device, dtype=torch.long)
    if bool((found < 1).any()):
        rows = (found.reshape(-1) < 1).nonzero().squeeze(1)[:3].tolist()
        raise GraphError(f"chain {chain!r}: sequences of length zero; got {found.reshape(-1)[rows[0]].item()} steps in rows {rows}; leave these rows out")
    if steps is not None and bool((found > steps).any()):
        raise GraphError(f"chain {chain!r}: expected at most {steps} steps, as the data have; got {found.max().item()}; {mend}")
    return found


def real_steps(lengths: Tensor, steps: int) -> Tensor:
    """Which steps are within the sequences, `(*worlds, steps)`."""
    return torch.arange(steps, device=lengths.device) < lengths.unsqueeze(-1)


def filled(layout: Layout, name: str, value: Tensor, lengths: Mapping[str, Tensor]) -> Tensor:
    """A value with something legal in the steps behind the end of a sequence, whatever stood there."""
    chain = layout.net.chain_of(name)
    if chain is None or chain.name not in lengths:
        return value
    plates, event = layout.net.plates_of(name), layout.events[name]
    place = plates.index(chain.name) - len(plates) - len(event)
    if value.ndim < len(plates) + len(event) or tuple(value.shape[value.ndim - len(event):]) != tuple(event):
        return value                                                        # refused where shapes are checked
    worlds, theirs = value.shape[: value.ndim - len(plates) - len(event)], lengths[chain.name].shape
    around, sizes = layout.net.around(chain.name), dict(zip(plates, value.shape[len(worlds):]))
    if len(theirs) != len(worlds) + len(around) or any(sizes[plate] != size for plate, size in zip(around, theirs[len(worlds):])):
        around = ()                                                         # lengths of worlds
    if worlds and theirs and worlds != theirs[: len(theirs) - len(around)]:
        return value                                                        # refused where the worlds are compared
    kept = real_steps(lengths[chain.name].to(value.device), value.shape[place])           # (*worlds, *plates around, steps)
    own = [plate for plate in plates if plate in around or plate == chain.name]
    kept = kept.movedim(-1, own.index(chain.name) - len(own))
    kept = kept.reshape(*kept.shape[: kept.ndim - len(own)], *(sizes[plate] if plate in own else 1 for plate in plates), *(1,) * len(event))
    return torch.where(kept, value, layout.net[name].space.example(event, value).to(value.dtype))
