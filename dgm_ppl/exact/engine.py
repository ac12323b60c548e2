"""Exact answers of a net whose hidden nodes are finite, for many rows of evidence at once."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from math import prod

import torch
from torch import Tensor

from ..graph import GraphError
from ..graph.bayes_ball import requisite
from .conditioning import Conditioned, cutset_of
from .factors import Compiled, Evidence, Factors
from .order import best_order
from .plan import Leaf, Plan
from .program import Program
from .report import PlanReport, report, told

__all__ = ["Answer", "Engine"]

CELLS = 24_000_000                                      # numbers held at once by one piece of the rows; larger pieces are slower, smaller ones too

DRAWS = 200_000                                         # draws made at once

LOADS = 10_000                                          # patterns whose cost is kept

PLANS = 256                                             # patterns of evidence and questions whose plans are kept


@dataclass(frozen=True, eq=False)
class Answer:
    """log p(evidence) `(rows)`, minus infinity where it is impossible, and the marginals asked for, `(rows, *states)` each.

    The marginals of an impossible row are zero.
    """

    log_evidence: Tensor
    marginals: Mapping[tuple[str, ...], Tensor]


@dataclass(frozen=True)
class Question:
    """What is asked: which nodes rows observe, or see through a haze, the marginals, the nodes to choose, and whether these are maximized."""

    observed: frozenset[str]
    soft: frozenset[str]
    queries: tuple[tuple[str, ...], ...]
    wanted: frozenset[str]
    maximized: frozenset[str]


class Engine:
    """Exact elimination on a compiled net. Plans are kept for each pattern of evidence.

    Args:
        model: a compiled net.
        runs: how many random elimination orders are tried beside the three rules.
        memory: the bytes that answering one row may take at most.
        cases: the states of a cutset that may be gone through one by one where cliques do not fit.
    """

    def __init__(self, model: Compiled, *, runs: int = 10, memory: int = 2**31, cases: int = 1024):
        self.model, self.factors, self.runs, self.memory, self.cases = model, Factors(model), runs, memory, cases
        self._programs: dict[tuple, Program | Conditioned] = {}
        self._loads: dict[tuple, tuple[int, dict[str, int]]] = {}

    # ---- answers

    def log_evidence(self, evidence: Evidence) -> Tensor:
        """log p(evidence) of each row, double precision; differentiable in the parameters, with gradient zero where it is minus infinity."""
        return self.answer(evidence, ()).log_evidence

    def answer(self, evidence: Evidence, queries: Collection[tuple[str, ...]], *, tables: Mapping[str, Tensor] | None = None) -> Answer:
        """log p(evidence) and the joint marginals of sets of hidden nodes, a tuple of names each; `tables` stand in for some p(node | parents)."""
        program = self.program(evidence, queries)
        program = program if tables is None else program.with_tables(tables)
        distinct, inverse = self._distinct(evidence)
        pieces = [program.answer(piece) for piece in self._pieces(distinct, program)]
        logs, *found = (torch.cat(parts) if len(parts) > 1 else parts[0] for parts in zip(*pieces))
        if inverse is not None:
            logs, *found = (value[inverse] for value in (logs, *found))
        return Answer(logs, dict(zip(program.queries, found)))

    def marginal(self, evidence: Evidence, query: tuple[str, ...], *, tables: Mapping[str, Tensor] | None = None) -> Tensor:
        """One joint marginal `(rows, *states)` from what it depends on alone (Shachter, 1998); zero where that evidence is impossible."""
        return self.answer(self.requisite(evidence, query), (query,), tables=tables).marginals[query]

    def requisite(self, evidence: Evidence, query: Collection[str]) -> Evidence:
        """The evidence that some nodes depend on."""
        net = self.model.net
        asked, given = {*query, *evidence.soft} - set(evidence.values), [name for name in evidence.values if name not in query]
        needed = requisite(net.dag, sorted(asked), given, net.deterministic).observations
        return replace(evidence, values={name: value for name, value in evidence.values.items() if name in needed})

    def sample(self, evidence: Evidence, names: Collection[str], samples: int) -> dict[str, Tensor]:
        """Draws of hidden nodes from the posterior, codes `(samples, rows)`; anything at all where the evidence is impossible."""
        program = self.program(evidence, (), names)
        found = [_chosen(program, piece, names, samples)[0] for piece in self._pieces(evidence, program)]
        return {name: torch.cat([part[name] for part in found], 1) for name in found[0]}

    def most_probable(self, evidence: Evidence, names: Collection[str]) -> tuple[dict[str, Tensor], Tensor]:
        """The most probable joint state of some hidden nodes, the others summed out: codes `(rows)`, and log p(it, evidence) `(rows)`."""
        program = self.program(evidence, (), names, maximized=names)
        found = [_chosen(program, piece, names, 1) for piece in self._pieces(evidence, program)]
        return {name: torch.cat([part[name][0] for part, _ in found]) for name in found[0][0]}, torch.cat([logs for _, logs in found])

    # ---- plans

    def program(self, evidence: Evidence, queries: Collection[tuple[str, ...]] = (), wanted: Collection[str] = (), *, maximized: Collection[str] = ()) -> Program | Conditioned:
        """The steps that answer the queries, for this pattern of evidence; nodes that matter for none of it are left out.

        Raises:
            GraphError: cliques that need more memory than allowed, whatever cutset is gone through.
        """
        key = (frozenset(evidence.values), frozenset(evidence.soft), tuple(queries), frozenset(wanted), frozenset(maximized), self.model.anchor.dtype)
        if key not in self._programs:
            asked = Question(*key[:-1])
            made = self._program(asked)
            if len(self._programs) >= PLANS:
                del self._programs[next(iter(self._programs))]
            self._programs[key] = made
        return self._programs[key]

    def fits(self, evidence: Evidence, queries: Collection[tuple[str, ...]]) -> bool:
        """Whether the queries can be answered together without a cutset."""
        try:
            return isinstance(self.program(evidence, queries), Program)
        except GraphError:
            return False

    def report(self, evidence: Evidence, queries: Collection[tuple[str, ...]] = (), wanted: Collection[str] = (), *, maximized: Collection[str] = ()) -> PlanReport:
        """What the answer will take; nothing is computed."""
        asked = Question(frozenset(evidence.values), frozenset(evidence.soft), tuple(queries), frozenset(wanted), frozenset(maximized))
        plan = self._plan(asked)
        whole = self._made(asked, plan)
        chosen, fitting = self._cutset(asked, plan) if whole.bytes > self.memory else ((), plan)
        cut = () if fitting is None else chosen
        made = whole if not cut else self._made(asked, fitting, cut)
        pruned = tuple(name for name in self._random if name not in {*plan.cards, *asked.observed})
        return report(made.plan, made.bytes, rows=evidence.rows, pruned=pruned, allowed=self.memory, cutset=cut, cases=prod(self.factors.cards(cut).values()))

    def _program(self, asked: Question) -> Program | Conditioned:
        plan = self._plan(asked)
        program = self._made(asked, plan)
        if program.bytes <= self.memory:
            return program
        chosen, fitting = self._cutset(asked, plan)
        if fitting is None:
            self._refuse(plan, program.bytes, chosen)
        return Conditioned(self._made(asked, fitting, chosen), self.factors.cards(chosen), asked.queries, maximal=bool(asked.maximized))

    def _made(self, asked: Question, plan: Plan, cutset: Collection[str] = ()) -> Program:
        return Program(self.factors, plan, _left(asked.queries, cutset), chosen=bool(asked.wanted or asked.maximized))

    def _plan(self, asked: Question, cutset: Collection[str] = ()) -> Plan:
        hidden = [name for name in self._hidden(asked) if name not in cutset]
        leaves = self.factors.leaves(hidden, asked.observed.union(cutset), asked.soft)
        joint = [query for query in _left(asked.queries, cutset) if len(query) > 1]
        return Plan(leaves, self.factors.cards(hidden), joint, depth=self._depth(leaves), runs=self.runs, maximized=asked.maximized.difference(cutset))

    def _cutset(self, asked: Question, plan: Plan) -> tuple[tuple[str, ...], Plan | None]:
        hidden = self._hidden(asked)
        candidates = asked.maximized or set(hidden)

        def states(cutset: Collection[str]) -> int:
            left = [name for name in hidden if name not in cutset]
            scopes = [leaf.scope for leaf in self.factors.leaves(left, asked.observed.union(cutset), asked.soft)]
            return best_order([*scopes, *_left(asked.queries, cutset)], self.factors.cards(left), runs=0, last=asked.maximized).states

        def fits(plan: Plan, cutset: Collection[str]) -> bool:
            return self._made(asked, plan, cutset).bytes <= self.memory
        return cutset_of(plan, lambda cutset: self._plan(asked, cutset), states, fits, candidates, self.cases)

    def _hidden(self, question: Question) -> list[str]:
        """The random nodes that matter for what is asked and are not observed."""
        asked = {*question.observed, *question.soft, *question.wanted, *question.maximized, *(name for query in question.queries for name in query)}
        relevant = {*asked, *self.model.net.ancestors(*asked)} if asked else set()
        return [name for name in self._random if name in relevant and name not in question.observed]

    @property
    def _random(self) -> list[str]:
        return [name for name in self.model.net.order if name in self.model.conditionals and not self.model.net[name].is_deterministic]

    def cost(self, observed: Collection[str], soft: Collection[str]) -> int:
        """The sum of states that log p(evidence) would take for a row of such evidence, by the rules alone."""
        return self.load(observed, soft)[0]

    def load(self, observed: Collection[str], soft: Collection[str]) -> tuple[int, dict[str, int]]:
        """`cost`, and the states of the cliques that each hidden node is in."""
        key = frozenset(observed), frozenset(soft)
        if key not in self._loads:
            if len(self._loads) >= LOADS:
                self._loads.clear()
            self._loads[key] = self._load(*key)
        return self._loads[key]

    def _load(self, observed: frozenset[str], soft: frozenset[str]) -> tuple[int, dict[str, int]]:
        hidden = self._hidden(Question(observed, soft, (), frozenset(), frozenset()))
        cards = self.factors.cards(hidden)
        order, found = best_order([leaf.scope for leaf in self.factors.leaves(hidden, observed, soft)], cards, runs=0), dict.fromkeys(hidden, 0)
        for name, around in order.steps:
            states = cards[name] * prod(cards[one] for one in around)
            for one in (name, *around):
                found[one] += states
        return order.states, found

    def _depth(self, leaves: Collection[Leaf]) -> int:
        """How many factors may be multiplied before their product could underflow, by the smallest entries of the tables; of others the worst is assumed."""
        decades, unknown = (250, 30) if torch.finfo(self.model.anchor.dtype).max > 1e100 else (30, 15)
        smallest = max((self.factors.decades(leaf.node, unknown) for leaf in leaves), default=1)
        return min(32, max(2, int(decades // max(1, smallest))))

    def _refuse(self, plan: Plan, needed: int, cutset: tuple[str, ...]) -> None:
        nodes = plan.largest
        raise GraphError(
            f"exact elimination: the largest clique has {plan.order.largest:.3g} states of {len(nodes)} nodes ({', '.join(nodes[:6])}"
            f"{', ...' if len(nodes) > 6 else ''}); one row needs {told(needed)} and {plan.order.states:.3g} products; allowed are "
            f"{told(self.memory)}, and going through the states of {', '.join(cutset) or 'no node'} one by one does not help within {self.cases} cases; observe some of "
            f"these nodes, allow more: method=dgm.Exact(memory=2**{(needed - 1).bit_length()}) or dgm.Exact(cases={16 * self.cases}), or sample: method=dgm.Importance(guide)"
        )

    # ---- rows

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
            code, space = code * states + value.reshape(-1).long(), space * states
        codes, inverse = code.unique(return_inverse=True)
        if len(codes) > 0.9 * evidence.rows:
            return evidence, None
        first = torch.empty_like(codes).scatter_(0, inverse, torch.arange(evidence.rows, device=codes.device))
        return evidence.part(first), inverse

    def _pieces(self, evidence: Evidence, program: Program | Conditioned) -> list[Evidence]:
        size = max(1, min(2048, CELLS // max(1, program.cells)))
        if evidence.rows <= size:
            return [evidence]
        return [evidence.part(slice(start, start + size)) for start in range(0, evidence.rows, size)]


def _chosen(program: Program | Conditioned, evidence: Evidence, names: Collection[str], samples: int) -> tuple[dict[str, Tensor], Tensor]:
    """Codes `(samples, rows)` chosen from the top down, and the logarithm of what came out at the top."""
    with torch.no_grad():
        rows, block = torch.arange(evidence.rows, device=program.factors.model.anchor.device), max(1, DRAWS // evidence.rows)
        parts = [program.choose(evidence, rows.repeat(min(block, samples - start))) for start in range(0, samples, block)]
    return {name: torch.cat([codes[name].reshape(-1, evidence.rows) for codes, _ in parts]) for name in names}, parts[0][1]


def _left(queries: Collection[tuple[str, ...]], cutset: Collection[str]) -> tuple[tuple[str, ...], ...]:
    """The queries without the nodes of a cutset."""
    return tuple(dict.fromkeys(left for query in queries if (left := tuple(name for name in query if name not in cutset))))
