"""The hidden finite nodes of a chain, and what its conditionals make of them: one joint state a step, factors on a grid of states."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ..conditionals import Chained, Conditional, Port
from ..families.lags import Lagged, node_of
from ..families.shapes import broadcast
from ..graph import GraphError
from ..network import Chain
from .factors import Compiled
from .forward_backward import Potentials, filtered_evidence, log_likelihood, smoothed

__all__ = ["FiniteAnswer", "FiniteChain", "Observed", "hidden_chain"]

MEMORY = 2**31


@dataclass(frozen=True, eq=False)
class Observed:
    """Aligned values with one dimension of rows, the lengths of sequences under the chain's name among them; which cells are missing, of the shape
    of the value; and the number of rows and of steps."""

    values: Mapping[str, Tensor]
    holes: Mapping[str, Tensor]
    rows: int
    steps: int


@dataclass(frozen=True, eq=False)
class Factor:
    """log p of a node at the steps from `start` to `stop`, `(outside, before, now, rows, steps)`, each the full size or one."""

    start: int
    stop: int
    log: Tensor


@dataclass(frozen=True, eq=False)
class FiniteAnswer:
    """A hidden chain given evidence: log p(evidence) `(rows)`, probabilities of the joint states of the hidden nodes outside the chain `(outside, rows)`, and of
    those of each step given the steps up to then and given all, `(steps, states, rows)`; zero where the evidence is impossible."""

    log_evidence: Tensor
    outside: Tensor
    filtered: Tensor
    smoothed: Tensor


def hidden_chain(model: Compiled, observed: Collection[str], partial: Collection[str] = ()) -> tuple[list[str], Chain]:
    """The random nodes that have to be eliminated, parents first, and their chain: those without a value on which something observed depends, those
    of which cells are missing that others depend on, and the finite nodes on which their own later steps depend.

    Raises:
        GraphError: hidden nodes in more than one chain.
    """
    net = model.net
    hidden = []
    for name in (name for name in net.order if name in model.conditionals and not net[name].is_deterministic):
        below = set(net.descendants(name))
        if name in observed:
            needed = name in partial and bool(below)                        # the cells that are seen hold it to one state
        else:
            needed = bool(below & set(observed)) or name in below and net[name].space.cardinality is not None
        if needed:
            hidden.append(name)
    found = list(dict.fromkeys(chain.name for name in hidden if (chain := net.chain_of(name)) is not None))
    if len(found) > 1:
        raise GraphError(f"exact chains: hidden nodes are in the chains {found}; expected one; observe the nodes of the others")
    return hidden, net.plates[found[0] if found else net.chains[0]]


class FiniteChain:
    """A net whose hidden nodes are finite and have one value a step, or one a sequence.

    The joint state of the hidden nodes of a step is a chain in its own right; hidden nodes outside the chain are summed over around it. Any
    conditional will do (tables, networks, functions, real children): it is called once for all states, rows and steps.

    Args:
        model: a compiled net.
        observed: the nodes with values.
        partial: those of them of which some cells are missing.

    Raises:
        GraphError: hidden nodes that cannot be summed out this way, with the reason.
    """

    def __init__(self, model: Compiled, observed: Collection[str], partial: Collection[str] = (), *, memory: int = MEMORY):
        self.model, self.net, self.memory = model, model.net, memory
        self.observed = frozenset(observed)
        hidden, self.chain = hidden_chain(model, observed, partial)
        self.names = tuple(name for name in hidden if self.net.chain_of(name) is not None)
        self.outside = tuple(name for name in hidden if self.net.chain_of(name) is None)
        self.partial = frozenset(partial) - set(hidden)
        self.clamped = tuple(name for name in hidden if name in self.observed)
        self.axis = list(self.net.plates).index(self.chain.name) - model.layout.rank
        self.cards = {name: self.net[name].space.cardinality for name in hidden}
        self._check(hidden)
        self.states = math.prod(self.cards[name] for name in self.names)
        count, outer = len(self.names), len(self.outside)
        self._now = {name: outer + count + place for place, name in enumerate(self.names)}
        self._before = {name: outer + place for place, name in enumerate(self.names)}
        self._around = {name: place for place, name in enumerate(self.outside)}
        self.axes = outer + 2 * count

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
                raise GraphError(f"node {name!r} has no exact density")

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
                around.append(self._outside(name, conditional, observed))
                continue
            found = list(self._steps(name, conditional, observed))
            local.append([factor for factor in found if factor.log.shape[1] == 1])
            moves.append([factor for factor in found if factor.log.shape[1] > 1])
        self._check_size(observed, *(any(factor.log.shape[axis] > 1 for factors in moves for factor in factors) for axis in (3, 4)))
        first = [factors[0].log for factors in local if [(f.start, f.stop) for f in factors] == [(0, 1)]]
        seen = [self._over(factors, 0, observed.steps) for factors in local if factors and [(f.start, f.stop) for f in factors] != [(0, 1)]]
        seen += [self._clamp(name, observed) for name in self.clamped]
        return self._assembled(first, seen, [self._over(factors, 1, observed.steps) for factors in moves if factors], observed), _sum(around)

    def _factors(self) -> Iterator[tuple[str, Conditional]]:
        for name in self.net.order:
            if name in self.model.conditionals and not self.net[name].is_deterministic and (name in self.observed or name in self.cards):
                yield name, self.model.conditionals[name]

    def _zero(self, observed: Observed) -> Tensor:
        return self.model.anchor.new_zeros(1, 1)

    def _outside(self, name: str, conditional: Conditional, observed: Observed) -> Tensor:
        """log p of a node outside the chain, `(outside, rows or 1)`."""
        parents = [self._value(port, observed) for port in conditional.ports]
        log = self._log(name, conditional, parents, self._own(name, observed), observed.holes.get(name))
        flat = self._flat(log.sum(tuple(range(-self.model.layout.rank, 0))).unsqueeze(-1) if self.model.layout.rank else log.unsqueeze(-1))
        if name in self.clamped:
            flat = flat + self._flat(self._indicator(name, observed).squeeze(-1).unsqueeze(-1))
        return flat.reshape(flat.shape[0], -1)

    def _steps(self, name: str, conditional: Chained, observed: Observed) -> Iterator[Factor]:
        """log p of a node of the chain, for each run of steps that have one conditional."""
        lagged = any(node_of(port.name) in self._before and isinstance(port.name, Lagged) for port in conditional.ports)
        axis = conditional.axis - len(self.net[name].shape)
        for each, start, stop in conditional.cuts(observed.steps):
            cuts = [(0, 1), (1, stop)] if lagged and start == 0 and stop > 1 else [(start, stop)]
            for begin, end in cuts:
                parents = [self._at_steps(conditional, port, begin, end, observed) for port in each.ports]
                value, holes = self._own(name, observed), observed.holes.get(name)
                whole = begin == 0 and end == observed.steps or name in self._now
                narrow = (lambda one: one) if whole else (lambda one: one.narrow(axis, begin, end - begin))
                log = self._log(name, each, parents, narrow(value), None if holes is None else narrow(holes))
                yield Factor(begin, end, self._flat(self._over_plates(log)))

    def _own(self, name: str, observed: Observed) -> Tensor:
        return self._grid(name, self._now) if name in self._now else self._grid(name, self._around) if name in self._around else observed.values[name]

    def _at_steps(self, conditional: Chained, port: Port, start: int, stop: int, observed: Observed) -> Tensor:
        name, position = node_of(port.name), conditional.position(port.name)
        if name in self._now and isinstance(port.name, Lagged):
            if start:
                return self._grid(name, self._before)
            initial = conditional.initial(position)
            return initial.reshape(*(1,) * (self.axes + 1 + self.model.layout.rank), *initial.shape)
        value = self._value(port, observed)
        return value if name in self.cards or self._depends(name) else conditional.between(position, start, stop, value, self._real_steps(observed))

    def _real_steps(self, observed: Observed) -> Tensor | None:
        """Which steps are within the sequences, aligned."""
        lengths = observed.values.get(self.chain.name)
        return None if lengths is None else torch.arange(observed.steps, device=lengths.device).reshape(-1, *(1,) * (-self.axis - 1)) < lengths

    def _value(self, port: Port, observed: Observed) -> Tensor:
        """A parent's value as the child sees it, on the grid where it is hidden."""
        name = node_of(port.name)
        if name in self.cards:
            return self._grid(name, self._now if name in self._now else self._around)
        if name in observed.values:
            return port.receive(observed.values[name])
        if not self.net[name].is_deterministic:
            raise GraphError(f"node {name!r} is not observed, and a node that is summed out depends on it")
        return self._computed(name, observed)

    def _computed(self, name: str, observed: Observed) -> Tensor:
        """A deterministic node of hidden ones, on the grid."""
        conditional = self.model.conditionals[name]
        main = conditional.main if isinstance(conditional, Chained) else conditional
        if any(isinstance(port.name, Lagged) for port in main.ports):
            raise GraphError(f"node {name!r} is a function of hidden nodes some steps back, which cannot be summed out one step at a time")
        return main.value(main.prepare(*(self._value(port, observed) for port in main.ports)))

    def _depends(self, name: str) -> bool:
        return self.net[name].is_deterministic and bool(set(self.net.ancestors(name)) & set(self.cards))

    def _grid(self, name: str, axes: Mapping[str, int]) -> Tensor:
        """A hidden node's states along its axis, `(*axes, rows, *plates)`."""
        space, anchor = self.net[name].space, self.model.anchor
        codes = torch.arange(self.cards[name], device=anchor.device).to(torch.long if space.integer else anchor.dtype)
        return codes.reshape(*(1,) * axes[name], -1, *(1,) * (self.axes - axes[name] + self.model.layout.rank))

    def _log(self, name: str, conditional: Conditional, parents: Sequence[Tensor], value: Tensor, holes: Tensor | None) -> Tensor:
        """log p(value | parents), `(*axes, rows or 1, *plates)`; zero where the value is missing."""
        prepared = conditional.prepare(*parents)
        if holes is None and name not in self.cards and self._is_product(conditional, prepared):
            return self._products(prepared[0], value)
        found = conditional.surprisals(value, prepared)
        joint = len(self.net[name].shape) - conditional.elements
        if holes is not None and name not in self.cards:
            gone = holes.flatten(holes.ndim - joint).any(-1) if joint else holes
            if joint and bool((gone != holes.flatten(holes.ndim - joint).all(-1)).any()):
                raise GraphError(f"node {name!r}: some numbers of a joint value {self.net[name].summary} are missing and others are not; give all of a step or none")
            found = torch.where(gone, 0.0, found)
        elif conditional.elements:
            found = found.expand(broadcast(found.shape, value.shape[: value.ndim - joint]))
        if conditional.elements:
            found = found.sum(tuple(range(-conditional.elements, 0)))
        return -found.reshape(*(1,) * (self.axes + 1 + self.model.layout.rank - found.ndim), *found.shape)

    def _is_product(self, conditional: Conditional, prepared: Sequence[Tensor]) -> bool:
        """Whether log p is linear in the value: log-odds of many Bernoulli numbers that are the same in all rows and steps."""
        variable = conditional.variable
        if variable.family_name != "Bernoulli" or variable.signature != ("logits",) or len(variable.shape) != 1 or not isinstance(prepared[0], Tensor):
            return False
        batch = prepared[0].shape[:-1]
        return prepared[0].shape[-1] == variable.shape[0] and len(batch) == self.axes + 1 + self.model.layout.rank and set(batch[self.axes:]) <= {1}

    def _products(self, logits: Tensor, value: Tensor) -> Tensor:
        """The sum of x * logits - log(1 + exp(logits)) over the event, one product of matrices for all states, rows and steps."""
        states = logits.reshape(-1, logits.shape[-1])
        found = torch.addmm(-torch.nn.functional.softplus(states).sum(-1, keepdim=True), states, value.reshape(-1, value.shape[-1]).T)
        return found.reshape(*logits.shape[: self.axes], *value.shape[:-1])

    def _over_plates(self, log: Tensor) -> Tensor:
        """Summed over the plates beside the chain, `(*axes, rows or 1, steps or 1)`."""
        rank = self.model.layout.rank
        beside = [axis for axis in range(-rank, 0) if axis != self.axis]
        return log.sum(beside) if beside else log

    def _flat(self, log: Tensor) -> Tensor:
        """The axes of the grid joined: `(outside, before, now, rows, steps)`."""
        count, outer = len(self.names), len(self.outside)
        full = [*(self.cards[name] for name in self.outside), *(self.cards[name] for name in self.names), *(self.cards[name] for name in self.names)]
        shape, joined = list(log.shape), []
        for low, high in ((0, outer), (outer, outer + count), (outer + count, outer + 2 * count)):
            if any(size > 1 for size in shape[low:high]):
                shape[low:high] = full[low:high]
            joined.append(math.prod(shape[low:high]))
        return log.expand(shape).reshape(*joined, *shape[self.axes:])

    def _indicator(self, name: str, observed: Observed) -> Tensor:
        """Zero for the states that a row allows, minus infinity for others, `(*axes, rows, steps or 1)`."""
        axes = self._now if name in self._now else self._around
        seen, holes = observed.values[name], observed.holes[name]
        fits = (self._grid(name, axes).to(seen.dtype) == seen) | holes
        return self._over_plates(fits.to(self.model.anchor.dtype)).log()

    def _clamp(self, name: str, observed: Observed) -> Tensor:
        return self._flat(self._indicator(name, observed)) if name in self._now else self.model.anchor.new_zeros(1, 1, 1, 1, 1)

    def _over(self, factors: Sequence[Factor], start: int, steps: int) -> Tensor:
        """Factors of runs of steps in one tensor, zero at the steps from `start` that none covers."""
        if len(factors) == 1 and (factors[0].start, factors[0].stop) == (start, steps):
            return factors[0].log
        batch = broadcast(*(tuple(factor.log.shape[:-1]) for factor in factors))
        runs, reached = [], start
        for factor in factors:
            if factor.start > reached:
                runs.append(factor.log.new_zeros(*batch, factor.start - reached))
            runs.append(factor.log.expand(*batch, factor.stop - factor.start))
            reached = factor.stop
        if reached < steps:
            runs.append(factors[0].log.new_zeros(*batch, steps - reached))
        return torch.cat(runs, -1)

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

