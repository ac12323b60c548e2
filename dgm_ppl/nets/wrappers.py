"""Builders that hold a module of the user's own."""

from dataclasses import dataclass

from torch import nn

from .adapt import fit_flat, fit_shaped
from .base import Net, Shapes

__all__ = ["Flat", "Shaped"]


@dataclass(frozen=True, repr=False)
class Shaped(Net):
    """A module of your own that takes one tensor a parent, `(n, *shape)` each.

    The module itself is used, not a copy, and cannot be saved as data. Two are equal if they hold the same module.

    Args:
        module: returns `(n, ...)`, or a tuple, list or dict with one such tensor for each computed parameter; in a node, a
            dict goes by the parameters' names.

    Raises:
        ValueError: in `build`, if the module's output does not fit the parameters.

    Example:
        >>> import torch
        >>> pool = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4, 3))
        >>> Shaped(pool).build(((1, 8, 8),), ((3,),))(torch.zeros(5, 1, 8, 8)).shape
        torch.Size([5, 3])
    """

    flatten = False

    module: nn.Module

    def __post_init__(self) -> None:
        _check_module(self)

    def build(self, inputs: Shapes, outputs: Shapes, names: tuple[str, ...] = ()) -> nn.Module:
        return fit_shaped(self.module, inputs, outputs, names)


@dataclass(frozen=True, repr=False)
class Flat(Net):
    """A module of your own that takes all parents flattened and concatenated, `(n, features)`.

    The module itself is used, not a copy, and cannot be saved as data. Two are equal if they hold the same module.

    Args:
        module: returns `(n, ...)`, or a tuple, list or dict with one such tensor for each computed parameter; in a node, a
            dict goes by the parameters' names.

    Raises:
        ValueError: in `build`, if the module's output does not fit the parameters.

    Example:
        >>> import torch
        >>> Flat(nn.Linear(12, 3)).build(((2,), (10,)), ((3,),))(torch.zeros(5, 4, 12)).shape
        torch.Size([5, 4, 3])
    """

    flatten = True

    module: nn.Module

    def __post_init__(self) -> None:
        _check_module(self)

    def build(self, inputs: Shapes, outputs: Shapes, names: tuple[str, ...] = ()) -> nn.Module:
        return fit_flat(self.module, inputs, outputs, names)


def _check_module(net: Shaped | Flat) -> None:
    if not isinstance(net.module, nn.Module):
        kind = type(net).__name__
        raise TypeError(f"{kind}: expected a torch module; got {net.module!r}; try {kind}(nn.Sequential(...))")
