"""Parameters from data, in closed form where data are complete, by expectation maximisation where they are not."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..compile import Model
from ..data import columns
from ..exact import Cells, watch
from ..graph import GraphError
from .learners import Learner, learners
from .maximisation import EM, Ascent, ascend, ascend_sequences, check_learnable
from .places import part_of
from .priors import TablePrior
from .reading import Complete, checked_weights, read
from .report import Estimate
from .samples import Samples, samples_of
from .sequences import check_chain
from .tables import Tables, count_codes, count_samples, is_table, table_shape, tabulated

__all__ = ["estimate"]


def estimate(
    model: Model, data: Any, *, prior: TablePrior | Mapping[str, TablePrior] | None = None, weights: Any = None, method: EM | None = None,
) -> Estimate:
    """Estimates every learned parameter by maximum likelihood, tables with a Dirichlet prior if wanted; the model is changed in place.

    From complete data in closed form: tables are counted, normal nodes are weighted least squares for each configuration of their
    finite parents (conditional linear Gaussians, Lauritzen, 1992); rates are means; softmax regressions and other families
    climb their own likelihood, each node for itself. With missing cells (NaN or None) or nodes without a column, by
    expectation maximisation with exact expectations. Networks are trained by `fit`.

    Nets with a chain are estimated from sequences, in closed form where these are complete; hidden steps are finite there. What a node
    is at a first step unlike the others is `z[0]` in the results and in a dict of priors; a row is a sequence.

    A row of a table that no data row selects is uniform without a prior and the prior's with one; other nodes take the answer of
    all rows there. `unseen` of the result names these configurations.

    Args:
        model: a compiled net.
        data: columns by node, a dict or a DataFrame; codes, labels or numbers.
        prior: `PseudoCounts(1.0)` or `BDeu(10.0)`, for all tables or a dict by node.
        weights: how much each row counts, `(rows)`; 2 is the row seen twice.
        method: `EM(...)`, with its settings.

    Raises:
        GraphError: data that the declaration excludes, a column of missing cells alone, nothing to learn, a node with a network,
            latents that cannot be summed out, weights that are negative or of another length.

    Example:
        >>> import dgm_ppl as dgm
        >>> model = dgm.compile(dgm.BayesNet(rain=dgm.Bernoulli(), wet=dgm.Categorical(["dry", "damp", "wet"]).given("rain")))
        >>> data = {"rain": [0, 0, 0, 0], "wet": ["dry", "dry", "dry", "damp"]}
        >>> dgm.estimate(model, data)
        2 nodes from 4 rows, closed form: log p = -0.5623 nats a row
        wet: 1 of 2 configurations of its parents have no row (uniform)
        >>> dgm.estimate(model, data, prior=dgm.PseudoCounts(1.0)).posterior.mean()["rain"]
        tensor([0.8333, 0.1667], dtype=torch.float64)
    """
    if not isinstance(model, Model):
        raise GraphError(f"estimate: expected a compiled model; got {type(model).__name__}; try dgm.estimate(dgm.compile(net), data)")
    if method is not None and not isinstance(method, EM):
        raise GraphError(f"estimate: expected method=dgm.EM(...), or none; got {method!r}")
    learning = learners(model, prior)
    if model.net.chains:
        return _from_sequences(model, data if isinstance(data, Mapping) else columns(data, ragged=True), weights, prior, method or EM())
    data = data if isinstance(data, Mapping) else columns(data)
    found = read(model, data)
    rows = found.rows if isinstance(found, Complete) else math.prod(model.layout.worlds(found))
    weight = checked_weights(weights, rows)
    if isinstance(found, Cells):
        check_learnable(model, found)
        return _by_ascent(model, data, found, rows, weight, prior, method or EM())
    return _in_closed_form(model, found, weight, learning)


# ---- complete data


def _in_closed_form(model: Model, data: Complete, weights: Tensor | None, learning: Sequence[Learner]) -> Estimate:
    learned = tuple(name for one in learning for name in one.names)
    tables = [name for name in model.random if is_table(model, name)]
    counts = {name: _count(model, name, data, weights) for name in tables}
    every = torch.ones(data.rows, dtype=torch.float64) if weights is None else weights
    empty = {}
    for one in learning:
        if isinstance(one, Tables):
            one.update(counts)
        else:
            weight = one.update([_samples(model, name, data, every.to(model.device)) for name in one.names])
            empty.update({name: weight <= 0 for name in one.names if model.conditionals[name].configurations is not None and len(weight) > 1})
    likelihood = sum(_counted_log_prob(model, name, counts[name]) for name in tables)
    others = [name for name in model.random if name not in counts]
    if others:
        likelihood += _summed_log_prob(model, others, data, every.to(model.device))
    held = tuple(one for one in learning if isinstance(one, Tables))
    return Estimate(model, data.rows, float(every.sum()), likelihood, _shaped(model, counts), learned, held, empty=empty)


def _count(model: Model, name: str, data: Complete, weights: Tensor | None) -> Tensor:
    """The counts of a table, `(configurations, *event, states)`."""
    family = (*(port.name for port in model.conditionals[name].ports), name)
    if not all(one in data.codes for one in family):
        every = torch.ones(data.rows, dtype=torch.float64) if weights is None else weights
        return count_samples(model.conditionals[name], _samples(model, name, data, every.to(model.device)))
    sizes = [model.net[one].space.cardinality for one in family]
    held = None if weights is None else weights.numpy() if model.device.type == "cpu" else weights.to(model.device)
    return count_codes([data.codes[one] for one in family], sizes, held).reshape(table_shape(model, name))


def _samples(model: Model, name: str, data: Complete, weight: Tensor) -> Samples:
    return samples_of(model, name, data.values, weight, data.sizes)


def _counted_log_prob(model: Model, name: str, counts: Tensor) -> float:
    return float(torch.special.xlogy(counts, tabulated(model.conditionals[name]).to(counts.device)).sum())


def _summed_log_prob(model: Model, names: Sequence[str], data: Complete, weight: Tensor) -> float:
    total = 0.0
    with torch.no_grad():
        for node in model.schedule:
            if node.name in names:
                term = model.per_world(node.conditional.log_density(data.values[node.name], node.prepare(data.values)))
                total += float((weight * term.double()).sum())
    return total


def _shaped(model: Model, counts: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Counts with an axis for each parent."""
    found = {}
    for name, count in counts.items():
        configurations = part_of(model, name).configurations
        found[name] = count.reshape(*(() if configurations is None else configurations.sizes), *count.shape[1:])
    return found


# ---- missing cells and latent nodes


def _by_ascent(model: Model, data: Mapping[str, Any], cells: Cells, rows: int, weights: Tensor | None, prior: Any, method: EM) -> Estimate:
    return _reported(model, ascend(model, data, cells, weights, prior, method), rows, weights, prior)


def _from_sequences(model: Model, data: Mapping[str, Any], weights: Any, prior: Any, method: EM) -> Estimate:
    watched = watch(model, data)
    check_chain(model, watched, list(data))
    check_learnable(model, watched.values)
    rows = math.prod(watched.worlds)
    weight = checked_weights(weights, rows)
    return _reported(model, ascend_sequences(model, data, weight, prior, method), rows, weight, prior)


def _reported(model: Model, found: Ascent, rows: int, weights: Tensor | None, prior: Any) -> Estimate:
    learning = learners(model, prior)
    learned = tuple(name for one in learning for name in one.names)
    held = tuple(one for one in learning if isinstance(one, Tables))
    total = float(rows if weights is None else weights.sum())
    counts = _shaped(model, found.statistics.counts)
    return Estimate(model, rows, total, found.statistics.log_likelihood, counts, learned, held, found.history, found.stopped)
