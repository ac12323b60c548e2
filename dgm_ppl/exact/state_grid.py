"""The conditionals of a chain on the grid of its hidden finite states: factors of each step, and of what is outside the chain."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..conditionals import Chained, Conditional, Port
from ..families.lags import Lagged, node_of
from ..families.shapes import broadcast
from ..graph import GraphError
from ..network import Chain
from .factors import Compiled
from .hidden import Observed

__all__ = ["Factor", "StateGrid"]


@dataclass(frozen=True, eq=False)
class Factor:
    """log p of a node at the steps from `start` to `stop`, `(outside, before, now, rows, steps)`, each the full size or one."""

    start: int
    stop: int
    log: Tensor


class StateGrid:
    """Each hidden finite node along an axis of its own, `(*outside, *step before, *step, rows, *plates)`, so that a conditional is called once for all states.

    Args:
        model: a compiled net.
        chain: the chain of the hidden nodes.
        cards: how many states each hidden node has.
        names, outside: the hidden nodes in the chain, and those outside it.
        clamped: the hidden nodes of which some cells are seen.
    """

    def __init__(
        self, model: Compiled, chain: Chain, cards: Mapping[str, int], *, names: tuple[str, ...], outside: tuple[str, ...], clamped: tuple[str, ...],
    ):
        self.model, self.net, self.chain, self.cards = model, model.net, chain, cards
        self.names, self.around, self.clamped = names, outside, clamped
        self.axis = list(self.net.plates).index(chain.name) - model.layout.rank
        count, outer = len(names), len(outside)
        self._now = {name: outer + count + place for place, name in enumerate(names)}
        self._before = {name: outer + place for place, name in enumerate(names)}
        self._around = {name: place for place, name in enumerate(outside)}
        self.axes = outer + 2 * count

    def outside(self, name: str, conditional: Conditional, observed: Observed) -> Tensor:
        """log p of a node outside the chain, `(outside, rows or 1)`."""
        parents = [self._value(port, observed) for port in conditional.ports]
        log = self.log(name, conditional, parents, self._own(name, observed), observed.holes.get(name))
        flat = self._flat(log.sum(tuple(range(-self.model.layout.rank, 0))).unsqueeze(-1) if self.model.layout.rank else log.unsqueeze(-1))
        if name in self.clamped:
            flat = flat + self._flat(self._indicator(name, observed).squeeze(-1).unsqueeze(-1))
        return flat.reshape(flat.shape[0], -1)

    def steps(self, name: str, conditional: Chained, observed: Observed) -> Iterator[Factor]:
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
                log = self.log(name, each, parents, narrow(value), None if holes is None else narrow(holes))
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

    def log(self, name: str, conditional: Conditional, parents: Sequence[Tensor], value: Tensor, holes: Tensor | None) -> Tensor:
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
        count, outer = len(self.names), len(self.around)
        full = [*(self.cards[name] for name in self.around), *(self.cards[name] for name in self.names), *(self.cards[name] for name in self.names)]
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

    def clamp(self, name: str, observed: Observed) -> Tensor:
        return self._flat(self._indicator(name, observed)) if name in self._now else self.model.anchor.new_zeros(1, 1, 1, 1, 1)

    def over(self, factors: Sequence[Factor], start: int, steps: int) -> Tensor:
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
