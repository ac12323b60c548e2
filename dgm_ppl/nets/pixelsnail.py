"""Gated convolutions with attention over an image."""

from __future__ import annotations

from dataclasses import dataclass

from .base import Shape, Shapes
from .causal import CausalNet, Event
from .checks import odd, positive
from .gated_pixels import GatedPixels
from .pixels import image_fits

__all__ = ["PixelSNAIL"]


@dataclass(frozen=True, init=False, repr=False)
class PixelSNAIL(CausalNet):
    """The gated stacks of a PixelCNN, with attention to all earlier pixels after every few layers (after Chen et al., 2018, https://arxiv.org/abs/1712.09763).

    Args:
        channels: width of every layer, a multiple of the colours and of `heads`.
        layers: the first one and those after it.
        heads: of the attention.
        every: layers between one attention and the next.
        kernel: side of the convolutions, odd; the first one's is `first`.

    Example:
        >>> import torch
        >>> PixelSNAIL(8, layers=2, heads=2).causal(Event((1, 5, 5)), ())(torch.ones(2, 1, 5, 5, 1)).shape
        torch.Size([2, 1, 5, 5, 1])
    """

    channels: int
    layers: int
    heads: int
    every: int
    kernel: int
    first: int

    def __init__(self, channels: int, *, layers: int = 6, heads: int = 4, every: int = 2, kernel: int = 3, first: int = 7) -> None:
        sizes = {"channels": channels, "layers": layers, "heads": heads, "every": every}
        self._freeze(**{name: positive("PixelSNAIL", name, value) for name, value in sizes.items()}, kernel=odd("PixelSNAIL", "kernel", kernel), first=odd("PixelSNAIL", "first", first))
        if channels % heads:
            raise ValueError(f"PixelSNAIL: expected channels to be a multiple of heads; got channels={channels}, heads={heads}; try channels={channels + heads - channels % heads}")
        if every > layers:
            raise ValueError(f"PixelSNAIL: expected attention after at most every {layers} layers; got every={every}; try every={layers}, or PixelCNN({channels}) without any")

    def check(self, event: Event) -> None:
        image_fits(self, event, self.channels)

    def context_shape(self, event: Event) -> Shape:
        return (self.channels, *event.shape[1:])

    def causal(self, event: Event, parents: Shapes) -> GatedPixels:
        self.check(event)
        return GatedPixels(event, parents, self.channels, self.layers, kernel=self.kernel, first=self.first, heads=self.heads, every=self.every)
