"""A graph held against data: each of its statements tested."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ..families import Constant, Free, Ref
from ..graph import DAG, GraphError, Independence
from ..graph.names import Names, chosen
from ..network import BayesNet
from .citest import ConditionalTest, Outcome
from .correction import benjamini_hochberg
from .correlation import PartialCorrelation
from .kernel import KernelTest
from .statements import asked, testable
from .tables import TableTest
from .variates import Variate, variates
from .verdicts import Line, Verdicts

__all__ = ["suited", "test_independences"]

FREE = Free()
Correction = Callable[[np.ndarray], np.ndarray]


def test_independences(
    graph: DAG | BayesNet,
    data: Any,
    *,
    level: float = 0.05,
    statements: Iterable[Independence | str] | None = None,
    latent: Names = (),
    test: ConditionalTest | None = None,
    correction: Correction | None = benjamini_hochberg,
) -> Verdicts:
    """Test on data each statement of independence that a graph makes.

    Arguments:
        graph: a `DAG`, or a `BayesNet`, whose declarations say which columns are finite and which relations linear.
        data: a DataFrame or dict of columns, one row a world; columns that the graph lacks are left out.
        level: the probability of rejecting something although every statement is true.
        statements: what to test; without it a basis from which all others follow, `a _||_ b | parents of both` for each
            pair of nodes without an arrow (Shipley, 2000).
        latent: nodes that were not measured; the statements are then those among the others.
        test: one test for all statements. Without it, `TableTest` where all columns are finite, `PartialCorrelation` where
            the net declares linear Gaussian nodes, and `KernelTest`, which takes any columns and any relation, elsewhere.
        correction: what adjusts many p-values, `holm` or another; None leaves them as they are.

    Raises `GraphError` for a column that is missing or has cells without a value, a label outside the states, a test that
    does not fit the columns, and a graph that says nothing.

    >>> import torch
    >>> age = torch.randn(500, generator=torch.Generator().manual_seed(0))
    >>> noise = torch.randn(2, 500, generator=torch.Generator().manual_seed(1))
    >>> data = {"age": age, "height": age + noise[0], "vocabulary": age + noise[1]}
    >>> test_independences(DAG("age -> {height vocabulary}"), data)
    0 of 1 statements rejected at level 0.05 (benjamini_hochberg)
    >>> test_independences(DAG("height -> age <- vocabulary"), data)
    1 of 1 statements rejected at level 0.05 (benjamini_hochberg)
      height _||_ vocabulary: p ..., effect ...
    """
    if not isinstance(graph, (DAG, BayesNet)):
        raise GraphError(f"test_independences: expected a DAG or a BayesNet; got {type(graph).__name__}; "
                         "try dgm.test_independences(model.net, data)")
    if not 0 < level < 1:
        raise GraphError(f"level: expected a probability between 0 and 1; got {level!r}; try level=0.05")
    hidden = _hidden(graph, latent)
    found = variates(graph, data, hidden)
    wanted = testable(graph, hidden) if statements is None else asked(graph, statements, hidden)
    if not wanted:
        raise GraphError("test_independences: expected a graph that states an independence among what was measured; "
                         "got one that states none; try a graph with fewer arrows")
    linear = _linear(graph)
    return _judged([(one, *_measured(one, found, test, linear)) for one in wanted], level, correction)


test_independences.__test__ = False             # pytest would take it for a test where it is imported


def suited(columns: Sequence[Variate], linear: bool) -> ConditionalTest:
    """The test for some columns, which may be known to have linear Gaussian relations."""
    if all(one.finite for one in columns):
        return TableTest()
    return PartialCorrelation() if linear and not any(one.finite for one in columns) else KernelTest()


def _hidden(graph: DAG | BayesNet, latent: Names) -> tuple[str, ...]:
    hidden = chosen(latent, graph, "latent")
    functions = graph.deterministic if isinstance(graph, BayesNet) else ()
    return (*hidden, *(name for name in functions if name not in hidden))


def _measured(
    statement: Independence, columns: Mapping[str, Variate], test: ConditionalTest | None, linear: frozenset[str],
) -> tuple[ConditionalTest, Outcome]:
    sides = [[columns[name] for name in sorted(side)] for side in (statement.left, statement.right, statement.given)]
    used = test or suited([one for side in sides for one in side], linear=statement.names <= linear)
    return used, used(*sides)


def _judged(
    measured: Sequence[tuple[Independence, ConditionalTest, Outcome]], level: float, correction: Correction | None,
) -> Verdicts:
    p = np.array([outcome.p for _, _, outcome in measured])
    adjusted, tested = p.copy(), ~np.isnan(p)
    if correction is not None and tested.any():
        adjusted[tested] = correction(p[tested])
    lines = tuple(
        Line(statement, type(test).__name__, outcome, float(value), _verdict(value, level))
        for (statement, test, outcome), value in zip(measured, adjusted)
    )
    return Verdicts(lines, level, "no correction" if correction is None else getattr(correction, "__name__", "corrected"))


def _verdict(adjusted: float, level: float) -> str:
    if np.isnan(adjusted):
        return "untested"
    return "rejected" if adjusted <= level else "not rejected"


def _linear(graph: DAG | BayesNet) -> frozenset[str]:
    """The nodes of a net that are linear Gaussian together with all their ancestors, inputs included."""
    if not isinstance(graph, BayesNet):
        return frozenset()
    found: set[str] = set()
    for name in graph.order:
        if _is_linear(graph, name) and set(graph[name].all_parents) <= found:
            found.add(name)
    return frozenset(found)


def _is_linear(net: BayesNet, name: str) -> bool:
    variable = net[name]
    if variable.is_given:
        return variable.space.cardinality is None
    if variable.family_name != "Normal" or not variable.classical:
        return False
    location, scale = variable.fixed.get("loc", FREE), variable.fixed.get("scale", FREE)
    return isinstance(location, (Constant, Free, Ref)) and isinstance(scale, (Constant, Free))
