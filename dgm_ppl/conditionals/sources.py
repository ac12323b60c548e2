"""Sequences that end before their event does, as parents: which steps count, and how a network is told."""

from __future__ import annotations

import torch
from torch import Tensor

from ..families.shapes import broadcast
from ..graph import GraphError
from .ports import Port

__all__ = ["before_end", "check_lengths", "presence_shape", "within", "with_presence"]


def check_lengths(name: str, what: str, node: str, event: tuple[int, ...], lengths: Tensor, *, drawn: bool = False) -> None:
    """Raises where numbers of steps, given or `drawn`, are not whole, or not from 0 to those of the event; of numbers without storage nothing is known."""
    if lengths.is_meta:
        return
    wrong = (lengths < 0) | (lengths > event[0])
    if lengths.is_floating_point():
        wrong = wrong | (lengths != lengths.round())
    if wrong.any():
        mend = f"lengths that end there: dgm.Categorical({event[0] + 1}), dgm.Binomial(total_count={event[0]})" if drawn else f"data[{node!r}].clamp(0, {event[0]})"
        raise GraphError(
            f"node {name!r}: {what} {node} expects whole numbers from 0 to {event[0]}, the steps of the event {event}; {'drew' if drawn else 'got'} "
            f"{lengths[wrong].flatten()[0].item():g}; try a longer event, or {mend}"
        )


def presence_shape(name: str, port: Port) -> tuple[int, int]:
    """The shape `(length, features)` in which a network reads a sequence that may end.

    Raises:
        GraphError: a parent in a plate that the child is not in.
    """
    if port.pooled:
        raise GraphError(f"node {name!r}: ends: {port.name!r} is in a plate that {name!r} is not in; expected one sequence; got all members of the plate; try {name!r} in the plate too")
    return port.event[0], port.features // port.event[0] + 1


def before_end(value: Tensor, end: int) -> Tensor:
    """Which elements of sequences of tokens come before the end, or are it."""
    ended = value == end
    return (ended.cumsum(-1) - ended.long()) == 0


def within(lengths: Tensor, steps: int) -> Tensor:
    """Which steps lie within lengths, `(*batch, steps)`."""
    return torch.arange(steps, device=lengths.device) < lengths.unsqueeze(-1)


def with_presence(encoded: Tensor, rank: int, counted: Tensor) -> Tensor:
    """Sequences `(*batch, length, ...)` as `(*batch, length, features)`, zero where a step does not count, with a last feature that says whether it does."""
    flat = encoded.reshape(*encoded.shape[: encoded.ndim - rank + 1], -1)
    batch = broadcast(flat.shape[:-2], counted.shape[:-1])
    counted = counted.unsqueeze(-1).expand(*batch, counted.shape[-1], 1)
    flat = flat.expand(*batch, *flat.shape[-2:])
    return torch.cat([torch.where(counted, flat, 0.0), counted.to(flat.dtype)], -1)
