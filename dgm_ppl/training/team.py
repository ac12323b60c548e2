"""Teams: one process alone, or several that each hold some rows of every batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from dgm_ppl.training.feed import Batch

__all__ = ["Alone", "Share"]


@dataclass(frozen=True)
class Share:
    """The rows `start:stop` of a batch of `total`, and their weight in its mean."""

    start: int
    stop: int
    total: int
    weight: float = 1.0


class Alone:
    """The team of a single process: every batch is its own, nothing is combined.

    A team of several overrides all of this; its members take the same steps, each on its share of the rows.
    """

    rank = 0
    size = 1

    def share(self, rows: int) -> Share:
        """Which rows of a batch are this process's."""
        return Share(0, rows, rows)

    def cut(self, batch: Batch, share: Share) -> Batch:
        """This process's rows of a batch."""
        return batch

    def combine(self, parameters: Sequence[nn.Parameter], loss: Tensor, share: Share) -> Tensor:
        """Makes the gradients and the loss those of the whole batch."""
        return loss

    def total(self, values: Tensor) -> Tensor:
        """The sum over the processes."""
        return values

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process."""
        return flag

    def begin(self, objective: nn.Module, share: Share) -> None:
        """Called before an objective sees a share."""

    def end(self, objective: nn.Module, share: Share) -> None:
        """Called after a step: makes the buffers those of the whole batch."""
