"""Step: one update of every player on one batch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from .feed import Batch
from .optimizers import describe, for_player
from .plan import Plan
from .team import Share, Team

__all__ = ["NonFiniteError", "Step", "Turn", "set_up_turns"]


class NonFiniteError(ArithmeticError):
    """A loss, gradient or parameter is NaN or infinite."""


@dataclass
class Turn:
    """What one player does in a step."""

    name: str
    parameters: list[nn.Parameter]
    loss: Callable[[Batch], Tensor]
    optimizer: torch.optim.Optimizer
    schedule: LRScheduler | None
    settings: dict[str, Any]
    every: int = 1
    after: Callable[[], None] | None = None
    last: Tensor | None = None

    def is_due(self, step: int) -> bool:
        """Whether the player is updated in this step; one that waits keeps the loss of its last update."""
        return self.last is None or step % self.every == 0

    def end_step(self) -> None:
        """Moves the schedule on, but for one that waits for a validation."""
        if self.schedule is not None and not isinstance(self.schedule, ReduceLROnPlateau):
            self.schedule.step()

    def end_validation(self, value: float) -> None:
        """Tells the value to a schedule that waits for it."""
        if isinstance(self.schedule, ReduceLROnPlateau):
            self.schedule.step(value)


class Step:
    """Updates every player on a batch, in order; nothing in it waits for the device.

    With `careful=True` losses, gradients and parameters are read and `NonFiniteError` is raised at the first that is
    not finite, before the update that it would spoil.
    """

    def __init__(self, turns: Sequence[Turn], *, clip: float | None, autocast: torch.device | None, team: Team) -> None:
        self.turns, self.clip, self.team = turns, clip, team
        self._precision = _precision(autocast)

    def __call__(self, number: int, batch: Batch, share: Share, *, careful: bool = False) -> list[Tensor]:
        for turn in self.turns:
            if turn.is_due(number):
                turn.last = self._update(turn, batch, share, careful)
        for turn in self.turns:
            turn.end_step()
        return [turn.last for turn in self.turns]

    def _update(self, turn: Turn, batch: Batch, share: Share, careful: bool) -> Tensor:
        if isinstance(turn.optimizer, torch.optim.LBFGS):  # asks for the loss several times a step
            loss = turn.optimizer.step(partial(self._gradient, turn, batch, share, careful))
        else:
            loss = self._gradient(turn, batch, share, careful)
            turn.optimizer.step()
        if turn.after is not None:
            turn.after()
        if careful:
            _check_finite(f"parameters of player {turn.name!r} that are not, from a finite gradient,", turn.parameters)
        return loss

    def _gradient(self, turn: Turn, batch: Batch, share: Share, careful: bool) -> Tensor:
        turn.optimizer.zero_grad(set_to_none=True)
        with self._precision:
            loss = turn.loss(batch)
        loss.backward(inputs=turn.parameters if len(self.turns) > 1 else None)  # the others' gradients are not wanted
        loss = self.team.combine(turn.parameters, loss.detach(), share)
        if self.clip is not None:
            nn.utils.clip_grad_norm_(turn.parameters, self.clip)
        if careful:
            _check_finite(f"a loss of player {turn.name!r} that is not", [loss])
            _check_finite(f"a gradient of player {turn.name!r} that is not", [p.grad for p in turn.parameters if p.grad is not None])
        return loss


def set_up_turns(objective: nn.Module, plan: Plan) -> list[Turn]:
    """The turns of an objective's players, with optimizers and schedules.

    Raises `ValueError` for a player that has nothing to train.
    """
    players = objective.players
    names = [player.name for player in players]
    return [_turn(player, names, plan) for player in players]


def finite(tensors: Sequence[Tensor]) -> bool:
    """Whether all entries of all tensors are finite; waits for the device once."""
    if not tensors:
        return True
    sums = torch.stack([tensor.detach().sum() for tensor in tensors])  # finite sums have finite terms, and are quick
    return bool(sums.isfinite().all()) or all(bool(tensor.isfinite().all()) for tensor in tensors)


def _turn(player: Any, names: Sequence[str], plan: Plan) -> Turn:
    parameters = [parameter for parameter in player.parameters if parameter.requires_grad]
    if not parameters:
        raise ValueError(
            f"fit: expected player {player.name!r} to have parameters to train; got none that require a gradient; "
            "try objective.score(objective.prepare(data)) to evaluate without training, or leave a parameter out of the "
            "declaration so that it is learned"
        )
    optimizer = for_player(plan.optimizer, player.name, names, "optimizer")(parameters)
    settings = describe(optimizer)
    builder = for_player(plan.schedule, player.name, names, "schedule")
    schedule = None if builder is None else builder(optimizer)
    settings["schedule"] = schedule and type(schedule).__name__
    return Turn(player.name, parameters, _compiled(player.loss, plan), optimizer, schedule, settings, player.every, player.after)


def _compiled(loss: Callable[[Batch], Tensor], plan: Plan) -> Callable[[Batch], Tensor]:
    if plan.compile is False:
        return loss
    return torch.compile(loss) if plan.compile is True else plan.compile(loss)


def _precision(autocast: torch.device | None) -> AbstractContextManager[Any]:
    return nullcontext() if autocast is None else torch.autocast(autocast.type, dtype=torch.bfloat16)


def _check_finite(what: str, tensors: Sequence[Tensor]) -> None:
    if not finite(tensors):
        raise NonFiniteError(what)
