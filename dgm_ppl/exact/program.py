"""A plan with the steps for some answers, run on rows of evidence."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor

from .descent import descend
from .factors import Evidence, Factors
from .few_rows import FEW, Single
from .plan import Plan
from .tape import Step, run

__all__ = ["Program"]


class Program:
    """A plan with the steps for some answers, and how its leaves get their numbers.

    One row holds `cells` numbers at any time, beside `constants` that are the same for every row. Where states are to be `chosen`, every
    value of the way up is kept.
    """

    def __init__(self, factors: Factors, plan: Plan, queries: Collection[tuple[str, ...]], *, chosen: bool = False):
        self.factors, self.plan, self.queries = factors, plan, tuple(queries)
        self.slots = [plan.marginal(query) for query in self.queries]
        self.static, self.batched = plan.split(plan.tape.steps)
        self.up_static, self.up_batched = plan.split(plan.tape.steps[: plan.upward])
        kept = plan.tape.slots if chosen else [*plan.roots, *self.slots]
        self._spent_static, self._spent = plan.spent(self.static, [*kept, *(slot for step in self.batched for slot in step.reads)]), plan.spent(self.batched, kept)
        self.constants, self.cells = plan.cells(self.static, self._spent_static, batched=False), plan.cells(self.batched, self._spent, batched=True)
        self.shapes = [[plan.cards[name] for name in query] for query in self.queries]
        self._sizes = [plan.tape.size(query) for query in self.queries]
        self.orders = [(*(slot.scope.index(name) for name in query), len(query)) for query, slot in zip(self.queries, self.slots)]
        leaves = list(zip(plan.leaves, plan.inputs))
        self._static_leaves, self._batched_leaves = ([pair for pair in leaves if pair[0].batched is batched] for batched in (False, True))
        self.fixed = all(factors.constant(leaf.node) for leaf in plan.leaves)
        self._fixed_constants = all(factors.constant(leaf.node) for leaf, _ in self._static_leaves)
        self._kept: dict[tuple, tuple[list, list[Tensor]]] = {}
        self._single: Single | None = None
        self._small = Single.fits(self)

    @property
    def bytes(self) -> int:
        """What answering one row takes."""
        return (self.cells + self.constants) * self.factors.model.anchor.element_size()

    def with_tables(self, tables: Mapping[str, Tensor]) -> Program:
        """The same steps where some tables p(node | parents) are others."""
        other = copy.copy(self)
        other.factors, other._kept, other._small, other.fixed, other._fixed_constants = self.factors.with_tables(tables), {}, False, False, False
        return other

    def answer(self, evidence: Evidence) -> tuple[Tensor, ...]:
        """log p(evidence), then the normalised answer to each query with the rows first."""
        if self._one_by_one(evidence):
            self._single = self._single or Single(self)
            return self._single.answer(evidence)
        values, scales, logs = self._filled(evidence, self.static)
        scales += run(self.batched, values, self._spent)
        logs = self._log_evidence(values, scales, logs, evidence.rows)
        return logs, *(self._normalised(values, logs) if self.slots else ())

    def _one_by_one(self, evidence: Evidence) -> bool:
        if not self._small or evidence.rows > FEW or self.factors.model.anchor.device.type != "cpu":
            return False
        return not torch.is_grad_enabled() or (self.fixed and not any(value.requires_grad for value in evidence.soft.values()))

    def upwards(self, evidence: Evidence) -> tuple[list, Tensor]:
        """All values of the way up, and the logarithm of what came out at the top."""
        values, scales, logs = self._filled(evidence, self.up_static)
        scales += run(self.up_batched, values, {})
        return values, self._log_evidence(values, scales, logs, evidence.rows)

    def choose(self, evidence: Evidence, rows: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """A code for each entry of `rows` `(n)`, which says whose evidence it has, and the logarithms `(rows)` of what came out at the top."""
        values, logs = self.upwards(evidence)
        return descend(self.plan, values, rows), logs

    def _filled(self, evidence: Evidence, static: Sequence[Step]) -> tuple[list, list[Tensor], list[Tensor]]:
        """The slots with the leaves and the constants in them, the constants' scales, and the log scales of the leaves."""
        values, scales = self._constants(static, evidence)
        logs = []
        for leaf, slot in self._batched_leaves:
            values[slot.index], log = self.factors.value(leaf, evidence)
            if log is not None:
                logs.append(log)
        return values, scales, logs

    def _constants(self, static: Sequence[Step], evidence: Evidence) -> tuple[list, list[Tensor]]:
        """What is the same for every row; computed once where nothing is learned."""
        key = (len(static), *self.factors.kind)
        if key in self._kept:
            values, scales = self._kept[key]
            return list(values), list(scales)
        values = [None] * len(self.plan.tape.slots)
        for leaf, slot in self._static_leaves:
            values[slot.index], _ = self.factors.value(leaf, evidence)
        scales = run(static, values, self._spent_static if static is self.static else {})
        if self._fixed_constants:
            self._kept[key] = list(values), list(scales)
        return values, scales

    def _log_evidence(self, values: list, scales: Sequence[Tensor], logs: Sequence[Tensor], rows: int) -> Tensor:
        anchor = self.factors.model.anchor
        total = torch.zeros(rows, dtype=torch.float64, device=anchor.device)
        for scale in scales:
            total = total + scale.double().log()
        for log in logs:
            total = total + log.double()
        for slot in self.plan.roots:
            total = total + _log(values[slot.index].reshape(-1).double())
        return total

    def _normalised(self, values: list, logs: Tensor) -> list[Tensor]:
        """The answers as probabilities, all at once; zero where the evidence is impossible."""
        parts = [values[slot.index].permute(order).reshape(size, -1).expand(size, len(logs)) for slot, order, size in zip(self.slots, self.orders, self._sizes)]
        mass = torch.stack([part.sum(0) for part in parts])                 # (answers, rows)
        possible = (mass > 0) & (logs > -torch.inf)
        scales = torch.where(possible, 1 / torch.where(possible, mass, 1.0), 0.0)
        return [(part * scale).T.unflatten(1, shape) for part, scale, shape in zip(parts, scales, self.shapes)]


def _log(value: Tensor) -> Tensor:
    """log, minus infinity with no gradient where the value is zero."""
    possible = value > 0
    return torch.where(possible, torch.where(possible, value, 1.0).log(), -torch.inf)
