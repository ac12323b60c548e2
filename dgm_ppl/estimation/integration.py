"""Expectations where Gaussian nodes are hidden: their posteriors as weighted points with the same means and covariances."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from ..compile import Model
from ..exact import Cells, Collapse, Given, hinges
from ..exact.gaussian import Integral
from ..exact.scene import Scene
from ..exact.structure import Block
from .learners import Learner
from .samples import Samples, samples_of
from .statistics import Statistics, check_possible
from .tables import count_samples, is_table, table_shape

__all__ = ["IntegratedExpectation"]

CELLS = 4_000_000                                       # numbers held at once


class IntegratedExpectation:
    """The expectation step of a model in which Gaussian and finite nodes are hidden, in some rows or in all.

    Everything that a maximisation wants of a hidden Gaussian is its mean and covariance, which `2n` points of equal weight, mean ± sqrt(n) times
    the columns of the covariance's root, have exactly; so hidden Gaussians become cases of values like all others.

    Raises:
        Obstacle: a node that cannot be eliminated, with the reason.
    """

    def __init__(self, model: Model, found: Cells, weights: Tensor | None, learning: Sequence[Learner], memory: int):
        self.model, layout = model, model.layout
        values = layout.rowed(dict(found))
        self.holes = layout.align_all({name: hole.reshape(values[name].shape) for name, hole in found.holes.items()})
        self.sizes, self.worlds, self.values = layout.sizes(values), layout.worlds(values), layout.align_all(values)
        self.rows = math.prod(self.worlds)
        self.weight = (torch.ones(self.rows, dtype=torch.float64) if weights is None else weights).to(model.device)
        seen = [name for name in model.random if name in found]
        above = set(model.net.ancestors(*seen))
        hidden = [name for name in model.random if name in above and name not in found]
        hidden += [name for name in found.holes if hinges(model, name, seen)]
        given = [name for name in model.net if name in found and name not in hidden]
        self.collapse = Collapse(model, hidden, given, counted=[name for name in given if name in model.random], sizes=self.sizes, memory=memory)
        self.learned = [name for one in learning for name in one.names]
        self.counted = [name for name in self.learned if is_table(model, name)]
        structure = self.collapse.structure
        cells = max([structure.schedule.largest, *(structure.cells(block) for block in structure.blocks)])
        self.piece = max(1, CELLS // cells)

    def __call__(self) -> Statistics:
        """Expected statistics at the model's parameters."""
        found = Statistics()
        found.counts = {name: torch.zeros(table_shape(self.model, name), dtype=torch.float64, device=self.model.device) for name in self.counted}
        found.samples = {name: [] for name in self.learned if name not in self.counted}
        for start in range(0, self.rows, self.piece):
            self._add(found, slice(start, min(start + self.piece, self.rows)))
        return found

    def _add(self, found: Statistics, rows: slice) -> None:
        collapse, count = self.collapse, rows.stop - rows.start
        values, holes = ({name: value[rows] for name, value in held.items()} for held in (self.values, self.holes))
        given, weight = Given(values, (count,), self.sizes, holes), self.weight[rows]
        with torch.no_grad():
            scene, logs, shares, integrals = collapse.shares(given)
        check_possible(logs.detach(), weight, torch.arange(rows.start, rows.stop, device=weight.device))
        found.log_likelihood += float((weight * logs.detach().double()).sum())
        for name, share in zip(collapse.structure.factors, shares):
            if name in self.learned:
                self._keep(found, name, self._finite_cases(scene, name, share, weight, count))
        for block, integral, share in zip(collapse.structure.blocks, integrals, shares[len(collapse.structure.factors):]):
            for filled, part in self._points(scene, block, integral, share, weight, count):
                for name in block.terms:
                    if name in self.learned:
                        self._keep(found, name, [self._case(scene, name, filled, part)])

    # ---- cases

    def _states(self, scene: Scene, share: Tensor, count: int) -> Iterator[tuple[dict[str, Tensor], tuple[int, ...], Tensor]]:
        """Each joint state of the finite nodes that a share has axes of: their values, its place, and its probability in each row."""
        names = [name for name in reversed(scene.structure.finite)]                             # the axes, from the left
        flat = share.reshape(*share.shape[: len(names)], -1)
        for position in range(math.prod(flat.shape[:-1])):
            place = tuple(int(index) for index in torch.unravel_index(torch.tensor(position), flat.shape[:-1])) if names else ()
            filled = {name: self._constant(name, code, count) for name, code, size in zip(names, place, flat.shape) if size > 1}
            yield filled, place, flat[place].expand(count).double()

    def _finite_cases(self, scene: Scene, name: str, share: Tensor, weight: Tensor, count: int) -> Iterator[Samples]:
        for filled, _, probability in self._states(scene, share, count):
            yield self._case(scene, name, filled, weight * probability)

    def _points(self, scene: Scene, block: Block, integral: Integral, share: Tensor, weight: Tensor, count: int) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
        """Values of the hidden nodes of a block, point after point, and their weights."""
        mean = integral.mean.detach()
        size = mean.shape[-1]
        covariance = integral.covariance().detach()
        if integral.free is None:
            root = torch.linalg.cholesky(covariance)
        else:
            free = integral.free
            root = torch.linalg.cholesky(covariance + torch.diag_embed(1 - free)) * free.unsqueeze(-1) * free.unsqueeze(-2)
        axes = len(scene.structure.finite)
        shape = (*share.shape[:axes], count)
        mean = mean.expand(*shape, size)
        root = root.expand(*shape, size, size)
        for states, place, probability in self._states(scene, share, count):
            part = weight * probability / (2 * size)
            for column in range(size):
                for sign in (1.0, -1.0):
                    point = mean[place] + sign * math.sqrt(size) * root[place][..., column]
                    filled = {name: point[:, where].reshape(count, *self.model.net[name].shape).to(self.model.anchor.dtype) for name, where in integral.places.items()}
                    yield {**states, **filled}, part

    def _case(self, scene: Scene, name: str, filled: Mapping[str, Tensor], weight: Tensor) -> Samples:
        hidden, model = scene.structure.hidden, self.model
        values = {**{one: value for one, value in scene.values.items() if one not in hidden}, **filled}
        above = {name, *model.net.ancestors(name)}
        for node in model.schedule:
            if node.deterministic and node.name in above and all(parent in values for parent in node.parents):
                values[node.name] = model.compute(node, values, self.sizes)
        joint = len(model.net[name].shape) - model.conditionals[name].elements
        gaps = {one: hole.flatten(-joint).all(-1) if joint else hole for one, hole in scene.holes.items() if one == name and one not in hidden}
        return samples_of(model, name, values, weight, self.sizes, gaps)

    def _constant(self, name: str, code: int, count: int) -> Tensor:
        anchor, integer = self.model.anchor, self.model.net[name].space.integer
        return torch.full((count,), code, dtype=torch.long if integer else anchor.dtype, device=anchor.device)

    def _keep(self, found: Statistics, name: str, cases: Iterator[Samples] | Sequence[Samples]) -> None:
        for case in cases:
            if name in self.counted:
                found.counts[name] += count_samples(self.model.conditionals[name], case)
            else:
                found.samples[name].append(case)
