"""Expectation maximisation: expected counts and weighted cases of every node, by exact elimination."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from ..compile import Model
from ..exact import Cells, Engine, Evidence, Obstacle, Seen, obstacle, see, watch
from ..graph import GraphError
from .integration import IntegratedExpectation
from .learners import Learner, learners
from .priors import TablePrior
from .regressions import Regression
from .samples import Samples, samples_of
from .sequences import SequenceExpectation
from .statistics import Statistics, check_possible
from .tables import Tables, count_samples, is_table, table_shape

__all__ = ["EM", "Ascent", "ascend", "ascend_sequences", "check_learnable"]

ROWS = 4096                                             # rows whose posteriors are held at once


@dataclass(frozen=True)
class EM:
    """Expectation maximisation (Dempster, Laird and Rubin, 1977), with exact expectations; the likelihood never falls.

    It ends when a step gains less than `tolerance` nats a row, or after `steps`; Ctrl-C ends it after the current step. It starts
    from the model as it is, so that a second call goes on where the first ended. Where nodes are latent in every row, `restarts`
    random starts are tried for a few steps each, and the best is followed (Biernacki, Celeux and Govaert, 2003).

    Args:
        steps: the most steps.
        tolerance: nats a row.
        restarts: random starts beside the model's own parameters; 0 keeps to these.
        seed: of the random starts; the global generator stays as it was.
        smallest_scale: scales of normal nodes stay above this share of their column's standard deviation, as the likelihood
            of a component on a single row has no bound.
        memory: the bytes that eliminating one row may take at most.
    """

    steps: int = 1000
    tolerance: float = 1e-7
    restarts: int = 0
    seed: int = 0
    smallest_scale: float = 1e-3
    memory: int = 2**31

    def __post_init__(self) -> None:
        for name, least in (("steps", 1), ("restarts", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise GraphError(f"EM: expected a whole number from {least} for {name}; got {value!r}")
        for name in ("tolerance", "smallest_scale"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= value < math.inf:
                raise GraphError(f"EM: expected a number that is not negative for {name}; got {value!r}")


@dataclass(frozen=True)
class Ascent:
    """Where it ended: log p of all rows in nats, the objective a row at each step, why it stopped, and the last statistics."""

    statistics: Statistics
    history: tuple[float, ...]
    stopped: str


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


def check_learnable(model: Model, found: Iterable[str]) -> None:
    """Raises GraphError where a node has nothing to be learned from."""
    found = [name for name in found if name in model.net]
    above = set(model.net.ancestors(*found)) if found else set()
    for name in model.random:
        if name not in found and name not in above and next(model.conditionals[name].parameters(), None) is not None:
            raise GraphError(
                f"estimate: node {name!r} has no data, and nothing that was observed depends on it, so nothing can be learned about it; give a column {name!r}, or leave the "
                f"node out: net.remove({name!r})"
            )


def ascend(model: Model, data: Mapping[str, Any], found: Cells, weights: Tensor | None, prior: TablePrior | Mapping[str, TablePrior] | None, method: EM) -> Ascent:
    """Climbs from the model's own parameters, or from the best of some starts; the model's parameters are changed in place.

    Raises:
        GraphError: hidden nodes that cannot be eliminated exactly.
    """
    work = copy.deepcopy(model).double()
    learning = learners(work, prior, method.smallest_scale)
    expectation = _expectation(work, data, found, weights, learning, method.memory)
    total = float(expectation.weight.sum())
    _start(work, learning, expectation, method, total)
    reached = _climb(expectation, learning, total, method.steps, method.tolerance)
    _copy(work, model)
    return reached


def ascend_sequences(model: Model, data: Mapping[str, Any], weights: Tensor | None, prior: TablePrior | Mapping[str, TablePrior] | None, method: EM) -> Ascent:
    """The same from sequences; one step is the optimum where nothing is hidden."""
    work = copy.deepcopy(model).double()
    learning = learners(work, prior, method.smallest_scale)
    expectation = SequenceExpectation(work, watch(work, data), weights, learning, method.memory)
    total = float(expectation.weight.sum())
    if expectation.complete:
        maximise(learning, expectation())
        reached = Ascent(expectation(), (), "closed form")
    else:
        _start(work, learning, expectation, method, total)
        reached = _climb(expectation, learning, total, method.steps, method.tolerance)
    _copy(work, model)
    return reached


def _expectation(
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


def _climb(expectation: Expectation | IntegratedExpectation | SequenceExpectation, learning: Sequence[Learner], total: float, steps: int, tolerance: float) -> Ascent:
    history: list[float] = []
    stopped = "steps"
    try:
        while True:
            statistics = expectation()
            penalty = sum(one.penalty() for one in learning if isinstance(one, Tables))
            history.append((statistics.log_likelihood + penalty) / total)
            if len(history) > 1 and history[-1] - history[-2] < tolerance:
                stopped = "convergence"
                break
            if len(history) > steps:
                break
            maximise(learning, statistics)
    except KeyboardInterrupt:
        if not history:
            raise
        stopped = "interrupted"
    return Ascent(statistics, tuple(history), stopped)


def maximise(learning: Sequence[Learner], statistics: Statistics) -> None:
    """The maximisation step: every node's own optimum."""
    for one in learning:
        if isinstance(one, Tables):
            one.update(statistics.counts)
        else:
            samples = [case for name in one.names for case in statistics.samples[name]]
            if samples and any(bool((case.weight > 0).any()) for case in samples):
                one.update(samples)


