"""Pixels one after another: the rows above are convolved once a row, the row itself pixel by pixel."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from .causal import Stepper

if TYPE_CHECKING:
    from .gated_pixels import GatedPixels

__all__ = ["GatedPixelsStepper"]


class GatedPixelsStepper(Stepper):
    """Keeps, layer by layer, the rows that the stack from above reads and the pixels that the stack along the row reads."""

    def __init__(self, network: GatedPixels, context: Sequence[Tensor], rows: int):
        self.network = network
        layers, empty = range(len(network.margins)), network.head.weight
        self.kernels = [network.along_weight(layer)[:, :, 0].permute(2, 1, 0).flatten(0, 1).contiguous() for layer in layers]    # (pixels * inputs, outputs)
        self.mixes = [network.pointwise(mix, network.mix_mask)[:, :, 0, 0].T.contiguous() for mix in network.mix]
        self.last = [network.pointwise(network.head, network.mix_mask)[:, :, 0, 0].T, network.pointwise(network.output, network.output_mask)[:, :, 0, 0].T]
        self.shifts = [condition(context[0]) for condition in network.conditions] if context else None
        inputs = [conv.in_channels for conv in network.down]
        above = [network.down[layer].kernel_size[0] - (layer > 0) for layer in layers]
        self.above = above
        self.images = [empty.new_zeros(rows, width, network.height + top, network.across + 2 * margin) for width, top, margin in zip(inputs, above, network.margins)]
        self.rows = [empty.new_zeros(rows, network.across + margin, width) for width, margin in zip(inputs, network.margins)]
        self.offers: list[Tensor] = []                                      # what the row gets from above, (n, columns, outputs) a layer
        self.pending: dict[str, Tensor] = {}                                # the last pixel's features, that attention will offer
        heads = {name: (rows, one.heads, network.height * network.across + 1, network.channels // one.heads) for name, one in network.attention.items()}
        self.caches = {name: (empty.new_zeros(shape), empty.new_zeros(shape)) for name, shape in heads.items()}

    def step(self, turn: int, previous: Tensor | None) -> Tensor:
        network = self.network
        pixel, colour = divmod(turn, network.colours)
        row, column = divmod(pixel, network.across)
        if turn:
            self._receive(turn - 1, previous)
        if colour == 0:
            self._remember(pixel)
            if column == 0:
                self._begin(row)
        features = self._along(column, pixel)
        found = torch.addmm(network.head.bias, features.relu(), self.last[0]).relu()
        own = slice(colour * network.event.outputs, (colour + 1) * network.event.outputs)
        return torch.addmm(network.output.bias[own], found, self.last[1][:, own])[:, None]

    def _receive(self, turn: int, value: Tensor) -> None:
        """Puts a value into the image and into the row."""
        network, margin = self.network, self.network.margins[0]
        pixel, colour = divmod(turn, network.colours)
        row, column = divmod(pixel, network.across)
        own, found = slice(colour * network.width, (colour + 1) * network.width), network.colour(value)
        self.images[0][:, own, row + self.above[0], column + margin] = found
        self.rows[0][:, column + margin, own] = found

    def _remember(self, pixel: int) -> None:
        """Offers the pixel before this one, all of whose colours are known, to attention."""
        if not pixel:
            return
        column = (pixel - 1) % self.network.across + self.network.margins[0]
        for name, features in self.pending.items():
            keys, values = self.network.attention[name].pairs(features[:, None], self.rows[0][:, column, None])
            self.caches[name][0][:, :, pixel], self.caches[name][1][:, :, pixel] = keys[:, :, 0], values[:, :, 0]

    def _begin(self, row: int) -> None:
        """What a new row gets from the rows above; nothing of the row itself is known."""
        network = self.network
        self.offers = []
        for kept in self.rows:
            kept.zero_()
        for layer, (image, above, conv) in enumerate(zip(self.images, self.above, network.down)):
            of_rows = functional.conv2d(image[:, :, row: row + conv.kernel_size[0]], conv.weight, conv.bias)
            offer = network.link[layer](of_rows) + network.along[layer].bias[:, None, None]
            if self.shifts is not None:
                shift = self.shifts[layer]
                down, along = (shift[:, :, row: row + 1] if shift.shape[2] > 1 else shift).chunk(2, 1)
                of_rows, offer = of_rows + down, offer + along
            self.offers.append(offer[:, :, 0].transpose(1, 2))
            if layer + 1 < len(self.images):
                rise, opening = of_rows.chunk(2, 1)
                margin = network.margins[layer + 1]
                self.images[layer + 1][:, :, row + self.above[layer + 1], margin: margin + network.across] = (rise.tanh() * opening.sigmoid())[:, :, 0]

    def _along(self, column: int, pixel: int) -> Tensor:
        """The features of one pixel, `(n, channels)`."""
        network, features = self.network, None
        for layer, (kept, kernel, mix, margin) in enumerate(zip(self.rows, self.kernels, self.mixes, network.margins)):
            if layer:
                kept[:, column + margin] = features
            found = torch.addmm(self.offers[layer][:, column], kept[:, column: column + margin + 1].flatten(1), kernel)
            rise, opening = found.chunk(2, 1)
            change = torch.addmm(network.mix[layer].bias, rise.tanh() * opening.sigmoid(), mix)
            features = change if layer == 0 else features + change
            if str(layer) in network.attention:
                features = features + self._attended(str(layer), features, pixel)
        return features

    def _attended(self, name: str, features: Tensor, pixel: int) -> Tensor:
        self.pending[name] = features
        attention, (keys, values) = self.network.attention[name], self.caches[name]
        found = functional.scaled_dot_product_attention(attention.queries(features[:, None]), keys[:, :, : pixel + 1], values[:, :, : pixel + 1])
        return attention.output(found.transpose(1, 2).flatten(2))[:, 0]

    def take(self, rows: Tensor) -> None:
        self.images, self.rows, self.offers = ([part[rows] for part in parts] for parts in (self.images, self.rows, self.offers))
        self.shifts = None if self.shifts is None else [shift[rows] for shift in self.shifts]
        self.pending = {name: features[rows] for name, features in self.pending.items()}
        self.caches = {name: (keys[rows], values[rows]) for name, (keys, values) in self.caches.items()}
