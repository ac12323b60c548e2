"""Data as an oracle: a test of independence that answers yes or no, for whatever asks."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ..graph import DAG, GraphError
from ..graph.names import Names, chosen, disjoint
from .citest import ConditionalTest, Outcome
from .testing import suited
from .variates import Variate, variates

__all__ = ["DataOracle"]


@dataclass(frozen=True, eq=False)
class DataOracle:
    """Whether columns of data are independent given others: not rejected at `level` by `test`, or by the test that suits the columns.

    It is what `DAG.from_independencies` asks for the minimal I-map that data speak for. A statement that cannot be tested counts
    as false, so that its arrow stays. No correction is made for the number of questions.

    >>> import torch
    >>> noise = torch.randn(2, 500, generator=torch.Generator().manual_seed(0))
    >>> age = torch.linspace(0.0, 1.0, 500)
    >>> oracle = DataOracle({"age": age, "height": age + noise[0] / 9, "words": age + noise[1] / 9})
    >>> DAG.from_independencies(oracle, order=["age", "height", "words"])
    DAG('age -> height; age -> words')
    """

    data: Any = field(repr=False)
    level: float = 0.01
    test: ConditionalTest | None = None

    def __post_init__(self) -> None:
        if not 0 < self.level < 1:
            raise GraphError(f"level: expected a probability between 0 and 1; got {self.level!r}; try level=0.01")

    def __call__(self, a: Names, b: Names, given: Names = ()) -> bool:
        """Whether `a` and `b`, each one column or several, are independent given others."""
        p = self.outcome(a, b, given).p
        return not math.isnan(p) and p > self.level

    def outcome(self, a: Names, b: Names, given: Names = ()) -> Outcome:
        """The test's statistic, p-value and effect."""
        sides = [chosen(names, self.columns, "DataOracle") for names in (a, b, given)]
        disjoint("DataOracle", a=sides[0], b=sides[1], given=sides[2])
        found = [[self.columns[name] for name in sorted(side)] for side in sides]
        return (self.test or _suited(found))(*found)

    @cached_property
    def columns(self) -> dict[str, Variate]:
        """The columns as the tests read them."""
        return variates(DAG(nodes=list(self.data)), self.data)


def _suited(sides: Collection[Collection[Variate]]) -> ConditionalTest:
    return suited([one for side in sides for one in side], linear=False)
