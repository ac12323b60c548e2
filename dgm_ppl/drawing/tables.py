"""Fixed probability tables as lines of text, for tooltips."""

from __future__ import annotations

from itertools import product
from math import prod

import numpy as np

from ..families import Constant, Variable
from ..families.lags import node_of
from ..network import BayesNet

__all__ = ["states_of", "table_lines"]

_MOST_ROWS = 16


def states_of(variable: Variable) -> tuple[str, ...]:
    """Return the labels of a finite variable, or its codes; nothing where there are no states."""
    return variable.labels or tuple(map(str, range(variable.space.cardinality or 0)))


def table_lines(net: BayesNet, name: str) -> tuple[str, ...]:
    """Return one line for each configuration of the parents, or nothing where the node has no fixed table.

    >>> from dgm_ppl.families import Bernoulli
    >>> table_lines(BayesNet(rain=Bernoulli(probs=0.2), wet=Bernoulli(probs=[0.1, 0.9]).given("rain")), "wet")
    ('rain=0: 0.9, 0.1', 'rain=1: 0.1, 0.9')
    """
    variable, parents = net[name], net[name].all_parents
    states, probabilities = states_of(variable), variable.fixed.get("probs")
    choices = [states_of(net[node_of(parent)]) for parent in parents]
    if not states or variable.shape or not isinstance(probabilities, Constant) or variable.expression_parents:
        return ()
    rows = _rows(probabilities.array, prod(map(len, choices)), len(states))
    if rows is None:
        return ()
    lines = [_line(dict(zip(parents, choice)), row) for choice, row in zip(product(*choices), rows)]
    return (*lines[:_MOST_ROWS], *([f"… {len(lines) - _MOST_ROWS} more rows"] if len(lines) > _MOST_ROWS else []))


def _rows(array: np.ndarray, configurations: int, states: int) -> np.ndarray | None:
    """One row of state probabilities a configuration; a Bernoulli's array holds those of its second state."""
    if array.size == configurations * states:
        return array.reshape(configurations, states)
    if states == 2 and array.size == configurations:
        return np.stack([1 - array.reshape(-1), array.reshape(-1)], 1)
    return None


def _line(configuration: dict[str, str], row: np.ndarray) -> str:
    given = ", ".join(f"{parent}={state}" for parent, state in configuration.items())
    shares = ", ".join(f"{share:.3g}" for share in row)
    return f"{given}: {shares}" if given else shares
