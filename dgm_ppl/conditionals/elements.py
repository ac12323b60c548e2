"""The elements of an autoregressive node one after another: drawn, completed, or searched."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..families import Noise
from ..families.finite_forms import CategoricalForms
from ..graph import GraphError
from .drawing import Drawing

if TYPE_CHECKING:
    from .chain import AutoregressiveConditional

__all__ = ["AfterToken", "AtLength", "Endings", "Walk", "draw_elements", "rows_of", "state_log_probs"]

Order = int | Sequence[int]


class Walk:
    """The way through the elements: what their distributions are given those before."""

    def __init__(self, conditional: AutoregressiveConditional, batch: Sequence[int], prepared: tuple, order: Order):
        context, lead, self.parents = prepared
        self.conditional, self.batch = conditional, tuple(batch)
        held = [rows_of(part, batch, part.ndim - len(lead)) for part in context]
        network = conditional.network
        self.stepper = network.stepper(held, math.prod(batch), order)
        self.schedule = network.schedule(order) if isinstance(order, int) else [[element] for element in order]
        self.previous: Tensor | None = None

    def params(self, turn: int) -> tuple:
        """The parameters of the elements whose turn it is, `(*batch, elements, ...)`."""
        cells, conditional = self.schedule[turn], self.conditional
        found = self.stepper.step(turn, self.previous).reshape(*self.batch, len(cells), -1)
        return conditional.base.complete_at(cells, conditional.cut(found), self.parents)

    def go_on(self, value: Tensor) -> None:
        """Takes the values of these elements, `(*batch, elements)`."""
        encoded = self.conditional.encoded(value)
        self.previous = encoded.reshape(math.prod(self.batch), *encoded.shape[len(self.batch):])


def rows_of(value: Tensor, batch: Sequence[int], rank: int) -> Tensor:
    """`(rows, *event)` of a value whose batch broadcasts to this one; `rank` counts the event's dimensions."""
    event = value.shape[value.ndim - rank:]
    return value.expand(*batch, *event).reshape(-1, *event)


def draw_elements(conditional: AutoregressiveConditional, batch: Sequence[int], prepared: tuple, noise: Noise, order: Order, drawing: Drawing) -> Tensor:
    """A sample `(*batch, *event)`: what is known stays, what lies after the end is filled in."""
    walk, drawn = Walk(conditional, batch, prepared, order), []
    known = None if drawing.known is None else drawing.known.flatten()
    given = None if drawing.value is None else drawing.value.expand(*batch, *conditional.variable.shape).flatten(len(batch))
    ends = conditional.endings(batch, prepared)
    for turn, cells in enumerate(walk.schedule):
        value = None
        if known is not None and known[cells].all():
            walk.params(turn)
            value = given[..., cells]
        else:
            value = _picked(walk, turn, noise, drawing)
            if known is not None and known[cells].any():
                value = torch.where(known[cells].to(value.device), given[..., cells], value)
        value = ends.close(cells, value)
        drawn.append(value)
        if ends.all_ended(cells):
            break
        walk.go_on(value)
    return _arranged(torch.cat(drawn, len(batch)), [cell for group in walk.schedule for cell in group], conditional, ends)


def _picked(walk: Walk, turn: int, noise: Noise, drawing: Drawing) -> Tensor:
    base, params = walk.conditional.base, walk.params(turn)
    shape = (*walk.batch, len(walk.schedule[turn]), *base.event[base.elements:])
    if not drawing.transforms:
        return base.forms.sample(shape, params, walk.conditional.anchor, noise)
    log_probs = state_log_probs(walk.conditional, params, shape)
    for transform in drawing.transforms:
        log_probs = transform(log_probs)
    whole = noise.widen(log_probs.softmax(-1))
    codes = noise.narrow(torch.multinomial(whole.reshape(-1, whole.shape[-1]), 1).reshape(whole.shape[:-1]))
    return codes if walk.conditional.variable.space.integer else codes.to(log_probs.dtype)


def state_log_probs(conditional: AutoregressiveConditional, params: tuple, shape: Sequence[int]) -> Tensor:
    """The log-probability of every state of elements, `(*shape, states)`.

    Raises:
        GraphError: elements that have no states.
    """
    base, count = conditional.base, conditional.variable.space.cardinality
    if count is None:
        raise GraphError(
            f"node {conditional.name!r}: transforms and searches go over the states of an element; {base.variable.family_name} has none: they are numbers in "
            f"{conditional.variable.space}; try Categorical for tokens, or sample without transform="
        )
    if isinstance(base.forms, CategoricalForms):
        return base.forms.probs(params).log().expand(*shape, count)
    states = torch.arange(count, device=conditional.anchor.device).reshape(-1, *(1,) * len(shape)).expand(-1, *shape)
    states = states if conditional.variable.space.integer else states.to(conditional.anchor.dtype)
    return -base.forms.surprisal(states, params).movedim(0, -1)


def _arranged(drawn: Tensor, order: Sequence[int], conditional: AutoregressiveConditional, ends: Endings) -> Tensor:
    """Elements in the order in which they were drawn, as an event; those that were not are filled in."""
    axis = drawn.ndim - 1 - conditional.base.forms.event_dim
    missing = len(order) - drawn.shape[axis]
    if missing:
        drawn = torch.cat([drawn, ends.fill(drawn).expand(*drawn.shape[:axis], missing, *drawn.shape[axis + 1:])], axis)
    places = sorted(range(len(order)), key=order.__getitem__)
    found = drawn if places == list(range(len(order))) else drawn[(slice(None),) * axis + (places,)]
    return found.reshape(*drawn.shape[:axis], *conditional.variable.shape)


class Endings:
    """Where sequences end, as they are drawn: after a token, or at a length; nowhere in this class."""

    def close(self, cells: Sequence[int], value: Tensor) -> Tensor:
        """Values of elements, with those after the end filled in."""
        return value

    def all_ended(self, cells: Sequence[int]) -> bool:
        """Whether every sequence ended with or before these elements."""
        return False

    def fill(self, like: Tensor) -> Tensor:
        """What stands after the end."""
        raise NotImplementedError


class AfterToken(Endings):
    """Sequences end with a token, which fills the rest."""

    def __init__(self, token: int):
        self.token, self.ended = token, None

    def close(self, cells: Sequence[int], value: Tensor) -> Tensor:
        if self.ended is not None:
            value = value.masked_fill(self.ended, self.token)
        self.ended = value == self.token
        return value

    def all_ended(self, cells: Sequence[int]) -> bool:
        return _true(self.ended.all())

    def fill(self, like: Tensor) -> Tensor:
        return like.new_full((), self.token)


class AtLength(Endings):
    """Sequences have lengths `(*batch)` along the first dimension of the event, each of whose steps has so many elements."""

    def __init__(self, lengths: Tensor, inner: int, filling: Tensor):
        self.lengths, self.inner, self.filling = lengths, inner, filling

    def close(self, cells: Sequence[int], value: Tensor) -> Tensor:
        inside = torch.stack([self.lengths > cell // self.inner for cell in cells], -1)
        return torch.where(inside, value, self.fill(value))

    def all_ended(self, cells: Sequence[int]) -> bool:
        if (cells[-1] + 1) % self.inner:
            return False
        return _true((self.lengths <= cells[-1] // self.inner + 1).all())

    def fill(self, like: Tensor) -> Tensor:
        return self.filling.to(like.dtype)


def _true(found: Tensor) -> bool:
    """Whether a tensor holds true; one without storage does not tell."""
    return not found.is_meta and bool(found)
