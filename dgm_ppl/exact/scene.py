"""The values of a net's nodes while some of them are eliminated: states along axes of their own, Gaussian ones as coefficients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..families.affine import Coefficients
from ..families.shapes import broadcast
from .factors import Compiled
from .structure import Block, Structure

__all__ = ["Scene", "padded"]


class Scene:
    """One evaluation. Everything is `(*axes of the finite nodes, *worlds, *plates of the net, *event)`, singletons for what it does not depend on.

    Args:
        values: aligned values of the given nodes, and of hidden ones with holes.
        worlds, sizes: the leading dimensions, and the members of every plate.
        states: where the states of finite nodes are kept from one evaluation to the next.
        holes: where cells are missing, of the shape of the value; whatever stands in them counts for nothing.
    """

    def __init__(
        self, model: Compiled, structure: Structure, values: Mapping[str, Tensor], worlds: Sequence[int], sizes: Mapping[str, int],
        holes: Mapping[str, Tensor] = {}, soft: Mapping[str, Tensor] = {}, states: dict[tuple, Tensor] | None = None,
    ):
        self.soft, self._states = soft, {} if states is None else states
        self.model, self.structure, self.worlds, self.sizes, self.holes = model, structure, tuple(worlds), sizes, holes
        self.layout, self.rank = model.layout, model.layout.rank
        self.inner = len(self.worlds) + self.rank
        self.dims = len(structure.finite) + self.inner
        self.axes = {name: -self.inner - 1 - position for position, name in enumerate(structure.finite)}
        self.plates = {plate: position - self.rank for position, plate in enumerate(model.net.plates)}
        self.values, self._found = values, {}

    # ---- constants

    def value(self, name: str) -> Tensor:
        """A node's value: every state of a hidden finite node, zero for a hidden Gaussian one."""
        found = self._found.get(name)
        if found is None:
            self._found[name] = found = self._value(name)
        return found

    def _value(self, name: str) -> Tensor:
        structure, anchor = self.structure, self.model.anchor
        if name in self.axes:
            key = name, self.axes[name], anchor.dtype, anchor.device
            if key not in self._states:
                space = structure.net[name].space
                states = torch.arange(space.cardinality, device=anchor.device, dtype=torch.long if space.integer else anchor.dtype)
                self._states[key] = states.reshape(-1, *(1,) * (-self.axes[name] - 1))
            return self._states[key]
        if name in structure.gaussian:
            return anchor.new_zeros(()).expand((*self.layout.batch(name, (), self.sizes), *structure.net[name].shape))
        if name in self.values:
            return self.values[name]
        conditional = self.model.conditionals[name]                         # deterministic
        value = conditional.value(conditional.prepare(*self.parents(name)))
        members = (*self.layout.batch(name, (), self.sizes), *self.layout.events[name])
        return value.expand(broadcast(value.shape, members)) if self.rank else value

    def parents(self, name: str) -> list[Tensor]:
        """The values of a node's parents, as its conditional sees them."""
        return [port.receive(self.value(port.name)) if port.pooled else self.value(port.name) for port in self.model.conditionals[name].ports]

    def log_density(self, name: str) -> Tensor:
        """log p(node | parents), one number for each member of its plates."""
        conditional = self.model.conditionals[name]
        on_grid = conditional.ports and all(port.name in self.axes for port in conditional.ports)
        prepared = (conditional.prepare_on_grid if on_grid else conditional.prepare)(*self.parents(name))
        if name in self.axes:
            found = conditional.log_probabilities(prepared)
            if found is not None and found.ndim == 1:
                return found.reshape([1] * (self.dims + self.axes[name]) + [-1] + [1] * (-self.axes[name] - 1))
            if found is not None:                                           # every state at once, its axis still the last dimension
                return padded(found, self.dims + 1).transpose(self.axes[name] - 1, -1).squeeze(-1)
        value = self.value(name)
        if name not in self.holes or name in self.axes:
            return padded(conditional.log_density(value, prepared), self.dims)
        terms = torch.where(self.seen(name), -conditional.surprisals(value, prepared), 0.0)
        return padded(terms.sum(tuple(range(-conditional.elements, 0))) if conditional.elements else terms, self.dims)

    def seen(self, name: str) -> Tensor:
        """Which independent elements of a node's value are there, `(*worlds, *plates, *elements)`."""
        joint = len(self.layout.events[name]) - self.model.conditionals[name].elements
        present = ~self.holes[name]
        return present.all(tuple(range(-joint, 0))) if joint else present

    def clamp(self, name: str) -> Tensor:
        """Zero for the states of a finite node with holes that a row allows, minus infinity for the others."""
        allowed = (self.value(name) == self.values[name]) | self.holes[name]
        return padded(torch.zeros_like(allowed, dtype=self.model.anchor.dtype).masked_fill(~allowed, -torch.inf), self.dims)

    def haze(self, name: str) -> Tensor:
        """The logarithm of a finite node's likelihoods `(*worlds, states)`, along its axis."""
        weights = self.soft[name].movedim(-1, 0)
        logs = torch.where(weights > 0, torch.where(weights > 0, weights, 1.0).log(), -torch.inf)
        return padded(logs.reshape(len(logs), *(1,) * (-self.axes[name] - 1 - self.inner), *logs.shape[1:], *(1,) * self.rank), self.dims)

    # ---- coefficients

    def parts(self, name: str, block: Block, known: dict[str, Coefficients]) -> Coefficients:
        """How a node's value moves with the coordinates of the block's nodes, `(coordinates, *batch, *event)`."""
        if name not in known:
            known[name] = self._parts(name, block, known)
        return known[name]

    def _parts(self, name: str, block: Block, known: dict[str, Coefficients]) -> Coefficients:
        net, event = self.structure.net, self.layout.events[name]
        if name in block.nodes:
            members = [self.sizes[plate] if name in net.plates[plate].nodes and plate not in block.plates else 1 for plate in net.plates]
            count = torch.Size([*members, *event]).numel()
            unit = torch.eye(count, dtype=self.model.anchor.dtype, device=self.model.anchor.device)
            return {name: unit.reshape(count, *(1,) * (self.dims - self.rank), *members, *event)}
        if not net[name].is_deterministic or not self.structure.live[name]:
            return {}
        found = self.moves(name, block, known)
        members = [self.sizes[plate] if name in net.plates[plate].nodes and plate not in block.plates else -1 for plate in net.plates]
        return {
            owner: part.expand(*(-1,) * (part.ndim - self.rank - len(event)), *members, *event) for owner, part in found.items()
        }

    def moves(self, name: str, block: Block, known: dict[str, Coefficients]) -> Coefficients:
        """How the location of a node moves."""
        conditional = self.model.conditionals[name]
        received = [{owner: port.receive(part) for owner, part in self.parts(port.name, block, known).items()} for port in conditional.ports]
        return conditional.coefficients(self.parents(name), received) if any(received) else {}


def padded(term: Tensor, dims: int) -> Tensor:
    """Singletons on the left."""
    return term if term.ndim == dims else term.reshape(*(1,) * (dims - term.ndim), *term.shape)
