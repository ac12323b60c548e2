"""A node of a chain: one conditional for the first steps, for which a parent does not exist yet, and one for all others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import transform_to

from ..families import Constant, Free, Noise, Variable
from ..families.lags import Lagged, node_of
from ..families.shapes import broadcast
from ..graph import GraphError
from .base import Conditional
from .parametric import Parametric
from .ports import Port

__all__ = ["Chained", "Piece", "Steps"]


@dataclass(frozen=True, eq=False, slots=True)
class Piece:
    """Steps `start` to `stop`, which share a conditional, and what their parents determine."""

    conditional: Conditional
    start: int
    stop: int
    prepared: Any


@dataclass(frozen=True, eq=False, slots=True)
class Steps:
    """What the parents determine at all steps: consecutive pieces, and which steps count, aligned `(*worlds, *plates)`, where some do not."""

    pieces: tuple[Piece, ...]
    real: Tensor | None


class Chained(Conditional):
    """p(node | parents) at every step of a chain, all steps at once where the values are known.

    `prepare` takes the parents' values at all steps, unshifted: a parent some steps back is shifted here, `initials` standing before the
    first step. `at` is one step's conditional and parents, for steps that have to be had one after the other.

    Args:
        main: the conditional of every step whose parents exist.
        starts: the conditionals of the first steps, whose parents may be fewer.
        axis: where the steps are among the plates, counted from the right.
        inside: the nodes of the chain.
        level: where plates are over whose members sequences have to be of one length, as all of them are read or drawn together at a step.
    """

    def __init__(self, name: str, variable: Variable, main: Conditional, starts: Sequence[Conditional], *, axis: int, inside: Sequence[str], level: Sequence[int] = ()):
        super().__init__(name, variable, main.ports)
        self.main, self.axis, self._level = main, axis, tuple(level)
        self.starts = nn.ModuleList(dict.fromkeys(starts))                  # steps may share one
        self._start_at = tuple(list(self.starts).index(start) for start in starts)
        densities = {each.density for each in (main, *starts)}
        self.density = None if None in densities else next((kind for kind in ("bound", "estimate") if kind in densities), "exact")
        self.elements = min(each.elements for each in (main, *starts))      # independent at every step
        ports = {port.name: port for each in (main, *starts) for port in each.ports}
        self.ports = tuple(ports.values())                                  # a start may read what later steps do not
        self._position = {name: position for position, name in enumerate(ports)}
        self._moves = tuple(port.name in inside or isinstance(port.name, Lagged) for port in self.ports)
        self._axes = tuple(axis - port.rank for port in self.ports)
        self._back = tuple(port.name.steps if isinstance(port.name, Lagged) else 0 for port in self.ports)
        self.initials = nn.ParameterDict()
        self._fixed: dict[str, str] = {}
        self._learned: dict[str, str] = {}
        for each in (variable, *variable.starts):
            for lagged, value in each.initials.items():
                self._place(lagged, value, ports[lagged])

    def _place(self, lagged: str, value: Constant | Free, port: Port) -> None:
        if isinstance(value, Free):
            start = torch.zeros(port.event) if value.initial is None else torch.tensor(value.initial.array, dtype=torch.get_default_dtype()).expand(port.event).clone()
            self._learned[lagged] = key = f"before_{len(self._learned)}"
            self.initials[key] = nn.Parameter(transform_to(port.space.constraint).inv(start))
            return
        dtype = torch.long if port.space.integer else torch.get_default_dtype()
        key = f"before_{len(self._fixed)}"
        self.register_buffer(key, torch.tensor(value.array, dtype=dtype).expand(port.event).clone(), persistent=False)
        self._fixed[lagged] = key

    def position(self, name: str) -> int:
        """Where a parent is among the ports."""
        return self._position[name]

    def initial(self, position: int) -> Tensor | None:
        """What stands for a lagged parent before the first step, `(*event)`."""
        port = self.ports[position]
        if port.name in self._fixed:
            return self._buffers[self._fixed[port.name]]
        if port.name in self._learned:
            return transform_to(port.space.constraint)(self.initials[self._learned[port.name]])
        return None

    def sampling(self, how: Any) -> Chained:
        twin = copy(self)
        twin._modules = {**self._modules}                                   # a copy of a module holds the same dict
        twin.main, twin.starts = self.main.sampling(how), nn.ModuleList(start.sampling(how) for start in self.starts)
        return twin

    # ---- what it can do

    @property
    def finite(self) -> bool:
        return all(each.finite for each in self._each)

    @property
    def reparameterized(self) -> bool:
        return all(each.reparameterized for each in self._each)

    @property
    def functional(self) -> bool:
        return all(each.functional for each in self._each)

    @property
    def _each(self) -> tuple[Conditional, ...]:
        return (*self.starts, self.main)

    @property
    def beginnings(self) -> tuple[Conditional, ...]:
        """The conditionals of the first steps that are unlike the others, step by step."""
        return tuple(self.starts[place] for place in self._start_at)

    def start(self, step: int) -> Conditional | None:
        """The conditional of one of the first steps; None where it is like the others."""
        return self.starts[self._start_at[step]] if step < len(self._start_at) else None

    def at_step(self, step: int) -> Conditional:
        """The conditional of a step."""
        return self.start(step) or self.main

    def learned(self, position: int) -> nn.Parameter | None:
        """The parameter that stands for a lagged parent before the first step; None where it is not learned."""
        name = self.ports[position].name
        return self.initials[self._learned[name]] if name in self._learned else None

    def _check(self, lengths: Tensor | None) -> None:
        """Raises where sequences end at steps of their own, of members that are read or drawn together at a step."""
        if lengths is not None and any(lengths.ndim >= -place and lengths.shape[place] > 1 for place in self._level):
            raise GraphError(
                f"node {self.name!r}: at every step it reads, or is drawn together over, all members of a plate; expected sequences of one length for all of them; got lengths by member; "
                f"give one length a world, or cut the sequences to one length"
            )

    # ---- one step

    def at(self, step: int, value_of: Any, steps: int, lengths: Tensor | None = None) -> tuple[Conditional, list[Tensor]]:
        """The conditional of a step of so many and its parents there; `value_of(port, step)` is a parent's aligned value, with one step where it is in the
        chain, `value_of.standing(port, initial)` what stands for it where it does not exist, `lengths` `(*worlds, *plates)` the aligned lengths of sequences."""
        conditional = self.at_step(step)
        self._check(lengths)
        return conditional, [self._at(self._position[port.name], step, value_of, steps, lengths) for port in conditional.ports]

    def _at(self, position: int, step: int, value_of: Any, steps: int, lengths: Tensor | None) -> Tensor:
        port, there = self.ports[position], step - self._back[position]
        if 0 <= there < steps and (there <= step or lengths is None):
            return value_of(port, there)
        initial = value_of.standing(port, self.initial(position))
        if not 0 <= there < steps:
            return initial
        value = value_of(port, there)                                       # ahead: some sequences may have ended
        return torch.where((lengths > there).reshape(*lengths.shape, *(1,) * port.rank), value, initial.to(value.dtype))

    @property
    def scans(self) -> bool:
        """Whether `scan` gives all steps of a deterministic node that reads itself a step before, and of the others none but their values now."""
        if node_of(self.ports[0].name) != self.name or self._back[0] not in (1, -1):
            return False
        return not any(self._back[1:]) and not (self.starts or self._level) and isinstance(self.main, Parametric) and self.main.scans

    def scan(self, parents: Sequence[Tensor], steps: int, lengths: Tensor | None) -> Tensor:
        """The aligned values at all steps, from the parents' values there but for the node's own, and the aligned lengths of sequences."""
        return self.main.predictor.scan(self.initial(0), parents, self.axis, steps, backwards=self._back[0] < 0, lengths=lengths)

    # ---- all steps

    def prepare(self, *parents: Tensor, real: Tensor | None = None, steps: int | None = None) -> Steps:
        """What the parents determine; `steps` is needed where no parent is in the chain."""
        self._check(real)
        if not self._start_at and not any(self._back):
            main = self.main.prepare(*parents)
            return Steps((Piece(self.main, 0, steps or 0, main),), real)
        total = next((value.shape[axis] for value, axis, moves in zip(parents, self._axes, self._moves) if moves and value.shape[axis] > 1), steps or 1)
        pieces = [Piece(each, start, stop, each.prepare(*seen)) for each, seen, start, stop in self.spans(parents, total, real)]
        return Steps(tuple(pieces), real)

    def of_steps(self, prepared: Sequence[Any], real: Tensor | None) -> Steps | None:
        """What `prepare` gives for all steps, from what each step's conditional was prepared with; None where that cannot be told from them."""
        pieces = [Piece(each, start, stop, each.gathered(prepared[start:stop], self.axis)) for each, start, stop in self.cuts(len(prepared))]
        return None if any(piece.prepared is None for piece in pieces) else Steps(tuple(pieces), real)

    def spans(self, parents: Sequence[Tensor], total: int, real: Tensor | None = None) -> list[tuple[Conditional, list[Tensor], int, int]]:
        """The conditionals of consecutive steps, their parents shifted, and from where to where."""
        return [(each, self._seen(each, start, stop, parents, real), start, stop) for each, start, stop in self.cuts(total)]

    def cuts(self, total: int) -> list[tuple[Conditional, int, int]]:
        spans: list[tuple[Conditional, int, int]] = []
        first = min(len(self._start_at), total)
        for step in range(first):
            start = self.start(step)
            if spans and spans[-1][0] is start:
                spans[-1] = start, spans[-1][1], step + 1
            else:
                spans.append((start, step, step + 1))
        return [*spans, (self.main, first, total)] if first < total else spans

    def _seen(self, conditional: Conditional, start: int, stop: int, parents: Sequence[Tensor], real: Tensor | None) -> list[Tensor]:
        return [self.between(self._position[port.name], start, stop, parents[self._position[port.name]], real) for port in conditional.ports]

    def between(self, position: int, start: int, stop: int, value: Tensor, real: Tensor | None = None) -> Tensor:
        """A parent's values at the steps from `start` to `stop`, shifted where it lies back or ahead; `real` are the steps within the sequences."""
        axis, back = self._axes[position], self._back[position]
        if back < 0:
            return self._ahead(position, start, stop, value, real)
        if not self._moves[position]:
            return value
        if start >= back:
            return value if value.shape[axis] == 1 and stop - start > 1 else value.narrow(axis, start - back, stop - start)
        initial, missing = self.initial(position), min(back, stop) - start
        shape = list(value.shape)
        shape[axis] = missing
        before = initial.to(value.dtype).expand(shape)
        if stop <= back:
            return before
        return torch.cat([before, value.narrow(axis, start + missing - back, stop - start - missing)], axis)

    def _ahead(self, position: int, start: int, stop: int, value: Tensor, real: Tensor | None) -> Tensor:
        axis, ahead, initial = self._axes[position], -self._back[position], self.initial(position).to(value.dtype)
        if real is not None:
            value = torch.where(real.reshape(*real.shape, *(1,) * self.ports[position].rank), value, initial)
        total = value.shape[axis]
        first, last = min(start + ahead, total), min(stop + ahead, total)
        shape = list(value.shape)
        shape[axis] = stop - start - (last - first)
        return torch.cat([value.narrow(axis, first, last - first), initial.expand(shape)], axis)

    # ---- the direct path

    def draw(self, batch: Sequence[int], prepared: Steps, noise: Noise) -> Tensor:
        drawn = []
        for piece in prepared.pieces:
            shape = list(batch)
            if len(prepared.pieces) > 1:
                shape[len(batch) + self.axis] = piece.stop - piece.start
            drawn.append(piece.conditional.draw(shape, piece.prepared, noise))
        return drawn[0] if len(drawn) == 1 else torch.cat(drawn, self.axis - len(self.variable.shape))

    def value(self, prepared: Steps) -> Tensor:
        """The value of a deterministic node."""
        found = [piece.conditional.value(piece.prepared) for piece in prepared.pieces]
        if len(found) == 1:
            return found[0]
        axis, event = self.axis - len(self.variable.shape), len(self.variable.shape)
        batch = broadcast(*(tuple(1 if i == len(each.shape) + axis else n for i, n in enumerate(each.shape[: each.ndim - event])) for each in found))
        return torch.cat([_spread(each, batch, piece, axis, event) for each, piece in zip(found, prepared.pieces)], axis)

    def surprisals(self, value: Tensor, prepared: Steps) -> Tensor:
        if len(prepared.pieces) == 1 and prepared.pieces[0].conditional.elements == self.elements:
            found = prepared.pieces[0].conditional.surprisals(value, prepared.pieces[0].prepared)
        else:
            found = torch.cat([self._surprisals(value, piece) for piece in prepared.pieces], self.axis - self.elements)
        return found if prepared.real is None else torch.where(prepared.real.reshape(*prepared.real.shape, *(1,) * self.elements), found, 0.0)

    def _surprisals(self, value: Tensor, piece: Piece) -> Tensor:
        own, event = piece.conditional.elements, len(self.variable.shape)
        here = value.narrow(self.axis - event, piece.start, piece.stop - piece.start)
        found, shape = piece.conditional.surprisals(here, piece.prepared), tuple(here.shape[: value.ndim - event + own])
        found = found if found.shape == shape else found.expand(broadcast(found.shape, shape))
        return found if own == self.elements else found.sum(tuple(range(self.elements - own, 0)))

    def divergences(self, prepared: Steps, other: Conditional, other_prepared: Steps) -> Tensor | None:
        if not isinstance(other, Chained) or [(p.start, p.stop) for p in prepared.pieces] != [(p.start, p.stop) for p in other_prepared.pieces]:
            return None
        if any(piece.conditional.elements != self.elements for piece in prepared.pieces):
            return None
        found = [q.conditional.divergences(q.prepared, p.conditional, p.prepared) for q, p in zip(prepared.pieces, other_prepared.pieces)]
        if any(term is None for term in found):
            return None
        if len(found) > 1:
            axis = self.axis - self.elements
            batch = broadcast(*(tuple(1 if i == term.ndim + axis else n for i, n in enumerate(term.shape)) for term in found))
            found = [torch.cat([_spread(term, batch, piece, axis, 0) for term, piece in zip(found, prepared.pieces)], axis)]
        real = prepared.real if prepared.real is not None else other_prepared.real
        return found[0] if real is None else torch.where(real.reshape(*real.shape, *(1,) * self.elements), found[0], 0.0)

    # ---- the Pyro program

    def forward(self, *parents: Tensor, validate_args: bool | None = None) -> dist.TorchDistribution:
        """The distribution at a step whose parents exist, from their values: those of lagged parents as they are."""
        return self.main(*parents, validate_args=validate_args)

    def parameters_of(self, *parents: Tensor) -> Mapping[str, Tensor]:
        return self.main.parameters_of(*parents)


def _spread(value: Tensor, batch: Sequence[int], piece: Piece, axis: int, event: int) -> Tensor:
    """A piece's value with its steps and common other dimensions."""
    shape = [*batch, *value.shape[value.ndim - event:]] if event else list(batch)
    shape[len(shape) + axis] = piece.stop - piece.start
    return value.expand(shape)
