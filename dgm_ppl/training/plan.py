"""Plan: what a call of `fit` asks for, checked before any work."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .checkpoint import Checkpoint
from .feed import Transform
from .optimizers import OptimizerBuilder, ScheduleBuilder
from .stopping import EarlyStopping

__all__ = ["Moment", "Plan"]

PRECISIONS = (None, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True)
class Moment:
    """What a callback sees after a step: how many steps and epochs were begun, and the players' losses, not yet read.

    `validation` is the value of a validation made right after this step, else None.
    """

    step: int
    epoch: int
    losses: tuple[Tensor, ...]
    validation: float | None
    objective: torch.nn.Module


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The arguments of `fit` but for objective and data, checked."""

    epochs: int | None
    steps: int | None
    batch_size: int | None
    optimizer: OptimizerBuilder | Mapping[str, OptimizerBuilder]
    schedule: ScheduleBuilder | Mapping[str, ScheduleBuilder] | None
    clip: float | None
    average: float | None
    stopping: EarlyStopping | None
    validate_every: int | None
    validated: bool
    device: torch.device
    precision: torch.dtype | None
    compile: bool | Callable[..., Any]
    checkpoint: Checkpoint | None
    resume: bool
    seed: int | None
    transform: Transform | None
    progress: bool | None
    devices: int
    callbacks: tuple[Callable[[Moment], object], ...]

    def __post_init__(self) -> None:
        for name in ("epochs", "steps", "batch_size", "validate_every", "devices"):
            self._check_positive(name)
        if self.clip is not None and not self.clip > 0:
            raise ValueError(f"fit: expected clip, the largest gradient norm, above 0; got {self.clip}; try clip=10.0")
        if self.average is not None and not 0 < self.average < 1:
            raise ValueError(f"fit: expected average, the decay of the moving average, between 0 and 1; got {self.average}; try average=0.999")
        if self.precision not in PRECISIONS:
            shown = ", ".join(str(precision) for precision in PRECISIONS)
            raise ValueError(f"fit: expected precision to be one of {shown}; got {self.precision}; try torch.bfloat16")
        if not self.validated and (self.stopping or self.validate_every):
            name = "stopping" if self.stopping else "validate_every"
            raise ValueError(f"fit: expected validation data for {name}; got validation=None; try validation={{'x': valid}}")

    @property
    def dtype(self) -> torch.dtype | None:
        """The dtype that parameters and real columns are cast to."""
        return None if self.precision == torch.bfloat16 else self.precision

    @property
    def endless(self) -> bool:
        """Whether nothing says when to end, so that the training loss decides."""
        return self.epochs is None and self.steps is None and self.stopping is None

    def _check_positive(self, name: str) -> None:
        value = getattr(self, name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
            raise TypeError(f"fit: expected {name} to be an integer; got {value!r}; try {name}=1")
        if value is not None and value < 1:
            raise ValueError(f"fit: expected {name} of at least 1; got {value}; try {name}=1")
