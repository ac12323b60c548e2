"""The U-Net: from images to images of the same size, seen at several resolutions."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .base import Net, Shapes, numbers, show_shapes
from .checks import nonempty, positive, some, widths
from .images import as_vectors, is_image, join, part, stack

__all__ = ["Embedding", "UNet"]


@dataclass(frozen=True, init=False, repr=False)
class UNet(Net):
    """Residual blocks down to small images and up again, each resolution joined to itself by a shortcut.

    Image parents are stacked as channels; the other parents (the time of a diffusion, labels, vectors) become one embedding that
    scales and shifts the features of every block. Self-attention sits at the lowest resolution. Norms see one row at a time, so that
    worlds stay independent.

    Args:
        *channels: width at each resolution, the sides halving from one to the next.
        blocks: residual blocks at each resolution, on each way.
        heads: heads of the attention at the lowest resolution; 0 for none.

    Raises:
        ValueError: for bad widths; in `build`, for parents without an image, or sides that cannot be halved so often.

    Source: Ronneberger et al. (2015), https://arxiv.org/abs/1505.04597; Ho et al. (2020), https://arxiv.org/abs/2006.11239.

    Example:
        >>> import torch
        >>> denoiser = UNet(8, 16).build(((1, 28, 28), (32,)), ((1, 28, 28),))
        >>> denoiser(torch.zeros(5, 1, 28, 28), torch.zeros(5, 32)).shape
        torch.Size([5, 784])
    """

    flatten = False

    channels: tuple[int, ...]
    blocks: int
    heads: int

    def __init__(self, *channels: int, blocks: int = 1, heads: int = 4) -> None:
        channels = some("UNet", "channels", widths("UNet", "channels", channels))
        if heads != 0 and channels[-1] % positive("UNet", "heads", heads):
            raise ValueError(f"UNet: expected heads to divide the last width, {channels[-1]}; got {heads}; try heads=1, or 0 for no attention")
        self._freeze(channels=channels, blocks=positive("UNet", "blocks", blocks), heads=heads)

    def build(self, inputs: Shapes, outputs: Shapes) -> nn.Module:
        nonempty(self.label(), inputs, outputs)
        images, vectors = part(self.label(), inputs)
        if not all(map(is_image, outputs)):
            raise ValueError(f"{self.label()}: expected computed parameters that are images (channels, height, width); got {show_shapes(outputs)}; try MLP(400) or ResNet(16)")
        depth, *size = stack(self.label(), images, "image parents", "images of one size")
        stack(self.label(), images + outputs, "image parents and computed parameters", "images of one size")
        self._check_halves(tuple(size))
        return UNetModule(self, depth, numbers(vectors), sum(shape[0] for shape in outputs), [is_image(shape) for shape in inputs])

    def _check_halves(self, size: tuple[int, int]) -> None:
        sides = [size]
        while all(side % 2 == 0 for side in sides[-1]):
            sides.append(tuple(side // 2 for side in sides[-1]))
        if len(self.channels) > len(sides):
            step = 2 ** (len(self.channels) - 1)
            fitting = tuple(-(-side // step) * step for side in size)
            shown = " -> ".join(f"{a} x {b}" for a, b in sides)
            raise ValueError(
                f"{self.label()}: expected images whose sides can be halved {len(self.channels) - 1} times; got {size[0]} x {size[1]} ({shown}); try "
                f"UNet({', '.join(map(str, self.channels[: len(sides)]))}), or images padded to {fitting[0]} x {fitting[1]}"
            )


class Modulated(nn.Module):
    """x + branch(x), the branch's features scaled and shifted by an embedding."""

    def __init__(self, depth: int, width: int, embedding: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.GroupNorm(_groups(depth), depth), nn.SiLU(), nn.Conv2d(depth, width, 3, padding=1))
        self.norm, self.modulation = nn.GroupNorm(_groups(width), width), nn.Linear(embedding, 2 * width)
        self.second = nn.Sequential(nn.SiLU(), nn.Conv2d(width, width, 3, padding=1))
        self.shortcut = nn.Identity() if depth == width else nn.Conv2d(depth, width, 1)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        scale, shift = self.modulation(embedding)[:, :, None, None].chunk(2, 1)
        return self.shortcut(x) + self.second(self.norm(self.first(x)) * (1 + scale) + shift)


