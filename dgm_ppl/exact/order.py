"""Elimination orders: several rules, ties broken at random, the cheapest kept."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

__all__ = ["Order", "best_order"]


@dataclass(frozen=True)
class Order:
    """An elimination order: each node with the neighbours that it has when its turn comes.

    `states` is the sum of the clusters' states, the cost of one row; `largest` the states of the largest cluster.
    """

    steps: tuple[tuple[str, frozenset[str]], ...]
    states: int
    largest: int

    @property
    def width(self) -> int:
        """The most neighbours that any node has when it is eliminated."""
        return max((len(around) for _, around in self.steps), default=0)


def best_order(scopes: Iterable[Sequence[str]], cards: Mapping[str, int], runs: int = 10, seed: int = 0, last: Collection[str] = ()) -> Order:
    """The order with the lowest sum of states out of min-fill, weighted min-fill, min-weight, and random ties among them.

    `scopes` are the sets of nodes that share a factor, `cards` the number of states of each node; nodes in `last` go after all
    others. Min-fill and its weighted form
    are Kjaerulff's (1990); no rule is best on every net.

    >>> best_order([("a", "b"), ("b", "c"), ("c", "d")], dict(a=2, b=2, c=2, d=2)).states
    14
    """
    names = sorted(cards)
    neighbours = _moral(scopes, {name: position for position, name in enumerate(names)})
    sizes = [cards[name] for name in names]
    tries = [(rule, None) for rule in (_fill, _weighted_fill, _weight)]
    dice = random.Random(seed)
    tries += [((_fill, _weighted_fill, _weight)[turn % 3], dice) for turn in range(runs)]
    best, known = None, None
    late = {place for place, name in enumerate(names) if name in last}
    for rule, ties in tries:
        found = _eliminate(neighbours, sizes, rule, ties, known, late)
        if found is not None:
            best, known = found, found[1]
    steps, states, largest = best
    return Order(tuple((names[node], frozenset(names[bit] for bit in _bits(around))) for node, around in steps), states, largest)


Rule = Callable[[int, list[int], Sequence[int]], float]


def _moral(scopes: Iterable[Sequence[str]], place: Mapping[str, int]) -> list[int]:
    """The neighbours of each node as the bits of a whole number."""
    neighbours = [0] * len(place)
    for scope in scopes:
        joined = sum(1 << place[name] for name in set(scope))
        for name in scope:
            neighbours[place[name]] |= joined
    return [around & ~(1 << node) for node, around in enumerate(neighbours)]


def _fill(node: int, neighbours: list[int], sizes: Sequence[int]) -> float:
    around = neighbours[node]
    return sum((around & ~neighbours[one]).bit_count() - 1 for one in _bits(around))


def _weighted_fill(node: int, neighbours: list[int], sizes: Sequence[int]) -> float:
    around = neighbours[node]
    return sum(sizes[one] * sum(sizes[other] for other in _bits(around & ~neighbours[one] & ~(1 << one))) for one in _bits(around))


def _weight(node: int, neighbours: list[int], sizes: Sequence[int]) -> float:
    return prod(sizes[one] for one in _bits(neighbours[node]))


def _eliminate(start: Sequence[int], sizes: Sequence[int], rule: Rule, dice: random.Random | None, limit: int | None, late: Collection[int]) -> tuple | None:
    """Steps, sum of states and largest cluster; None as soon as the sum reaches `limit`."""
    neighbours = list(start)
    scores = {node: rule(node, neighbours, sizes) for node in range(len(sizes))}
    steps, states, largest = [], 0, 0
    while scores:
        turn = scores if not late else {node: score for node, score in scores.items() if node not in late} or scores
        least = min(turn.values())
        tied = [node for node, score in turn.items() if score == least]
        node = tied[0] if dice is None else dice.choice(tied)
        around = neighbours[node]
        cluster = sizes[node] * prod(sizes[one] for one in _bits(around))
        states, largest = states + cluster, max(largest, cluster)
        if limit is not None and states >= limit:
            return None
        steps.append((node, around))
        for one in _remove(node, neighbours, least == 0 and rule is _fill):
            scores[one] = rule(one, neighbours, sizes)
        del scores[node]
    return steps, states, largest


def _remove(node: int, neighbours: list[int], simplicial: bool) -> list[int]:
    """Joins the neighbours of a node, takes it out, and tells whose score may have changed."""
    around, touched = neighbours[node], neighbours[node]
    for one in _bits(around):
        if not simplicial and around & ~neighbours[one] & ~(1 << one):
            touched |= neighbours[one]
        neighbours[one] = (neighbours[one] | around) & ~(1 << node) & ~(1 << one)
    return list(_bits(touched & ~(1 << node)))


def _bits(number: int) -> Iterable[int]:
    while number:
        low = number & -number
        yield low.bit_length() - 1
        number ^= low
