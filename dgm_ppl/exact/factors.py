"""The factors of a net for one pattern of evidence, and their numbers from its conditionals.

A conditional is called once on all configurations of its hidden finite nodes, so tables, networks and functions are alike, and
gradients reach their parameters. Real children of finite nodes give likelihood factors, one for each row.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pyro.distributions as dist
import torch
from torch import Tensor

from ..conditionals import Conditional
from ..network import BayesNet, Layout
from .plan import Leaf

__all__ = ["Compiled", "Evidence", "Factors"]


class Compiled(Protocol):
    """A net with its conditionals; `anchor` is a tensor of its dtype, on its device."""

    net: BayesNet
    layout: Layout
    conditionals: Mapping[str, Conditional]
    anchor: Tensor

    def determined(self, values: Mapping[str, Tensor], sizes: Mapping[str, int]) -> Mapping[str, Tensor]: ...

    def encode(self, data: Mapping[str, Any]) -> dict[str, Tensor]:
        """Data checked against the declaration, in the user's layout."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """Aligned values `(rows, *plates, *event)` of the observed nodes, and likelihoods `(rows, states)` of nodes seen through a haze."""

    values: Mapping[str, Tensor]
    soft: Mapping[str, Tensor]
    rows: int

    def part(self, rows: slice | Tensor) -> Evidence:
        """Some of the rows."""
        values, soft = ({name: value[rows] for name, value in held.items()} for held in (self.values, self.soft))
        return Evidence(values, soft, len(next(iter((*values.values(), *soft.values())))))


