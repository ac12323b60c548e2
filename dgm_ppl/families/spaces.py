"""The spaces that values live in: what is a legal value, how many states, and how a network reads it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import constraints

from ..graph import GraphError

__all__ = ["Circle", "Codewords", "Counts", "Finite", "Interval", "Levels", "OneHot", "Positive", "Real", "Simplex", "Space", "space_of"]


@dataclass(frozen=True)
class Space:
    """Where the values of a node live.

    A subclass gives `constraint` (what is legal), `cardinality` (the number of states of a finite space, else None) and
    `encode` (what a network sees), whose event is `encoded_shape`, and `bounds`.
    """

    @property
    def constraint(self) -> constraints.Constraint:
        return constraints.real

    @property
    def cardinality(self) -> int | None:
        return None

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the largest number."""
        return -math.inf, math.inf

    @property
    def integer(self) -> bool:
        """Whether values are codes of an integer dtype."""
        return False

    def encoded_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The event shape after `encode`."""
        return shape

    def encode(self, value: Tensor) -> Tensor:
        """Values as a network reads them, `(*batch, *encoded event)`."""
        return value

    def example(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """A legal value, for dry runs."""
        return like.new_zeros(shape)

    def __str__(self) -> str:
        return "the real numbers"


class Real(Space):
    """Real numbers; a network reads them as they are."""


@dataclass(frozen=True)
class Positive(Space):
    """Positive numbers (zero included where `closed`); a network reads their logarithm."""

    closed: bool = False

    @property
    def constraint(self) -> constraints.Constraint:
        return constraints.nonnegative if self.closed else constraints.positive

    @property
    def bounds(self) -> tuple[float, float]:
        return 0.0, math.inf

    def encode(self, value: Tensor) -> Tensor:
        return value.clamp_min(torch.finfo(value.dtype).tiny).log()

    def example(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        return like.new_ones(shape)

    def __str__(self) -> str:
        return "the numbers from 0" if self.closed else "the positive numbers"


@dataclass(frozen=True)
class Interval(Space):
    """Numbers between two bounds; a network reads them moved and scaled to [-1, 1]."""

    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise GraphError(f"Interval: expected low < high; got low={self.low!r}, high={self.high!r}")

    @property
    def constraint(self) -> constraints.Constraint:
        return constraints.interval(self.low, self.high)

    @property
    def bounds(self) -> tuple[float, float]:
        return self.low, self.high

    def encode(self, value: Tensor) -> Tensor:
        return (2 * value - (self.low + self.high)) / (self.high - self.low)

    def example(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        return like.new_full(shape, (self.low + self.high) / 2)

    def __str__(self) -> str:
        return f"[{self.low:g}, {self.high:g}]"


@dataclass(frozen=True)
class Circle(Space):
    """Angles in [-pi, pi]; a network reads cosine and sine."""

    @property
    def constraint(self) -> constraints.Constraint:
        return constraints.interval(-math.pi - 1e-6, math.pi + 1e-6)

    @property
    def bounds(self) -> tuple[float, float]:
        return -math.pi, math.pi

    def encoded_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (*shape, 2)

    def encode(self, value: Tensor) -> Tensor:
        return torch.stack([value.cos(), value.sin()], -1)

    def __str__(self) -> str:
        return "the angles from -pi to pi"


@dataclass(frozen=True)
class Simplex(Space):
    """Positive numbers that sum to one along the last dimension."""

    @property
    def constraint(self) -> constraints.Constraint:
        return constraints.simplex

    @property
    def bounds(self) -> tuple[float, float]:
        return 0.0, 1.0

    def example(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        return like.new_full(shape, 1 / shape[-1])

    def __str__(self) -> str:
        return "the simplex: numbers from 0 that sum to one along the last dimension"


@dataclass(frozen=True)
class OneHot(Simplex):
    """Corners of the simplex: a one in the place of the state, zeros elsewhere, along the last dimension."""

    @property
    def constraint(self) -> constraints.Constraint:
        return constraints.one_hot

    def example(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        return torch.nn.functional.one_hot(like.new_zeros(shape[:-1], dtype=torch.long), shape[-1]).to(like.dtype)

    def __str__(self) -> str:
        return "states as a one among zeros along the last dimension"


@dataclass(frozen=True)
class Codewords(Space):
    """Vectors of a learned codebook of `size` codes; a network reads the vectors."""

    size: int = 2

    def __str__(self) -> str:
        return f"the vectors of a codebook of {self.size}"


@dataclass(frozen=True)
class Counts(Space):
    """Whole numbers from zero, to `largest` where there is a bound; a network reads log(1 + count)."""

    largest: int | None = None

    @property
    def constraint(self) -> constraints.Constraint:
        return constraints.nonnegative_integer if self.largest is None else constraints.integer_interval(0, self.largest)

    @property
    def cardinality(self) -> int | None:
        return None if self.largest is None else self.largest + 1

    @property
    def bounds(self) -> tuple[float, float]:
        return 0.0, math.inf if self.largest is None else float(self.largest)

    def encode(self, value: Tensor) -> Tensor:
        return value.log1p()

    def __str__(self) -> str:
        return "the whole numbers from 0" + ("" if self.largest is None else f" to {self.largest}")


@dataclass(frozen=True)
class Levels(Counts):
    """The levels 0 ... `largest` of a measured quantity, such as a pixel's 256, held as floats; a network reads them scaled to [-1, 1]."""

    largest: int = 255

    def encode(self, value: Tensor) -> Tensor:
        return 2 * value / self.largest - 1

    def __str__(self) -> str:
        return f"the levels 0 to {self.largest}"


@dataclass(frozen=True)
class Finite(Space):
    """The states 0 ... size - 1; a network reads them one-hot, two states held as floats (Bernoulli) as they are."""

    size: int
    binary: bool = False

    @property
    def constraint(self) -> constraints.Constraint:
        return constraints.boolean if self.binary else constraints.integer_interval(0, self.size - 1)

    @property
    def cardinality(self) -> int:
        return self.size

    @property
    def bounds(self) -> tuple[float, float]:
        return 0.0, self.size - 1.0

    @property
    def integer(self) -> bool:
        return not self.binary

    def encoded_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return shape if self.binary else (*shape, self.size)

    def encode(self, value: Tensor) -> Tensor:
        return value if self.binary else torch.nn.functional.one_hot(value.long(), self.size)

    def example(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        return like.new_full(shape, self.size - 1, dtype=torch.long if self.integer else like.dtype)   # the last: an index too large is found

    def __str__(self) -> str:
        return "{0, 1}" if self.size == 2 else f"{{0, ..., {self.size - 1}}}"


def space_of(support: constraints.Constraint) -> Space:
    """The space of a distribution's support."""
    if isinstance(support, constraints.independent):
        support = support.base_constraint
    if support is constraints.boolean:
        return Finite(2, binary=True)
    if support is constraints.simplex:
        return Simplex()
    if isinstance(support, constraints.interval):
        return Interval(float(support.lower_bound), float(support.upper_bound))
    if isinstance(support, constraints.greater_than) and support.lower_bound == 0:
        return Positive()
    if isinstance(support, constraints.greater_than_eq) and support.lower_bound == 0:
        return Positive(closed=True)
    if isinstance(support, type(constraints.nonnegative_integer)) and support.lower_bound == 0:
        return Counts()
    return Real()
