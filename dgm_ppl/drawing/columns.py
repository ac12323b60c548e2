"""Places for the marks of a figure whose plates cross, such that each plate is a rectangle around its members alone.

Regions (marks inside the same plates) stand in columns, ordered so that every plate covers neighbouring columns. Unplated
marks stand above the plates, or below them when they only depend on plated ones, or else in a column of their own. So no
rectangle can hold a mark that is no member, whatever the arrows are. Rows are layers along the arrows. All lengths are points.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from ..graph.lazy import networkx as nx
from .figure import Box, Figure, Key, Placement, Rectangle
from .measure import LABEL_SIZE, extent, text_width
from .plates import Region, region_order, regions

__all__ = ["place"]

MARK_GAP, COLUMN_GAP, ROW_GAP = 24.0, 36.0, 34.0
PADDING, STEP, LABEL = 12.0, 9.0, 20.0


def place(figure: Figure) -> Placement:
    """Return places for a figure for which `region_order` finds a row."""
    return _Columns(figure).placement


class _Columns:
    """One placement in the making: bands, then rows, then columns, then the unplated rows around them."""

    def __init__(self, figure: Figure) -> None:
        self.figure = figure
        self.around = regions(figure)
        self.sizes = {mark.key: extent(mark) for mark in figure.marks}
        self.graph = nx.DiGraph()
        self.graph.add_nodes_from(self.sizes)
        self.graph.add_edges_from((a.head, a.tail) if a.upward else (a.tail, a.head) for a in figure.arrows)

    @cached_property
    def placement(self) -> Placement:
        centres = {key: (x, self._height(key)) for key, x in self._across.items()}
        return Placement(centres, {box.name: self._rectangle(box, centres) for box in self.figure.boxes})

    @cached_property
    def _bands(self) -> tuple[list[Key], list[Key], list[Key]]:
        """Marks above the plates, level with them, and below them."""
        plated = {key for key, region in self.around.items() if region}
        under = set().union(*(nx.descendants(self.graph, key) for key in plated))
        over = set().union(*(nx.ancestors(self.graph, key) for key in plated))
        above = [key for key in self.sizes if key not in plated and key not in under]
        below = [key for key in self.sizes if key not in plated and key in under and key not in over]
        level = [key for key in self.sizes if key not in above and key not in below]
        return above, level, below

    @cached_property
    def _rows(self) -> list[list[Key]]:
        """The marks of each row, from the top; marks above the plates stand as low as they can."""
        above, level, below = self._bands
        hanging = self._layers(above, self.graph.reverse())[::-1]
        return [*hanging, *self._layers(level, self.graph), *self._layers(below, self.graph)]

    def _layers(self, keys: list[Key], graph: nx.DiGraph) -> list[list[Key]]:
        """Layers along the arrows, each in the figure's order; marks on a cycle, as groups may be, share a layer."""
        whole = nx.condensation(graph.subgraph(keys))
        home = whole.graph["mapping"]
        return [[key for key in keys if home[key] in layer] for layer in nx.topological_generations(whole)]

    @cached_property
    def _heights(self) -> list[float]:
        """The height of each row's centre; the plates' padding and labels keep the bands apart."""
        heights, top = [], 0.0
        for row, after in zip(self._rows, [*self._rows[1:], []]):
            tall = max(self.sizes[key][1] for key in row)
            heights.append(top - tall / 2)
            between = bool(after) and (row[0] in self._bands[1]) != (after[0] in self._bands[1])
            top -= tall + ROW_GAP + (self._deepest * STEP + LABEL * (self._deepest + 1) if between else 0)
        return heights

    def _height(self, key: Key) -> float:
        return next(height for row, height in zip(self._rows, self._heights) if key in row)

    @cached_property
    def _depths(self) -> dict[str, int]:
        """Padding steps of each box: more than those of every box inside it or across it that came before."""
        depths: dict[str, int] = {}
        for box in sorted(self.figure.boxes, key=lambda box: len(box.members)):
            met = [depths[other.name] for other in self.figure.boxes
                   if other.name in depths and set(other.members) & set(box.members)]
            depths[box.name] = max(met, default=-1) + 1
        return depths

    @property
    def _deepest(self) -> int:
        return max(self._depths.values(), default=0)

    @cached_property
    def _across(self) -> dict[Key, float]:
        """Each mark's distance from the left."""
        across: dict[Key, float] = {}
        left = 0.0
        for region in [*(region_order(self.figure) or ()), Region()]:
            rows = [[key for key in row if self.around[key] == region and key in self._bands[1]] for row in self._rows]
            width = max([*map(self._width, rows), *(text_width(label, LABEL_SIZE) for label in self._labels(region))])
            for row in rows:
                across |= self._in_line(row, left + width / 2, across)
            left += width + COLUMN_GAP + 2 * PADDING + 2 * self._deepest * STEP if width else 0
        return across | self._around_plates(across)

    def _labels(self, region: Region) -> list[str]:
        return [box.label for box in self.figure.boxes if box.name in region]

    def _around_plates(self, across: dict[Key, float]) -> dict[Key, float]:
        above, _, below = self._bands
        rows = [[key for key in row if key in above] for row in self._rows][::-1]
        rows += [[key for key in row if key in below] for row in self._rows]
        middle = (min(across.values(), default=0.0) + max(across.values(), default=0.0)) / 2
        for row in filter(None, rows):
            wished = {key: self._wish(key, across, middle) for key in row}
            across = across | self._spread(sorted(row, key=wished.__getitem__), wished)
        return across

    def _wish(self, key: Key, across: Mapping[Key, float], default: float) -> float:
        """The middle of the neighbours that have a place."""
        near = [across[other] for other in nx.all_neighbors(self.graph, key) if other in across]
        return sum(near) / len(near) if near else default

    def _spread(self, row: list[Key], wished: Mapping[Key, float]) -> dict[Key, float]:
        """Places near the wished ones without overlap: pushed right, then moved back together by the mean push."""
        found: dict[Key, float] = {}
        edge = float("-inf")
        for key in row:
            half = self.sizes[key][0] / 2
            found[key] = max(wished[key], edge + half)
            edge = found[key] + half + MARK_GAP
        push = sum(found[key] - wished[key] for key in row) / len(row)
        return {key: x - push for key, x in found.items()}

    def _width(self, row: list[Key]) -> float:
        return sum(self.sizes[key][0] for key in row) + MARK_GAP * max(len(row) - 1, 0)

    def _in_line(self, row: list[Key], middle: float, across: Mapping[Key, float]) -> dict[Key, float]:
        """Places side by side around `middle`, in the order of the neighbours that already have a place."""
        found, left = {}, middle - self._width(row) / 2
        for key in sorted(row, key=lambda key: self._wish(key, across, middle)):
            found[key] = left + self.sizes[key][0] / 2
            left += self.sizes[key][0] + MARK_GAP
        return found

    def _rectangle(self, box: Box, centres: Mapping[Key, tuple[float, float]]) -> Rectangle:
        depth = self._depths[box.name]
        margin = PADDING + depth * STEP
        edges = [(x - w / 2, y - h / 2, x + w / 2, y + h / 2)
                 for (x, y), (w, h) in ((centres[key], self.sizes[key]) for key in box.members)]
        left, bottom, right, top = zip(*edges)
        return (min(left) - margin, min(bottom) - margin - LABEL * (depth + 1), max(right) + margin, max(top) + margin)
