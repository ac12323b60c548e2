"""The diffusion transformer: attention over the patches of an image, or the elements of a sequence."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .base import Net, Shape, Shapes, numbers, show_shapes
from .checks import nonempty, positive
from .images import as_vectors, join
from .unet import Embedding

__all__ = ["DiT"]


@dataclass(frozen=True, init=False, repr=False)
class DiT(Net):
    """Transformer blocks over tokens, modulated by an embedding of the other parents, from a shape to the same shape.

    An image (channels, height, width) is cut into square patches, a sequence (length, features) or a vector (length,) into its
    elements. Parents of the computed parameter's shape are read token by token; all others (the time, labels, vectors) scale,
    shift and gate every block.

    Args:
        width: features of a token.
        depth: blocks.
        heads: heads of the attention; they divide the width.
        patch: side of an image's patches.

    Raises:
        ValueError: for heads that do not divide the width; in `build`, for sides that patches do not fill, or other shapes.

    Source: Peebles and Xie (2023), https://arxiv.org/abs/2212.09748.

    Example:
        >>> denoiser = DiT(16, depth=2, heads=2, patch=4).build(((1, 28, 28), (32,)), ((1, 28, 28),))
        >>> denoiser(torch.zeros(5, 1, 28, 28), torch.zeros(5, 32)).shape
        torch.Size([5, 784])
    """

    flatten = False

    width: int
    depth: int
    heads: int
    patch: int

    def __init__(self, width: int = 128, *, depth: int = 4, heads: int = 4, patch: int = 4) -> None:
        if positive("DiT", "width", width) % positive("DiT", "heads", heads):
            raise ValueError(f"DiT: expected heads to divide the width, {width}; got {heads}; try heads={math.gcd(width, heads)}")
        self._freeze(width=width, depth=positive("DiT", "depth", depth), heads=heads, patch=positive("DiT", "patch", patch))

    def build(self, inputs: Shapes, outputs: Shapes) -> nn.Module:
        nonempty(self.label(), inputs, outputs)
        if len({tuple(shape) for shape in outputs}) != 1:
            raise ValueError(f"{self.label()}: expected computed parameters of one shape; got {show_shapes(outputs)}; try UNet(32, 64) or MLP(400)")
        shape = tuple(outputs[0])
        alike = [tuple(each) == shape for each in inputs]
        if not any(alike) or not 1 <= len(shape) <= 3:
            raise ValueError(f"{self.label()}: expected a parent of the computed parameter's shape {shape}, an image, sequence or vector; got {show_shapes(inputs)}; try MLP(400)")
        if len(shape) == 3 and any(side % self.patch for side in shape[1:]):
            fitting = [size for size in range(1, self.patch + 1) if all(side % size == 0 for side in shape[1:])]
            raise ValueError(f"{self.label()}: expected sides that patches of {self.patch} fill; got {shape[1]} x {shape[2]}; try patch={fitting[-1]}")
        rest = numbers([each for each, same in zip(inputs, alike) if not same])
        return DiTModule(self, shape, alike, rest, len(outputs))


class Block(nn.Module):
    """Attention and a perceptron, each on normed features that the embedding scales, shifts and gates."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList(nn.LayerNorm(width, elementwise_affine=False) for _ in range(2))
        self.modulation = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))
        self.project, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.perceptron = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        shift, scale, gate, shift2, scale2, gate2 = self.modulation(embedding).unsqueeze(1).chunk(6, -1)
        x = x + gate * self._attended(self.norms[0](x) * (1 + scale) + shift)
        return x + gate2 * self.perceptron(self.norms[1](x) * (1 + scale2) + shift2)

    def _attended(self, x: Tensor) -> Tensor:
        query, key, value = self.project(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.out(nn.functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))


class DiTModule(nn.Module):
    """What `DiT` builds."""

    def __init__(self, net: DiT, shape: Shape, alike: list[bool], features: int, outputs: int) -> None:
        super().__init__()
        self.shape, self.alike, self.patch, self.outputs = shape, alike, net.patch, outputs
        size = shape[0] * net.patch**2 if len(shape) == 3 else math.prod(shape[1:])
        count = math.prod(shape) // size
        self.enter = nn.Linear(size * sum(alike), net.width)
        self.places = nn.Parameter(0.02 * torch.randn(count, net.width))
        self.embed = nn.Sequential(Embedding(features, net.width), nn.SiLU(), nn.Linear(net.width, net.width))
        self.blocks = nn.ModuleList(Block(net.width, net.heads) for _ in range(net.depth))
        self.leave = nn.Sequential(nn.LayerNorm(net.width), nn.Linear(net.width, size * outputs))

    def forward(self, *parents: Tensor) -> Tensor:
        tokens = torch.cat([self._tokens(parent) for parent, alike in zip(parents, self.alike) if alike], -1)
        rest = [as_vectors(parent) for parent, alike in zip(parents, self.alike) if not alike]
        embedding = self.embed(join(rest) if rest else tokens.new_empty(len(tokens), 0))
        x = self.enter(tokens) + self.places
        for block in self.blocks:
            x = block(x, embedding)
        return torch.cat([self._event(part).flatten(1) for part in self.leave(x).chunk(self.outputs, -1)], 1)

    def _tokens(self, value: Tensor) -> Tensor:
        if len(self.shape) < 3:
            return value.reshape(len(value), self.shape[0], math.prod(self.shape[1:]))
        channels, height, width = self.shape
        cut = value.reshape(len(value), channels, height // self.patch, self.patch, width // self.patch, self.patch)
        return cut.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)

    def _event(self, tokens: Tensor) -> Tensor:
        if len(self.shape) < 3:
            return tokens
        channels, height, width = self.shape
        cut = tokens.reshape(len(tokens), height // self.patch, width // self.patch, channels, self.patch, self.patch)
        return cut.permute(0, 3, 1, 4, 2, 5)
