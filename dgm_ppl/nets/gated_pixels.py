"""The two gated stacks of a PixelCNN, with attention to all earlier pixels where it is asked for."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from .base import Shapes
from .causal import Event
from .gated_stepper import GatedPixelsStepper
from .pixels import Pixels, masked

__all__ = ["GatedPixels"]


class GatedPixels(Pixels):
    """A stack that sees all rows above, one that sees its own row to the left and the first stack, both gated: tanh(a) sigmoid(b)."""

    def __init__(self, event: Event, parents: Shapes, channels: int, layers: int, *, kernel: int, first: int, heads: int = 0, every: int = 0):
        super().__init__(event, parents, channels)
        inputs = self.colours * self.width
        self.down, self.along, self.link, self.mix = (nn.ModuleList() for _ in range(4))
        self.margins = [first // 2, *[kernel // 2] * (layers - 1)]
        for layer, margin in enumerate(self.margins):
            into = channels if layer else inputs
            self.down.append(nn.Conv2d(into, 2 * channels, (max(margin, 1) if layer == 0 else margin + 1, 2 * margin + 1)))
            self.along.append(nn.Conv2d(into, 2 * channels, (1, margin + 1)))
            self.link.append(nn.Conv2d(2 * channels, 2 * channels, 1, bias=False))
            self.mix.append(nn.Conv2d(channels, channels, 1))
        self.conditions = nn.ModuleList(nn.Conv2d(channels, 4 * channels, 1, bias=False) for _ in range(layers)) if self.conditioned else None
        self.attention = nn.ModuleDict({str(layer): PixelAttention(channels, channels // self.colours, inputs, heads) for layer in range(layers) if heads and (layer + 1) % every == 0})
        self.head = nn.Conv2d(channels, channels, 1)
        self.output = nn.Conv2d(channels, self.colours * event.outputs, 1)
        self._masks(inputs)

    def _masks(self, inputs: int) -> None:
        width, sizes = self.channels, {"first": (inputs, True), "along": (self.channels, False)}
        for name, (into, strict) in sizes.items():
            own = self.group_mask(width, into, strict=strict)
            self.register_buffer(f"{name}_mask", None if own is None else torch.cat([own, own]), persistent=False)
        self.register_buffer("mix_mask", self.group_mask(width, width, strict=False), persistent=False)
        self.register_buffer("output_mask", self.group_mask(self.output.out_channels, width, strict=False), persistent=False)

    # ---- weights as they are used

    def along_weight(self, layer: int) -> Tensor:
        """The kernel along the row, its own pixel last, masked by colours there."""
        weight, own = self.along[layer].weight, self.along_mask if layer else self.first_mask
        return weight if own is None else torch.cat([weight[..., :-1], (weight[:, :, 0, -1] * own)[:, :, None, None]], -1)

    def pointwise(self, module: nn.Conv2d, mask: Tensor | None) -> Tensor:
        return masked(module.weight, None if mask is None else mask[:, :, None, None])

    def adjacency(self, order: int = 0) -> Tensor:
        area = self.height * self.across
        if self.attention:
            return self.over_elements(torch.ones(area, area).tril(-1) > 0)
        source = torch.eye(area).reshape(area, 1, self.height, self.across)
        down = along = source
        for layer, margin in enumerate(self.margins):
            down = self._reached(self._above(layer, down), self.down[layer].kernel_size)
            beside = functional.pad(along, (margin, 0, 0, 0))
            left = self._reached(beside, (1, margin + 1), own=layer > 0)
            along = ((left + down + (along if layer else 0)) > 0).float()
        return self.over_elements(along.flatten(1).T > 0)

    @staticmethod
    def _reached(image: Tensor, size: Sequence[int], own: bool = True) -> Tensor:
        kernel = torch.ones(1, 1, *size)
        kernel[..., -1, -1] = 1.0 if own else 0.0
        return (functional.conv2d(image, kernel) > 0).float()

    def _above(self, layer: int, image: Tensor) -> Tensor:
        """The image with margins such that a row's convolution ends at the row above (first layer) or at its own."""
        margin, rows = self.margins[layer], self.down[layer].kernel_size[0]
        padded = functional.pad(image, (margin, margin, rows if layer == 0 else rows - 1, 0))
        return padded[:, :, :-1] if layer == 0 else padded

    # ---- evaluation

    def forward(self, values: Tensor, context: Sequence[Tensor] = (), order: int = 0) -> Tensor:
        source = self.image(values)
        down, along = source, source
        for layer, margin in enumerate(self.margins):
            of_rows = self.down[layer](self._above(layer, down))
            beside = functional.conv2d(functional.pad(along, (margin, 0, 0, 0)), self.along_weight(layer), self.along[layer].bias)
            beside = beside + self.link[layer](of_rows)
            if context:
                shifts = self.conditions[layer](context[0]).chunk(2, 1)
                of_rows, beside = of_rows + shifts[0], beside + shifts[1]
            down = gated(of_rows)
            change = functional.conv2d(gated(beside), self.pointwise(self.mix[layer], self.mix_mask), self.mix[layer].bias)
            along = change if layer == 0 else along + change
            if str(layer) in self.attention:
                along = along + self.attention[str(layer)](along, source)
        found = functional.conv2d(along.relu(), self.pointwise(self.head, self.mix_mask), self.head.bias)
        return self.outputs(functional.conv2d(found.relu(), self.pointwise(self.output, self.output_mask), self.output.bias))

    def stepper(self, context: Sequence[Tensor], rows: int, order: int = 0) -> GatedPixelsStepper:
        return GatedPixelsStepper(self, context, rows)


def gated(found: Tensor, axis: int = 1) -> Tensor:
    rise, opening = found.chunk(2, axis)
    return rise.tanh() * opening.sigmoid()


class PixelAttention(nn.Module):
    """Each pixel asks all earlier ones; it asks by the channels that see no colour of its own (Chen et al., 2018, https://arxiv.org/abs/1712.09763)."""

    def __init__(self, channels: int, asking: int, inputs: int, heads: int):
        super().__init__()
        self.heads, self.asking = heads, asking
        self.query, self.pair = nn.Linear(asking, channels), nn.Linear(channels + inputs, 2 * channels)
        self.output = nn.Linear(channels, channels)

    def queries(self, features: Tensor) -> Tensor:
        """Of pixels `(n, pixels, channels)`, in heads."""
        return self._headed(self.query(features[..., : self.asking]))

    def pairs(self, features: Tensor, source: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of pixels, in heads."""
        keys, values = self.pair(torch.cat([features, source], -1)).chunk(2, -1)
        return self._headed(keys), self._headed(values)

    def _headed(self, features: Tensor) -> Tensor:
        return features.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def forward(self, features: Tensor, source: Tensor) -> Tensor:
        pixels, seen = (image.flatten(2).transpose(1, 2) for image in (features, source))
        keys, values = (functional.pad(part[:, :, :-1], (0, 0, 1, 0)) for part in self.pairs(pixels, seen))  # a key of zeros first, so that the first pixel asks something
        found = functional.scaled_dot_product_attention(self.queries(pixels), keys, values, is_causal=True)
        return self.output(found.transpose(1, 2).flatten(2)).transpose(1, 2).reshape(features.shape)
