"""Graphs learned from data: PC asks for independences, GES for a score; both find a class of equivalent graphs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch

from ..graph import DAG, GraphError, MixedGraph
from ..graph.declaration import read
from ..graph.names import chosen
from .causal_learn import greedy_equivalence, local_scores, peter_clark
from .citest import ConditionalTest
from .greedy import greedy_search
from .testing import suited
from .variates import Variate, variates

__all__ = ["GES", "PC", "StructureMethod", "learn_structure"]

Arrow = tuple[str, str]


@dataclass(frozen=True)
class StructureMethod:
    """A way to learn a graph.

    To add one: a frozen dataclass with its settings, and `search`, which is given checked columns and the arrows that the
    graph must and must not have.
    """

    def search(self, columns: Mapping[str, Variate], required: Sequence[Arrow], forbidden: Sequence[Arrow]) -> DAG | MixedGraph:
        """The graph."""
        raise NotImplementedError


@dataclass(frozen=True)
class PC(StructureMethod):
    """The PC algorithm (Spirtes and Glymour, 1991), in the form that does not depend on the order of the columns.

    Pairs that a test finds independent given some neighbours are not joined; colliders, settled by the largest p-value, and Meek's rules give the arrows.
    It takes columns of any kind, as `test` does (without one, each statement gets the test that suits its columns). `level`
    is that of each test; `largest` bounds the number of given columns. A statement that cannot be tested separates nothing.
    """

    level: float = 0.01
    test: ConditionalTest | None = None
    largest: int | None = None

    def search(self, columns: Mapping[str, Variate], required: Sequence[Arrow], forbidden: Sequence[Arrow]) -> MixedGraph:
        """The class, narrowed by the arrows."""
        if not 0 < self.level < 1:
            raise GraphError(f"PC: expected a level between 0 and 1; got {self.level!r}; try PC(level=0.01)")
        p_value = _p_values(list(columns.values()), self.test, _settled(list(columns), required, forbidden))
        return peter_clark(
            list(columns), p_value, level=self.level, largest=self.largest, required=required, forbidden=forbidden,
        )


@dataclass(frozen=True)
class GES(StructureMethod):
    """Greedy equivalence search (Chickering, 2002): BDeu where all columns are finite, BIC where all are real and linear.

    With required or forbidden arrows it moves only between classes that have a member which agrees with them, so that it finds the
    best of these even where the data alone speak for others. `largest` bounds the number of parents.
    """

    largest: int | None = None

    def search(self, columns: Mapping[str, Variate], required: Sequence[Arrow], forbidden: Sequence[Arrow]) -> MixedGraph:
        """The best class that agrees with the arrows, narrowed by them."""
        finite = {one.finite for one in columns.values()}
        if len(finite) > 1 or not finite.pop() and any(one.values.shape[1] > 1 for one in columns.values()):
            raise GraphError("GES: expected columns that are all finite or all single numbers; got both, or wide columns; "
                             "try method=dgm.PC(), or pandas.cut(column, 4).astype(str)")
        kind = next(iter(columns.values())).finite
        if kind and len(columns) < 3:
            raise GraphError(f"GES: expected three finite columns or more; got {list(columns)}; try method=dgm.PC()")
        rows = torch.stack([one.values.reshape(one.rows) for one in columns.values()], 1).numpy()
        if required or forbidden:
            return greedy_search(list(columns), local_scores(list(columns), rows, finite=kind), required, forbidden, self.largest)
        return greedy_equivalence(list(columns), rows, finite=kind, largest=self.largest)


def learn_structure(
    data: Any, *, method: StructureMethod = PC(), required: object = (), forbidden: object = (),
) -> DAG | MixedGraph:
    """Learn a graph from data.

    Arguments:
        data: a DataFrame or dict of columns, all of which become nodes; labels and whole numbers that take few values are
            finite, other numbers real.
        method: `PC()`, which takes any columns, or `GES()`.
        required: arrows that the graph must have, as pairs or as text such as `"age -> {height words}"`.
        forbidden: arrows that it must not have; both directions forbid an edge.

    The answer is a class of equivalent graphs, in which lines may be turned either way: `dgm_ppl.graph.members` yields
    them, `dgm.draw` draws it. From few rows it may be a class without members.

    Raises `GraphError` for missing cells, constant columns, arrows that contradict each other or what was found, and where
    causal-learn is not installed (`pip install 'dgm-ppl[structure]'`).
    """
    if not isinstance(method, StructureMethod):
        raise GraphError(f"method: expected an object such as dgm.PC(level=0.01); got {method!r}; try method=dgm.PC()")
    columns = _columns(data)
    wanted, unwanted = _arrows(required, columns, "required"), _arrows(forbidden, columns, "forbidden")
    both = [arrow for arrow in wanted if arrow in unwanted]
    if both:
        raise GraphError(f"required: expected arrows that are not forbidden; got {' -> '.join(both[0])}; try leaving it out of one")
    DAG(list(wanted))                                                       # they must not make a cycle
    found = method.search(columns, wanted, unwanted)
    return _kept(found, wanted, unwanted)


def _columns(data: Any) -> dict[str, Variate]:
    names = list(data)
    if len(names) < 2:
        raise GraphError(f"data: expected two columns or more; got {names}; try a DataFrame with a column for each node")
    found = variates(DAG(nodes=names), data)
    for name, column in found.items():
        if column.constant:
            raise GraphError(f"node {name!r}: expected a column that varies; got one value; try data.drop(columns={name!r})")
    return found


def _arrows(declared: object, names: Iterable[str], place: str) -> tuple[Arrow, ...]:
    arrows = tuple((parent, child) for parent, child in read(declared)[1])
    chosen([name for arrow in arrows for name in arrow], list(names), place)
    return arrows


def _settled(names: Sequence[str], required: Sequence[Arrow], forbidden: Sequence[Arrow]) -> dict[frozenset[int], float]:
    """The p-values that need no test: 0 where an edge is required, 1 where both its directions are forbidden."""
    place = {name: index for index, name in enumerate(names)}
    barred = {frozenset(map(place.get, arrow)): 1.0 for arrow in forbidden if arrow[::-1] in forbidden}
    return barred | {frozenset(map(place.get, arrow)): 0.0 for arrow in required}


def _p_values(
    columns: Sequence[Variate], test: ConditionalTest | None, settled: Mapping[frozenset[int], float],
) -> Callable[[int, int, tuple[int, ...]], float]:
    @cache
    def ordered(a: int, b: int, given: tuple[int, ...]) -> float:
        sides = [columns[a]], [columns[b]], [columns[one] for one in given]
        used = test or suited([one for side in sides for one in side], linear=False)
        p = used(*sides).p
        return 0.0 if math.isnan(p) else p

    def p_value(a: int, b: int, given: tuple[int, ...]) -> float:
        pair = frozenset((a, b))
        return settled[pair] if pair in settled else ordered(min(a, b), max(a, b), given)

    return p_value


def _kept(found: DAG | MixedGraph, required: Sequence[Arrow], forbidden: Sequence[Arrow]) -> DAG | MixedGraph:
    """The graph, once it is sure that it has the arrows it must have and lacks those it must not have."""
    directed = set(found.edges if isinstance(found, DAG) else found.directed)
    for arrow in required:
        if arrow not in directed:
            raise GraphError(f"required: the search ended without the arrow {' -> '.join(arrow)}; try method=dgm.GES(), which moves between graphs that have it")
    for arrow in forbidden:
        if arrow in directed:
            raise GraphError(f"forbidden: the search ended with the arrow {' -> '.join(arrow)}; try method=dgm.GES(), which moves between graphs that lack it")
    return found
