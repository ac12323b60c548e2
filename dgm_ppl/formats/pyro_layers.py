"""The library's own networks as the torch code that makes them."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from ..nets.residual import Residual
from .pyro_text import Code, call

__all__ = ["is_dense", "layer_code", "stack_code"]

DENSE = (nn.Linear, nn.LayerNorm, nn.Dropout, nn.Identity)
SQUARE = ("stride", "padding", "output_padding")


def stack_code(layers: Sequence[nn.Module]) -> Code | None:
    """Layers one after the other; None where one is not torch's or the library's own."""
    written = [layer_code(layer) for layer in layers]
    if None in written:
        return None
    return written[0] if len(written) == 1 else call("nn.Sequential", *written)


def layer_code(layer: nn.Module) -> Code | None:
    """The constructor call of one layer, with the arguments that are not the default.

    >>> print(layer_code(nn.Conv2d(1, 32, 3, 2, padding=1)))
    nn.Conv2d(1, 32, 3, stride=2, padding=1)
    """
    if type(layer) is Residual:
        branch = [layer_code(part) for part in layer.branch]
        return None if None in branch else call("Residual", *branch)
    if type(layer) is nn.Linear:
        return call("nn.Linear", str(layer.in_features), str(layer.out_features))
    if type(layer) in (nn.Conv2d, nn.ConvTranspose2d):
        return _convolution(layer)
    if type(layer) is nn.LayerNorm:
        return call("nn.LayerNorm", *map(str, layer.normalized_shape))
    if type(layer) is nn.GroupNorm:
        return call("nn.GroupNorm", str(layer.num_groups), str(layer.num_channels))
    if type(layer) is nn.Unflatten:
        return call("nn.Unflatten", str(layer.dim), str(tuple(layer.unflattened_size)))
    if type(layer) is nn.Dropout:
        return call("nn.Dropout", str(layer.p))
    if type(layer) is nn.Flatten:
        return call("nn.Flatten")
    return _activation(layer)


def _convolution(layer: nn.Conv2d | nn.ConvTranspose2d) -> Code:
    options = [f"{name}={_side(getattr(layer, name))}" for name in SQUARE if set(getattr(layer, name)) != {int(name == "stride")}]
    return call(f"nn.{type(layer).__name__}", str(layer.in_channels), str(layer.out_channels), _side(layer.kernel_size), *options)


def _side(sides: tuple[int, ...]) -> str:
    return str(sides[0] if len(set(sides)) == 1 else sides)


def _activation(layer: nn.Module) -> Code | None:
    kind = type(layer)
    known = kind.__module__ == "torch.nn.modules.activation" and vars(nn).get(kind.__name__) is kind and not list(layer.children())
    return Code(f"nn.{kind.__name__}(", tuple(filter(None, [layer.extra_repr()])), ")") if known else None


def is_dense(layers: Sequence[nn.Module]) -> bool:
    """Whether the layers take any number of leading dimensions."""
    return all(is_dense(layer.branch) if type(layer) is Residual else _is_pointwise(layer) for layer in layers)


def _is_pointwise(layer: nn.Module) -> bool:
    return type(layer) in DENSE or _activation(layer) is not None
