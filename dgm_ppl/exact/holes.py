"""Evidence in which some cells may be missing: read once, then grouped by what is observed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy
import torch
from torch import Tensor

from ..data import columns
from ..graph import GraphError
from .cells import missing_cells
from .factors import Compiled, Evidence
from .soft import take_soft

__all__ = ["Seen", "see"]

PATTERNS = 16                                       # so many plans are made without a thought
ROWS = 64                                           # and more only if each serves so many rows
CHEAP = 2000                                        # states that are not worth a group of their own
PLAN = 10_000_000                                   # products that take as long as finding and making one more plan, and calling its steps
TRIED = 6                                           # columns of the large cliques that are tried


class Costed(Protocol):
    """What says how many states a pattern of evidence takes, and each hidden node's cliques: an engine."""

    def load(self, observed: Collection[str], soft: Collection[str]) -> tuple[int, Mapping[str, int]]: ...


@dataclass(frozen=True, eq=False)
class Seen:
    """Encoded evidence: the columns that are complete, those with holes, where any legal value stands, and likelihoods `(*worlds, states)`.

    `partial` are single values `(rows)` with `holes` `(rows)`. `leaves` are the columns of real, vector-valued or repeated nodes that
    nothing depends on, with `gaps` of their shape: a missing cell there integrates to one, so that its term is left out. `empty` are columns of missing cells alone.
    """

    model: Compiled
    complete: Mapping[str, Tensor]
    partial: Mapping[str, Tensor]
    holes: Mapping[str, Tensor]
    leaves: Mapping[str, Tensor] = field(default_factory=dict)
    gaps: Mapping[str, Tensor] = field(default_factory=dict)
    empty: tuple[str, ...] = ()
    soft: Mapping[str, Tensor] = field(default_factory=dict)
    blank: tuple[int, ...] = ()                                             # the worlds of data in which all cells are missing

    @property
    def columns(self) -> dict[str, Tensor]:
        """Every column of values, in the user's layout."""
        return {**self.complete, **self.partial, **self.leaves}

    @cached_property
    def worlds(self) -> tuple[int, ...]:
        found = self.model.layout.worlds(self.columns)
        if self.columns.keys() <= {*self.model.net.inputs}:                # these may lack rows
            found = found or next((tuple(value.shape[:-1]) for value in self.soft.values() if value.ndim > 1), ())
        for name, value in self.soft.items():
            worlds = tuple(value.shape[:-1])
            if worlds and worlds != found:
                raise GraphError(f"data: the likelihood of {name!r} has the worlds {worlds}, other evidence has {found}; expected the same rows, or one likelihood for all of them")
        return found or (self.blank if self.columns.keys() <= {*self.model.net.inputs} else ())

    @cached_property
    def rows(self) -> int:
        return torch.Size(self.worlds).numel()

    def groups(self, engine: Costed) -> Iterator[tuple[Tensor, Evidence]]:
        """Rows with their evidence, those together that observe the same nodes.

        Where that would make too many groups, rows are told apart by the columns that make the cliques small, as a tree of decisions, and
        other cells with holes are likelihoods, which are one for every state where the cell is missing.
        """
        if not (self.holes or self.gaps):
            yield torch.arange(self.rows, device=self.model.anchor.device), Evidence(self._aligned(self.columns), self._spread(), self.rows)
            return
        everything, gaps, spread = self._aligned(self.columns), self._gaps(), self._spread()
        for rows, seen, hazy in self._told_apart(engine):
            part = (lambda value: value) if len(rows) == self.rows else (lambda value: value[rows])
            left_out = {name: part(gap) for name, gap in gaps.items()}
            values = {name: part(value) for name, value in everything.items() if name not in self.holes or name in seen}
            soft = {name: self._likelihood(name, part(everything[name]), part(self.holes[name])) for name in hazy}
            gone = {name for name, gap in left_out.items() if bool(gap.all())}
            yield rows, Evidence(
                {name: value for name, value in values.items() if name not in gone}, soft | {name: part(value) for name, value in spread.items()}, len(rows),
                {name: gap for name, gap in left_out.items() if name not in gone and bool(gap.any())},
            )

    def _spread(self) -> dict[str, Tensor]:
        """The likelihoods with one dimension of rows."""
        return {name: value.expand(*self.worlds, value.shape[-1]).reshape(self.rows, -1) for name, value in self.soft.items()}

    def _told_apart(self, engine: Costed) -> Iterator[tuple[Tensor, set[str], list[str]]]:
        """Groups of rows, with the columns of holes that all of them have, and those that only some of them have."""
        finite = [name for name in self.holes if self.model.net[name].space.cardinality is not None]          # of a real value there is no likelihood of states
        whole = self._is_split(engine, finite)
        for rows, gone in self._split(tuple(name for name in self.holes if whole or name not in finite)):
            seen = {name for name in self.holes if (whole or name not in finite) and name not in gone}
            if whole:
                yield rows, seen, []
            else:
                yield from self._tree(engine, rows, seen, finite)

    def _is_split(self, engine: Costed, finite: Sequence[str]) -> bool:
        """Whether each pattern is a group: where many rows share it, or where a plan for all of them would be dear."""
        patterns = self._patterns(tuple(self.holes))
        if patterns > PATTERNS or patterns * ROWS <= self.rows:
            return patterns <= PATTERNS
        return engine.load([name for name in self.columns if name not in finite], finite)[0] > CHEAP

    def _tree(self, engine: Costed, rows: Tensor, seen: set[str], hazy: Sequence[str]) -> Iterator[tuple[Tensor, set[str], list[str]]]:
        """Rows told apart by one column after the other, each time the one that saves most, while that is worth another plan."""
        waiting, given = [(rows, seen, list(hazy))], [name for name in self.columns if name not in self.holes]
        while waiting:
            rows, seen, hazy = waiting.pop()
            hazy = [name for name in hazy if bool(self.holes[name][rows].any())]
            seen = seen | {name for name in self.holes if not bool(self.holes[name][rows].any())}
            name = self._worth(engine, rows, [*given, *seen], hazy) if len(rows) > ROWS else None
            if name is None:
                yield rows, seen, hazy
                continue
            missing, left = self.holes[name][rows], [other for other in hazy if other != name]
            waiting += [(rows[missing], seen, left), (rows[~missing], seen | {name}, left)]

    def _worth(self, engine: Costed, rows: Tensor, seen: Sequence[str], hazy: Sequence[str]) -> str | None:
        """The column of the large cliques that is best told apart; None where that saves less than a plan costs."""
        soft = list(self.soft)
        states, weights = engine.load(seen, [*hazy, *soft])
        if states * len(rows) < 2 * PLAN:
            return None
        costs = {}
        for name in sorted(set(hazy) & weights.keys(), key=lambda name: (-weights[name], name))[:TRIED]:
            left, share = [*(other for other in hazy if other != name), *soft], float(self.holes[name][rows].double().mean())
            costs[name] = (1 - share) * engine.load([*seen, name], left)[0] + share * engine.load(seen, left)[0]
        best = min(costs, key=costs.__getitem__, default=None)
        return best if best is not None and (states - costs[best]) * len(rows) > PLAN else None

    def _split(self, names: Sequence[str]) -> Iterator[tuple[Tensor, set[str]]]:
        """The rows of each pattern of holes in some columns, and the columns that they lack."""
        if not names:
            yield torch.arange(self.rows, device=self.model.anchor.device), set()
            return
        patterns, member = self._numbered(names).unique(return_inverse=True)
        for position in range(len(patterns)):
            rows = (member == position).nonzero().squeeze(1)
            yield rows, {name for name in names if bool(self.holes[name][rows[0]])}

    def _patterns(self, names: Sequence[str]) -> int:
        return len(self._numbered(names).unique()) if names else 1

    def _numbered(self, names: Sequence[str]) -> Tensor:
        """A number for each row that tells its pattern of holes in some columns."""
        code = torch.zeros(self.rows, dtype=torch.long, device=self.model.anchor.device)
        for place, name in enumerate(names, start=1):
            code = code.mul_(2).add_(self.holes[name])
            if place % 40 == 0:                                             # before the bits run out
                code = code.unique(return_inverse=True)[1]
        return code

    def left_out(self) -> dict[str, Tensor]:
        """Which of the terms of the leaves are left out, `(*worlds, *plates, *elements)`, aligned."""
        return {name: _terms(self.model, name, gone) for name, gone in self.model.layout.align_all(self.gaps).items()}

    def _gaps(self) -> dict[str, Tensor]:
        """The same with one dimension of rows."""
        return {name: _terms(self.model, name, gone) for name, gone in self._aligned(self.gaps).items()}

    def _aligned(self, columns: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Aligned values with one dimension of rows."""
        layout, count, worlds = self.model.layout, self.rows, self.worlds
        found = {}
        for name, value in layout.align_all(columns).items():
            inner = value.shape[value.ndim - layout.rank - len(layout.events[name]):]
            found[name] = value.expand((*worlds, *inner)).reshape(count, *inner)
        return found

    def _likelihood(self, name: str, value: Tensor, missing: Tensor) -> Tensor:
        """One for the states that a row allows, `(rows, states)`."""
        states = torch.arange(self.model.net[name].space.cardinality, device=value.device).unsqueeze(1)
        allowed = (states == value.reshape(-1).long()) | missing
        return allowed.to(self.model.anchor.dtype).T                        # rows last, as elimination has them


def see(model: Compiled, data: Any) -> Seen:
    """Evidence checked and encoded; a missing cell is NaN or None, and a column of nothing else is no evidence.

    Raises:
        GraphError: what `encode` of the model raises; missing cells of inputs, or within a value whose elements hang together.
    """
    data, soft = take_soft(model, data if isinstance(data, Mapping) else columns(data))
    holes = {name: found for name, value in data.items() if name in model.net and (found := missing_cells(value)) is not None}
    kept = {name: value for name, value in data.items() if name not in holes or not holes[name].all()}
    leaves = [name for name in holes if name in kept and _is_leaf(model, name)]
    scalar = [name for name in holes if name in kept and name not in leaves and _is_scalar(model, name, holes[name])]
    filled = {name: _filled(model, name, value, holes[name]) if name in leaves or name in scalar else value for name, value in kept.items()}
    encoded = model.encode(filled)
    masks = {name: torch.as_tensor(holes[name], device=model.anchor.device) for name in (*scalar, *leaves)}
    return Seen(
        model, {name: value for name, value in encoded.items() if name not in masks}, {name: encoded[name] for name in scalar},
        {name: masks[name] for name in scalar}, {name: encoded[name] for name in leaves}, {name: masks[name] for name in leaves},
        tuple(name for name in data if name not in kept), soft, next((holes[name].shape for name in data if name not in kept and not model.net[name].shape and not model.net.plates_of(name)), ()),
    )


def _is_scalar(model: Compiled, name: str, holes: numpy.ndarray) -> bool:
    """Whether a random node has one value a row, that may therefore be missing in some."""
    return name in model.conditionals and not model.net[name].shape and not model.net.plates_of(name) and holes.ndim == 1


def _is_leaf(model: Compiled, name: str) -> bool:
    """Whether nothing depends on a random node, and it is not a single finite value, of which there is a table."""
    if name not in model.conditionals or model.net[name].is_deterministic or model.net.dag.children(name):
        return False
    return model.net[name].space.cardinality is None or bool(model.net[name].shape) or bool(model.net.plates_of(name))


def _terms(model: Compiled, name: str, gone: Tensor) -> Tensor:
    """Missing cells as missing terms: elements that share one are missing as a whole."""
    joint = _joint(model, name)
    return gone.flatten(-joint).all(-1) if joint else gone


def _joint(model: Compiled, name: str) -> int:
    """The number of event dimensions that share one term."""
    return len(model.net[name].shape) - model.conditionals[name].elements


def _filled(model: Compiled, name: str, value: Any, missing: numpy.ndarray) -> Any:
    """The column with a legal value in its holes."""
    joint = _joint(model, name)
    if joint:
        whole = missing.reshape(*missing.shape[: missing.ndim - joint], -1)
        if not (whole.any(-1) == whole.all(-1)).all() or whole.any(-1).all():
            raise GraphError(
                f"node {name!r} ~ {model.net[name].summary} has cells that are missing within a value, whose elements hang together; expected values that are "
                f"there or missing as a whole; drop these rows, or declare the elements as nodes of their own"
            )
        first = tuple(index[0] for index in numpy.nonzero(~whole.any(-1)))
    if isinstance(value, Tensor):
        held = torch.as_tensor(missing, device=value.device)
        return torch.where(held, value[first] if joint else value[~held][0], value)
    array = numpy.asarray(value)
    return numpy.where(missing, array[first] if joint else array[~missing][0], array)
