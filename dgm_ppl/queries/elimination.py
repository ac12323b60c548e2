"""Evidence in rows, and the eliminations that answer questions about it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..compile import Model
from ..exact import Cells, Collapse, Given, Obstacle, kind_of, single
from .exact import Exact

__all__ = ["Elimination", "by_cliques", "collapsed_log_prob", "integrates"]

CELLS = 4_000_000                                   # numbers held at once


class Elimination:
    """The evidence with one dimension of rows, and the eliminations that answer questions about it, kept with the model."""

    def __init__(self, model: Model, cells: Cells, method: Exact):
        self.model, self.cells, self.method = model, cells, method
        layout = model.layout
        known = dict(cells)
        self.worlds = layout.worlds(known) or next((tuple(soft.shape[:-1]) for soft in cells.soft.values() if soft.ndim > 1), ())
        self.rows, self.sizes = math.prod(self.worlds), layout.sizes(known)
        self.values = {name: self._rows(name, value) for name, value in layout.align_all(known).items()}
        self.holes = {name: self._rows(name, value) for name, value in layout.align_all({n: h.reshape(cells[n].shape) for n, h in cells.holes.items()}).items()}
        self.soft = {name: value.expand(*self.worlds, value.shape[-1]).reshape(self.rows, -1) for name, value in cells.soft.items()}
        seen = {*cells, *cells.soft}
        above = set(model.net.ancestors(*(name for name in seen if name in model.random))) if seen else set()
        self.partial = tuple(name for name in cells.holes if kind_of(model.net, name) is not None)
        self.relevant = tuple(name for name in model.random if name not in cells and (name in above or name in cells.soft))

    def _rows(self, name: str, value: Tensor) -> Tensor:
        """Worlds in one dimension; inputs that lack them stay without."""
        inner = self.model.layout.rank + len(self.model.layout.events[name])
        shape = value.shape[value.ndim - inner:]
        return value.expand((*self.worlds, *shape)).reshape((self.rows, *shape)) if value.ndim > inner or not self.worlds else value

    def collapse(self, *names: str) -> Collapse:
        """The elimination of everything that matters for the evidence, and for some nodes.

        Raises:
            GraphError: a node that cannot be eliminated, with the reason.
        """
        net, model = self.model.net, self.model
        open_nodes = [name for name in model.random if name not in self.cells]
        wanted = {*self.relevant, *self.partial, *(name for name in open_nodes for asked in names if name == asked or name in net.ancestors(asked))}
        given = [name for name in self.cells if name not in wanted]
        key = ("collapse", frozenset(wanted), frozenset(given), frozenset(self.sizes.items()), self.method.memory)
        if key not in model.memo:
            counted = [name for name in given if name in model.random]
            for name in (*wanted, *counted):
                if model.conditionals[name].density != "exact":
                    raise Obstacle(name, "it has no exact density")
            model.memo[key] = Collapse(model, wanted, given, counted=counted, sizes=self.sizes, memory=self.method.memory)
        return model.memo[key]

    def pieces(self, collapse: Collapse) -> list[Given]:
        """The rows, as many at a time as fit."""
        structure = collapse.structure
        cells = max([structure.schedule.largest * math.prod(self.sizes.values()), *(structure.cells(block) for block in structure.blocks)])
        size = max(1, CELLS // cells)
        return [self._piece(slice(start, min(start + size, self.rows))) for start in range(0, self.rows, size)]

    def _piece(self, rows: slice) -> Given:
        whole = rows.stop - rows.start == self.rows
        inner = {name: self.model.layout.rank + len(self.model.layout.events[name]) for name in self.values}
        values, holes = ({name: value if whole or value.ndim == inner[name] else value[rows] for name, value in held.items()} for held in (self.values, self.holes))
        return Given(values, (rows.stop - rows.start,), self.sizes, holes, {name: value[rows] for name, value in self.soft.items()})

    def log_evidence(self) -> Tensor:
        """log p(evidence) of each row."""
        collapse = self.collapse()
        if not collapse.touched:
            return torch.zeros(self.rows, dtype=torch.float64, device=self.model.device)
        return torch.cat([collapse.log_evidence(piece) for piece in self.pieces(collapse)]).double()


def collapsed_log_prob(model: Model, cells: Cells, method: Exact) -> Tensor:
    """log p(evidence) of each world, by summing and integrating."""
    with method.recording():
        elimination = Elimination(model, cells, method)
        return elimination.log_evidence().reshape(elimination.worlds)


def integrates(model: Model) -> bool:
    """Whether the net has nodes that only sums and integrals together can eliminate: Gaussian ones, and finite ones in plates."""
    if "integrates" not in model.memo:
        kinds = {name: kind_of(model.net, name) for name in model.random}
        model.memo["integrates"] = any(kind == "gaussian" or kind == "finite" and model.net.plates_of(name) for name, kind in kinds.items())
    return model.memo["integrates"]


def by_cliques(model: Model, cells: Cells) -> bool:
    """Whether all that is hidden and matters is finite and outside plates, and something is, so that cliques are the faster way."""
    elimination = Elimination(model, cells, Exact())
    torn = [name for name in cells.holes if len(model.net[name].shape) > model.conditionals[name].elements]
    hidden = [name for name in (*elimination.relevant, *elimination.partial) if not single(model, name)]
    open_nodes = [name for name in model.random if name not in cells or name in cells.holes]
    return not torn and not hidden and any(single(model, name) for name in open_nodes)
