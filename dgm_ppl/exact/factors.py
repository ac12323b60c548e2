"""The factors of a net for one pattern of evidence, and their numbers from its conditionals.

A conditional is called once on all configurations of its hidden finite nodes, so tables, networks and functions are alike, and
gradients reach their parameters. Real children of finite nodes give likelihood factors, one for each row.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
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
    """Aligned values `(rows, *plates, *event)` of the observed nodes, and likelihoods `(rows, states)` of nodes seen through a haze.

    `gaps` says where a term `(rows, *plates, *elements)` of an observed node is left out, as its value is missing there.
    """

    values: Mapping[str, Tensor]
    soft: Mapping[str, Tensor]
    rows: int
    gaps: Mapping[str, Tensor] = field(default_factory=dict)

    def part(self, rows: slice | Tensor) -> Evidence:
        """Some of the rows."""
        values, soft, gaps = ({name: value[rows] for name, value in held.items()} for held in (self.values, self.soft, self.gaps))
        return Evidence(values, soft, len(range(*rows.indices(self.rows))) if isinstance(rows, slice) else len(rows), gaps)

    def seen(self, values: Mapping[str, Tensor]) -> Evidence:
        """The same rows where more nodes are observed."""
        return replace(self, values={**self.values, **values})


class Factors:
    """The factors of a net whose hidden nodes are finite."""

    def __init__(self, model: Compiled, held: Mapping[str, Tensor] = {}):
        self.model, self.net, self.conditionals, self.layout = model, model.net, model.conditionals, model.layout
        self._held, self._tables = dict(held), {}

    def with_tables(self, tables: Mapping[str, Tensor]) -> Factors:
        """The same factors where some tables are others."""
        return Factors(self.model, {**self._held, **tables})

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
        reweighed = [Leaf((name,), (name,) if name in hidden else (), True, "soft") for name in soft]
        return [leaf for leaf in found if leaf.kind != "likelihood"] + joined + reweighed

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

    def aligned(self, name: str, codes: Tensor) -> Tensor:
        """Codes `(rows)` of a single finite node as its aligned values."""
        value = codes if self.net[name].space.integer else codes.to(self.model.anchor.dtype)
        return value.reshape(-1, *(1,) * self.layout.rank)

    # ---- numbers

    def value(self, leaf: Leaf, evidence: Evidence) -> tuple[Tensor, Tensor | None]:
        """A factor `(*states, rows)`, and the log scale `(rows)` that was taken out of it."""
        if leaf.kind == "soft":
            likelihood, logs = self.likelihood(leaf.node, evidence)
            return likelihood.T if leaf.scope else likelihood.gather(1, evidence.values[leaf.node].reshape(-1, 1).long()).squeeze(1), logs
        if leaf.kind == "likelihood":
            return self._likelihood(leaf, evidence)
        if leaf.kind == "rows":
            others = leaf.scope[:-1]
            found = self._on_grid(leaf.node, others, evidence.values).movedim(-1, len(others))
            return found, None
        return (self.table(leaf.node).unsqueeze(-1) if leaf.kind == "table" else self._slice(leaf, evidence)), None

    def likelihood(self, name: str, evidence: Evidence) -> tuple[Tensor, Tensor | None]:
        """Soft evidence `(rows, states)` over the largest of each row, and the logarithm of that, unless it is one in every row."""
        weights = evidence.soft[name]
        largest = weights.detach().amax(1)
        if bool((largest == 1).all()):
            return weights, None
        return weights / largest[:, None], largest.log()

    def table(self, name: str) -> Tensor:
        """p(node | parents), `(*states of the parents, states)`; kept where nothing in it is learned."""
        key = (name, *self.kind)
        if name in self._held:
            return self._held[name]
        if key in self._tables:
            return self._tables[key]
        found = self._on_grid(name, self.net[name].all_parents, {}).squeeze(-2)
        if self.constant(name):
            self._tables[key] = found
        return found

    def decades(self, name: str, unknown: float) -> float:
        """How many powers of ten the smallest entry of a table lies below one; `unknown` where the table is learned or there is none."""
        if not (self.tabular(name) and self.constant(name)):
            return unknown
        key = ("decades", name)
        if key not in self._tables:
            table = self.table(name)
            self._tables[key] = -table[table > 0].min().log10()
        return float(self._tables[key])

    def log_table(self, name: str) -> Tensor:
        """log p(node | parents), `(*states of the parents, states)`, from the density itself, as a tiny probability may be zero where its logarithm is finite."""
        key = ("log", name, *self.kind)
        if key in self._tables:
            return self._tables[key]
        conditional, parents = self.conditionals[name], self.net[name].all_parents
        states = self._along(name, 0, 0, self.model.anchor)                 # in the place of the rows
        logs = conditional.log_density(states, conditional.prepare(*self._parents(conditional, parents, {})))
        found = logs.reshape(logs.shape[: logs.ndim - self.layout.rank]).expand([self.net[one].space.cardinality for one in (*parents, name)])
        if self.constant(name):
            self._tables[key] = found
        return found

    def hold(self, tables: Mapping[str, Tensor]) -> None:
        """From now on, tables in place of those of learned conditionals; gradients with respect to them are expected counts over probabilities."""
        self._held = dict(tables)

    @property
    def kind(self) -> tuple[torch.dtype, torch.device]:
        """What constants depend on."""
        return self.model.anchor.dtype, self.model.anchor.device

    def constant(self, name: str) -> bool:
        """Whether nothing is learned in p(node | parents), nor in the deterministic nodes that it reads."""
        variable = self.net[name]
        above = [parent for parent in variable.all_parents if self.net[parent].is_deterministic]
        own = variable.fn is None and variable.net is None              # a function may have closed over what is learned
        return own and next(self.conditionals[name].parameters(), None) is None and all(map(self.constant, above))

    def _slice(self, leaf: Leaf, evidence: Evidence) -> Tensor:
        """The entries of a table that the rows select."""
        flat, seen = self.flat(leaf)
        code = 0
        for name, stride in seen:
            code = code + evidence.values[name].reshape(-1).long() * stride
        return flat.index_select(1, code).reshape(*(self.net[name].space.cardinality for name in leaf.scope), -1)

    def flat(self, leaf: Leaf) -> tuple[Tensor, list[tuple[str, int]]]:
        """A table `(states of the hidden nodes, states of the observed ones)`, and the stride of each observed node."""
        axes = (*self.net[leaf.node].all_parents, leaf.node)
        seen, table = [name for name in axes if name not in leaf.scope], self.table(leaf.node)
        strides = [1] * len(seen)
        for place in reversed(range(len(seen) - 1)):
            strides[place] = strides[place + 1] * self.net[seen[place + 1]].space.cardinality
        return table.permute([axes.index(name) for name in (*leaf.scope, *seen)]).reshape(-1, self.count(seen)), list(zip(seen, strides))

    def count(self, names: Collection[str]) -> int:
        """The number of states of some nodes together."""
        return torch.Size(self.net[name].space.cardinality for name in names).numel()

    def _likelihood(self, leaf: Leaf, evidence: Evidence) -> tuple[Tensor, Tensor]:
        """The densities of observed nodes for each configuration of the hidden ones, over the largest of the row."""
        logs = sum(self._log_density(name, leaf.scope, evidence) for name in leaf.nodes)
        logs = logs.expand(*self.cards(leaf.scope).values(), evidence.rows)
        largest = logs.detach().reshape(-1, evidence.rows).amax(0)
        largest = torch.where(largest.isinf(), 0.0, largest)
        return _exp(logs - largest), largest

    def _log_density(self, name: str, grid: Sequence[str], evidence: Evidence) -> Tensor:
        conditional, value = self.conditionals[name], evidence.values[name]
        prepared = conditional.prepare(*self._parents(conditional, grid, evidence.values))
        if name in evidence.gaps:
            surprisals = torch.where(evidence.gaps[name], 0.0, conditional.surprisals(value, prepared))
            logs = -surprisals.sum(tuple(range(-conditional.elements, 0))) if conditional.elements else -surprisals
        else:
            logs = conditional.log_density(value, prepared)
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