class Attention(nn.Module):
    """x + self-attention over the pixels."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm, self.heads = nn.GroupNorm(_groups(width), width), heads
        self.project, self.out = nn.Conv2d(width, 3 * width, 1), nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.project(self.norm(x)).flatten(2).unflatten(1, (3, self.heads, -1)).transpose(-1, -2).unbind(1)
        found = nn.functional.scaled_dot_product_attention(query, key, value)
        return x + self.out(found.transpose(-1, -2).flatten(1, 2).unflatten(-1, x.shape[2:]))


class Embedding(nn.Module):
    """A linear layer, or a learned vector where there is nothing to read."""

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.layer = nn.Linear(features, width) if features else None
        self.constant = None if features else nn.Parameter(torch.randn(width))

    def forward(self, x: Tensor) -> Tensor:
        return self.constant.expand(len(x), -1) if self.layer is None else self.layer(x)


class UNetModule(nn.Module):
    """What `UNet` builds."""

    def __init__(self, net: UNet, depth: int, features: int, outputs: int, images: list[bool]) -> None:
        super().__init__()
        widths, embedding = net.channels, 2 * net.channels[-1]
        self.images = images
        self.embed = nn.Sequential(Embedding(features, embedding), nn.SiLU(), nn.Linear(embedding, embedding), nn.SiLU())
        self.enter = nn.Conv2d(depth, widths[0], 3, padding=1)
        self.down, self.shrink, kept, width = nn.ModuleList(), nn.ModuleList(), [widths[0]], widths[0]
        for level, wide in enumerate(widths):
            for _ in range(net.blocks):
                self.down.append(Modulated(width, wide, embedding))
                width = wide
                kept.append(width)
            if level + 1 < len(widths):
                self.shrink.append(nn.Conv2d(width, width, 3, stride=2, padding=1))
                kept.append(width)
        self.middle = Modulated(width, width, embedding)
        self.attention = Attention(width, net.heads) if net.heads else nn.Identity()
        self.last = Modulated(width, width, embedding)
        self.up, self.grow = nn.ModuleList(), nn.ModuleList()
        for level, wide in reversed(list(enumerate(widths))):
            for _ in range(net.blocks + 1):
                self.up.append(Modulated(width + kept.pop(), wide, embedding))
                width = wide
            if level:
                self.grow.append(nn.Conv2d(width, width, 3, padding=1))
        self.leave = nn.Sequential(nn.GroupNorm(_groups(width), width), nn.SiLU(), nn.Conv2d(width, outputs, 3, padding=1))
        self.blocks, self.levels = net.blocks, len(widths)

    def forward(self, *parents: Tensor) -> Tensor:
        x = join([parent for parent, image in zip(parents, self.images) if image])
        vectors = [as_vectors(parent) for parent, image in zip(parents, self.images) if not image]
        embedding = self.embed(join(vectors) if vectors else x.new_empty(len(x), 0))
        x = self.enter(x)
        kept, down, up = [x], iter(self.down), iter(self.up)
        for level in range(self.levels):
            for _ in range(self.blocks):
                x = next(down)(x, embedding)
                kept.append(x)
            if level + 1 < self.levels:
                x = self.shrink[level](x)
                kept.append(x)
        x = self.last(self.attention(self.middle(x, embedding)), embedding)
        for level in range(self.levels):
            for _ in range(self.blocks + 1):
                x = next(up)(torch.cat([x, kept.pop()], 1), embedding)
            if level + 1 < self.levels:
                x = self.grow[level](nn.functional.interpolate(x, scale_factor=2.0))
        return self.leave(x).flatten(1)


def _groups(width: int) -> int:
    """Groups of channels, at most eight, that divide the width and hold two at least where they can."""
    return max(groups for groups in range(1, 9) if width % groups == 0 and (width // groups > 1 or groups == 1))
