"""Residual networks between images and vectors, in any direction."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

from torch import Tensor, nn

from .base import Net, Shapes, numbers
from .checks import activation_class, nonempty, odd, positive, some, widths
from .images import FromImages, FromVectors, OverImages, grow, is_image, part, pyramid, shrink, stack

__all__ = ["ResNet"]


class Residual(nn.Module):
    """`x + branch(x)`."""

    def __init__(self, *branch: nn.Module) -> None:
        super().__init__()
        self.branch = nn.Sequential(*branch)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x)


@dataclass(frozen=True, init=False, repr=False)
class ResNet(Net):
    """Residual blocks between images and vectors, in the direction that the shapes ask for.

    A block is `x + layer(act(norm(layer(act(norm(x))))))` (He et al. 2016, https://arxiv.org/abs/1603.05027). Its norm
    sees one row at a time, so that worlds stay independent of each other. By parents and computed parameters:

    - image to vector: strided stages, then a linear layer that other parents join;
    - vector to image: the same turned round, for images of any size;
    - image to image of the same size: stages without strides; other parents join as constant channels;
    - vector to vector: a residual perceptron.

    Args:
        *channels: width of each stage.
        blocks: residual blocks in a stage.
        kernel: side of the kernels, odd.
        stride: change of an image's sides between stages.
        activation: module class.

    Raises:
        ValueError: for bad widths, an even kernel; in `build`, for images of different sizes or too many strides.
        TypeError: for an activation that is not a module class.

    Example:
        >>> import torch
        >>> denoiser = ResNet(16, 16, blocks=1).build(((3, 8, 8), (1,)), ((3, 8, 8),))
        >>> import torch
        >>> denoiser(torch.zeros(5, 3, 8, 8), torch.zeros(5, 1)).shape
        torch.Size([5, 192])
    """

    flatten = False

    channels: tuple[int, ...]
    blocks: int
    kernel: int
    stride: int
    activation: type[nn.Module]

    def __init__(
        self,
        *channels: int,
        blocks: int = 2,
        kernel: int = 3,
        stride: int = 2,
        activation: type[nn.Module] = nn.ReLU,
    ) -> None:
        self._freeze(
            channels=some("ResNet", "channels", widths("ResNet", "channels", channels)),
            blocks=positive("ResNet", "blocks", blocks),
            kernel=odd("ResNet", "kernel", kernel),
            stride=positive("ResNet", "stride", stride),
            activation=activation_class("ResNet", activation),
        )

    def build(self, inputs: Shapes, outputs: Shapes) -> nn.Module:
        nonempty(self.label(), inputs, outputs)
        to_image = all(map(is_image, outputs))
        if any(map(is_image, inputs)):
            return self._image_to_image(inputs, outputs) if to_image else self._image_to_vector(inputs, outputs)
        return self._vector_to_image(inputs, outputs) if to_image else self._vector_to_vector(inputs, outputs)

    def _image_to_image(self, inputs: Shapes, outputs: Shapes) -> nn.Module:
        images, vectors = part(self.label(), inputs)
        what = "image parents and computed parameters"
        stack(self.label(), images + outputs, what, "ConvNet(32, 64) or Shaped(module)")
        stages = self._image_stages(sum(shape[0] for shape in images) + numbers(vectors), stride=1)
        last = shrink(self.channels[-1], sum(shape[0] for shape in outputs), self.kernel)
        return OverImages(nn.Sequential(*stages, self.activation(), last), inputs)

    def _image_to_vector(self, inputs: Shapes, outputs: Shapes) -> nn.Module:
        images, vectors = part(self.label(), inputs)
        depth, *size = stack(self.label(), images, "image parents", "images of one size")
        smallest = pyramid(self.label(), tuple(size), len(self.channels), self.stride)[-1]
        found = numbers([(self.channels[-1], *smallest), *vectors])
        body = nn.Sequential(*self._image_stages(depth, self.stride), self.activation())
        return FromImages(body, nn.Linear(found, numbers(outputs)), inputs)

    def _vector_to_image(self, inputs: Shapes, outputs: Shapes) -> nn.Module:
        depth, *size = stack(self.label(), outputs, "the computed parameters", "images of one size")
        sizes = pyramid(self.label(), tuple(size), len(self.channels), self.stride)[::-1]
        smallest = (self.channels[0], *sizes[0])
        start = nn.Linear(numbers(inputs), numbers([smallest])), nn.Unflatten(-1, smallest)
        return FromVectors(nn.Sequential(*start, *self._growing_stages(depth, sizes), nn.Flatten()))

    def _vector_to_vector(self, inputs: Shapes, outputs: Shapes) -> nn.Module:
        steps = pairwise((numbers(inputs), *self.channels))
        stages = [layer for step in steps for layer in (nn.Linear(*step), *self._dense_blocks(step[1]))]
        return FromVectors(nn.Sequential(*stages, self.activation(), nn.Linear(self.channels[-1], numbers(outputs))))

    def _image_stages(self, depth: int, stride: int) -> list[nn.Module]:
        steps = pairwise((depth, *self.channels))
        return [layer for step in steps for layer in (shrink(*step, self.kernel, stride), *self._image_blocks(step[1]))]

    def _growing_stages(self, depth: int, sizes: list[tuple[int, int]]) -> Iterator[nn.Module]:
        for step, size in zip(pairwise((*self.channels, depth)), pairwise(sizes)):
            yield from self._image_blocks(step[0])
            yield self.activation()
            yield grow(*step, self.kernel, self.stride, *size)

    def _image_blocks(self, width: int) -> list[nn.Module]:
        # one group: groups of one channel would erase images of one pixel
        norm, layer = partial(nn.GroupNorm, 1, width), partial(shrink, width, width, self.kernel)
        return [self._block(norm, layer) for _ in range(self.blocks)]

    def _dense_blocks(self, width: int) -> list[nn.Module]:
        norm, layer = partial(nn.LayerNorm, width), partial(nn.Linear, width, width)
        return [self._block(norm, layer) for _ in range(self.blocks)]

    def _block(self, norm: Callable[[], nn.Module], layer: Callable[[], nn.Module]) -> nn.Module:
        return Residual(norm(), self.activation(), layer(), norm(), self.activation(), layer())
