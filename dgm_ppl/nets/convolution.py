"""Convolutional networks from images to numbers and from numbers to images."""

from dataclasses import dataclass
from itertools import pairwise

from torch import nn

from .base import Net, Shapes
from .checks import activation_class, nonempty, odd, positive, some, widths
from .images import FromImages, Planes, grow, is_image, part, pyramid, shrink, stack
from .mlp import MLP
from .rows import Rows

__all__ = ["ConvNet", "ConvTransposeNet"]


@dataclass(frozen=True, init=False, repr=False)
class Convolution(Net):
    """The arguments of both directions."""

    channels: tuple[int, ...]
    hidden: tuple[int, ...]
    kernel: int
    stride: int
    activation: type[nn.Module]

    def __init__(
        self,
        *channels: int,
        hidden: tuple[int, ...] = (),
        kernel: int = 3,
        stride: int = 2,
        activation: type[nn.Module] = nn.ReLU,
    ) -> None:
        owner = type(self).__name__
        self._freeze(
            channels=some(owner, "channels", widths(owner, "channels", channels)),
            hidden=widths(owner, "hidden", hidden),
            kernel=odd(owner, "kernel", kernel),
            stride=positive(owner, "stride", stride),
            activation=activation_class(owner, activation),
        )


@dataclass(frozen=True, init=False, repr=False)
class ConvNet(Convolution):
    """Strided convolutions from images to numbers; other parents join the flattened features.

    Each convolution takes a side to `ceil(side / stride)`. Several image parents need one height and width. Where no parent has channels, those of
    two dimensions, `(height, width)`, are images of one channel.

    Args:
        *channels: channels after each convolution.
        hidden: widths of fully connected layers after them.
        kernel: side of the kernels, odd.
        stride: stride of each convolution.
        activation: module class put after each layer but the last.

    Raises:
        ValueError: for bad widths, an even kernel; in `build`, without an image parent or with too many strides.
        TypeError: for an activation that is not a module class.

    Example:
        >>> import torch
        >>> encoder = ConvNet(32, 64).build(((1, 28, 28), (10,)), ((20,), (20,)))
        >>> encoder(torch.zeros(5, 1, 28, 28), torch.zeros(5, 10)).shape
        torch.Size([5, 40])
    """

    flatten = False

    def build(self, inputs: Shapes, outputs: Shapes) -> nn.Module:
        nonempty(self.label(), inputs, outputs)
        if not any(map(is_image, inputs)) and any(len(shape) == 2 for shape in inputs):
            return Planes(self.build(tuple((1, *shape) if len(shape) == 2 else shape for shape in inputs), outputs), inputs)
        images, vectors = part(self.label(), inputs)
        depth, *size = stack(self.label(), images, "image parents", "images of one size")
        smallest = pyramid(self.label(), tuple(size), len(self.channels), self.stride)[-1]
        body = nn.Sequential(*self._layers(depth))
        found = (self.channels[-1], *smallest)
        return FromImages(body, MLP(*self.hidden, activation=self.activation).build((found, *vectors), outputs), inputs)

    def _layers(self, depth: int) -> list[nn.Module]:
        pairs = pairwise((depth, *self.channels))
        return [layer for pair in pairs for layer in (shrink(*pair, self.kernel, self.stride), self.activation())]


@dataclass(frozen=True, init=False, repr=False)
class ConvTransposeNet(Convolution):
    """Transposed convolutions from numbers to images of any size.

    A linear layer makes the smallest image; each transposed convolution undoes `ceil(side / stride)` exactly.

    Args:
        *channels: channels before each transposed convolution.
        hidden: widths of fully connected layers before them.
        kernel: side of the kernels, odd.
        stride: stride of each transposed convolution.
        activation: module class put after each layer but the last.

    Raises:
        ValueError: for bad widths, an even kernel; in `build`, for parameters that are no images or too many strides.
        TypeError: for an activation that is not a module class.

    Example:
        >>> import torch
        >>> decoder = ConvTransposeNet(64, 32).build(((20,),), ((1, 28, 28),))
        >>> decoder(torch.zeros(5, 20)).shape
        torch.Size([5, 784])
    """

    flatten = True

    def build(self, inputs: Shapes, outputs: Shapes) -> nn.Module:
        nonempty(self.label(), inputs, outputs)
        depth, *size = stack(self.label(), outputs, "the computed parameters", "MLP(400), or images (1, 28, 28)")
        sizes = pyramid(self.label(), tuple(size), len(self.channels), self.stride)[::-1]
        smallest = (self.channels[0], *sizes[0])
        start = MLP(*self.hidden, activation=self.activation).build(inputs, (smallest,))
        return Rows(nn.Sequential(*start, nn.Unflatten(-1, smallest), *self._layers(depth, sizes)), rank=1)

    def _layers(self, depth: int, sizes: list[tuple[int, int]]) -> list[nn.Module]:
        steps = zip(pairwise((*self.channels, depth)), pairwise(sizes))
        pairs = [(self.activation(), grow(*step, self.kernel, self.stride, *size)) for step, size in steps]
        return [layer for pair in pairs for layer in pair]
