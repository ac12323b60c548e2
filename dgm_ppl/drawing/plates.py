"""How plates lie to each other: nested as clusters, crossing in consecutive columns, or neither.

Two plates cross when they share members and neither holds the other, as users and movies do around a rating. Crossing
plates are drawable as rectangles when their regions can be put in a row in which every plate's regions are neighbours (the
consecutive-ones property). The few plates for which that fails are written on their members instead: nothing is cloned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, permutations

from .figure import Box, Figure, Key, Mark, Shape

__all__ = ["Nest", "Region", "crossing", "drawable", "nested", "region_order", "regions", "uncrossed"]

Region = frozenset[str]
"""The names of the boxes around a mark."""

_MOST_REGIONS = 7


@dataclass(frozen=True)
class Nest:
    """A box with the members that no inner box holds, and the inner boxes."""

    box: Box
    members: tuple[Key, ...]
    inner: tuple[Nest, ...]


def crossing(boxes: Iterable[Box]) -> bool:
    """Return whether two boxes share members without one holding the other.

    >>> crossing([Box("user", "", ("u", "r")), Box("movie", "", ("v", "r"))])
    True
    """
    sets = [set(box.members) for box in boxes]
    return any(a & b and not (a <= b or b <= a) for a, b in combinations(sets, 2))


def nested(boxes: Sequence[Box]) -> tuple[Nest, ...]:
    """Return boxes that do not cross as a forest; of two boxes with the same members the first is the outer one."""
    largest = sorted(boxes, key=lambda box: -len(box.members))
    roots, rest = [], largest
    while rest:
        root, *rest = rest
        inside = [box for box in rest if set(box.members) <= set(root.members)]
        rest = [box for box in rest if box not in inside]
        held = {key for box in inside for key in box.members}
        roots.append(Nest(root, tuple(key for key in root.members if key not in held), nested(inside)))
    return tuple(roots)


def regions(figure: Figure) -> dict[Key, Region]:
    """Return the boxes around each mark."""
    return {mark.key: frozenset(box.name for box in figure.boxes if mark.key in box.members) for mark in figure.marks}


def drawable(figure: Figure) -> Figure:
    """Return the figure with every plate that cannot be a rectangle written on its members."""
    return _with_most_boxes(figure, lambda trial: not crossing(trial.boxes) or region_order(trial) is not None)


def uncrossed(figure: Figure) -> Figure:
    """Return the figure with every plate that cannot be a nested box written on its members."""
    return _with_most_boxes(figure, lambda trial: not crossing(trial.boxes))


def _with_most_boxes(figure: Figure, fits: Callable[[Figure], bool]) -> Figure:
    """The smallest sets of boxes are given up first, and among them those declared last."""
    trials = (_written_on_members(figure, given_up)
              for n in range(len(figure.boxes) + 1) for given_up in combinations(reversed(figure.boxes), n))
    return next(filter(fits, trials))


def _written_on_members(figure: Figure, boxes: Sequence[Box]) -> Figure:
    def written(mark: Mark) -> Mark:
        labels = (f"plate {box.label}" for box in boxes if mark.key in box.members and mark.shape is not Shape.NETWORK)
        return replace(mark, captions=(*mark.captions, *labels))

    kept = tuple(box for box in figure.boxes if box not in boxes)
    return replace(figure, marks=tuple(map(written, figure.marks)), boxes=kept)


def region_order(figure: Figure) -> tuple[Region, ...] | None:
    """Return the regions in a row where every box's regions are neighbours and arrows short; None where there is no such row."""
    around = regions(figure)
    declared = {box.name: i for i, box in enumerate(figure.boxes)}
    found = sorted({region for region in around.values() if region}, key=lambda region: sorted(map(declared.get, region)))
    if len(found) > _MOST_REGIONS:
        return None
    rows = [row for row in permutations(found) if all(_neighbours(row, box.name) for box in figure.boxes)]
    return min(rows, key=lambda row: _length(row, figure, around), default=None)


def _neighbours(row: Sequence[Region], name: str) -> bool:
    places = [i for i, region in enumerate(row) if name in region]
    return not places or places[-1] - places[0] + 1 == len(places)


def _length(row: Sequence[Region], figure: Figure, around: dict[Key, Region]) -> int:
    place = {region: i for i, region in enumerate(row)}
    ends = ((around[arrow.tail], around[arrow.head]) for arrow in figure.arrows)
    return sum(abs(place[tail] - place[head]) for tail, head in ends if tail and head)