# ---- starts


def _start(model: Model, learning: Sequence[Learner], expectation: Expectation | IntegratedExpectation | SequenceExpectation, method: EM, total: float, short: int = 10) -> None:
    """The model with the best of the starts, each climbed for a few steps."""
    if not method.restarts:
        return
    generator = torch.Generator().manual_seed(method.seed)
    best, kept = -math.inf, None
    for start in range(method.restarts + 1):
        if start:
            scatter(learning, expectation, generator)
        reached = _climb(expectation, learning, total, short, 0.0).history[-1]
        if kept is None or reached > best:
            best, kept = reached, copy.deepcopy(model.state_dict())
    model.load_state_dict(kept)


def scatter(learning: Sequence[Learner], expectation: Expectation | IntegratedExpectation | SequenceExpectation, generator: torch.Generator) -> None:
    """Random parameters: rows of tables drawn from a Dirichlet, other nodes fitted to a few cases for each hidden state, far from those of the others."""
    statistics = expectation()
    for one in learning:
        if isinstance(one, Tables):
            draws = torch.empty(3, *one.shape, dtype=torch.float64).exponential_(generator=generator).sum(0)
            one.fill((draws / draws.sum(-1, keepdim=True)).to(expectation.model.device))
            continue
        wide = replace(one, smallest=1.0) if isinstance(one, Regression) else one
        samples = _scattered([case for name in one.names for case in statistics.samples[name]], wide.needed if isinstance(wide, Regression) else 4, generator)
        if samples:
            wide.update(samples)


def _scattered(cases: Sequence[Samples], needed: int, generator: torch.Generator) -> list[Samples]:
    """As few of each state's cases as tell coefficients, the first drawn by the squared distance to those before (k-means++, Arthur and Vassilvitskii, 2007)."""
    found, centres = [], []
    for case in cases:
        value = case.value.reshape(len(case.value), -1).double().cpu()
        nearest = torch.stack([(value - centre).square().sum(1) for centre in centres]).amin(0) if centres else torch.ones(len(value))
        first = torch.multinomial(nearest.clamp_min(1e-12 * (1 + nearest.max())), 1, generator=generator)
        centres.append(value[first])
        chosen = torch.cat([first, torch.randperm(len(value), generator=generator)[: needed - 1]]).to(case.value.device)
        there = None if case.there is None else case.there[chosen]
        found.append(Samples([parent[chosen] for parent in case.parents], case.value[chosen], torch.ones(len(chosen), dtype=torch.float64, device=case.value.device), there))
    return found


def _double(columns: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.double() if value.is_floating_point() else value for name, value in columns.items()}


def _copy(work: Model, model: Model) -> None:
    with torch.no_grad():
        for own, found in zip(model.parameters(), work.parameters()):
            own.copy_(found)
