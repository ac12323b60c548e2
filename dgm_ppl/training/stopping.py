"""Early stopping: end when the validation has not improved for a while, and keep the best parameters."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Best", "EarlyStopping"]


@dataclass(frozen=True)
class EarlyStopping:
    """Stop after `patience` validations without an improvement of at least `min_delta` nats a world.

    The parameters of the best validation are loaded at the end. `patience=None` never stops and still keeps the best
    (Prechelt 1998, Early stopping - but when?).

    >>> EarlyStopping(patience=2).exhausted(waited=2)
    True
    """

    patience: int | None = 10
    min_delta: float = 0.0

    def __post_init__(self) -> None:
        if self.patience is not None and self.patience < 1:
            raise ValueError(f"EarlyStopping: expected patience of at least 1; got {self.patience}; try patience=10")

    def exhausted(self, waited: int) -> bool:
        """Whether `waited` validations without improvement are too many."""
        return self.patience is not None and waited >= self.patience


@dataclass(frozen=True)
class Best:
    """The best validation of a run: after which step and epoch, and its value in nats a world (lower is better)."""

    step: int
    epoch: int
    value: float
