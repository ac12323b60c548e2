"""Gaussian nodes of a chain as linear functions of hidden ones, read off their conditionals at a few points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..conditionals import Chained, Conditional, Port
from ..families.lags import Lagged, node_of
from ..graph import GraphError
from ..network import Chain
from .factors import Compiled
from .hidden import Observed

__all__ = ["Line", "Lines", "Place"]

Place = tuple[str, int]
"""A hidden node, and how many steps back."""


@dataclass(frozen=True, eq=False)
class Line:
    """A Gaussian node at some steps as `constant + sum_p parts_p . p + noise`: `(steps or 1, rows or 1, numbers[, coordinates of p])`, its noise covariance."""

    constant: Tensor
    parts: Mapping[Place, Tensor]
    covariance: Tensor


class Lines:
    """Reads the location of a node at zero and at one coordinate of a hidden node after the other, which tells a linear function whole.

    Args:
        model: a compiled net.
        chain: the chain of the hidden nodes.
        names: the hidden nodes in the chain.
        numbers: how many numbers a value of each hidden node has.
    """

    def __init__(self, model: Compiled, chain: Chain, names: Sequence[str], numbers: Mapping[str, int]):
        self.model, self.net, self.chain, self.names, self.numbers = model, model.net, chain, tuple(names), numbers
        self.rank, self.axis = model.layout.rank, list(model.net.plates).index(chain.name) - model.layout.rank

    def of(self, name: str, observed: Observed) -> list[tuple[int, int, Line]]:
        """A node of the chain for each run of steps that have one conditional."""
        conditional, found = self.model.conditionals[name], []
        back = max((port.name.steps for port in conditional.ports if isinstance(port.name, Lagged) and port.name.node in self.names), default=0)
        for each, start, stop in conditional.cuts(observed.steps):
            edges = [start, *(step for step in range(start + 1, min(back, stop - 1) + 1)), stop] if start < back else [start, stop]
            for begin, end in zip(edges, edges[1:]):
                places = [(node_of(port.name), port.name.steps if isinstance(port.name, Lagged) else 0) for port in each.ports]
                grid = self._grid(places, [place for place in places if place[1] > begin])
                parents = [self._at_steps(conditional, port, begin, end, grid, observed) for port in each.ports]
                found.append((begin, end, self._line(name, each, parents, grid, observed)))
        return found

    def _grid(self, places: Sequence[Place], without: Sequence[Place]) -> dict[Place, slice]:
        """Where the coordinates of each hidden node are among the points at which a location is evaluated; the first point is zero. Deterministic
        parents bring in what they read."""
        read: dict[Place, None] = {}
        for name, back in places:
            if name in self.numbers:
                read[name, back] = None
            elif self.net[name].is_deterministic:
                read |= dict.fromkeys((one, 0) for one in self.net.dag.ancestors(name) if one in self.numbers)
        found, start = {}, 1
        for place in read:
            if place not in without:
                found[place] = slice(start, start + self.numbers[place[0]])
                start += self.numbers[place[0]]
        return found

    def _point(self, place: Place, grid: Mapping[Place, slice]) -> Tensor:
        """A hidden node at the points of the grid: zero, and one coordinate after the other, `(points, 1, *plates, *event)`."""
        like, name = self.model.anchor, place[0]
        points = 1 + sum(self.numbers[each] for each, _ in grid)
        value = like.new_zeros(points, self.numbers[name])
        value[grid[place]] = torch.eye(self.numbers[name], dtype=like.dtype, device=like.device)
        return value.reshape(points, *(1,) * (1 + self.rank), *self.net[name].shape)

    def _value(self, port: Port, grid: Mapping[Place, slice], observed: Observed) -> Tensor:
        name = node_of(port.name)
        if name in self.numbers:
            return self._point((name, 0), grid)
        if name in observed.values:
            return port.receive(observed.values[name])
        if not self.net[name].is_deterministic:
            raise GraphError(f"node {name!r} is not observed, and a node that is integrated depends on it")
        conditional = self.model.conditionals[name]
        main = conditional.main if isinstance(conditional, Chained) else conditional
        return main.value(main.prepare(*(self._value(each, grid, observed) for each in main.ports)))

    def _at_steps(self, conditional: Chained, port: Port, start: int, stop: int, grid: Mapping[Place, slice], observed: Observed) -> Tensor:
        name, position = node_of(port.name), conditional.position(port.name)
        if name in self.names and isinstance(port.name, Lagged):
            if (name, port.name.steps) in grid:
                return self._point((name, port.name.steps), grid)
            initial = conditional.initial(position)
            return initial.reshape(*(1,) * (2 + self.rank), *initial.shape)
        value = self._value(port, grid, observed)
        return value if name not in observed.values else conditional.between(position, start, stop, value, self._real_steps(observed))

    def _real_steps(self, observed: Observed) -> Tensor | None:
        lengths = observed.values.get(self.chain.name)
        return None if lengths is None else torch.arange(observed.steps, device=lengths.device).reshape(-1, *(1,) * (-self.axis - 1)) < lengths

    def _line(self, name: str, conditional: Conditional, parents: Sequence[Tensor], grid: Mapping[Place, slice], observed: Observed) -> Line:
        """The location's constant and coefficients, from its values at the points of the grid."""
        parameters, points = conditional.parameters_of(*parents), 1 + sum(self.numbers[each] for each, _ in grid)
        location = self.by_step(name, parameters["loc"], observed)
        location = location.expand(points, *location.shape[1:])                                                     # (points, steps, rows, numbers)
        constant = location[0]
        parts = {place: (location[where] - constant).permute(1, 2, 3, 0) for place, where in grid.items()}
        return Line(constant, parts, self._covariance(name, conditional, parameters, observed))

    def by_step(self, name: str, value: Tensor, observed: Observed) -> Tensor:
        """From `(points, rows, *plates, *event)` to `(points, steps, rows, numbers)`, plates beside the chain and the event being the numbers of a step."""
        event = self.net[name].shape
        value = value.reshape(*(1,) * (2 + self.rank + len(event) - value.ndim), *value.shape)
        value = value.movedim(2 + self.rank + self.axis, 1)                  # (points, steps, rows, *beside, *event)
        return value.expand(*value.shape[:3], *self._beside_sizes(name, observed), *event).reshape(*value.shape[:3], -1)

    def _beside_sizes(self, name: str, observed: Observed) -> list[int]:
        if name in self.numbers:
            return [1] * (self.rank - 1)
        shape = observed.values[name].shape[1: 1 + self.rank]
        return [size for position, size in enumerate(shape) if position != self.rank + self.axis]

    def _covariance(self, name: str, conditional: Conditional, parameters: Mapping[str, Tensor], observed: Observed) -> Tensor:
        if "scale" in parameters:
            return torch.diag_embed(self.by_step(name, parameters["scale"], observed)[0].square())
        matrix = conditional.forms.distribution(**{**parameters, "loc": torch.zeros_like(parameters["loc"])}, validate_args=False).covariance_matrix
        matrix = matrix.reshape(*(1,) * (4 + self.rank - matrix.ndim), *matrix.shape).movedim(2 + self.rank + self.axis, 1)
        if torch.Size(self._beside_sizes(name, observed)).numel() > 1:
            raise GraphError(f"node {name!r} ~ {self.net[name].summary}: a joint value in a plate beside the chain is not integrated; leave the plate out")
        return matrix[0].reshape(*matrix.shape[1:3], *matrix.shape[-2:])

    def outside(self, name: str, observed: Observed) -> Line:
        conditional = self.model.conditionals[name]
        grid = self._grid([(node_of(port.name), 0) for port in conditional.ports], [])
        line = self._line(name, conditional, [self._value(port, grid, observed) for port in conditional.ports], grid, observed)
        return Line(line.constant[0], {place: part[0] for place, part in line.parts.items()}, line.covariance[0])
