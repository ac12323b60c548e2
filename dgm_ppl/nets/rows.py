"""Modules that take one leading dimension, made to take any number."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

__all__ = ["Rows", "parts"]


def parts(output: Tensor | tuple | list | Mapping, names: tuple[str, ...] = ()) -> list[Tensor]:
    """List the tensors that a module returned, those of a dict in the order of `names` (else its own)."""
    if isinstance(output, Mapping):
        return [output[name] for name in names or output]
    return list(output) if isinstance(output, (tuple, list)) else [output]


class Rows(nn.Module):
    """Calls `module` with one leading dimension and lays its output out as `(*batch, numbers)`.

    Args:
        module: takes tensors `(n, *shape)`; returns `(n, ...)`, or a tuple, list or dict of such.
        rank: number of trailing dimensions of the first tensor that are not its batch.
        names: names of the computed parameters, in order, for a module that returns a dict.

    Example:
        >>> Rows(nn.Conv2d(1, 2, 3), rank=3)(torch.zeros(5, 4, 1, 8, 8)).shape
        torch.Size([5, 4, 72])
    """

    def __init__(self, module: nn.Module, rank: int, names: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.module, self.rank, self.names = module, rank, names

    def forward(self, *parents: Tensor) -> Tensor:
        batch = parents[0].shape[: parents[0].dim() - self.rank]
        rows = parts(self.module(*(self._row(parent, len(batch)) for parent in parents)), self.names)
        flat = [row.reshape(row.shape[0], row.shape[1:].numel()) for row in rows]
        joined = flat[0] if len(flat) == 1 else torch.cat(flat, 1)
        return joined.reshape(*batch, joined.shape[1])

    def _row(self, parent: Tensor, lead: int) -> Tensor:
        return parent if lead == 1 else parent.reshape(-1, *parent.shape[lead:])
