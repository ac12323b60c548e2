"""What a measurement does to an image or a vector: functions of a parent that are data, for inverse problems."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d

from ..families import Setting
from ..graph import GraphError

__all__ = ["Blur", "Clip", "Coarsen", "Grey", "Mask", "Measurement"]


class Measurement(Setting):
    """A function of one parent, `(*batch, *event)`, that is saved and compared as data: `.given("x", fn=dgm.Blur(1.5))`.

    To add one, write `__call__`; any number of leading dimensions may stand before the event.
    """

    @abstractmethod
    def __call__(self, x: Tensor) -> Tensor:
        """What is measured of x, before the noise."""


def _images(kind: str, x: Tensor) -> Tensor:
    if x.ndim < 3:
        raise GraphError(f"{kind}: expected images (channels, height, width); got a value of shape {tuple(x.shape)}; try dgm.Mask, or a function of your own")
    return x.reshape(-1, *x.shape[-3:])


@dataclass(frozen=True, repr=False)
class Blur(Measurement):
    """Each channel convolved with a Gaussian of standard deviation `width` pixels, edges mirrored in weight so that constants stay.

    >>> bool(Blur(1.0)(torch.ones(2, 1, 8, 8)).allclose(torch.ones(2, 1, 8, 8)))
    True
    """

    width: float = 1.0

    def __post_init__(self) -> None:
        if not self.width > 0:
            raise GraphError(f"Blur: expected width above 0, in pixels; got {self.width!r}")

    def __call__(self, x: Tensor) -> Tensor:
        images = _images("Blur", x)
        reach = max(1, math.ceil(3 * self.width))
        kernel = (-(torch.arange(-reach, reach + 1, device=x.device, dtype=x.dtype) / self.width).square() / 2).exp()
        channels = images.shape[1]
        across, down = (kernel.reshape(shape).expand(channels, 1, *shape[2:]) for shape in ((1, 1, 1, -1), (1, 1, -1, 1)))
        across, down = (line.reshape(channels, 1, *size) for line, size in ((across, (1, 2 * reach + 1)), (down, (2 * reach + 1, 1))))

        def spread(image: Tensor) -> Tensor:
            return conv2d(conv2d(image, across, padding=(0, reach), groups=channels), down, padding=(reach, 0), groups=channels)
        return (spread(images) / spread(torch.ones_like(images[:1]))).reshape(x.shape)


@dataclass(frozen=True, repr=False)
class Coarsen(Measurement):
    """The mean over squares of `factor` x `factor` pixels."""

    factor: int = 2

    def __post_init__(self) -> None:
        if isinstance(self.factor, bool) or not isinstance(self.factor, int) or self.factor < 1:
            raise GraphError(f"Coarsen: expected factor to be a positive whole number; got {self.factor!r}")

    def __call__(self, x: Tensor) -> Tensor:
        images = _images("Coarsen", x)
        if any(side % self.factor for side in images.shape[2:]):
            raise GraphError(f"Coarsen: expected sides that {self.factor} divides; got {images.shape[2]} x {images.shape[3]}")
        found = avg_pool2d(images, self.factor)
        return found.reshape(*x.shape[:-2], *found.shape[2:])


@dataclass(frozen=True, repr=False)
class Grey(Measurement):
    """The weighted mean of the channels, one channel; equal weights by default."""

    weights: tuple[float, ...] = ()

    def __call__(self, x: Tensor) -> Tensor:
        channels = x.shape[-3]
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
        if not self.low < self.high:
            raise GraphError(f"Clip: expected low below high; got low={self.low!r}, high={self.high!r}")

    def __call__(self, x: Tensor) -> Tensor:
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
            found = torch.as_tensor(mask).bool()
            kept, shape = tuple(found.flatten().nonzero().squeeze(1).tolist()), tuple(found.shape)
        if not kept:
            raise GraphError("Mask: expected a mask with one element that is measured at least; got none")
        object.__setattr__(self, "kept", tuple(kept))
        object.__setattr__(self, "shape", tuple(shape))

    def __repr__(self) -> str:
        return f"Mask({len(self.kept)} of {math.prod(self.shape)})"

    def __call__(self, x: Tensor) -> Tensor:
        rank = len(self.shape)
        if tuple(x.shape[x.ndim - rank:]) != self.shape:
            raise GraphError(f"Mask: expected an event of shape {self.shape}; got a value of shape {tuple(x.shape)}")
        return x.flatten(x.ndim - rank)[..., list(self.kept)] if rank != 1 else x[..., list(self.kept)]
