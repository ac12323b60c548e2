"""Multi-scale flows of images: half of the numbers leave at every scale, the others go on at half the resolution."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributions import Transform, constraints

from ...families.variable import whole
from ...graph import GraphError
from .image_layers import ActNorm, ChannelCoupling, CheckerboardCoupling, Mixing, Steps, squeeze, unsqueeze
from .kinds import FlowKind

__all__ = ["Glow", "ImageFlow", "MultiscaleRealNVP"]


@dataclass(frozen=True, repr=False)
class ImageFlow(FlowKind):
    """A flow of images `(channels, height, width)` over several scales: at each, pixels are squeezed into channels, transformed, and half of them leave as noise.

    `scales` halve height and width each, `steps` are the transformations of a scale, `hidden` the channels of the coupling networks.
    Parents reach every coupling.
    """

    scales: int = 2
    steps: int = 4
    hidden: int = 64

    def __post_init__(self) -> None:
        for name in ("scales", "steps", "hidden"):
            if (whole(getattr(self, name)) or 0) < 1:
                raise GraphError(f"{type(self).__name__}: expected a positive whole number for {name}; got {getattr(self, name)!r}")

    def check(self, shape: tuple[int, ...]) -> None:
        factor = 2**self.scales
        if len(shape) != 3:
            sides = shape if len(shape) == 2 else (4 * factor, 4 * factor)
            raise ValueError(f"{type(self).__name__} expects images (channels, height, width); got the shape {shape}; try dgm.Flow(1, {', '.join(map(str, sides))}, dgm.{type(self).__name__}())")
        channels, *sides = shape
        if shape[2] in (1, 3) and channels > 4:
            raise ValueError(f"{type(self).__name__} expects images (channels, height, width); got {shape}, whose channels seem to come last; the nearest: {(shape[2], *shape[:2])}")
        if any(side % factor for side in sides):
            nearest = {(channels, *(max(factor, round_(side / factor) * factor) for side in sides)): None for round_ in (math.floor, math.ceil)}
            raise ValueError(
                f"{type(self).__name__} halves height and width {self.scales} times; got {shape}; the nearest that it can take: {' and '.join(map(str, nearest))}, or fewer scales"
            )

    def build(self, features: int, context: int) -> nn.Module:
        raise GraphError(f"{type(self).__name__}: expected an image; got a vector of {features} numbers; use dgm.RealNVP()")

    def build_for(self, shape: Sequence[int], context: int) -> nn.Module:
        return Multiscale(self, tuple(shape), context)

    @abstractmethod
    def scale(self, shape: tuple[int, int, int], context: int) -> tuple[Steps, Steps]:
        """What transforms an image before, and what after, its pixels are squeezed into channels."""


@dataclass(frozen=True, repr=False)
class Glow(ImageFlow):
    """Steps of a scale and shift a channel, an invertible 1 x 1 convolution and an affine coupling (Kingma and Dhariwal, 2018, https://arxiv.org/abs/1807.03039).

    >>> Glow(scales=3, steps=8)
    Glow(scales=3, steps=8)
    """

    def scale(self, shape: tuple[int, int, int], context: int) -> tuple[Steps, Steps]:
        channels = 4 * shape[0]
        layers = [layer for _ in range(self.steps) for layer in (ActNorm(channels), Mixing(channels), ChannelCoupling(channels, self.hidden, context))]
        return Steps(), Steps(layers)


@dataclass(frozen=True, repr=False)
class MultiscaleRealNVP(ImageFlow):
    """Affine couplings with checkerboards, then with halves of the channels (Dinh et al., 2017, https://arxiv.org/abs/1605.08803)."""

    def scale(self, shape: tuple[int, int, int], context: int) -> tuple[Steps, Steps]:
        channels = 4 * shape[0]
        boards = [CheckerboardCoupling(shape, self.hidden, context, flipped=bool(step % 2)) for step in range(self.steps)]
        halves = [ChannelCoupling(channels, self.hidden, context, flipped=bool(step % 2)) for step in range(self.steps)]
        return Steps(boards), Steps([ActNorm(channels), *halves])


class Multiscale(nn.Module):
    """The scales of an image flow; called with a context, it is the transformation of flattened images."""

    def __init__(self, kind: ImageFlow, shape: tuple[int, ...], context: int):
        super().__init__()
        self.shape, self.leaving = shape, []
        self.before, self.after = nn.ModuleList(), nn.ModuleList()
        channels, height, width = shape
        for number in range(kind.scales):
            before, after = kind.scale((channels, height, width), context)
            self.before.append(before)
            self.after.append(after)
            channels, height, width = 4 * channels, height // 2, width // 2
            leaving = channels // 2 if number + 1 < kind.scales else channels
            self.leaving.append((leaving, height, width))
            channels -= leaving

    def forward(self, context: Tensor | None = None) -> Transform:
        return ImageTransform(self, context)

    def noise(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Images to noise `(n, numbers)` and log-determinants."""
        parts, total = [], 0
        for before, after, leaving in zip(self.before, self.after, self.leaving):
            if len(before):
                x, ladj = before(x, context)
                total = total + ladj
            x, ladj = after(squeeze(x), context)
            total = total + ladj
            out, x = x.split([leaving[0], x.shape[1] - leaving[0]], 1)
            parts.append(out.flatten(1))
        return torch.cat(parts, 1), total

    def image(self, z: Tensor, context: Tensor | None) -> Tensor:
        """The inverse of `noise`."""
        parts = z.split([math.prod(leaving) for leaving in self.leaving], 1)
        x = None
        for before, after, leaving, part in reversed(list(zip(self.before, self.after, self.leaving, parts))):
            out = part.reshape(-1, *leaving)
            x = unsqueeze(after.inverse(out if x is None else torch.cat([out, x], 1), context))
            x = before.inverse(x, context)
        return x


class ImageTransform(Transform):
    """Flattened images `(*batch, numbers)` to noise."""

    domain = constraints.real_vector
    codomain = constraints.real_vector
    bijective = True

    def __init__(self, flow: Multiscale, context: Tensor | None):
        super().__init__()
        self.flow, self.context = flow, context

    def _rows(self, x: Tensor) -> Tensor | None:
        if self.context is None:
            return None
        return self.context.expand(*x.shape[:-1], self.context.shape[-1]).reshape(-1, self.context.shape[-1])

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        z, ladj = self.flow.noise(x.reshape(-1, *self.flow.shape), self._rows(x))
        return z.reshape(x.shape), ladj.reshape(x.shape[:-1])

    def _call(self, x: Tensor) -> Tensor:
        return self.call_and_ladj(x)[0]

    def _inverse(self, y: Tensor) -> Tensor:
        return self.flow.image(y.reshape(-1, y.shape[-1]), self._rows(y)).reshape(y.shape)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return self.call_and_ladj(x)[1]
