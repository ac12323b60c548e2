"""Masked convolutions over an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from .base import Shape, Shapes
from .causal import Causal, CausalNet, Event, Stepper
from .checks import odd, positive
from .gated_pixels import GatedPixels
from .pixels import Pixels, image_fits, masked

__all__ = ["PixelCNN"]


@dataclass(frozen=True, init=False, repr=False)
class PixelCNN(CausalNet):
    """Convolutions that see the pixels above and to the left, the colours of a pixel one after another.

    Gated, a stack that goes down the rows and one along the row see everything within reach (van den Oord et al., 2016,
    https://arxiv.org/abs/1606.05328); without gates it is the first PixelCNN, residual blocks of masked convolutions that are blind to
    some pixels above on the right (https://arxiv.org/abs/1601.06759).

    Args:
        channels: width of every layer, a multiple of the colours.
        layers: the first one and those after it.
        kernel: side of the convolutions, odd; the first one's is `first`.
        gated: two gated stacks, or masked convolutions.

    Example:
        >>> import torch
        >>> PixelCNN(8, layers=2).causal(Event((1, 5, 5)), ())(torch.ones(2, 1, 5, 5, 1)).shape
        torch.Size([2, 1, 5, 5, 1])
    """

    channels: int
    layers: int
    kernel: int
    first: int
    gated: bool

    def __init__(self, channels: int, *, layers: int = 8, kernel: int = 3, first: int = 7, gated: bool = True) -> None:
        self._freeze(
            channels=positive("PixelCNN", "channels", channels), layers=positive("PixelCNN", "layers", layers), kernel=odd("PixelCNN", "kernel", kernel),
            first=odd("PixelCNN", "first", first), gated=bool(gated),
        )

    def check(self, event: Event) -> None:
        image_fits(self, event, self.channels)

    def context_shape(self, event: Event) -> Shape:
        return (self.channels, *event.shape[1:])

    def causal(self, event: Event, parents: Shapes) -> Causal:
        self.check(event)
        if self.gated:
            return GatedPixels(event, parents, self.channels, self.layers, kernel=self.kernel, first=self.first)
        return MaskedPixels(event, parents, self)


class MaskedPixels(Pixels):
    """Residual masked convolutions; their kernels `(rows above and its own, columns)` lack the rows below."""

    def __init__(self, event: Event, parents: Shapes, net: PixelCNN):
        super().__init__(event, parents, net.channels)
        width = net.channels
        sides, inputs = [net.first, *[net.kernel] * (net.layers - 1)], [self.colours * self.width, *[width] * (net.layers - 1)]
        self.margins = [side // 2 for side in sides]
        self.convolutions = nn.ModuleList(nn.Conv2d(into, width, (side // 2 + 1, side)) for into, side in zip(inputs, sides))
        self.conditions = nn.ModuleList(nn.Conv2d(width, width, 1, bias=False) for _ in sides) if self.conditioned else None
        for layer, (into, margin) in enumerate(zip(inputs, self.margins)):
            own = self.group_mask(width, into, strict=layer == 0)
            self.register_buffer(f"mask_{layer}", _half(width, into, margin, own), persistent=False)
        self.head = nn.Conv2d(width, width, 1)
        self.output = nn.Conv2d(width, self.colours * event.outputs, 1)
        self.register_buffer("head_mask", self.group_mask(width, width, strict=False), persistent=False)
        self.register_buffer("output_mask", self.group_mask(self.output.out_channels, width, strict=False), persistent=False)

    def weights(self) -> list[Tensor]:
        """The kernels of the convolutions, then of the head and the output, masked."""
        found = [layer.weight * self._buffers[f"mask_{place}"] for place, layer in enumerate(self.convolutions)]
        last = [(self.head.weight, self.head_mask), (self.output.weight, self.output_mask)]
        return [*found, *(masked(weight, None if mask is None else mask[:, :, None, None]) for weight, mask in last)]

    def adjacency(self, order: int = 0) -> Tensor:
        area = self.height * self.across
        reach = torch.eye(area).reshape(area, 1, self.height, self.across)
        for layer, margin in enumerate(self.margins):
            kernel = _half(1, 1, margin, torch.zeros(1, 1) if layer == 0 else None)
            reach = (functional.conv2d(functional.pad(reach, (margin, margin, margin, 0)), kernel) > 0).float()
        return self.over_elements(reach.flatten(1).T > 0)

    def forward(self, values: Tensor, context: Sequence[Tensor] = (), order: int = 0) -> Tensor:
        stream, (*kernels, head, output) = self.image(values), self.weights()
        for place, (layer, kernel, margin) in enumerate(zip(self.convolutions, kernels, self.margins)):
            read = stream if place == 0 else stream.relu()
            found = functional.conv2d(functional.pad(read, (margin, margin, margin, 0)), kernel, layer.bias)
            if context:
                found = found + self.conditions[place](context[0])
            stream = found if place == 0 else stream + found
        found = functional.conv2d(stream.relu(), head, self.head.bias)
        return self.outputs(functional.conv2d(found.relu(), output, self.output.bias))

    def stepper(self, context: Sequence[Tensor], rows: int, order: int = 0) -> MaskedPixelsStepper:
        return MaskedPixelsStepper(self, context, rows)


def _half(rows: int, columns: int, margin: int, own: Tensor | None) -> Tensor:
    """A mask of the pixels above and to the left, and of the pixel itself as `own` says."""
    mask = torch.ones(rows, columns, margin + 1, 2 * margin + 1)
    mask[:, :, -1, margin + 1:] = 0
    if own is not None:
        mask[:, :, -1, margin] = own
    return mask


class MaskedPixelsStepper(Stepper):
    """Each layer's pixels are kept, and the next is computed from those around it, `(n, pixels around, channels)`."""

    def __init__(self, network: MaskedPixels, context: Sequence[Tensor], rows: int):
        self.network = network
        *kernels, head, output = network.weights()
        self.kernels = [kernel.permute(2, 3, 1, 0).flatten(0, 2).contiguous() for kernel in kernels]    # (pixels * inputs, outputs)
        self.last = [weight[:, :, 0, 0].T.contiguous() for weight in (head, output)]
        self.shifts = [condition(context[0]).movedim(1, -1) for condition in network.conditions] if context else None
        inputs = [layer.in_channels for layer in network.convolutions]
        empty = network.head.weight
        self.kept = [empty.new_zeros(rows, network.height + m, network.across + 2 * m, width) for m, width in zip(network.margins, inputs)]

    def step(self, turn: int, previous: Tensor | None) -> Tensor:
        network = self.network
        if turn:
            self._receive(turn - 1, previous)
        pixel, colour = divmod(turn, network.colours)
        row, column = divmod(pixel, network.across)
        stream = None
        for place, (kept, kernel, margin) in enumerate(zip(self.kept, self.kernels, network.margins)):
            if place:
                kept[:, row + margin, column + margin] = stream.relu()
            around = kept[:, row: row + margin + 1, column: column + 2 * margin + 1].flatten(1)
            found = torch.addmm(network.convolutions[place].bias, around, kernel)
            if self.shifts is not None:
                shift = self.shifts[place]
                found = found + shift[:, row if shift.shape[1] > 1 else 0, column if shift.shape[2] > 1 else 0]
            stream = found if place == 0 else stream + found
        found = torch.addmm(network.head.bias, stream.relu(), self.last[0]).relu()
        own = slice(colour * network.event.outputs, (colour + 1) * network.event.outputs)
        return torch.addmm(network.output.bias[own], found, self.last[1][:, own])[:, None]

    def _receive(self, turn: int, value: Tensor) -> None:
        network, margin = self.network, self.network.margins[0]
        pixel, colour = divmod(turn, network.colours)
        row, column = divmod(pixel, network.across)
        self.kept[0][:, row + margin, column + margin, colour * network.width: (colour + 1) * network.width] = network.colour(value)

    def take(self, rows: Tensor) -> None:
        self.kept = [kept[rows] for kept in self.kept]
        self.shifts = None if self.shifts is None else [shift[rows] for shift in self.shifts]
