"""Each space mapped onto the unit cube, so that one rule integrates a density and one chi-square test judges samples."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

import dgm_ppl as dgm

__all__ = ["Chart", "chart_of"]


@dataclass(frozen=True)
class Chart:
    """`to_space` maps `(n, dim)` numbers of the unit cube to values, `jacobian` is its volume factor `(n,)`, `to_cube` its inverse."""

    dim: int
    to_space: Callable[[Tensor], Tensor]
    jacobian: Callable[[Tensor], Tensor]
    to_cube: Callable[[Tensor], Tensor]

    def grid(self, per_side: int) -> tuple[Tensor, Tensor, Tensor]:
        """Midpoints of a grid: values, volumes, places in the cube."""
        side = (torch.arange(per_side, dtype=torch.double) + 0.5) / per_side
        cube = torch.cartesian_prod(*[side] * self.dim).reshape(-1, self.dim)
        return self.to_space(cube), self.jacobian(cube) / per_side**self.dim, cube

    def cells(self, cube: Tensor, per_side: int) -> Tensor:
        """The cell of a coarse grid that holds each place."""
        digits = (cube * per_side).long().clamp(0, per_side - 1)
        return (digits * per_side ** torch.arange(self.dim)).sum(-1)


def chart_of(variable: dgm.Variable) -> Chart:
    """The chart of a continuous variable's values."""
    space, dim, scalar = variable.space, max(1, variable.numel), not variable.shape
    if isinstance(space, dgm.Simplex):
        return _simplex()
    low, high = space.bounds
    if math.isinf(low):
        forth, factor, back = _line()
    elif math.isinf(high):
        forth, factor, back = (lambda u: u / (1 - u)), (lambda u: (1 - u) ** -2), (lambda x: x / (1 + x))
    else:
        forth, factor, back = (lambda u: low + (high - low) * u), (lambda u: torch.full_like(u, high - low)), (lambda x: (x - low) / (high - low))
    return Chart(
        dim, lambda u: forth(u).squeeze(-1) if scalar else forth(u), lambda u: factor(u).prod(-1), lambda x: back(x.unsqueeze(-1) if scalar else x),
    )


def _line() -> tuple[Callable, Callable, Callable]:
    """The tangent, under which even a Cauchy's tails are flat."""
    def angle(u: Tensor) -> Tensor:
        return math.pi * (u - 0.5)

    return (lambda u: angle(u).tan()), (lambda u: math.pi / angle(u).cos() ** 2), (lambda x: x.atan() / math.pi + 0.5)


def _simplex() -> Chart:
    """Three numbers that sum to one, by breaking a stick twice."""
    def forth(u: Tensor) -> Tensor:
        first, second = u[:, 0], (1 - u[:, 0]) * u[:, 1]
        return torch.stack([first, second, 1 - first - second], -1)

    def back(x: Tensor) -> Tensor:
        return torch.stack([x[:, 0], x[:, 1] / (1 - x[:, 0])], -1)

    return Chart(2, forth, lambda u: 1 - u[:, 0], back)
