"""How the terms of a loss are added up: for each world, or at once over the whole batch.

A term has one number for each independent element of a node's value, `(*worlds, *plates, *elements)`, or broadcasts to that.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from ..families.shapes import broadcast

if TYPE_CHECKING:
    from .schedule import Node

__all__ = ["PerWorld", "Reduction", "Total", "added"]

Reduction = Callable[["Node", Tensor, Tensor], Tensor]


def added(terms: Iterable[Tensor]) -> Tensor:
    """The sum of one or more tensors; `sum` would add a zero first."""
    return functools.reduce(operator.add, terms)


class PerWorld:
    """Sums a node's term over its elements and plates, `(*worlds)`; worlds that the term does not depend on may be missing."""

    def __call__(self, node: Node, term: Tensor, value: Tensor) -> Tensor:
        if not node.inside:
            return term
        shape = value.shape[: value.ndim - node.joint]
        if term.shape != shape:
            term = term.expand(broadcast(term.shape, shape))
        return term.sum(node.inside)


class Total:
    """Sums over everything, the worlds included, of which there are `count`: fewer operations than world by world.

    A term of one number a world stays as it is until `mean`, so that many of them are added before they are summed.
    """

    def __init__(self, worlds: Sequence[int]):
        self.worlds, self.count = tuple(worlds), math.prod(worlds)

    def __call__(self, node: Node, term: Tensor, value: Tensor) -> Tensor:
        if not node.inside:
            return term if term.shape == self.worlds else term.expand(self.worlds)
        end = value.ndim - node.joint
        shape = self.worlds + value.shape[end - len(node.inside): end]
        return (term if term.shape == shape else term.expand(shape)).sum()

    def mean(self, terms: Sequence[Tensor]) -> Tensor:
        """The mean over the worlds of the terms' sum."""
        whole, by_world = [term for term in terms if not term.ndim], [term for term in terms if term.ndim]
        return added([*whole, added(by_world).sum()] if by_world else whole) / self.count
