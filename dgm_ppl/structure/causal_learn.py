"""The one door to causal-learn: its PC and GES, in the words of this package."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

import numpy as np
from causallearn.graph.GraphNode import GraphNode
from causallearn.search.ConstraintBased.PC import pc
from causallearn.search.ScoreBased.GES import ges
from causallearn.utils.cit import CIT_Base, register_ci_test
from causallearn.utils.PCUtils.BackgroundKnowledge import BackgroundKnowledge

from ..graph import MixedGraph

__all__ = ["greedy_equivalence", "peter_clark"]

Arrows = Collection[tuple[str, str]]
PValue = Callable[[int, int, tuple[int, ...]], float]

_TEST, _TAIL, _HEAD = "dgm_ppl", -1, 1


class _Asked(CIT_Base):
    """A test that hands every question on."""

    def __init__(self, data: np.ndarray, *, p_value: PValue):
        super().__init__(data)
        self.method, self._p_value = _TEST, p_value

    def __call__(self, X: int, Y: int, condition_set: Iterable[int] | None = None) -> float:
        return self._p_value(int(X), int(Y), tuple(sorted(map(int, condition_set or ()))))


register_ci_test(_TEST, _Asked)


def peter_clark(
    names: Sequence[str], p_value: PValue, *, level: float, largest: int | None, required: Arrows, forbidden: Arrows,
) -> MixedGraph:
    """PC from p-values of columns given others, all by their places; colliders by the largest p-value (Ramsey, 2016)."""
    places = [f"X{place}" for place in range(len(names))]
    known = _knowledge(names, required, forbidden)
    found = pc(
        np.zeros((len(names), len(names))), alpha=level, indep_test=_TEST, node_names=places, background_knowledge=known,
        max_k=largest, uc_rule=1, uc_priority=3, show_progress=False, p_value=p_value,
    )
    return _mixed(found.G.graph, names)


def greedy_equivalence(names: Sequence[str], rows: np.ndarray, *, finite: bool, largest: int | None) -> MixedGraph:
    """GES with BDeu for codes `(rows, columns)` and BIC for numbers."""
    score = "local_score_BDeu" if finite else "local_score_BIC_from_cov"
    return _mixed(ges(rows, score_func=score, maxP=largest)["G"].graph, names)


def _knowledge(names: Sequence[str], required: Arrows, forbidden: Arrows) -> BackgroundKnowledge:
    nodes = {name: GraphNode(f"X{place}") for place, name in enumerate(names)}
    known = BackgroundKnowledge()
    for parent, child in required:
        known.add_required_by_node(nodes[parent], nodes[child])
        known.add_forbidden_by_node(nodes[child], nodes[parent])
    for parent, child in forbidden:
        known.add_forbidden_by_node(nodes[parent], nodes[child])
    return known


def _mixed(marks: np.ndarray, names: Sequence[str]) -> MixedGraph:
    """A graph from end marks: entry `(i, j)` stands at the end of `i` on the edge to `j`."""
    edges = [(i, j) for i in range(len(names)) for j in range(len(names)) if marks[i, j] and marks[j, i]]

    def between(*ends: int) -> list[tuple[str, str]]:
        return [(names[i], names[j]) for i, j in edges if (marks[i, j], marks[j, i]) == ends]

    return MixedGraph(tuple(names), frozenset(between(_TAIL, _HEAD)), between(_TAIL, _TAIL), between(_HEAD, _HEAD))
