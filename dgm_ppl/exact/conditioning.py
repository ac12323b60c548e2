"""Conditioning: where cliques do not fit, the states of a few nodes are gone through one by one, and the answers added up (Pearl, 1988)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from math import prod

import torch
from torch import Tensor

from .factors import Evidence
from .plan import Plan
from .program import Program

__all__ = ["Conditioned", "certain", "cutset_of"]

TOGETHER = 4096                                         # rows and cases answered at once
CANDIDATES = 8                                          # nodes of the large cliques that are tried for the next place in the cutset
LONGEST = 24                                            # nodes of a cutset


class Conditioned:
    """A program in which the nodes of a cutset are observed, run for every state of them.

    log p(e) = log sum_c p(c, e), p(x | e) = sum_c p(c | e) p(x | c, e); the most probable states are those of the best case.
    """

    def __init__(self, program: Program, cards: Mapping[str, int], queries: Sequence[tuple[str, ...]], *, maximal: bool = False):
        self.maximal, self.program, self.cards, self.queries = maximal, program, dict(cards), tuple(queries)
        self.factors, self.plan, self.cells = program.factors, program.plan, program.cells
        self.cases = prod(self.cards.values())

    def with_tables(self, tables: Mapping[str, Tensor]) -> Conditioned:
        """The same where some tables are others."""
        return Conditioned(self.program.with_tables(tables), self.cards, self.queries)

    def answer(self, evidence: Evidence) -> tuple[Tensor, ...]:
        """log p(evidence), then the normalised answer to each query with the rows first."""
        best, mass, sums = None, 0.0, [0.0] * len(self.queries)
        for case in self._blocks(evidence.rows):
            logs, found = self._answer(evidence, case)                      # (rows, cases), then (rows, cases, *states)
            top = _finite(logs.detach().amax(1) if best is None else torch.maximum(best, logs.detach().amax(1)))
            weights, kept = _exp(logs - top[:, None]), 0.0 if best is None else _exp(best - top)
            mass = mass * kept + weights.sum(1)
            sums = [_scaled(total, kept) + (part * _fit(weights, part).to(part.dtype)).sum(1) for total, part in zip(sums, found)]
            best = torch.where(mass.detach() > 0, top, -torch.inf)
        possible = mass > 0
        safe = torch.where(possible, mass, 1.0)
        logs = torch.where(possible, safe.log() + _finite(best), -torch.inf)
        return logs, *(total / _fit(safe, total).to(total.dtype) for total in sums)

    def choose(self, evidence: Evidence, rows: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """A code of each node for each entry of `rows`, which says whose evidence it has, and the rows' logarithms."""
        logs = torch.cat([self.program.upwards(self._expanded(evidence, case))[1].reshape(evidence.rows, -1) for case in self._blocks(evidence.rows)], 1)
        total = logs.amax(1) if self.maximal else logs.logsumexp(1)
        weights = _exp(logs - _finite(logs.amax(1, keepdim=True)))
        weights = torch.where(weights.sum(1, keepdim=True) > 0, weights, 1.0)
        case = weights.argmax(1)[rows] if self.maximal else torch.multinomial(weights[rows], 1).squeeze(1)
        pairs, member = (rows * self.cases + case).unique(return_inverse=True)
        found = {name: torch.empty_like(rows) for name in (*self.plan.cards, *self.cards)}
        for start in range(0, len(pairs), self._together):
            pair = pairs[start:start + self._together]
            chosen = evidence.part(pair // self.cases).seen(self._values(pair % self.cases))
            here = ((member >= start) & (member < start + len(pair))).nonzero().squeeze(1)
            codes, _ = self.program.choose(chosen, member[here] - start)
            for name, code in codes.items():
                found[name][here] = code
            for name, code in self._codes(pair % self.cases).items():
                found[name][here] = code[member[here] - start]
        return found, total

    @property
    def _together(self) -> int:
        return max(1, min(TOGETHER, 24_000_000 // max(1, self.cells)))

    def _blocks(self, rows: int) -> Iterator[Tensor]:
        size, device = max(1, self._together // rows), self.factors.model.anchor.device
        for start in range(0, self.cases, size):
            yield torch.arange(start, min(start + size, self.cases), device=device)

    def _codes(self, case: Tensor) -> dict[str, Tensor]:
        """The state of each node of the cutset in some cases."""
        found = {}
        for name in reversed(self.cards):
            found[name], case = case % self.cards[name], case // self.cards[name]
        return found

    def _values(self, case: Tensor) -> dict[str, Tensor]:
        return {name: self.factors.aligned(name, code) for name, code in self._codes(case).items()}

    def _expanded(self, evidence: Evidence, case: Tensor) -> Evidence:
        """Every row with every case."""
        rows = torch.arange(evidence.rows, device=case.device).repeat_interleave(len(case))
        return evidence.part(rows).seen(self._values(case.repeat(evidence.rows)))

    def _answer(self, evidence: Evidence, case: Tensor) -> tuple[Tensor, list[Tensor]]:
        every = self._expanded(evidence, case)
        logs, *parts = self.program.answer(every)
        answers, found = dict(zip(self.program.queries, parts)), []
        for query in self.queries:
            left = tuple(name for name in query if name not in self.cards)
            part = answers[left] if left else (logs > -torch.inf).to(self.factors.model.anchor.dtype)
            found.append(certain(query, left, part, every.values, self.cards).unflatten(0, (evidence.rows, len(case))))
        return logs.reshape(evidence.rows, -1), found


def certain(query: Sequence[str], left: Sequence[str], part: Tensor, values: Mapping[str, Tensor], cards: Mapping[str, int]) -> Tensor:
    """A joint `(rows, *states)` of the nodes that are open, with certain states for the others of the query, which the rows observe."""
    for axis, name in enumerate(query, start=1):
        if name not in left:
            one = torch.nn.functional.one_hot(values[name].reshape(-1).long(), cards[name]).to(part.dtype)
            part = part.unsqueeze(axis) * one.reshape(len(part), *(1,) * (axis - 1), -1, *(1,) * (part.ndim - axis))
    return part


def cutset_of(plan: Plan, build: Callable[[Collection[str]], Plan], states: Callable[[Collection[str]], int], fits: Callable[[Plan, Collection[str]], bool], candidates: Collection[str], limit: int) -> tuple[tuple[str, ...], Plan | None]:
    """Nodes of the large cliques, one after the other, until the plan fits; None for the plan where that takes more than `limit` cases.

    The next is the one that makes the sum of states shrink most for the number of its own states.
    """
    chosen, cases, cards = (), 1, dict(plan.cards)
    while not fits(plan, chosen):
        scores = _weight(plan, candidates)
        near = [name for name in sorted(scores, key=scores.__getitem__, reverse=True)[:CANDIDATES] if cards[name] > 1]
        if not near or len(chosen) == LONGEST:
            return chosen, None
        name = min(near, key=lambda one: states({*chosen, one}) * cards[one] ** 0.5)
        chosen, cases = (*chosen, name), cases * cards[name]
        if cases > limit:
            return chosen, None
        plan = build(chosen)
    return chosen, plan


def _weight(plan: Plan, candidates: Collection[str]) -> dict[str, int]:
    """For each candidate the states of the cliques that it is in."""
    found: dict[str, int] = {}
    for clique in plan.cliques:
        for name in sorted(clique.scope):
            if name in candidates:
                found[name] = found.get(name, 0) + plan.tape.size(clique.scope)
    return found


def _finite(logs: Tensor) -> Tensor:
    return torch.where(logs.isinf(), 0.0, logs)


def _exp(logs: Tensor) -> Tensor:
    """exp, with no gradient where it is zero."""
    possible = logs > -torch.inf
    return torch.where(possible, torch.where(possible, logs, 0.0).exp(), 0.0)


def _fit(weights: Tensor, part: Tensor) -> Tensor:
    return weights.reshape(*weights.shape, *(1,) * (part.ndim - weights.ndim))


def _scaled(total: Tensor | float, kept: Tensor | float) -> Tensor | float:
    return total * _fit(kept, total).to(total.dtype) if isinstance(kept, Tensor) else total
