"""The hidden finite nodes of a chain, and what its conditionals make of them: one joint state a step, factors on a grid of states."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ..conditionals import Chained, Conditional
from ..families.lags import Lagged, node_of
from ..graph import GraphError
from .factors import Compiled
from .forward_backward import Potentials, filtered_evidence, log_likelihood, smoothed
from .hidden import Observed, hidden_chain
from .state_grid import Factor, StateGrid

__all__ = ["FiniteAnswer", "FiniteChain"]

MEMORY = 2**31


@dataclass(frozen=True, eq=False)
class FiniteAnswer:
    """A hidden chain given evidence: log p(evidence) `(rows)`, probabilities of the joint states of the hidden nodes outside the chain `(outside, rows)`, and of
    those of each step given the steps up to then and given all, `(steps, states, rows)`; zero where the evidence is impossible."""

    log_evidence: Tensor
    outside: Tensor
    filtered: Tensor
    smoothed: Tensor


class FiniteChain:
    """A net whose hidden nodes are finite and have one value a step, or one a sequence.

    The joint state of the hidden nodes of a step is a chain in its own right; hidden nodes outside the chain are summed over around it. Any
    conditional will do (tables, networks, functions, real children): it is called once for all states, rows and steps.

    Args:
        model: a compiled net.
        observed: the nodes with values.
        partial: those of them of which some cells are missing.
        grid: what evaluates the conditionals for all states.

    Raises:
        GraphError: hidden nodes that cannot be summed out this way, with the reason.
    """

    def __init__(self, model: Compiled, observed: Collection[str], partial: Collection[str] = (), *, memory: int = MEMORY, grid: Callable[..., StateGrid] = StateGrid):
        self.model, self.net, self.memory = model, model.net, memory
        self.observed = frozenset(observed)
        hidden, self.chain = hidden_chain(model, observed, partial)
        self.names = tuple(name for name in hidden if self.net.chain_of(name) is not None)
        self.outside = tuple(name for name in hidden if self.net.chain_of(name) is None)
        self.partial = frozenset(partial) - set(hidden)
        self.clamped = tuple(name for name in hidden if name in self.observed)
        self.cards = {name: self.net[name].space.cardinality for name in hidden}
        self._check(hidden)
        self.states = math.prod(self.cards[name] for name in self.names)
        self._grid = grid(model, self.chain, self.cards, names=self.names, outside=self.outside, clamped=self.clamped)

    # ---- what is hidden

    @cached_property
    def barren(self) -> tuple[str, ...]:
        """The random nodes that were left out, as nothing observed depends on them."""
        return tuple(name for name in self.net.order if name in self.model.conditionals and not self.net[name].is_deterministic
                     and name not in self.observed and name not in self.cards)

    def _check(self, hidden: Sequence[str]) -> None:
        for name in hidden:
            if self.cards[name] is None or self.net[name].shape:
                raise GraphError(f"node {name!r} ~ {self.net[name].summary} is not observed and not a single finite value at each step")
            beside = [plate for plate in self.net.plates_of(name) if plate != self.chain.name]
            if beside:
                raise GraphError(f"node {name!r} is not observed and in the plate {beside[0]!r} beside the chain {self.chain.name!r}")
        for name, variable in self.net.variables.items():
            for parent in variable.all_parents:
                node = node_of(parent)
                if node in self.cards and isinstance(parent, Lagged) and parent.steps != 1:
                    where = f"{parent.steps} steps back" if parent.steps > 0 else "ahead"
                    raise GraphError(f"node {name!r}: its parent {parent} is hidden and {where}; only one step back is summed out exactly")
                if node in self.names and name not in self.chain.nodes:
                    raise GraphError(f"node {name!r} is outside the chain {self.chain.name!r} and depends on all steps of {node!r}, which is not observed")
        for name in self.observed:
            if name in self.model.conditionals and self.model.conditionals[name].density != "exact":
                raise GraphError(
                    f"node {name!r} ~ {self.net[name].summary} has no exact density, which a sum over the hidden nodes {list(hidden)} needs; try dgm.ELBO(model, guide) with a guide of "
                    f"dgm.amortize(net, observed), or values for {list(hidden)}"
                )

    # ---- answers

    def log_evidence(self, observed: Observed) -> Tensor:
        """log p(evidence) `(rows)`, in double precision; differentiable."""
        chains, around = self.potentials(observed)
        return self._joined([log_likelihood(chain) for chain in chains], around, observed)

    def _joined(self, logs: Sequence[Tensor], around: Tensor, observed: Observed) -> Tensor:
        if len(logs) == 1 and around.numel() == 1 and not self.outside:
            return logs[0] + around.reshape(()).double()
        return (torch.stack(tuple(logs)) + around.double()).logsumexp(0)

    def answer(self, observed: Observed) -> FiniteAnswer:
        """Filtered and smoothed probabilities of the joint states."""
        chains, around = self.potentials(observed)
        found = [smoothed(chain) for chain in chains]
        logs = torch.stack([log for log, _, _ in found]) + around.double()
        total = logs.logsumexp(0)
        weights = torch.where(logs > -torch.inf, logs - total, -torch.inf).exp().nan_to_num(0.0).to(self.model.anchor.dtype)
        if len(chains) == 1:
            return FiniteAnswer(total, weights, found[0][1], found[0][2])
        together = sum(weight * each for weight, (_, _, each) in zip(weights, found))
        upto = torch.stack([filtered_evidence(chain) for chain in chains], 1) + around.double()   # (steps, outside, rows)
        sofar = (upto - upto.logsumexp(1, keepdim=True)).exp().nan_to_num(0.0).to(weights.dtype)
        return FiniteAnswer(total, weights, sum(sofar[:, place: place + 1] * each for place, (_, each, _) in enumerate(found)), together)

    # ---- factors

    def potentials(self, observed: Observed) -> tuple[list[Potentials], Tensor]:
        """The chain for each joint state of the hidden nodes outside it, and their log-probabilities with what is seen outside, `(states, rows or 1)`.

        Raises:
            GraphError: more states than fit into memory.
        """
        self._check_size(observed, False, False)
        local: list[list[Factor]] = []
        moves: list[list[Factor]] = []
        around = [self._zero(observed)]
        for name, conditional in self._factors():
            if not isinstance(conditional, Chained):
                around.append(self._grid.outside(name, conditional, observed))
                continue
            found = list(self._grid.steps(name, conditional, observed))
            local.append([factor for factor in found if factor.log.shape[1] == 1])
            moves.append([factor for factor in found if factor.log.shape[1] > 1])
        self._check_size(observed, *(any(factor.log.shape[axis] > 1 for factors in moves for factor in factors) for axis in (3, 4)))
        first = [factors[0].log for factors in local if [(f.start, f.stop) for f in factors] == [(0, 1)]]
        seen = [self._grid.over(factors, 0, observed.steps) for factors in local if factors and [(f.start, f.stop) for f in factors] != [(0, 1)]]
        seen += [self._grid.clamp(name, observed) for name in self.clamped]
        return self._assembled(first, seen, [self._grid.over(factors, 1, observed.steps) for factors in moves if factors], observed), _sum(around)

    def _factors(self) -> Iterator[tuple[str, Conditional]]:
        for name in self.net.order:
            if name in self.model.conditionals and not self.net[name].is_deterministic and (name in self.observed or name in self.cards):
                yield name, self.model.conditionals[name]

    def _zero(self, observed: Observed) -> Tensor:
        return self.model.anchor.new_zeros(1, 1)

    # ---- together

    def _assembled(self, first: list[Tensor], seen: list[Tensor], moves: list[Tensor], observed: Observed) -> list[Potentials]:
        anchor, outer = self.model.anchor, math.prod(self.cards[name] for name in self.outside)
        states, rows, steps = self.states, observed.rows, observed.steps
        begin = _sum([anchor.new_zeros(1, 1, states, 1, 1), *first]).squeeze(-1).exp()
        local = _sum(seen) if seen else anchor.new_zeros(1, 1, 1, 1, 1)
        local = local.expand(local.shape[0], 1, states, rows, steps)
        across = _sum([anchor.new_zeros(1, 1, 1, 1, 1), *moves]).exp()
        real = self._real(observed)
        found = []
        for place in range(outer):
            start, likelihood, move = (each[place if each.shape[0] > 1 else 0] for each in (begin, local, across))
            found.append(Potentials(start.squeeze(0), self._transition(move, steps), likelihood.squeeze(0).permute(2, 0, 1), real))
        return found

    def _transition(self, move: Tensor, steps: int) -> Tensor:
        """`(before, now)` where rows and steps are alike, else `(steps - 1, rows or 1, before, now)`."""
        states = self.states
        move = move.expand(states, states, *move.shape[2:])
        if move.shape[2:] == (1, 1):
            return move.reshape(states, states)
        return move.permute(3, 2, 0, 1).expand(max(steps - 1, 0), move.shape[2], states, states)

    def _real(self, observed: Observed) -> Tensor | None:
        lengths = observed.values.get(self.chain.name)
        if lengths is None:
            return None
        return (torch.arange(observed.steps, device=lengths.device).reshape(-1, 1) < lengths.reshape(1, -1)).unsqueeze(1)

    def _check_size(self, observed: Observed, by_row: bool, by_step: bool) -> None:
        """Raises where tables of moves, which may differ by row and step, and messages would fill the memory."""
        tables = 2 * self.states**2 * (observed.rows if by_row else 1) * (observed.steps if by_step else 1)
        needed = (tables + 3 * self.states * observed.rows * observed.steps) * self.model.anchor.element_size()
        if needed > self.memory:
            raise GraphError(
                f"exact chains: the hidden nodes {list(self.names)} have {self.states:,} joint states a step, which takes {needed / 2**30:.3g} GiB for "
                f"{observed.rows:,} sequences of {observed.steps:,} steps; allowed are {self.memory / 2**30:.3g} GiB; ask for fewer rows at a time, or use a guide"
            )

    def split(self, states: Tensor) -> dict[str, Tensor]:
        """The states of each hidden node, from codes of their joint state."""
        found = {}
        for name in reversed(self.names):
            found[name], states = states % self.cards[name], states // self.cards[name]
        return {name: found[name] for name in self.names}

    def around(self) -> list[tuple[int, ...]]:
        """The joint states of the hidden nodes outside the chain."""
        return list(itertools.product(*(range(self.cards[name]) for name in self.outside)))


def _sum(terms: Sequence[Tensor]) -> Tensor:
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total

