"""Complete values of a model's nodes, changed one cell at a time, and what every conditional makes of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..families import Circle, Counts, Finite, Interval, Positive, Simplex, Space, noise

if TYPE_CHECKING:
    from .model import Model
    from .schedule import Node

__all__ = ["Probe", "differs", "undisturbed"]

TRIES = 8


@dataclass(frozen=True, eq=False)
class Probe:
    """A complete set of aligned values, and other legal ones to change them to, `(tries, *worlds, ...)`."""

    model: Model
    worlds: int
    sizes: Mapping[str, int]
    values: Mapping[str, Tensor]
    others: Mapping[str, Tensor]

    @classmethod
    def of(cls, model: Model, data: Mapping[str, Any], worlds: int) -> Probe:
        """Values drawn from the model, its inputs drawn at random, where `data` has none."""
        known = model.encode(data) if data else {}
        rows = model.layout.worlds(known)
        worlds = rows[0] if rows else worlds
        sizes = dict.fromkeys(model.net.plates, 3) | model.layout.sizes(known)
        values = _complete(model, model.layout.align_all(known), (worlds,), sizes)
        others = [_complete(model, {}, (worlds,), sizes) for _ in range(TRIES)]
        return cls(model, worlds, sizes, values, {name: torch.stack([other[name] for other in others]) for name in values})

    def changed(self, name: str, cell: tuple = ()) -> Iterator[dict[str, Tensor]]:
        """The values with other ones for a node, everywhere or in one cell."""
        for other in self.others[name]:
            if not torch.equal(other[cell], self.values[name][cell]):
                value = self.values[name].clone()
                value[cell] = other[cell]
                yield {**self.values, name: value}

    def cell(self, name: str) -> tuple[int, ...]:
        """The first member of every plate in the first world."""
        return (0,) * (1 + self.model.layout.rank)

    def batch(self, name: str) -> tuple[int, ...]:
        """The aligned batch shape of a node."""
        return self.model.layout.batch(name, (self.worlds,), self.sizes)

    def term(self, node: Node, values: Mapping[str, Tensor]) -> Tensor:
        """What a node's conditional makes of its parents, `(*batch, numbers)`: a log-density, or a value where it has none."""
        prepared, conditional, batch = node.prepare(values), node.conditional, self.batch(node.name)
        if node.deterministic:
            found = conditional.value(prepared)
        elif conditional.density is None:
            found = conditional.draw(batch, prepared, noise)
        else:
            return conditional.log_density(values[node.name], prepared).expand(batch).unsqueeze(-1)
        event = self.model.layout.events[node.name]
        return found.expand(*batch, *event).reshape(*batch, -1)

    def terms(self, values: Mapping[str, Tensor], seed: int = 0) -> dict[str, Tensor]:
        """Every node's term, evaluated in one pass, with the same random numbers each time."""
        return {node.name: self.seeded_term(node, _copied(node, values), seed).clone() for node in self.model.schedule}

    def seeded_term(self, node: Node, values: Mapping[str, Tensor], seed: int = 0) -> Tensor:
        """A node's term with given random numbers, whatever was drawn before."""
        torch.manual_seed(seed)
        return self.term(node, values)


def _copied(node: Node, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: values[name].clone() for name in (node.name, *node.parents)}


def differs(one: Tensor, other: Tensor, accuracy: float = 1e-5) -> Tensor:
    """Where two terms are not the same number, `(*batch)`."""
    return ~torch.isclose(one, other, rtol=accuracy, atol=accuracy / 10, equal_nan=True).all(-1)


@contextmanager
def undisturbed(model: Model) -> Iterator[None]:
    """Leaves buffers (running statistics) and random generators as they were, and records no gradient."""
    held = {name: buffer.clone() for name, buffer in model.named_buffers()}
    devices = [] if model.device.type == "cpu" else [model.device]
    try:
        with torch.random.fork_rng(devices=devices, device_type="cuda" if not devices else model.device.type), torch.no_grad():
            yield
    finally:
        for name, buffer in model.named_buffers():
            buffer.copy_(held[name])


def _complete(model: Model, known: Mapping[str, Tensor], worlds: Sequence[int], sizes: Mapping[str, int]) -> dict[str, Tensor]:
    """Every node's values: finite nodes and inputs take any state, so that rare ones come up; the others are drawn given these."""
    values = dict(known)
    for name in model.net:
        anything = name not in model.conditionals or (model.net[name].space.cardinality is not None and name in model.random)
        if anything and name not in values:
            shape = (*model.layout.batch(name, worlds, sizes), *model.net[name].shape)
            values[name] = _legal(model.net[name].space, shape, model.anchor)
    values = model.run(values, worlds, sizes)
    return {name: value.expand(*model.layout.batch(name, worlds, sizes), *model.net[name].shape).clone() for name, value in values.items()}


def _legal(space: Space, shape: Sequence[int], like: Tensor) -> Tensor:
    """Random values of a space."""
    if isinstance(space, Finite) or isinstance(space, Counts):
        states = space.cardinality or 10
        return torch.randint(states, shape, device=like.device).to(torch.long if space.integer else like.dtype)
    real = torch.randn(shape, dtype=like.dtype, device=like.device)
    if isinstance(space, Positive):
        return real.exp()
    if isinstance(space, Simplex):
        return real.softmax(-1)
    if isinstance(space, (Circle, Interval)):
        low, high = space.bounds
        return low + (high - low) * real.sigmoid()
    return real
