"""The expectation step: expected counts and weighted cases of every node, by exact elimination."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..compile import Model
from ..exact import Cells, Engine, Evidence, Obstacle, Seen, obstacle, see
from ..graph import GraphError
from .integration import IntegratedExpectation
from .learners import Learner
from .samples import Samples, samples_of
from .statistics import Statistics, check_possible
from .tables import count_samples, is_table, table_shape

__all__ = ["Expectation", "expectation_of"]

ROWS = 4096                                             # rows whose posteriors are held at once


@dataclass(frozen=True, eq=False)
class Piece:
    """Rows that observe the same nodes, and what is asked about each node that is no table: its hidden relatives."""

    evidence: Evidence
    weight: Tensor
    rows: Tensor
    hidden: Mapping[str, tuple[str, ...]]


class Expectation:
    """The expectation step of one model on one data set; the rows are grouped once."""

    def __init__(self, model: Model, seen: Seen, weights: Tensor | None, learning: Sequence[Learner], memory: int):
        self.model, self.sizes = model, model.layout.sizes(seen.columns)
        self.engine = Engine(model, memory=memory)
        learned = [name for one in learning for name in one.names]
        self.tabular = [name for name in learned if is_table(model, name) and self.engine.factors.tabular(name)]
        self.sampled = [name for name in learned if name not in self.tabular]
        self.counted = [name for name in self.sampled if is_table(model, name)]
        weight = torch.ones(seen.rows, dtype=torch.float64) if weights is None else weights
        self.weight = weight.to(model.device)
        self.pieces = [piece for rows, evidence in seen.groups(self.engine) for piece in self._pieces(rows, evidence)]

    def _pieces(self, rows: Tensor, evidence: Evidence) -> Iterator[Piece]:
        hidden = {name: found for name in self.sampled if (found := self._hidden(name, evidence)) is not None}
        for start in range(0, evidence.rows, ROWS):
            part = slice(start, min(start + ROWS, evidence.rows))
            yield Piece(evidence if evidence.rows <= ROWS else evidence.part(part), self.weight[rows[part]], rows[part], hidden)

    def _hidden(self, name: str, evidence: Evidence) -> tuple[str, ...] | None:
        """The hidden nodes among a node and its parents; None where the evidence says nothing about it."""
        seen = {*evidence.values, *evidence.soft}
        if name not in seen and name not in self.model.net.dag.ancestors(*seen):
            return None
        around = dict.fromkeys((*self.engine.factors.sources(name), name))
        return tuple(one for one in around if one not in evidence.values and one in self.model.conditionals)

    def __call__(self) -> Statistics:
        """Expected statistics at the model's parameters.

        Raises:
            GraphError: rows that are impossible at these parameters.
        """
        found = Statistics()
        tables = {name: self.engine.factors.table(name).detach().requires_grad_() for name in self.tabular}
        found.counts = {name: torch.zeros(table_shape(self.model, name), dtype=torch.float64, device=self.model.device) for name in (*self.tabular, *self.counted)}
        found.samples = {name: [] for name in self.sampled if name not in self.counted}
        self.engine.factors.hold(tables)
        try:
            for piece in self.pieces:
                self._add(found, piece, tables)
        finally:
            self.engine.factors.hold({})
        return found

    def _add(self, found: Statistics, piece: Piece, tables: Mapping[str, Tensor]) -> None:
        queries = tuple(dict.fromkeys(names for names in piece.hidden.values() if names))
        with torch.enable_grad():
            answer = self.engine.answer(piece.evidence, queries)
            check_possible(answer.log_evidence, piece.weight, piece.rows)
            total = (piece.weight * answer.log_evidence).sum()
            gradients = torch.autograd.grad(total, list(tables.values()), allow_unused=True) if tables and total.requires_grad else [None] * len(tables)
        found.log_likelihood += float(total.detach())
        for (name, table), gradient in zip(tables.items(), gradients):      # theta d log Z / d theta are the expected counts (Darwiche, 2003)
            if gradient is not None:
                found.counts[name] += (table.detach() * gradient).reshape(found.counts[name].shape)
        for name, hidden in piece.hidden.items():
            for samples in self._samples(name, hidden, piece, answer.marginals[hidden].detach() if hidden else None):
                if name in self.counted:
                    found.counts[name] += count_samples(self.model.conditionals[name], samples)
                else:
                    found.samples[name].append(samples)

    def _samples(self, name: str, hidden: Sequence[str], piece: Piece, posterior: Tensor | None) -> Iterator[Samples]:
        """The cases of a node: one copy of the rows for each joint state of its hidden relatives, weighted by that state's probability."""
        net, values, count = self.model.net, piece.evidence.values, piece.evidence.rows
        states = [net[one].space.cardinality for one in hidden]
        for position in range(math.prod(states)):
            weight, filled, rest = piece.weight, dict(values), position
            if posterior is not None:
                weight = weight * posterior.reshape(count, -1)[:, position].double()
            for one, size in zip(reversed(hidden), reversed(states)):
                rest, code = divmod(rest, size)
                filled[one] = self._constant(one, code, count)
            self._compute(name, filled)
            yield samples_of(self.model, name, filled, weight, self.sizes, piece.evidence.gaps)

    def _constant(self, name: str, code: int, count: int) -> Tensor:
        anchor, integer = self.model.anchor, self.model.net[name].space.integer
        value = torch.full((count,), code, dtype=torch.long if integer else anchor.dtype, device=anchor.device)
        return self.model.layout.align(name, value)

    def _compute(self, name: str, values: dict[str, Tensor]) -> None:
        """Adds the deterministic parents of a node."""
        above = {name, *self.model.net.dag.ancestors(name)}
        for node in self.model.schedule:
            if node.deterministic and node.name in above and all(parent in values for parent in node.parents):
                values[node.name] = self.model.compute(node, values, self.sizes)


def expectation_of(
    work: Model, data: Mapping[str, Any], found: Cells, weights: Tensor | None, learning: Sequence[Learner], memory: int,
) -> Expectation | IntegratedExpectation:
    """By sums along cliques where what is hidden is finite, else by sums and integrals."""
    if all(_is_simple(work, name, hole) for name, hole in found.holes.items()):
        seen = see(work, data)
        if obstacle(work, seen) is None:
            return Expectation(work, seen, weights, learning, memory)
    try:
        if work.net.plates:
            raise GraphError("estimate: nodes in plates are hidden; train by gradient: dgm.fit(dgm.MaximumLikelihood(model), data)")
        return IntegratedExpectation(work, Cells(_double(found), found.holes, found.empty), weights, learning, memory)
    except Obstacle as met:
        raise GraphError(
            f"estimate: node {met.name!r} ~ {work.net[met.name].summary} has {'missing cells' if met.name in found else 'no data'} and cannot be eliminated exactly: {met.reason}; "
            f"{'drop these rows' if met.name in found else f'give a column {met.name!r}'}, or bound the likelihood: "
            f"dgm.ELBO(model, dgm.compile(dgm.amortize(net, observed={list(found)})))"
        ) from met


def _is_simple(model: Model, name: str, hole: Tensor) -> bool:
    """Whether cells are missing of a single value, or of a node that nothing depends on and whose elements stand alone or are missing as a whole."""
    joint = len(model.net[name].shape) - model.conditionals[name].elements
    if joint and not bool((hole.flatten(-joint).any(-1) == hole.flatten(-joint).all(-1)).all()):
        return False
    return not model.net.dag.children(name) if model.net[name].shape or model.net.plates_of(name) else hole.ndim == 1


def _double(columns: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.double() if value.is_floating_point() else value for name, value in columns.items()}
