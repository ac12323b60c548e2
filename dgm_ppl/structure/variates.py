"""Variates: the columns that independence tests read, each finite or real.

Labels are finite, and so are truth values, whole numbers that take few values, and any numbers that take two; other numbers
are real. A net's declaration decides where there is one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..data import columns
from ..graph import DAG, GraphError, did_you_mean
from ..network import BayesNet, Layout

__all__ = ["FEW_VALUES", "Variate", "joint_codes", "variates"]

FEW_VALUES = 20
"""Whole numbers with at most so many values are states, where no net declares otherwise."""


@dataclass(frozen=True, eq=False)
class Variate:
    """A column: codes `(rows,)` from 0 where finite, numbers `(rows, features)` where real."""

    name: str
    values: Tensor
    finite: bool

    @property
    def rows(self) -> int:
        """The number of rows."""
        return len(self.values)

    @property
    def constant(self) -> bool:
        """Whether all rows are equal."""
        return bool((self.values == self.values[:1]).all())


def variates(graph: DAG | BayesNet, data: Any, latent: Collection[str] = ()) -> dict[str, Variate]:
    """The columns of `data` that belong to nodes which are not `latent`; further columns are left out.

    Raises `GraphError` for a node without a column, a label outside the states, and missing cells.

    >>> found = variates(DAG("age -> height"), {"age": ["old", "young", "old"], "height": [1.7, 1.4, 1.8]})
    >>> found["age"].values, found["height"].finite
    (tensor([0, 1, 0]), False)
    """
    found = columns(data)
    wanted = [name for name in graph if name not in latent]
    missing = [name for name in wanted if name not in found]
    if missing:
        raise GraphError(f"node {missing[0]!r}: expected a column of the data; got none{did_you_mean(missing[0], found)}; "
                         f"try data.rename(columns=...), or latent={missing!r} for nodes that were not measured")
    chosen = {name: found[name].cpu() if isinstance(found[name], Tensor) else found[name] for name in wanted}
    for name, column in chosen.items():
        _check_cells(name, column)
    return _declared(graph, chosen, latent) if isinstance(graph, BayesNet) else {
        name: _guessed(name, column) for name, column in chosen.items()}


def joint_codes(sides: Sequence[Tensor]) -> Tensor:
    """One code for each combination of several codes that occurs.

    >>> joint_codes([torch.tensor([0, 0, 1]), torch.tensor([2, 2, 0])])
    tensor([0, 0, 1])
    """
    code = torch.zeros_like(sides[0])
    for side in sides:
        code = torch.unique(code * (int(side.max()) + 1) + side, return_inverse=True)[1]
    return code


def _check_cells(name: str, column: Tensor | np.ndarray) -> None:
    missing = torch.isnan(column) if isinstance(column, Tensor) and column.is_floating_point() else _nothing(column)
    if missing.any():
        raise GraphError(f"node {name!r}: expected a value in every row; got {int(missing.sum())} missing cells; "
                         "try data.dropna()")
    if isinstance(column, Tensor) and not torch.isfinite(column).all():
        raise GraphError(f"node {name!r}: expected finite numbers; got infinite ones; try leaving those rows out")


def _nothing(column: Tensor | np.ndarray) -> Tensor:
    if isinstance(column, Tensor):
        return torch.zeros(len(column), dtype=torch.bool)
    return torch.tensor([cell is None or cell != cell for cell in column.ravel().tolist()])


def _declared(net: BayesNet, chosen: Mapping[str, Any], latent: Collection[str]) -> dict[str, Variate]:
    inputs = {name: torch.zeros(net[name].shape) for name in net.inputs if name in latent}
    encoded = Layout(net).encode({**chosen, **inputs}, like=torch.empty(0, dtype=torch.double))
    return {name: _as_declared(net, name, encoded[name]) for name in chosen}


def _as_declared(net: BayesNet, name: str, values: Tensor) -> Variate:
    if net[name].space.cardinality is not None and values.ndim == 1:
        return Variate(name, values.long(), finite=True)
    return _real(name, values)


def _guessed(name: str, column: Tensor | np.ndarray) -> Variate:
    if not isinstance(column, Tensor):
        return Variate(name, torch.from_numpy(np.unique(column.astype(str), return_inverse=True)[1]), finite=True)
    if column.ndim == 1:
        states, codes = torch.unique(column, return_inverse=True)
        if len(states) <= (2 if column.is_floating_point() else FEW_VALUES):
            return Variate(name, codes, finite=True)
    return _real(name, column)


def _real(name: str, values: Tensor) -> Variate:
    return Variate(name, values.double().reshape(len(values), -1), finite=False)
