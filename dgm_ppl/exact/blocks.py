"""Matrices put together of blocks whose batches are broadcast."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["block_diagonal", "concatenated", "padded", "stacked", "with_block"]


def stacked(values: Sequence[Tensor]) -> Tensor:
    """A new first dimension; the one behind it is broadcast."""
    most = max(each.shape[0] for each in values)
    return torch.stack([each.expand(most, *each.shape[1:]) for each in values])


def concatenated(values: Sequence[Tensor], axis: int) -> Tensor:
    """Along an axis; of the first two dimensions, the others are broadcast."""
    shape = [max(each.shape[i] for each in values) for i in range(2)]
    return torch.cat([each.expand(*(each.shape[i] if i == axis else shape[i] for i in range(2)), *each.shape[2:]) for each in values], axis)


def padded(matrix: Tensor, size: int) -> Tensor:
    """A matrix in the upper left corner of one of zeros."""
    return torch.nn.functional.pad(matrix, (0, size - matrix.shape[-1], 0, size - matrix.shape[-1]))


def block_diagonal(blocks: Sequence[Tensor]) -> Tensor:
    """Matrices `(*batch, n, n)` along the diagonal of one; batches are broadcast."""
    if len(blocks) == 1:
        return blocks[0]
    batch = torch.broadcast_shapes(*(each.shape[:-2] for each in blocks))
    size, start, rows = sum(each.shape[-1] for each in blocks), 0, []
    for each in blocks:
        n = each.shape[-1]
        rows.append(torch.nn.functional.pad(each.expand(*batch, n, n), (start, size - start - n)))
        start += n
    return torch.cat(rows, -2)


def with_block(mean: Tensor, covariance: Tensor, place: slice, constant: Tensor, matrix: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Moments with some coordinates set to `constant + matrix . the others + noise`."""
    rows = max(len(mean), len(constant), len(matrix), len(noise), len(covariance))
    across = matrix @ covariance
    here = across @ matrix.mT + noise
    value = constant + (matrix @ mean.unsqueeze(-1)).squeeze(-1)
    mean, covariance = mean.expand(rows, -1).clone(), covariance.expand(rows, -1, -1).clone()
    mean[:, place] = value
    covariance[:, place, :], covariance[:, :, place] = across, across.mT
    covariance[:, place, place] = here
    return mean, covariance
