"""What networks over images share: raster order, groups of colours, reading values, the parents on the image."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .base import Shape, Shapes, numbers
from .causal import Causal, CausalNet, Event, natural_order

__all__ = ["Pixels", "image_fits", "masked"]

MOST_INPUTS = 8


def image_fits(net: CausalNet, event: Event, channels: int) -> None:
    """Raises where the event is no image `(colours, height, width)`, or the colours do not share the channels evenly."""
    natural_order(net, event)
    if len(event.shape) != 3:
        raise ValueError(f"{net.label()}: expected an image (colours, height, width); got the shape {event.shape}; the nearest: {_nearest(event.shape)}")
    colours, last = event.shape[0], event.shape[2]
    if last in (1, 3) and colours > 4:
        raise ValueError(f"{net.label()}: expected an image (colours, height, width); got {event.shape}, whose colours seem to come last; the nearest: {(last, *event.shape[:2])}")
    if channels % colours:
        raise ValueError(f"{net.label()}: expected channels to be a multiple of the {colours} colours, which come one after another; got {channels}; try {channels + colours - channels % colours}")


def _nearest(shape: Shape) -> Shape:
    """An image of as many elements."""
    if len(shape) == 2:
        return 1, *shape
    if len(shape) > 3:
        return math.prod(shape[:-2]), *shape[-2:]
    size = math.prod(shape)
    height = next(side for side in range(math.isqrt(size), 0, -1) if size % side == 0)
    return 1, height, size // height


class Pixels(Causal):
    """A network over an image in raster order, the colours of a pixel one after another.

    Hidden channels are cut into as many groups as there are colours: group i sees the colours before i of its own pixel.
    """

    def __init__(self, event: Event, parents: Shapes, channels: int):
        super().__init__(event)
        self.colours, self.height, self.across = event.shape
        self.channels = channels
        self.width = event.width if not event.states else min(event.states, MOST_INPUTS)       # numbers read of a colour
        self.embedding = nn.Embedding(event.states, self.width) if event.states else None
        self.mapped = [len(shape) == 3 and shape[1:] == event.shape[1:] for shape in parents]
        plain = [shape for shape, mapped in zip(parents, self.mapped) if not mapped]
        maps = sum(shape[0] for shape, mapped in zip(parents, self.mapped) if mapped)
        self.vector = nn.Linear(numbers(plain), channels) if plain else None
        self.map = nn.Conv2d(maps, channels, 1) if maps else None

    @property
    def conditioned(self) -> bool:
        """Whether there are parents."""
        return self.vector is not None or self.map is not None

    def schedule(self, order: int = 0) -> list[list[int]]:
        area = self.height * self.across
        return [[colour * area + pixel] for pixel in range(area) for colour in range(self.colours)]

    def image(self, values: Tensor) -> Tensor:
        """Values as an image `(n, colours * width, height, width of the image)`."""
        read = values if self.embedding is None else self.embedding(values)
        return read.movedim(-1, 2).flatten(1, 2)

    def colour(self, value: Tensor) -> Tensor:
        """One colour of one pixel `(n, 1, ...)` as `(n, width)`."""
        return value[:, 0] if self.embedding is None else self.embedding(value[:, 0])

    def context(self, *parents: Tensor) -> tuple[Tensor, ...]:
        """What the parents say of every pixel, `(n, channels, height, width)`, or `(n, channels, 1, 1)` where none is an image of this size."""
        plain = [parent.reshape(len(parent), -1) for parent, mapped in zip(parents, self.mapped) if not mapped]
        maps = [parent for parent, mapped in zip(parents, self.mapped) if mapped]
        found = self.vector(torch.cat(plain, 1))[:, :, None, None] if plain else None
        if maps:
            drawn = self.map(torch.cat(maps, 1))
            found = drawn if found is None else drawn + found
        return (found,)

    def outputs(self, found: Tensor) -> Tensor:
        """The outputs `(n, colours, height, width, outputs)` from an image with the outputs of each colour together."""
        return found.unflatten(1, (self.colours, self.event.outputs)).movedim(2, -1)

    def over_elements(self, reach: Tensor) -> Tensor:
        """The adjacency of elements from that of pixels: all colours of a pixel before, the earlier ones of a pixel's own."""
        earlier = torch.ones(self.colours, self.colours, dtype=torch.bool).tril(-1)
        own = torch.eye(len(reach), dtype=torch.bool)
        found = reach[None, :, None, :] | (earlier[:, None, :, None] & own[None, :, None, :])
        return found.reshape(self.event.size, self.event.size)

    def group_mask(self, rows: int, columns: int, *, strict: bool) -> Tensor | None:
        """Which inputs, in groups of colours, an output may read at its own pixel; None where there is one colour and nothing to mask."""
        if self.colours == 1 and not strict:
            return None
        out, into = (torch.arange(count) * self.colours // count for count in (rows, columns))
        return (out[:, None] > into if strict else out[:, None] >= into).to(torch.get_default_dtype())


def masked(weight: Tensor, mask: Tensor | None) -> Tensor:
    """A weight times its mask, where there is one."""
    return weight if mask is None else weight * mask
