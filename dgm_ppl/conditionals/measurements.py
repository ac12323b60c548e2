"""What a measurement does to an image, a sequence or a vector: functions of a parent that are data, for inverse problems."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from numbers import Real

import torch
from torch import Tensor
from torch.nn.functional import avg_pool1d, conv1d

from ..graph import GraphError
from .ports import Port
from .predictors import ParentFunction

__all__ = ["Blur", "Clip", "Coarsen", "Grey", "Mask", "Measurement"]


class Measurement(ParentFunction):
    """A function of one parent, `(*batch, *event)`, that is saved and compared as data: `.given("x", fn=dgm.Blur(1.5))`.

    To add one, write `__call__`; any number of leading dimensions may stand before the event, which has `rank` dimensions. A node
    says the rank of its parent's event itself; called by hand, a measurement takes images unless told otherwise: `dgm.Coarsen(4)(sound, rank=1)`.
    """

    @abstractmethod
    def __call__(self, x: Tensor, rank: int = 3) -> Tensor:
        """What is measured of x, before the noise."""

    def of(self, name: str, ports: Sequence[Port]) -> Callable[[Tensor], Tensor]:
        if len(ports) != 1:
            raise GraphError(f"node {name!r}: {self!r} measures one parent; got {', '.join(port.name for port in ports)}; try a function of your own: fn=lambda a, b: ...")
        return partial(self, rank=len(ports[0].event))

    def axes(self, x: Tensor, rank: int) -> tuple[int, ...]:
        """Where space or time runs in an image `(channels, height, width)` or a sequence `(length,)` or `(length, channels)`."""
        if not 1 <= rank <= x.ndim:
            raise GraphError(
                f"{type(self).__name__}: expected images (channels, height, width), or sequences (length,) or (length, channels); got {f'an event of {rank} dimensions in ' if rank != 3 else ''}"
                f"a value of shape {tuple(x.shape)}; try rank=1 or rank=2 for sequences, dgm.Mask, or a function of your own"
            )
        return {1: (-1,), 2: (-2,)}.get(rank, (-2, -1))


def _real(x: Tensor) -> Tensor:
    """Levels of pixels as numbers that have means."""
    return x if x.is_floating_point() else x.to(torch.get_default_dtype())


def _along(axis: int, x: Tensor, fn: Callable[[Tensor], Tensor]) -> Tensor:
    """A function of lines `(n, 1, length)` along one axis."""
    moved = x.movedim(axis, -1)
    return fn(moved.reshape(-1, 1, moved.shape[-1])).reshape(*moved.shape[:-1], -1).movedim(-1, axis)


@dataclass(frozen=True, repr=False)
class Blur(Measurement):
    """Each channel convolved with a Gaussian of standard deviation `width` pixels or steps, weighted anew at the edges so that constants stay.

    >>> bool(Blur(1.0)(torch.ones(2, 1, 8, 8)).allclose(torch.ones(2, 1, 8, 8)))
    True
    """

    width: float = 1.0

    def __post_init__(self) -> None:
        if isinstance(self.width, bool) or not isinstance(self.width, Real) or not 0 < self.width < math.inf:
            raise GraphError(f"Blur: expected width to be a number above 0, in pixels or steps; got {self.width!r}")

    def __call__(self, x: Tensor, rank: int = 3) -> Tensor:
        x = _real(x)
        axes, reach = self.axes(x, rank), max(1, math.ceil(3 * self.width))
        kernel = (-(torch.arange(-reach, reach + 1, device=x.device, dtype=x.dtype) / self.width).square() / 2).exp().reshape(1, 1, -1)
        for axis in axes:
            weight = conv1d(x.new_ones(1, 1, x.shape[axis]), kernel, padding=reach)
            x = _along(axis, x, lambda lines: conv1d(lines, kernel, padding=reach) / weight)
        return x


@dataclass(frozen=True, repr=False)
class Coarsen(Measurement):
    """The mean over squares of `factor` x `factor` pixels, or over `factor` steps of a sequence.

    >>> Coarsen(2)(torch.tensor([1.0, 3.0, 5.0, 7.0]), rank=1)
    tensor([2., 6.])
    """

    factor: int = 2

    def __post_init__(self) -> None:
        if isinstance(self.factor, bool) or not isinstance(self.factor, int) or self.factor < 1:
            raise GraphError(f"Coarsen: expected factor to be a positive whole number; got {self.factor!r}")

    def __call__(self, x: Tensor, rank: int = 3) -> Tensor:
        x = _real(x)
        axes = self.axes(x, rank)
        if any(x.shape[axis] % self.factor for axis in axes):
            raise GraphError(f"Coarsen: expected sides that {self.factor} divides; got {' x '.join(str(x.shape[axis]) for axis in axes)}")
        for axis in axes:
            x = _along(axis, x, lambda lines: avg_pool1d(lines, self.factor))
        return x


@dataclass(frozen=True, repr=False)
class Grey(Measurement):
    """The weighted mean of the channels of an image, one channel; equal weights by default."""

    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.weights, tuple) or not all(isinstance(weight, Real) for weight in self.weights):
            raise GraphError(f"Grey: expected weights as a tuple of one number a channel; got {self.weights!r}; try (0.299, 0.587, 0.114)")

    def __call__(self, x: Tensor, rank: int = 3) -> Tensor:
        if rank < 3 or x.ndim < 3:
            raise GraphError(f"Grey: expected images (channels, height, width); got an event of {min(rank, x.ndim)} dimensions in a value of shape {tuple(x.shape)}; try a function of your own")
        x, channels = _real(x), x.shape[-3]
        if self.weights and len(self.weights) != channels:
            raise GraphError(f"Grey: expected a weight for each of {channels} channels; got {len(self.weights)}")
        weights = x.new_tensor(self.weights or [1 / channels] * channels)
        return (x * weights[:, None, None]).sum(-3, keepdim=True)


@dataclass(frozen=True, repr=False)
class Clip(Measurement):
    """Values cut off at `low` and `high`, as a sensor saturates."""

    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if not all(isinstance(end, Real) for end in (self.low, self.high)) or not self.low < self.high:
            raise GraphError(f"Clip: expected low below high; got low={self.low!r}, high={self.high!r}")

    def __call__(self, x: Tensor, rank: int = 3) -> Tensor:
        return x.clamp(self.low, self.high)


@dataclass(frozen=True, init=False, repr=False)
class Mask(Measurement):
    """The elements of the event where the mask is one, as a vector; the others are not measured.

    >>> Mask([[1, 0], [0, 1]])(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor([1., 4.])
    """

    kept: tuple[int, ...]
    shape: tuple[int, ...]

    def __init__(self, mask: object = None, *, kept: tuple[int, ...] = (), shape: tuple[int, ...] = ()):
        if mask is not None:
            if not isinstance(mask, (Tensor, list, tuple)) and not hasattr(mask, "__array__"):
                raise GraphError(f"Mask: expected ones where the event is measured, in its shape; got {mask!r}; try dgm.Mask([1, 0, 1])")
            found = torch.as_tensor(mask).bool()
            kept, shape = tuple(found.flatten().nonzero().squeeze(1).tolist()), tuple(found.shape)
        if not kept:
            raise GraphError("Mask: expected a mask with one element that is measured at least; got none")
        if not 0 <= min(kept) <= max(kept) < math.prod(shape):
            raise GraphError(f"Mask: expected kept elements of an event of shape {tuple(shape)}, counted from 0 to {math.prod(shape) - 1}; got {tuple(kept)}")
        object.__setattr__(self, "kept", tuple(kept))
        object.__setattr__(self, "shape", tuple(shape))

    def __repr__(self) -> str:
        return f"Mask({len(self.kept)} of {math.prod(self.shape)})"

    def __call__(self, x: Tensor, rank: int = 3) -> Tensor:
        start = x.ndim - len(self.shape)
        if tuple(x.shape[start:]) != self.shape:
            raise GraphError(f"Mask: expected an event of shape {self.shape}; got a value of shape {tuple(x.shape)}")
        return (x.flatten(start) if len(self.shape) != 1 else x)[..., list(self.kept)]
