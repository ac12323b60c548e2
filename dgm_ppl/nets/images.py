"""What image networks share: sizes through strided layers, and modules that join images with vectors."""

import torch
from torch import Tensor, nn

from .base import Shape, Shapes, show_shapes

__all__ = ["FromImages", "FromVectors", "OverImages", "Planes", "as_vectors", "grow", "is_image", "join", "part", "pyramid", "shrink", "stack"]

Size = tuple[int, int]


def is_image(shape: Shape) -> bool:
    """Say whether a shape is `(channels, height, width)`."""
    return len(shape) == 3


def part(owner: str, inputs: Shapes) -> tuple[Shapes, Shapes]:
    """Part the parents into images, at least one, and the rest."""
    images = tuple(shape for shape in inputs if is_image(shape))
    if not images:
        raise ValueError(
            f"{owner}: expected an image (channels, height, width) among the parents; got {show_shapes(inputs)}; "
            "try MLP(400), or a parent such as Bernoulli(1, 28, 28)"
        )
    return images, tuple(shape for shape in inputs if not is_image(shape))


def stack(owner: str, shapes: Shapes, what: str, mend: str) -> Shape:
    """Lay images of one height and width over each other: `(sum of channels, height, width)`.

    >>> stack("ConvNet(32)", ((1, 28, 28), (3, 28, 28)), "parents", "MLP(400)")
    (4, 28, 28)
    """
    sizes = {shape[1:] for shape in shapes if is_image(shape)}
    if len(sizes) != 1 or not all(map(is_image, shapes)):
        raise ValueError(
            f"{owner}: expected {what} to be images (channels, height, width) of one height and width; "
            f"got {show_shapes(shapes) or 'none'}; try {mend}"
        )
    return (sum(shape[0] for shape in shapes), *sizes.pop())


def pyramid(owner: str, size: Size, layers: int, stride: int) -> list[Size]:
    """List the sizes of an image before, between and after strided layers, `ceil(size / stride)` each.

    >>> pyramid("ConvNet(32, 64)", (28, 7), 2, 2)
    [(28, 7), (14, 4), (7, 2)]
    """
    sizes = [size]
    for _ in range(layers):
        if stride > 1 and max(sizes[-1]) == 1:
            raise ValueError(
                f"{owner}: expected at most {len(sizes) - 1} layers of stride {stride} on images of "
                f"{size[0]} x {size[1]}; got {layers}; try fewer channels or stride=1"
            )
        sizes.append(tuple(-(-side // stride) for side in sizes[-1]))
    return sizes


def shrink(channels: int, width: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    """Make the convolution that takes each side to `ceil(side / stride)`."""
    return nn.Conv2d(channels, width, kernel, stride, padding=kernel // 2)


def grow(channels: int, width: int, kernel: int, stride: int, small: Size, large: Size) -> nn.ConvTranspose2d:
    """Make the transposed convolution that takes `small` to exactly `large`, where `small = ceil(large / stride)`."""
    missing = tuple(b - 1 - (a - 1) * stride for a, b in zip(small, large))
    return nn.ConvTranspose2d(channels, width, kernel, stride, padding=kernel // 2, output_padding=missing)


def join(tensors: list[Tensor]) -> Tensor:
    """Concatenate along the second dimension, without a copy where there is one tensor."""
    return tensors[0] if len(tensors) == 1 else torch.cat(tensors, 1)


def as_vectors(parent: Tensor) -> Tensor:
    """Flatten `(n, *shape)` to `(n, features)`; a scalar is one feature."""
    return parent.flatten(1) if parent.dim() > 1 else parent.unsqueeze(1)


class FromVectors(nn.Module):
    """Flattens and concatenates the parents, `(n, *shape)` each, before `body`."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, *parents: Tensor) -> Tensor:
        return self.body(join([as_vectors(parent) for parent in parents]))


class FromImages(nn.Module):
    """Runs `body` over the image parents and joins the other parents to what it found before `head`."""

    def __init__(self, body: nn.Module, head: nn.Module, inputs: Shapes) -> None:
        super().__init__()
        self.body, self.head = body, head
        self.images = [place for place, shape in enumerate(inputs) if is_image(shape)]
        self.vectors = [place for place, shape in enumerate(inputs) if not is_image(shape)]

    def forward(self, *parents: Tensor) -> Tensor:
        found = self.body(join([parents[place] for place in self.images]))
        return self.head(join([found.flatten(1), *(as_vectors(parents[place]) for place in self.vectors)]))


class Planes(nn.Module):
    """Gives parents `(n, height, width)` a channel before `body`."""

    def __init__(self, body: nn.Module, inputs: Shapes) -> None:
        super().__init__()
        self.body, self.flat = body, [len(shape) == 2 for shape in inputs]

    def forward(self, *parents: Tensor) -> Tensor:
        return self.body(*(parent.unsqueeze(1) if flat else parent for parent, flat in zip(parents, self.flat)))


class OverImages(nn.Module):
    """Runs `body` over the image parents with the numbers of the other parents as constant channels."""

    def __init__(self, body: nn.Module, inputs: Shapes) -> None:
        super().__init__()
        self.body = body
        self.images = [is_image(shape) for shape in inputs]

    def forward(self, *parents: Tensor) -> Tensor:
        size = parents[self.images.index(True)].shape[2:]
        planes = [p if image else _spread(p, size) for p, image in zip(parents, self.images)]
        return self.body(join(planes)).flatten(1)


def _spread(vector: Tensor, size: torch.Size) -> Tensor:
    return as_vectors(vector)[:, :, None, None].expand(-1, -1, *size)
