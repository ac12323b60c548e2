"""Classifier-free guidance: a network that is trained without some of its parents now and then, and what it says of them weighed when drawing."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence

import torch
from torch import Tensor

from ..graph import GraphError, did_you_mean
from .ports import Port

__all__ = ["Dropping", "check_guidance", "check_shares", "is_number", "shares_of", "weights_of"]


def shares_of(place: str, drop: Mapping[str, float] | None) -> tuple[tuple[str, float], ...]:
    """The parents that training leaves out now and then, with the share of worlds."""
    if not (drop is None or isinstance(drop, Mapping)):
        raise GraphError(f"{place}: expected drop as shares by parent; got {drop!r}; try drop={{'y': 0.1}}")
    return tuple((drop or {}).items())


def check_shares(node: str, shares: Sequence[tuple[str, float]], parents: Collection[str]) -> None:
    """Raises `GraphError` for what is no parent, and for a share that leaves nothing to learn from."""
    for parent, share in shares:
        if parent not in parents:
            raise GraphError(f"node {node!r}: drop names {parent!r}, which is no parent{did_you_mean(parent, parents)}; got the parents {list(parents)}")
        if not (is_number(share) and 0 < share < 1):
            raise GraphError(f"node {node!r}: expected drop of {parent!r} between 0 and 1, the share of worlds that train without it; got {share!r}; try 0.1")


def weights_of(place: str, guidance: Mapping[str, float] | tuple) -> tuple[tuple[str, float], ...]:
    """The weights of guidance by parent, in the order given."""
    pairs = tuple(guidance.items()) if isinstance(guidance, Mapping) else guidance
    if not isinstance(pairs, tuple) or any(not isinstance(pair, tuple) or len(pair) != 2 for pair in pairs):
        raise GraphError(f"{place}: expected guidance as weights by parent; got {guidance!r}; try guidance={{'y': 2.0}}")
    for name, weight in pairs:
        if not (is_number(weight) and math.isfinite(weight)):
            raise GraphError(f"{place}: expected a finite number as the weight of guidance by {name!r}; got {weight!r}; try guidance={{{name!r}: 2.0}}")
    return tuple((name, float(weight)) for name, weight in dict(pairs).items())


def check_guidance(node: str, guidance: Sequence[tuple[str, float]], dropped: Collection[str], parents: Collection[str]) -> None:
    """Raises `GraphError` for guidance by what is no parent, or by one that was never left out in training."""
    for name, _ in guidance:
        if name not in parents:
            raise GraphError(f"node {node!r}: guidance names {name!r}, which is no parent{did_you_mean(name, parents)}; got the parents {list(parents)}")
        if name not in dropped:
            raise GraphError(f"node {node!r}: guidance by {name!r} needs a network that was trained without it now and then; declare drop={{{name!r}: 0.1}}")


class Dropping:
    """Which parents a network may be left without. `present` has a 1 for each that is there, `(*batch, dropped)`, or is None where none is ever left out."""

    def __init__(self, shares: Sequence[tuple[str, float]], ports: Sequence[Port]):
        self.names = tuple(name for name, _ in shares)
        self.shares = tuple(share for _, share in shares)
        self.places = {port.name: (i, port.encoded_rank) for i, port in enumerate(ports)}

    def present(self, batch: Sequence[int], like: Tensor, learning: bool) -> Tensor | None:
        """All of them, or, where something is learned, all but some at random. What is asked without gradients is of all parents, in training mode too."""
        if not self.names:
            return None
        there = like.new_ones(*batch, len(self.names))
        if not (learning and torch.is_grad_enabled()):
            return there
        return (torch.rand_like(there) >= like.new_tensor(self.shares)).to(there.dtype)

    def left(self, encoded: Sequence[Tensor], present: Tensor | None) -> list[Tensor]:
        """The encoded parents, zero where they are left out."""
        left = list(encoded)
        for column, name in enumerate(self.names if present is not None else ()):
            i, rank = self.places[name]
            there = present[..., column]
            left[i] = left[i] * there.reshape(*there.shape, *(1,) * rank)
        return left

    def guided(self, read: Callable[[Tensor | None], Tensor], found: Tensor, present: Tensor | None, weights: Sequence[tuple[str, float]]) -> Tensor:
        """found + sum over parents of (weight - 1) (found - what is read without the parent), where `found` is what is read with all."""
        guided = found
        for name, weight in weights:
            without = present.clone()
            without[..., self.names.index(name)] = 0.0
            guided = guided + (weight - 1) * (found - read(without))
        return guided


def is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
