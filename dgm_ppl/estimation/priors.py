"""Dirichlet priors on the rows of tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy
import torch
from torch import Tensor

from ..graph import GraphError, did_you_mean

__all__ = ["BDeu", "PseudoCounts", "TablePrior", "prior_of"]


@dataclass(frozen=True, eq=False)
class TablePrior:
    """A Dirichlet prior on each row of a table, p(states | one configuration of the parents), the rows independent.

    A prior fills a table with the posterior mean, (n + a) / sum (n + a), which is also the probability of a coming row; with
    `mode` with the most probable table (MAP), (n + a - 1) / sum (n + a - 1). To add one: a subclass that gives `concentration`.
    """

    def concentration(self, shape: Sequence[int]) -> Tensor:
        """The parameters a of the Dirichlets of a table `(configurations, *event, states)`, double precision."""
        raise NotImplementedError

    @property
    def at_mode(self) -> bool:
        """Whether tables are filled with the most probable one."""
        return False


@dataclass(frozen=True, eq=False)
class PseudoCounts(TablePrior):
    """Dirichlet(a, ..., a): as if each cell had been seen `count` times before; 1 is Laplace's rule and the K2 prior.

    Args:
        count: a number above zero, or an array that broadcasts to the table, `(*parents' states, *event, states)`.
        mode: fill tables with the most probable one, which needs counts of at least one.

    Source: Heckerman et al. (1995), https://doi.org/10.1007/BF00994016.
    """

    count: Any = 1.0
    mode: bool = False

    def __post_init__(self) -> None:
        array = numpy.asarray(self.count)
        if array.dtype.kind not in "iuf" or not array.size or not (numpy.isfinite(array).all() and (array > 0).all()):
            raise GraphError(f"PseudoCounts: expected numbers above zero; got {self.count!r}; for no prior leave it out: dgm.estimate(model, data)")
        if self.mode and not (array >= 1).all():
            raise GraphError(f"PseudoCounts: below one the most probable table lies on the boundary and is not unique; got {self.count!r}; try mode=False")

    def concentration(self, shape: Sequence[int]) -> Tensor:
        given = torch.as_tensor(numpy.asarray(self.count, dtype=float))
        if given.numel() == math.prod(shape):
            return given.reshape(tuple(shape)).clone()
        try:
            return given.expand(tuple(shape)).clone()
        except RuntimeError as error:
            raise GraphError(f"PseudoCounts: expected a number or counts that broadcast to {tuple(shape)}, a row for each configuration; got the shape {tuple(given.shape)}") from error

    @property
    def at_mode(self) -> bool:
        return self.mode


@dataclass(frozen=True, eq=False)
class BDeu(TablePrior):
    """Dirichlet(s / cells, ...): as if `sample_size` rows had been seen before, spread evenly over the cells of each table.

    Two nets that state the same independences then get the same evidence (Buntine, 1991; Heckerman et al., 1995).
    """

    sample_size: float = 1.0

    def __post_init__(self) -> None:
        size = self.sample_size
        if isinstance(size, bool) or not isinstance(size, Real) or not (math.isfinite(size) and size > 0):
            raise GraphError(f"BDeu: expected a sample size above zero; got {size!r}; try dgm.BDeu(10)")

    def concentration(self, shape: Sequence[int]) -> Tensor:
        return torch.full(tuple(shape), self.sample_size / (shape[0] * shape[-1]), dtype=torch.float64)


def prior_of(prior: TablePrior | Mapping[str, TablePrior] | None, name: str, names: Sequence[str]) -> TablePrior | None:
    """The prior of a node: one for all nodes, or a dict by node."""
    if prior is None or isinstance(prior, TablePrior):
        return prior
    if not isinstance(prior, Mapping):
        raise GraphError(f"estimate: expected a prior such as dgm.BDeu(10), or a dict of them by node; got {prior!r}")
    for key, value in prior.items():
        if key not in names:
            raise GraphError(f"estimate: prior: no node {key!r} with a table to estimate{did_you_mean(str(key), names)}")
        if not isinstance(value, TablePrior):
            raise GraphError(f"estimate: expected a prior such as dgm.BDeu(10) for {key!r}; got {value!r}")
    return prior.get(name)
