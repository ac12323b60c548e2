"""Which statements of a graph data can speak to."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import combinations

from ..graph import DAG, GraphError, Independence, basis_set, minimal_separator
from ..graph.names import chosen
from ..network import BayesNet

__all__ = ["asked", "testable"]


def testable(graph: DAG | BayesNet, latent: Collection[str] = ()) -> tuple[Independence, ...]:
    """One statement for each pair of measured nodes that the graph separates.

    With every node measured it is Shipley's (2000) basis set, in which the parents of both are given, and the others follow
    from it. Where nodes are latent, a pair is given a smallest set of measured nodes that separates it; a pair that none
    separates has no statement. Of two inputs of a net nothing is said.

    >>> print(*testable(DAG("z -> {x y}; x -> w; y -> w")), sep="; ")
    z _||_ w | {x, y}; x _||_ y | z
    >>> print(*testable(DAG("z -> {x y}; x -> w"), latent=["z"]), sep="; ")
    y _||_ w | x
    """
    dag = graph.dag if isinstance(graph, BayesNet) else graph
    inputs = set(graph.inputs) if isinstance(graph, BayesNet) else set()
    found = _separated(dag, latent) if latent else basis_set(dag)
    return tuple(one for one in found if not one.left | one.right <= inputs)


def asked(graph: DAG | BayesNet, statements: Iterable[Independence | str], latent: Collection[str]) -> tuple[Independence, ...]:
    """Statements that the user names, read and checked against the measured nodes."""
    if isinstance(statements, (str, Independence)):
        raise GraphError(f"statements: expected several; got {statements!r}; try statements=[{str(statements)!r}]")
    read = tuple(one if isinstance(one, Independence) else Independence.parse(one) for one in statements)
    measured = [name for name in graph if name not in latent]
    for one in read:
        chosen(sorted(one.names), measured, f"statement {one}")
    return read


def _separated(dag: DAG, latent: Collection[str]) -> Iterable[Independence]:
    measured = [node for node in dag.order if node not in latent]
    for a, b in combinations(measured, 2):
        if a not in dag.parents(b):
            separator = minimal_separator(dag, a, b, within=measured)
            if separator is not None:
                yield Independence(a, b, separator)
