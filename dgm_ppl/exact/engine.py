"""Exact answers of a net whose hidden nodes are finite, for many rows of evidence at once."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..graph import GraphError
from .descent import Choice, descend, draw, largest
from .factors import Compiled, Evidence, Factors
from .order import best_order
from .plan import Plan
from .tape import MaxProduct, Semiring, Step, run

__all__ = ["Answer", "Engine", "Program"]

CELLS = 24_000_000                                      # numbers held at once by one piece of the rows; larger pieces are slower, smaller ones too

DRAWS = 200_000                                         # draws made at once


@dataclass(frozen=True, eq=False)
class Answer:
    """log p(evidence) `(rows)`, minus infinity where it is impossible, and the marginals asked for, `(rows, *states)` each.

    The marginals of an impossible row are zero.
    """

    log_evidence: Tensor
    marginals: Mapping[tuple[str, ...], Tensor]


class Engine:
    """Exact elimination on a compiled net. Plans are kept for each pattern of evidence.

    Args:
        model: a compiled net.
        runs: how many random elimination orders are tried beside the three rules.
        memory: the bytes that answering one row may take at most.
    """

    def __init__(self, model: Compiled, *, runs: int = 10, memory: int = 2**31):
        self.model, self.factors, self.runs, self.memory = model, Factors(model), runs, memory
        self._programs: dict[tuple, Program] = {}

    def log_evidence(self, evidence: Evidence) -> Tensor:
        """log p(evidence) of each row, double precision; differentiable in the parameters, with gradient zero where it is minus infinity."""
        return self.answer(evidence, ()).log_evidence

    def answer(self, evidence: Evidence, queries: Collection[tuple[str, ...]]) -> Answer:
        """log p(evidence) and the joint marginals of sets of hidden nodes, a tuple of names each."""
        program = self.program(evidence, queries)
        distinct, inverse = self._distinct(evidence)
        pieces = [program.answer(piece) for piece in self._pieces(distinct, program.cells)]
        logs, *found = (torch.cat(parts) if len(parts) > 1 else parts[0] for parts in zip(*pieces))
        if inverse is not None:
            logs, *found = (value[inverse] for value in (logs, *found))
        return Answer(logs, dict(zip(program.queries, found)))

    def sample(self, evidence: Evidence, names: Collection[str], samples: int) -> dict[str, Tensor]:
        """Draws of hidden nodes from the posterior, codes `(samples, rows)`; anything at all where the evidence is impossible."""
        program = self.program(evidence, (), names)
        found = [_chosen(program, piece, names, samples, Semiring(), draw)[0] for piece in self._pieces(evidence, program.cells)]
        return {name: torch.cat([part[name] for part in found], 1) for name in found[0]}

    def most_probable(self, evidence: Evidence, names: Collection[str]) -> tuple[dict[str, Tensor], Tensor]:
        """The most probable joint state of the hidden nodes, codes `(rows)`, and log p(it, evidence) `(rows)`."""
        program = self.program(evidence, (), names, maxima=True)
        found = [_chosen(program, piece, names, 1, MaxProduct(), largest) for piece in self._pieces(evidence, program.cells)]
        return {name: torch.cat([part[name][0] for part, _ in found]) for name in found[0][0]}, torch.cat([logs for _, logs in found])

    def program(self, evidence: Evidence, queries: Collection[tuple[str, ...]] = (), wanted: Collection[str] = (), *, maxima: bool = False) -> Program:
        """The steps that answer the queries, for this pattern of evidence; nodes that matter for none of it are left out.

        Raises:
            GraphError: cliques that need more memory than allowed.
        """
        key = (frozenset(evidence.values), frozenset(evidence.soft), tuple(queries), frozenset(wanted), maxima, self.model.anchor.dtype)
        if key not in self._programs:
            program = Program(self.factors, self._plan(evidence, queries, wanted, maxima), queries)
            self._check(program)
            self._programs[key] = program
        return self._programs[key]

    def _plan(self, evidence: Evidence, queries: Collection[tuple[str, ...]], wanted: Collection[str], maxima: bool) -> Plan:
        asked = {*evidence.values, *evidence.soft, *wanted, *(name for query in queries for name in query)}
        hidden = self._hidden(asked, evidence.values)
        leaves = self.factors.leaves(hidden, evidence.values, evidence.soft)
        return Plan(leaves, self.factors.cards(hidden), [query for query in queries if len(query) > 1], depth=self._depth, runs=self.runs, maxima=maxima)

    def _hidden(self, asked: Collection[str], observed: Collection[str]) -> list[str]:
        """The random nodes that matter for some others and are not observed."""
        relevant = {*asked, *self.model.net.dag.ancestors(*asked)} if asked else set()
        random = [name for name in self.model.net.order if name in self.model.conditionals and not self.model.net[name].is_deterministic]
        return [name for name in random if name in relevant and name not in observed]

    def cost(self, observed: Collection[str], soft: Collection[str]) -> int:
        """The sum of states that log p(evidence) would take for a row of such evidence, by the rules alone."""
        hidden = self._hidden({*observed, *soft}, observed)
        return best_order([leaf.scope for leaf in self.factors.leaves(hidden, observed, soft)], self.factors.cards(hidden), runs=0).states

    @property
    def _depth(self) -> int:
        return 8 if torch.finfo(self.model.anchor.dtype).max > 1e100 else 2

    def _check(self, program: Program) -> None:
        plan, needed = program.plan, program.cells * self.model.anchor.element_size()
        if needed > self.memory:
            nodes = plan.largest
            raise GraphError(
                f"exact elimination: the largest clique has {plan.order.largest:.3g} states of {len(nodes)} nodes ({', '.join(nodes[:6])}"
                f"{', ...' if len(nodes) > 6 else ''}); one row needs {_bytes(needed)} and {plan.order.states:.3g} products; allowed are "
                f"{_bytes(self.memory)}; observe some of these nodes, allow more: method=dgm.Exact(memory=2**{(needed - 1).bit_length()}), or sample: "
                f"method=dgm.Importance(guide)"
            )

    def _distinct(self, evidence: Evidence) -> tuple[Evidence, Tensor | None]:
        """The rows that differ, and where each row is among them; None where rows are not compared."""
        net, space = self.model.net, 1
        if evidence.soft or evidence.rows < 2 or not all(self.factors.tabular(name) for name in evidence.values):
            return evidence, None
        code = torch.zeros(evidence.rows, dtype=torch.long, device=self.model.anchor.device)
        for name, value in evidence.values.items():
            states = net[name].space.cardinality
            if space > 2**62 // states:
                code = code.unique(return_inverse=True)[1]
                space = evidence.rows
            code, space = code * states + value.long(), space * states
        codes, inverse = code.unique(return_inverse=True)
        if len(codes) > 0.9 * evidence.rows:
            return evidence, None
        first = torch.empty_like(codes).scatter_(0, inverse, torch.arange(evidence.rows, device=codes.device))
        return evidence.part(first), inverse

    def _pieces(self, evidence: Evidence, cells: int) -> list[Evidence]:
        size = max(1, min(4096, CELLS // max(1, cells)))
        if evidence.rows <= size:
            return [evidence]
        return [evidence.part(slice(start, start + size)) for start in range(0, evidence.rows, size)]


class Program:
    """A plan with the steps for some answers, and how its leaves get their numbers."""

    def __init__(self, factors: Factors, plan: Plan, queries: Collection[tuple[str, ...]]):
        self.factors, self.plan, self.queries = factors, plan, tuple(queries)
        self.slots = [plan.marginal(query) for query in self.queries]
        self.static, self.batched = plan.split(plan.tape.steps)
        self.up_static, self.up_batched = plan.split(plan.tape.steps[: plan.upward])
        self._spent = plan.spent(self.batched, [*plan.roots, *self.slots])
        self.cells = plan.cells(self.batched, self._spent)
        self._shapes = [[plan.cards[name] for name in query] for query in self.queries]
        self._sizes = [plan.tape.size(query) for query in self.queries]
        self._orders = [(*(slot.scope.index(name) for name in query), len(query)) for query, slot in zip(self.queries, self.slots)]
        leaves = list(zip(plan.leaves, plan.inputs))
        self._static_leaves, self._batched_leaves = ([pair for pair in leaves if pair[0].batched is batched] for batched in (False, True))
        self._fixed = all(factors.constant(leaf.node) for leaf, _ in self._static_leaves)
        self._kept: dict[tuple, tuple[list, list[Tensor]]] = {}

    def answer(self, evidence: Evidence) -> tuple[Tensor, ...]:
        """log p(evidence), then the normalised answer to each query with the rows first."""
        values, scales, logs = self._filled(evidence, Semiring(), self.static)
        scales += run(self.batched, values, Semiring(), self._spent)
        logs = self._log_evidence(values, scales, logs, evidence.rows)
        return logs, *(self._normalised(values, logs) if self.slots else ())

    def upwards(self, evidence: Evidence, ring: Semiring) -> tuple[list, Tensor]:
        """All values of the way up, and the logarithm of what came out at the top."""
        values, scales, logs = self._filled(evidence, ring, self.up_static)
        scales += run(self.up_batched, values, ring, {})
        return values, self._log_evidence(values, scales, logs, evidence.rows)

    def _filled(self, evidence: Evidence, ring: Semiring, static: Sequence[Step]) -> tuple[list, list[Tensor], list[Tensor]]:
        """The slots with the leaves and the constants in them, the constants' scales, and the log scales of the leaves."""
        values, scales = self._constants(ring, static, evidence)
        logs = []
        for leaf, slot in self._batched_leaves:
            values[slot.index], log = self.factors.value(leaf, evidence)
            if log is not None:
                logs.append(log)
        return values, scales, logs

    def _constants(self, ring: Semiring, static: Sequence[Step], evidence: Evidence) -> tuple[list, list[Tensor]]:
        """What is the same for every row; computed once where nothing is learned."""
        key = (type(ring), len(static), *self.factors.kind)
        if key in self._kept:
            values, scales = self._kept[key]
            return list(values), list(scales)
        values = [None] * len(self.plan.tape.slots)
        for leaf, slot in self._static_leaves:
            values[slot.index], _ = self.factors.value(leaf, evidence)
        scales = run(static, values, ring, {})
        if self._fixed:
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
        parts = [values[slot.index].permute(order).reshape(size, -1).expand(size, len(logs)) for slot, order, size in zip(self.slots, self._orders, self._sizes)]
        joined = torch.cat(parts)                                           # (states of all answers, rows)
        owner = torch.arange(len(parts), device=joined.device).repeat_interleave(torch.tensor(self._sizes, device=joined.device))
        mass = joined.new_zeros(len(parts), len(logs)).index_add(0, owner, joined)
        possible = (mass > 0) & (logs > -torch.inf)
        scale = torch.where(possible, 1 / torch.where(possible, mass, 1.0), 0.0)
        return [part.T.unflatten(1, shape) for part, shape in zip((joined * scale[owner]).split(self._sizes), self._shapes)]


def _chosen(program: Program, evidence: Evidence, names: Collection[str], samples: int, ring: Semiring, choice: Choice) -> tuple[dict[str, Tensor], Tensor]:
    """Codes `(samples, rows)` chosen from the top down, and the logarithm of what came out at the top."""
    with torch.no_grad():
        values, logs = program.upwards(evidence, ring)
        rows = torch.arange(evidence.rows, device=logs.device)
        block = max(1, DRAWS // evidence.rows)
        drawn = [descend(program.plan, values, rows.repeat(min(block, samples - start)), choice) for start in range(0, samples, block)]
    return {name: torch.cat([part[name].reshape(-1, evidence.rows) for part in drawn]) for name in names}, logs


def _log(value: Tensor) -> Tensor:
    """log, minus infinity with no gradient where the value is zero."""
    possible = value > 0
    return torch.where(possible, torch.where(possible, value, 1.0).log(), -torch.inf)


def _bytes(number: int) -> str:
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB"):
        if number < 1024 or unit == "TiB":
            return f"{number:.3g} {unit}"
        number /= 1024
