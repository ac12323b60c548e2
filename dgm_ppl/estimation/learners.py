"""How each node of a model is estimated: by counting, by least squares, by a mean, or by climbing its own likelihood."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..compile import Model
from ..graph import GraphError
from .numeric import Means, Numeric, is_mean
from .places import has_network, part_of, sharing
from .priors import TablePrior, prior_of
from .regressions import Regression, is_regression
from .tables import Tables, is_table

__all__ = ["Learner", "learners"]

Learner = Tables | Regression | Means | Numeric


def learners(model: Model, prior: TablePrior | Mapping[str, TablePrior] | None, smallest: float = 1e-9) -> list[Learner]:
    """One for each set of nodes that share learned parameters.

    Raises:
        GraphError: nothing to learn, a node with a network, a prior that is none or fits no node.
    """
    groups = list(sharing(model))
    if not groups:
        raise GraphError("estimate: every parameter of the net is fixed, so nothing is left to estimate; leave parameters out, or free those of tables: dgm.compile(net.opened())")
    tables = [name for names in groups for name in names if is_table(model, name)]
    _check_prior(prior, tables)
    return [_learner(model, names, next((found for name in names if (found := prior_of(prior, name, tables)) is not None), None), smallest) for names in groups]


def _check_prior(prior: Any, tables: list[str]) -> None:
    prior_of(prior, "", tables)
    if prior is not None and not tables:
        raise GraphError("estimate: a Dirichlet prior is one of tables, and no node has a table to estimate; leave prior out")


def _learner(model: Model, names: tuple[str, ...], prior: TablePrior | None, smallest: float) -> Learner:
    conditional = part_of(model, names[0])
    for name in names:
        if has_network(part_of(model, name)):
            raise GraphError(
                f"estimate: node {name!r} has a network, {part_of(model, name).variable.net_label or type(part_of(model, name)).__name__}, whose weights have no closed form; train it by gradient, "
                f"missing cells and latents included: dgm.fit(dgm.MaximumLikelihood(model), data)"
            )
    if is_table(model, names[0]):
        return Tables(model, names, prior)
    if is_regression(conditional):
        return Regression(conditional, names, smallest)
    return Means(conditional, names) if is_mean(conditional) else Numeric(conditional, names)