class Factors:
    """The factors of a net whose hidden nodes are finite."""

    def __init__(self, model: Compiled):
        self.model, self.net, self.conditionals, self.layout = model, model.net, model.conditionals, model.layout
        self._tables: dict[tuple, Tensor] = {}

    # ---- structure

    def leaves(self, hidden: Collection[str], observed: Collection[str], soft: Collection[str]) -> list[Leaf]:
        """The factors of the hidden and observed nodes; likelihoods with the same hidden nodes are one, added up as logarithms."""
        random = [name for name in self.net.order if name in self.conditionals and not self.net[name].is_deterministic]
        found = [self._leaf(name, hidden, observed) for name in random if name in hidden or name in observed]
        likelihoods: dict[tuple[str, ...], tuple[str, ...]] = {}
        for leaf in found:
            if leaf.kind == "likelihood":
                likelihoods[leaf.scope] = (*likelihoods.get(leaf.scope, ()), leaf.node)
        joined = [Leaf(nodes, scope, True, "likelihood") for scope, nodes in likelihoods.items()]
        return [leaf for leaf in found if leaf.kind != "likelihood"] + joined + [Leaf((name,), (name,), True, "soft") for name in soft]

    def _leaf(self, name: str, hidden: Collection[str], observed: Collection[str]) -> Leaf:
        inside = (*self.sources(name), name)
        scope = tuple(one for one in inside if one in hidden)
        batched = any(one in observed for one in inside)
        if self.tabular(name):
            kind = "slice" if batched else "table"
        else:
            kind = "rows" if name in hidden else "likelihood"
        return Leaf((name,), scope, batched, kind, own=name in hidden)

    def sources(self, name: str) -> tuple[str, ...]:
        """The parents of a node, through deterministic ones."""
        found = []
        for parent in self.net[name].all_parents:
            found += self.sources(parent) if self.net[parent].is_deterministic else [parent]
        return tuple(dict.fromkeys(found))

    def tabular(self, name: str) -> bool:
        """Whether the node and its parents are single finite values, so that p(node | parents) is a table."""
        return all(
            self.net[one].space.cardinality is not None and not self.net[one].shape and not self.net.plates_of(one) and not self.net[one].is_deterministic
            for one in (*self.net[name].all_parents, name)
        )

    def cards(self, names: Collection[str]) -> dict[str, int]:
        """The number of states of finite nodes."""
        return {name: self.net[name].space.cardinality for name in names}

    # ---- numbers

    def value(self, leaf: Leaf, evidence: Evidence) -> tuple[Tensor, Tensor | None]:
        """A factor `(*states, rows)`, and the log scale `(rows)` that was taken out of it."""
        if leaf.kind == "soft":
            return evidence.soft[leaf.node].T, None
        if leaf.kind == "likelihood":
            return self._likelihood(leaf, evidence)
        if leaf.kind == "rows":
            others = leaf.scope[:-1]
            found = self._on_grid(leaf.node, others, evidence.values).movedim(-1, len(others))
            return found, None
        table = self.table(leaf.node)
        if leaf.kind == "table":
            return table.unsqueeze(-1), None
        return self._slice(leaf, table, evidence), None

    def table(self, name: str) -> Tensor:
        """p(node | parents), `(*states of the parents, states)`; kept where nothing in it is learned."""
        key = (name, *self.kind)
        if key in self._tables:
            return self._tables[key]
        found = self._on_grid(name, self.net[name].all_parents, {}).squeeze(-2)
        if self.constant(name):
            self._tables[key] = found
        return found

    @property
    def kind(self) -> tuple[torch.dtype, torch.device]:
        """What constants depend on."""
        return self.model.anchor.dtype, self.model.anchor.device

    def constant(self, name: str) -> bool:
        """Whether nothing is learned in p(node | parents), nor in the deterministic nodes that it reads."""
        above = [parent for parent in self.net[name].all_parents if self.net[parent].is_deterministic]
        return next(self.conditionals[name].parameters(), None) is None and all(map(self.constant, above))

    def _slice(self, leaf: Leaf, table: Tensor, evidence: Evidence) -> Tensor:
        """The entries of a table that the rows select."""
        axes = (*self.net[leaf.node].all_parents, leaf.node)
        seen = [name for name in axes if name not in leaf.scope]
        order = [axes.index(name) for name in (*leaf.scope, *seen)]
        flat = table.permute(order).reshape(-1, torch.Size(table.shape[axes.index(name)] for name in seen).numel())
        code = 0
        for name in seen:
            code = code * self.net[name].space.cardinality + evidence.values[name].long()
        return flat.index_select(1, code).reshape(*(self.net[name].space.cardinality for name in leaf.scope), -1)

    def _likelihood(self, leaf: Leaf, evidence: Evidence) -> tuple[Tensor, Tensor]:
        """The densities of observed nodes for each configuration of the hidden ones, over the largest of the row."""
        logs = sum(self._log_density(name, leaf.scope, evidence) for name in leaf.nodes)
        logs = logs.expand(*self.cards(leaf.scope).values(), evidence.rows)
        largest = logs.detach().reshape(-1, evidence.rows).amax(0)
        largest = torch.where(largest.isinf(), 0.0, largest)
        return _exp(logs - largest), largest

    def _log_density(self, name: str, grid: Sequence[str], evidence: Evidence) -> Tensor:
        conditional = self.conditionals[name]
        logs = conditional.log_density(evidence.values[name], conditional.prepare(*self._parents(conditional, grid, evidence.values)))
        return logs.sum(tuple(range(-self.layout.rank, 0))) if self.layout.rank else logs

    def _on_grid(self, name: str, grid: Sequence[str], values: Mapping[str, Tensor]) -> Tensor:
        """p(node | parents) for each configuration of the nodes in `grid`, `(*states of the grid, rows, states)`."""
        conditional = self.conditionals[name]
        parents = self._parents(conditional, grid, values)
        batch = [self.net[one].space.cardinality for one in grid]
        found = _probabilities(conditional(*parents, validate_args=False), self.net[name].space, self.model.anchor)
        found = found.reshape(*found.shape[: found.ndim - 1 - self.layout.rank], found.shape[-1]) if self.layout.rank else found
        return found.expand(*batch, *(found.shape[len(batch):-1] if found.ndim > len(batch) + 1 else (1,)), found.shape[-1])

    def _parents(self, conditional: Conditional, grid: Sequence[str], values: Mapping[str, Tensor]) -> list[Tensor]:
        """The parents as the conditional sees them: hidden ones along axes of their own, rows last, then plates and event."""
        found = {name: self._along(name, axis, len(grid), self.model.anchor) for axis, name in enumerate(grid)}
        return [port.receive(self._value(port.name, found, values)) for port in conditional.ports]

    def _value(self, name: str, found: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> Tensor:
        if name in found:
            return found[name]
        if name in values:
            return values[name]
        conditional = self.conditionals[name]                               # deterministic
        return conditional.value(conditional.prepare(*(port.receive(self._value(port.name, found, values)) for port in conditional.ports)))

    def _along(self, name: str, axis: int, axes: int, anchor: Tensor) -> Tensor:
        space = self.net[name].space
        states = torch.arange(space.cardinality, device=anchor.device, dtype=torch.long if space.integer else anchor.dtype)
        shape = [1] * (axes + 1 + self.layout.rank)
        shape[axis] = -1
        return states.reshape(shape)


def _probabilities(distribution: dist.Distribution, space, anchor: Tensor) -> Tensor:
    """The probabilities of all states, `(*batch, states)`; from the parameters where they are at hand, as log 0 has no gradient."""
    if isinstance(distribution, dist.Categorical):
        return distribution.probs
    if isinstance(distribution, dist.Bernoulli):
        zero = (-distribution.logits).sigmoid() if "logits" in vars(distribution) else 1 - distribution.probs
        return torch.stack([zero, distribution.probs], -1)
    states = torch.arange(space.cardinality, device=anchor.device, dtype=torch.long if space.integer else anchor.dtype)
    logs = distribution.log_prob(states.reshape(-1, *(1 for _ in distribution.batch_shape)))
    return _exp(logs.movedim(0, -1))


def _exp(logs: Tensor) -> Tensor:
    """exp, with no gradient where it is zero."""
    possible = logs > -torch.inf
    return torch.where(possible, torch.where(possible, logs, 0.0).exp(), 0.0)
