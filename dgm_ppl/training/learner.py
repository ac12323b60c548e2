"""Learner: all that a step changes, and where in the data it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ..families.randomness import generator_states, set_generator_states
from .step import Turn
from .trees import clone

__all__ = ["Learner", "Position"]


class Position(NamedTuple):
    """Completed steps, completed epochs, and batches taken of the epoch that comes next or is under way.

    >>> Position(step=7, epoch=2, index=1).begun
    3
    """

    step: int = 0
    epoch: int = 0
    index: int = 0

    @property
    def begun(self) -> int:
        """The number of epochs begun, the one that the last step belongs to."""
        return self.epoch + (self.index > 0)

    def after(self, ends: bool) -> Position:
        """The position one step later."""
        return Position(self.step + 1, self.epoch + 1, 0) if ends else Position(self.step + 1, self.epoch, self.index + 1)


class Learner:
    """Parameters and their average, buffers, optimizers, schedules and generators, taken and put back together."""

    def __init__(self, objective: nn.Module, turns: Sequence[Turn], device: torch.device, average: float | None = None) -> None:
        self.objective, self.turns, self.device = objective, turns, device
        self.average = None if average is None else AveragedModel(objective, multi_avg_fn=get_ema_multi_avg_fn(average))

    def end_step(self) -> None:
        """Moves the average of the parameters on."""
        if self.average is not None:
            self.average.update_parameters(self.objective)

    def state(self) -> dict[str, Any]:
        """A copy of the state as a tree of tensors and plain data."""
        return clone(
            {
                "objective": self.objective.state_dict(),
                "optimizers": [turn.optimizer.state_dict() for turn in self.turns],
                "schedules": [turn.schedule and turn.schedule.state_dict() for turn in self.turns],
                "losses": [turn.last for turn in self.turns],
                "average": self.average and self.average.state_dict(),
                "generators": generator_states(self.device),
            }
        )

    def restore(self, state: dict[str, Any]) -> None:
        """Puts a state back; the tree that is given is not touched later."""
        state = clone(state)
        self.objective.load_state_dict(state["objective"])
        for turn, optimizer, schedule in zip(self.turns, state["optimizers"], state["schedules"]):
            turn.optimizer.load_state_dict(optimizer)
            if turn.schedule is not None:
                turn.schedule.load_state_dict(schedule)
        for turn, last in zip(self.turns, state["losses"]):
            turn.last = last if last is None else last.to(self.device)
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        set_generator_states(state["generators"], self.device)
