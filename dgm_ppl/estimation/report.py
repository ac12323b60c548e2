"""What an estimation found: the model, its likelihood, counts, configurations that no row has, and the posterior of its tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import pyro.distributions as dist
import torch
from torch import Tensor

from ..compile import Model
from ..conditionals import Chained, Parametric
from ..families import Constant, Variable
from ..families.lags import node_of
from ..graph import GraphError, did_you_mean
from ..network import BayesNet
from ..network.unrolling import at_step
from .places import part_of, parts_of
from .tables import Tables, is_table, tabulated

__all__ = ["Estimate", "TablePosterior"]


@dataclass(frozen=True, eq=False, repr=False)
class Estimate:
    """The model with its estimated parameters, and what they rest on.

    Attributes:
        model: the model, changed in place.
        rows: how many rows, and `weight` what they weigh together.
        log_likelihood: log p of the data in nats, of all rows (times their weights), missing cells summed out.
        counts: for each node with a table the (expected) counts, `(*parents' states, *event, states)`, without the prior's.
        history: by expectation maximisation, the objective a row at each step: the log-likelihood, and the log prior over the rows.
        stopped: "closed form", or why the search ended: "convergence", "steps" or "interrupted".
    """

    model: Model
    rows: int
    weight: float
    log_likelihood: float
    counts: Mapping[str, Tensor]
    learned: tuple[str, ...]
    tables: tuple[Tables, ...] = ()
    history: tuple[float, ...] = ()
    stopped: str = "closed form"
    empty: Mapping[str, Tensor] = field(default_factory=dict)

    @cached_property
    def unseen(self) -> dict[str, list[dict[str, str]]]:
        """By node, the configurations of its parents of which there is no row, where it has any; what fills them is a rule, not data."""
        found = {name: self._configurations(name, missing) for name, missing in self._missing().items()}
        return {name: rows for name, rows in found.items() if rows}

    def _missing(self) -> dict[str, Tensor]:
        """Which rows of parameters of each learned node are without data, `(configurations)`."""
        totals = {one.names[0]: one.total(self._by_row(one)) for one in self.tables}
        return {**{name: total.flatten(1).sum(1) <= 0 for name, total in totals.items() if len(total) > 1}, **self.empty}

    def _by_row(self, tables: Tables) -> dict[str, Tensor]:
        """The counts of the nodes of one table, `(configurations, *event, states)`."""
        return {name: self.counts[name].reshape(-1, *tables.shape[1:]) for name in tables.names}

    def _configurations(self, name: str, missing: Tensor) -> list[dict[str, str]]:
        net, conditional = self.model.net, part_of(self.model, name)
        if conditional.configurations is None:
            return []
        parents = [port.name for port in conditional.ports if port.is_configuration]
        rows = torch.stack(torch.unravel_index(missing.nonzero().squeeze(1), conditional.configurations.sizes), 1).tolist()
        return [{parent: _label(net, parent, code) for parent, code in zip(parents, row)} for row in rows]

    @cached_property
    def posterior(self) -> TablePosterior:
        """The posterior over the tables, given complete data and a prior.

        Raises:
            GraphError: without a prior, or where cells were missing, so that it is no product of Dirichlets.
        """
        if not any(one.prior is not None for one in self.tables):
            raise GraphError("posterior: the tables were estimated without a prior; try dgm.estimate(model, data, prior=dgm.BDeu(10))")
        if self.stopped != "closed form":
            raise GraphError("posterior: where cells are missing the tables' posterior is no product of Dirichlets; estimate from the complete rows, or declare the tables as nodes")
        return TablePosterior(self.model, {one.names[0]: one for one in self.tables if one.prior is not None}, self.counts)

    @property
    def net(self) -> BayesNet:
        """The declaration with the estimated tables fixed in it: it can be written to a file, and its zeros are exact."""
        parts = parts_of(self.model)
        fixed = {name: _fixed(part) for name, part in parts.items() if name in self.learned and is_table(self.model, name)}
        found = {}
        for name in self.model.random:
            conditional = self.model.conditionals[name]
            starts = {} if not isinstance(conditional, Chained) else {at_step(name, step): start for step, start in enumerate(conditional.beginnings)}
            if starts and fixed.keys() & {name, *starts}:
                each = tuple(next((fixed[key] for key in fixed if parts[key] is start), start.variable) for start in starts.values())
                found[name] = replace(fixed.get(name, self.model.net[name]), starts=each)
            elif name in fixed:
                found[name] = fixed[name]
        return self.model.net.replace(found)

    def __repr__(self) -> str:
        mean = self.log_likelihood / self.weight
        lines = [f"{len(self.learned)} nodes from {self.rows:,} rows, {self.stopped}{f' after {len(self.history) - 1} steps' if self.history else ''}: log p = {mean:.4f} nats a row"]
        for name, missing in self._missing().items():
            if part_of(self.model, name).configurations is not None and bool(missing.any()):
                filled = "by the prior" if any(name in one.names and one.prior is not None for one in self.tables) else "uniform" if name in self.counts else "as all rows together"
                lines.append(f"{name}: {int(missing.sum()):,} of {missing.numel():,} configurations of its parents have no row ({filled})")
        return "\n".join(lines)


class TablePosterior:
    """Independent Dirichlets over the rows of every table that has a prior, given complete data.

    `mean`, `mode` and `sample` are tables `(*parents' states, *event, states)` by node; nodes that share a table have one posterior.
    """

    def __init__(self, model: Model, tables: Mapping[str, Tables], counts: Mapping[str, Tensor]):
        self.model, self.tables = model, dict(tables)
        self.concentration: dict[str, Tensor] = {}
        self._log_evidence = 0.0
        for one in self.tables.values():
            total = one.total({name: counts[name].reshape(-1, *one.shape[1:]) for name in one.names}).cpu()
            prior = one.prior.concentration(one.shape)
            self._log_evidence += float(_log_beta(prior + total).sum() - _log_beta(prior).sum())
            for name in one.names:
                shape = counts[name].shape if one.shape[0] == counts[name].shape[: -1 - len(one.conditional.event)].numel() else one.shape
                self.concentration[name] = (prior + total).reshape(shape)

    @property
    def log_evidence(self) -> float:
        """log p(data of these nodes | structure, prior), the tables integrated out: the Bayesian Dirichlet score of the graph.

        Source: Cooper and Herskovits (1992), Heckerman et al. (1995).
        """
        return self._log_evidence

    def __getitem__(self, name: str) -> dist.Dirichlet:
        """The distribution of a node's table, a batch entry for each configuration."""
        if name not in self.concentration:
            raise GraphError(f"posterior: node {name!r} has no table with a prior{did_you_mean(name, self.concentration)}")
        return dist.Dirichlet(self.concentration[name])

    def mean(self) -> dict[str, Tensor]:
        """The posterior means: the probabilities of a coming row."""
        return {name: self[name].mean for name in self.concentration}

    def mode(self) -> dict[str, Tensor]:
        """The most probable tables; NaN where a row's has none within the simplex, its smallest parameter being below one."""
        found = {}
        for name, concentration in self.concentration.items():
            less = concentration - 1
            mode = less / less.sum(-1, keepdim=True)
            found[name] = torch.where((concentration >= 1).all(-1, keepdim=True) & (less.sum(-1, keepdim=True) > 0), mode, torch.nan)
        return found

    def sample(self, samples: int = 1) -> dict[str, Tensor]:
        """Independent draws of all tables, `(samples, *parents' states, *event, states)`; those that share one get the same."""
        found = {}
        for one in self.tables.values():
            drawn = self[one.names[0]].sample((samples,))
            found.update({name: drawn for name in one.names})
        return found

    def fill(self, tables: Mapping[str, Tensor]) -> Model:
        """Sets the model's tables, for example to a draw: `post.fill({name: table[0] for name, table in post.sample().items()})`."""
        for one in self.tables.values():
            if one.names[0] in tables:
                one.fill(torch.as_tensor(tables[one.names[0]], dtype=torch.float64, device=self.model.device).reshape(one.shape))
        return self.model


def _log_beta(concentration: Tensor) -> Tensor:
    """log of the integral of a Dirichlet's kernel, row by row."""
    return concentration.lgamma().sum(-1) - concentration.sum(-1).lgamma()


def _label(net: BayesNet, name: str, code: int) -> str:
    labels = net[node_of(name)].labels
    return labels[code] if labels else str(code)


def _fixed(conditional: Parametric) -> Variable:
    """The declaration of a node with its table as a constant."""
    variable = conditional.variable
    table = tabulated(conditional).cpu()
    table = table[..., 1] if variable.family_name == "Bernoulli" else table / table.sum(-1, keepdim=True)
    sizes = () if conditional.configurations is None else conditional.configurations.sizes
    return replace(variable, parameters=(("probs", Constant(table.reshape((*sizes, *table.shape[1:])).numpy())),), net=None)
