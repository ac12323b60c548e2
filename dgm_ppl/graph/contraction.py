"""Contraction: nodes that only pass on what their parents say are left out of the graph."""

from collections.abc import Mapping

from .dag import DAG
from .names import Names, chosen

__all__ = ["contract", "from_parents"]


def contract(dag: DAG, deterministic: Names) -> DAG:
    """Return the graph without nodes that are functions of their parents: their children inherit these parents.

    >>> contract(DAG("{a b} -> total -> y"), "total").edges
    (('a', 'y'), ('b', 'y'))
    """
    gone = set(chosen(deterministic, dag, "deterministic"))
    source: dict[str, tuple[str, ...]] = {}
    for node in dag.order:
        inherited = [one for parent in dag.parents(node) for one in (source[parent] if parent in gone else (parent,))]
        source[node] = tuple(dict.fromkeys(inherited))
    return from_parents({node: source[node] for node in dag if node not in gone})


def from_parents(parents: Mapping[str, tuple[str, ...]]) -> DAG:
    """Return the graph with these parents, its nodes in the mapping's order."""
    return DAG(parents, nodes=tuple(parents))
