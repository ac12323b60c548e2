"""Between the values of a node and the vector of real numbers that a flow transforms: parts of the density, with their Jacobians."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.distributions import StickBreakingTransform

from ...families import Circle, Interval, Positive, Real, Setting, Simplex, Space, Variable
from ...families.usual import place_and_size
from ...graph import GraphError

__all__ = ["Affine", "Link", "Logit", "over", "scaled_as"]


@dataclass(frozen=True, repr=False)
class Logit(Setting):
    """logit(alpha + (1 - 2 alpha) s) of the share s of the way between two bounds (Dinh et al., 2017, https://arxiv.org/abs/1605.08803, section 4.1).

    Zero for numbers strictly between their bounds; whole numbers, dequantized, want a positive one, 0.05 for images.
    """

    alpha: float = 0.05

    def __post_init__(self) -> None:
        if isinstance(self.alpha, bool) or not isinstance(self.alpha, (int, float)) or not 0 <= self.alpha < 0.5:
            raise GraphError(f"Logit: expected alpha from 0 to below 0.5; got {self.alpha!r}; try dgm.Logit(0.05)")


@dataclass(frozen=True, repr=False)
class Affine(Setting):
    """(x - loc) / scale, so that a flow sees numbers near zero of size one; a number each, or a tuple of one a dimension of the last axis."""

    loc: Any = 0.0
    scale: Any = 1.0

    def __post_init__(self) -> None:
        for name in ("loc", "scale"):
            value = getattr(self, name)
            if isinstance(value, (list, Tensor)):
                value = tuple(value.tolist() if isinstance(value, Tensor) else value)
            elif not isinstance(value, (int, float, tuple)) and callable(getattr(value, "tolist", None)):
                value = value.tolist()                                      # an array, or a number of numpy's
                value = tuple(value) if isinstance(value, list) else value
            cells = value if isinstance(value, tuple) else (value,)
            if any(isinstance(cell, bool) or not isinstance(cell, (int, float)) or not math.isfinite(cell) for cell in cells):
                raise GraphError(f"Affine: expected a number or one a dimension for {name}; got {getattr(self, name)!r}; try {name}=1.0")
            object.__setattr__(self, name, tuple(map(float, value)) if isinstance(value, tuple) else float(value))
        if any(cell <= 0 for cell in (self.scale if isinstance(self.scale, tuple) else (self.scale,))):
            raise GraphError(f"Affine: expected a positive scale; got {self.scale!r}; try x.std(0)")

    def check(self, place: str, shape: Sequence[int]) -> None:
        """Raises where there is not a number for each dimension of the last axis."""
        for name in ("loc", "scale"):
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) != (shape[-1] if shape else 1):
                raise GraphError(f"{place}: expected preprocess to have one number for {name}, or {shape[-1] if shape else 1}, one a dimension of the last axis; got {len(value)}")


def over(latent: Variable) -> Space | None:
    """The space to declare for what stands for a latent's posterior, whose values have densities inside it; None for the real line."""
    return None if isinstance(latent.space, Real) else Positive() if isinstance(latent.space, Positive) else latent.space


def scaled_as(latent: Variable) -> Affine | None:
    """The scaling by a latent's fixed location and scale, so that what stands for its posterior starts near the prior."""
    found = place_and_size(latent)
    return None if found is None else Affine(*found)


class Link(torch.nn.Module):
    """The map of one node: its space to the real line (log, logit, sticks), then an affine one; elementwise except for the simplex."""

    def __init__(self, space: Space, *, alpha: float = 0.0, affine: Affine | None = None):
        super().__init__()
        self.space, self.alpha = space, alpha
        self.bounds = space.bounds
        self.plain = affine is None and isinstance(space, (Real, Circle))
        self.scaled = affine is not None
        if affine is not None:
            self.register_buffer("loc", torch.tensor(affine.loc), persistent=False)
            self.register_buffer("scale", torch.tensor(affine.scale), persistent=False)

    def features(self, event: tuple[int, ...]) -> int:
        """The number of real numbers behind one value."""
        numbers = math.prod(event)
        return numbers - numbers // event[-1] if isinstance(self.space, Simplex) else numbers

    def real(self, value: Tensor, event: tuple[int, ...]) -> tuple[Tensor, Tensor | None]:
        """Values `(*batch, *event)` as `(*batch, features)`, and the log-determinant `(*batch)`."""
        terms: list[Tensor] = []
        if isinstance(self.space, Positive):
            value = value.log()
            terms.append(-value)
        elif isinstance(self.space, Interval):
            value = self._share(value, terms)
        elif isinstance(self.space, Simplex):
            sticks = StickBreakingTransform()
            free = sticks.inv(value)
            terms.append(-sticks.log_abs_det_jacobian(free, value))         # one for each row of the event
            value = free
        rank = len(event)
        if self.scaled:
            value = (value - self.loc) / self.scale
            terms.append((-self.scale.log()).expand(value.shape))
        flat = value.flatten(-rank) if rank > 1 else value if rank else value.unsqueeze(-1)
        if not terms:
            return flat, None
        return flat, sum(self._summed(term, flat.shape[:-1]) for term in terms)

    def value(self, x: Tensor, event: tuple[int, ...]) -> Tensor:
        """The inverse of `real`."""
        inner = (*event[:-1], event[-1] - 1) if isinstance(self.space, Simplex) else event
        value = x.unflatten(-1, inner) if len(inner) > 1 else x if inner else x.squeeze(-1)
        if self.scaled:
            value = value * self.scale + self.loc
        if isinstance(self.space, Positive):
            return value.exp()
        if isinstance(self.space, Simplex):
            return StickBreakingTransform()(value)
        if isinstance(self.space, Interval):
            low, high = self.bounds
            share = value.sigmoid()
            if self.alpha:
                share = ((share - self.alpha) / (1 - 2 * self.alpha)).clamp(0, 1)
            return low + (high - low) * share
        return value

    def _share(self, value: Tensor, terms: list[Tensor]) -> Tensor:
        low, high = self.bounds
        width = high - low
        share = (value - low) / width
        if self.alpha:
            share = self.alpha + (1 - 2 * self.alpha) * share
        terms.append(math.log((1 - 2 * self.alpha) / width) - share.log() - (1 - share).log())
        return torch.logit(share)

    @staticmethod
    def _summed(term: Tensor, batch: torch.Size) -> Tensor:
        """A term of some event dimensions, added up over them."""
        extra = term.ndim - len(batch)
        return term if extra <= 0 else term.sum(tuple(range(-extra, 0)))
