"""Treewidth: how large the largest table of an exact answer must be, whatever the elimination order."""

from __future__ import annotations

from .dag import DAG
from .lazy import networkx as nx

__all__ = ["treewidth"]

FEW = 300
"""Up to so many nodes least fill-in is tried as well; it takes minutes on thousands."""


def treewidth(dag: DAG) -> int:
    """Return an upper bound on the treewidth of the moral graph, by the better of two greedy elimination orders.

    >>> treewidth(DAG("a -> b -> c")), treewidth(DAG("a -> d; b -> d; c -> d"))
    (1, 3)
    """
    rules = nx.algorithms.approximation
    tried = [rules.treewidth_min_degree, *([rules.treewidth_min_fill_in] if len(dag) <= FEW else [])]
    return min(rule(dag.moral())[0] for rule in tried)
