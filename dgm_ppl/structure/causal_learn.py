"""The one door to causal-learn, which is loaded when first used: its PC and GES, in the words of this package."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from functools import cache
from typing import Any

import numpy as np

from ..graph import GraphError, MixedGraph

__all__ = ["greedy_equivalence", "local_scores", "peter_clark"]

Arrows = Collection[tuple[str, str]]
PValue = Callable[[int, int, tuple[int, ...]], float]

_TAIL, _HEAD = -1, 1


def peter_clark(
    names: Sequence[str], p_value: PValue, *, level: float, largest: int | None, required: Arrows, forbidden: Arrows,
) -> MixedGraph:
    """PC from p-values of columns given others, all by their places; colliders by the largest p-value (Ramsey, 2016)."""
    test = _test()
    from causallearn.search.ConstraintBased.PC import pc

    found = pc(
        np.zeros((len(names), len(names))), alpha=level, indep_test=test, node_names=_places(names), max_k=largest, uc_rule=1,
        uc_priority=3, background_knowledge=_knowledge(names, required, forbidden), show_progress=False, p_value=p_value,
    )
    return _mixed(found.G.graph, names)


def greedy_equivalence(names: Sequence[str], rows: np.ndarray, *, finite: bool, largest: int | None) -> MixedGraph:
    """GES with BDeu for codes `(rows, columns)` and BIC for numbers."""
    _test()
    from causallearn.search.ScoreBased.GES import ges

    score = "local_score_BDeu" if finite else "local_score_BIC_from_cov"
    return _mixed(ges(rows, score_func=score, maxP=largest)["G"].graph, names)


def local_scores(names: Sequence[str], rows: np.ndarray, *, finite: bool) -> Callable[[str, frozenset[str]], float]:
    """The same scores, node by node: what one adds given its parents."""
    _test()
    from causallearn.score.LocalScoreFunctionClass import LocalScoreClass, local_score_BDeu, local_score_BIC_from_cov

    found = LocalScoreClass(rows, local_score_BDeu) if finite else LocalScoreClass(rows, local_score_BIC_from_cov, {"lambda_value": 0.5})
    place = {name: index for index, name in enumerate(names)}
    return lambda node, parents: float(found.score(place[node], sorted(map(place.__getitem__, parents))))


@cache
def _test() -> str:
    """The name under which causal-learn knows a test that hands every question on."""
    try:
        from causallearn.utils.cit import CIT_Base, register_ci_test
    except ImportError as error:
        raise GraphError("learn_structure: causal-learn is not installed; try pip install 'dgm-ppl[structure]'") from error

    class Asked(CIT_Base):
        def __init__(self, data: np.ndarray, *, p_value: PValue):
            super().__init__(data)
            self.method, self._p_value = "dgm_ppl", p_value

        def __call__(self, X: int, Y: int, condition_set: Iterable[int] | None = None) -> float:
            return self._p_value(int(X), int(Y), tuple(sorted(map(int, condition_set or ()))))

    register_ci_test("dgm_ppl", Asked)
    return "dgm_ppl"


def _places(names: Sequence[str]) -> list[str]:
    return [f"X{place}" for place in range(len(names))]


def _knowledge(names: Sequence[str], required: Arrows, forbidden: Arrows) -> Any:
    from causallearn.graph.GraphNode import GraphNode
    from causallearn.utils.PCUtils.BackgroundKnowledge import BackgroundKnowledge

    nodes = dict(zip(names, map(GraphNode, _places(names))))
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
