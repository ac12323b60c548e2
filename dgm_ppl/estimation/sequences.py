"""Expectations on chains: what the hidden steps of sequences may have been, as weights of the cases of every conditional."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..compile import Model
from ..conditionals import Chained, Conditional
from ..exact import FiniteChain, Observed, Watched
from ..exact.hidden import hidden_chain
from ..exact.state_grid import StateGrid
from ..families.affine import GAUSSIAN
from ..families.shapes import broadcast
from ..graph import GraphError
from ..network import Chain
from .learners import Learner
from .places import parts_of
from .samples import Samples
from .statistics import Statistics, check_possible
from .tables import count_samples, is_table, table_shape

__all__ = ["SequenceExpectation", "check_chain"]

CELLS = 4_000_000                                       # numbers held at once


@dataclass(frozen=True, eq=False)
class Term:
    """A conditional at a run of steps, on the grid of the hidden nodes: its parents and value, and log p `(*axes, rows or 1, *plates)`, of which the gradient is asked.

    `there` says which elements are not missing, `(rows, *plates, *elements)`.
    """

    name: str
    conditional: Conditional
    parents: Sequence[Tensor]
    value: Tensor
    log: Tensor
    there: Tensor | None


class RecordedGrid(StateGrid):
    """A grid that keeps every term that is learned, in a form whose gradient can be asked."""

    def __init__(
        self, model: Model, chain: Chain, cards: Mapping[str, int], *, names: tuple[str, ...], outside: tuple[str, ...], clamped: tuple[str, ...], learned: Mapping[int, str],
        terms: list[Term],
    ):
        super().__init__(model, chain, cards, names=names, outside=outside, clamped=clamped)
        self.learned, self.terms = learned, terms

    def log(self, name: str, conditional: Conditional, parents: Sequence[Tensor], value: Tensor, holes: Tensor | None) -> Tensor:
        with torch.no_grad():
            log = super().log(name, conditional, parents, value, holes)
        if id(conditional) not in self.learned:
            return log
        event = len(self.net[name].shape)
        log = log.expand(broadcast(log.shape, value.shape[: value.ndim - event])).clone().requires_grad_()
        there = None
        if holes is not None and name not in self.cards:
            joint = event - conditional.elements
            there = ~(holes.flatten(-joint).any(-1) if joint else holes)
        self.terms.append(Term(self.learned[id(conditional)], conditional, parents, value, log, there))
        return log


class SequenceExpectation:
    """The expectation step of a net with a chain whose hidden nodes are finite.

    d log p(evidence) / d log p(one state of a term) is the posterior probability of that state (Darwiche, 2003; for a chain it is what Baum and
    Welch, 1970, get from forward and backward messages), so that one pass back gives the weights of all cases of all conditionals.

    Raises:
        GraphError: hidden nodes that cannot be summed out.
    """

    def __init__(self, model: Model, watched: Watched, weights: Tensor | None, learning: Sequence[Learner], memory: int):
        self.model = model
        names = [name for one in learning for name in one.names]
        self.terms: list[Term] = []
        learned = {id(part): name for name, part in parts_of(model).items() if name in names}
        seen = [name for name in watched.values if name in model.net]
        self.engine = FiniteChain(model, seen, watched.holes, memory=memory, grid=functools.partial(RecordedGrid, learned=learned, terms=self.terms))
        self.counted = [name for name in names if is_table(model, name)]
        self.sampled = [name for name in names if name not in self.counted]
        self.observed = watched.observed(self.engine.chain.name)
        weight = torch.ones(self.observed.rows, dtype=torch.float64) if weights is None else weights
        self.weight = weight.to(model.device)
        self.piece = max(1, CELLS // (max(self.observed.steps, 1) * self.engine.states**2))

    @property
    def complete(self) -> bool:
        """Whether nothing is hidden, so that one step is the optimum."""
        return not self.engine.names and not self.engine.outside

    def __call__(self) -> Statistics:
        """Expected statistics at the model's parameters.

        Raises:
            GraphError: sequences that are impossible at these parameters.
        """
        found = Statistics()
        found.counts = {name: torch.zeros(table_shape(self.model, name), dtype=torch.float64, device=self.model.device) for name in self.counted}
        found.samples = {name: [] for name in self.sampled}
        for start in range(0, self.observed.rows, self.piece):
            self._add(found, slice(start, min(start + self.piece, self.observed.rows)))
        return found

    def _add(self, found: Statistics, rows: slice) -> None:
        weight = self.weight[rows]
        with torch.enable_grad():
            logs = self.engine.log_evidence(_rows(self.observed, rows))
            check_possible(logs.detach(), weight, torch.arange(rows.start, rows.stop, device=weight.device))
            total = (weight * torch.where(weight > 0, logs, 0.0)).sum()
            terms = list(self.terms)
            self.terms.clear()
            posteriors = torch.autograd.grad(total, [term.log for term in terms], allow_unused=True) if terms else ()
        found.log_likelihood += float(total.detach())
        for term, posterior in zip(terms, posteriors):
            if posterior is None:
                continue
            if term.name in self.counted:
                found.counts[term.name] += count_samples(term.conditional, _cases(term, posterior.double(), ()))
            else:
                found.samples[term.name] += [case for case in self._by_state(term, posterior.double()) if len(case.weight)]

    def _by_state(self, term: Term, posterior: Tensor) -> Iterator[Samples]:
        """The cases for each state of the hidden nodes, without those that have no weight: behind the end of a sequence, or missing."""
        for place in itertools.product(*map(range, posterior.shape[: 2 * len(self.engine.names) + len(self.engine.outside)])):
            case = _cases(term, posterior, place)
            kept = case.weight > 0 if case.there is None else (case.weight > 0) & case.there.reshape(len(case.weight), -1).any(1)
            yield Samples([parent[kept] for parent in case.parents], case.value[kept], case.weight[kept], None if case.there is None else case.there[kept])


def _cases(term: Term, posterior: Tensor, place: tuple[int, ...]) -> Samples:
    """The cases of a term at one place of the grid, or at all."""

    def flat(value: Tensor, inner: int) -> Tensor:
        event = value.shape[value.ndim - inner:]
        value = value.reshape(*(1,) * (posterior.ndim + inner - value.ndim), *value.shape)
        for axis, size in enumerate(posterior.shape):
            if size == 1 < value.shape[axis]:
                value = value.narrow(axis, 0, 1)                            # what log p does not depend on
        value = value.expand(*posterior.shape, *event)[place]
        return value.reshape(math.prod(posterior.shape[len(place):]), *event)

    conditional = term.conditional
    parents = [flat(parent, port.rank) for parent, port in zip(term.parents, conditional.ports)]
    there = None if term.there is None else flat(term.there, conditional.elements)
    return Samples(parents, flat(term.value, len(conditional.variable.shape)), flat(posterior, 0), there)


def _rows(observed: Observed, rows: slice) -> Observed:
    """Some rows of the evidence."""
    if rows == slice(0, observed.rows):
        return observed

    def part(value: Tensor) -> Tensor:
        return value[rows] if len(value) == observed.rows else value

    return Observed({name: part(value) for name, value in observed.values.items()}, {name: part(hole) for name, hole in observed.holes.items()}, rows.stop - rows.start, observed.steps)


# ---- what is refused


def check_chain(model: Model, watched: Watched, given: Sequence[str]) -> None:
    """Raises GraphError where sequences cannot be estimated from."""
    net, mend = model.net, "climb the exact likelihood instead: dgm.fit(dgm.MaximumLikelihood(model), data)"
    if len(net.chains) > 1:
        raise GraphError(f"estimate: expected one chain; got {list(net.chains)}; {mend}")
    for name in given:
        if name in net and name not in watched.values:
            raise GraphError(f"estimate: node {name!r}: every cell of its column is missing; give some values, or leave the column out, which makes {name!r} latent")
    for name in model.random:
        conditional = model.conditionals[name]
        if isinstance(conditional, Chained) and len(conditional.initials):
            raise GraphError(f"estimate: node {name!r}: what stands before the first step is learned (initial=dgm.free()), which has no step of its own; {mend}")
    hidden, _ = hidden_chain(model, [name for name in watched.values if name in net], watched.holes)
    gaussian = [name for name in hidden if net[name].family in GAUSSIAN]
    if gaussian:
        raise GraphError(f"estimate: node {gaussian[0]!r} ~ {net[gaussian[0]].summary} is hidden; in a chain finite nodes are summed out by EM; {mend}")
