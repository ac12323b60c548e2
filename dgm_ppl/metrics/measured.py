"""A number with its standard error."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..families.variable import whole
from ..graph import GraphError

__all__ = ["Measured", "as_rows", "jackknife", "permuted"]

BLOCKS = 10


@dataclass(frozen=True)
class Measured:
    """`value` with the standard error that comes of the finite samples, and the p-value of a test where there is one."""

    name: str
    value: float
    stderr: float
    p: float | None = None

    def __float__(self) -> float:
        return self.value

    def __repr__(self) -> str:
        tested = "" if self.p is None else f" (p = {self.p:.3g})"
        return f"{self.name} {self.value:.4g} ± {self.stderr:.2g}{tested}"


def as_rows(*samples: Tensor, fewest: int = 2 * BLOCKS) -> tuple[Tensor, ...]:
    """Samples as `(rows, features)` of floating numbers on the device of the first, checked."""
    found = []
    for sample in samples:
        if not isinstance(sample, Tensor) or sample.ndim < 1:
            raise GraphError(f"metrics: expected tensors (rows, ...); got {_kind(sample)}; try torch.as_tensor(frame.to_numpy()) of a table, model.sample(1000)['x'] of a model")
        dtype = sample.dtype if sample.dtype in (torch.float32, torch.float64) else torch.get_default_dtype()
        found.append(sample.detach().reshape(len(sample), math.prod(sample.shape[1:])).to(dtype).to(samples[0].device))
    if len({rows.shape[1] for rows in found}) > 1:
        raise GraphError(f"metrics: expected samples of one event shape; got {', '.join(str(tuple(sample.shape[1:])) for sample in samples)}")
    if min(map(len, found)) < fewest:
        raise GraphError(f"metrics: expected {fewest} rows at least in each sample; got {', '.join(str(len(rows)) for rows in found)}; draw more: model.sample({fewest})")
    bad = [position for position, rows in enumerate(found) if not bool(rows.isfinite().all())]
    if bad:
        raise GraphError(f"metrics: sample {bad[0] + 1} has numbers that are not finite, in {int((~found[bad[0]].isfinite()).any(1).sum())} rows; leave those rows out knowingly")
    widest = functools.reduce(torch.promote_types, (rows.dtype for rows in found))
    return tuple(rows.to(widest) for rows in found)


def _kind(sample: object) -> str:
    return "a number" if isinstance(sample, Tensor) else type(sample).__name__


def jackknife(name: str, function: Callable[..., Tensor | float], *samples: Tensor, blocks: int = BLOCKS) -> Measured:
    """The function of all rows, its standard error from leaving out each block of rows in turn."""
    parts = [torch.arange(len(sample), device=sample.device) % blocks for sample in samples]
    left = torch.tensor([float(function(*(sample[part != block] for sample, part in zip(samples, parts)))) for block in range(blocks)])
    spread = (blocks - 1) / blocks * (left - left.mean()).square().sum()
    return Measured(name, float(function(*samples)), math.sqrt(float(spread)))


def permuted(value: float, statistic: Callable[[Tensor], float], rows: int, permutations: int, device: torch.device) -> float:
    """The share of relabellings whose statistic is at least as large: an exact p-value."""
    if (whole(permutations) or 0) < 1:
        raise GraphError(f"metrics: expected a positive whole number of permutations; got {permutations!r}; try 200")
    larger = sum(statistic(torch.randperm(rows, device=device)) >= value for _ in range(permutations))
    return (1 + larger) / (1 + permutations)
