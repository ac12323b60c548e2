"""Teams: one process alone, or several that each hold some rows of every batch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from .feed import Batch
from .interrupt import Ending, Interrupt

__all__ = ["Alone", "Share", "Team"]


@dataclass(frozen=True)
class Share:
    """The rows `start:stop` of a batch of `total`, and their weight in its mean."""

    start: int
    stop: int
    total: int
    weight: float = 1.0


class Team(ABC):
    """What a process has to do with the others that take the same steps."""

    rank: int
    size: int
    interrupt: Ending

    @abstractmethod
    def share(self, rows: int) -> Share:
        """Which rows of a batch are this process's."""

    @abstractmethod
    def cut(self, batch: Batch, share: Share) -> Batch:
        """This process's rows of a batch."""

    @abstractmethod
    def begin(self, objective: nn.Module, share: Share) -> None:
        """Called before an objective sees a share."""

    @abstractmethod
    def end(self, objective: nn.Module, share: Share) -> None:
        """Called after a step: makes the buffers those of the whole batch."""

    @abstractmethod
    def combine(self, parameters: Sequence[nn.Parameter], loss: Tensor, share: Share) -> Tensor:
        """Makes the gradients those of the whole batch, and returns its loss."""

    @abstractmethod
    def total(self, values: Tensor) -> Tensor:
        """The sum over the processes."""

    @abstractmethod
    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process."""


class Alone(Team):
    """A single process: every batch is its own, nothing is combined."""

    rank = 0
    size = 1

    def __init__(self) -> None:
        self.interrupt = Interrupt()

    def share(self, rows: int) -> Share:
        return Share(0, rows, rows)

    def cut(self, batch: Batch, share: Share) -> Batch:
        return batch

    def begin(self, objective: nn.Module, share: Share) -> None:
        pass

    def end(self, objective: nn.Module, share: Share) -> None:
        pass

    def combine(self, parameters: Sequence[nn.Parameter], loss: Tensor, share: Share) -> Tensor:
        return loss

    def total(self, values: Tensor) -> Tensor:
        return values

    def any(self, flag: bool) -> bool:
        return flag
