"""Loop: steps, validations, rows of the history and checkpoints, the same for every objective."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .checkpoint import write
from .feed import Feed
from .interrupt import Ending
from .journal import Journal
from .learner import Learner, Position
from .plan import Moment, Plan
from .progress import Display
from .step import NonFiniteError, Step, finite
from .team import Team

__all__ = ["READ_EVERY", "Loop"]

READ_EVERY = 50  # steps between two looks at the losses, and so between two waits for the device


class Loop:
    """Moves a run on.

    Losses stay on the device and are read every `READ_EVERY` steps; then the state, found to be sound, is kept. When a
    loss or a parameter turns out not to be finite, or a step is broken off, the loop goes back to the kept state and
    takes the sound steps again, which gives the same values bit for bit.
    """

    def __init__(
        self,
        learner: Learner,
        step: Step,
        feed: Feed,
        validate: Callable[[], float] | None,
        journal: Journal,
        *,
        plan: Plan,
        team: Team,
        identity: dict[str, Any],
    ) -> None:
        self.learner, self.step, self.feed, self.validate, self.journal = learner, step, feed, validate, journal
        self.plan, self.team, self.identity = plan, team, identity
        self.position = Position()
        self.parameters = [parameter for turn in step.turns for parameter in turn.parameters]
        self._pending: list[tuple[list[Tensor], int]] = []  # losses not yet read, and the rows of their batches
        self._last: list[Tensor] = []
        self._broken = False  # within a step or its bookkeeping, where nothing may be written
        self._row_every = _row_interval(feed.batches)
        self._written, self._written_step, self._written_best = time.perf_counter(), -1, None
        self._keep()

    def run(self, interrupt: Ending, bar: Display) -> str:
        """Steps until the plan is fulfilled or Ctrl-C; returns why it ended."""
        if self._written_step < 0:
            self._write()  # what cannot be stored is refused before any work
        while (reason := self._over(interrupt)) is None:
            try:
                self._advance_or_rewind()
                validation = self._settle(bar)
                self._tell(bar, validation)
            except KeyboardInterrupt:
                if interrupt.asked or self._broken:
                    raise
                interrupt.asked = True
        self._finish(reason)
        return reason

    def resume(self, stored: dict[str, Any]) -> None:
        """Goes on from a stored state."""
        self.learner.restore(stored["learner"])
        self.journal.restore(stored["journal"])
        self.position = Position(*stored["position"])
        self._written_step, self._written_best = self.position.step, self.journal.best
        self._keep()

    def stored(self) -> dict[str, Any]:
        """What is stored: who the run is, where it is, and all that the next step depends on."""
        return {
            **self.identity,
            "position": list(self.position),
            "learner": self._kept[0],
            "journal": self.journal.state(),
        }

    def _over(self, interrupt: Ending) -> str | None:
        plan = self.plan
        if self._interrupted(interrupt):
            return "interrupted"
        if self.journal.exhausted:
            return "early stopping"
        if plan.endless and self.journal.history.settled:
            return "convergence"
        if plan.epochs is not None and self.position.epoch >= plan.epochs:
            return "epochs"
        return "steps" if plan.steps is not None and self.position.step >= plan.steps else None

    def _interrupted(self, interrupt: Ending) -> bool:
        if self.team.size == 1:
            return interrupt.asked
        may_wait = self.learner.device.type == "cpu" or not self._pending
        return may_wait and self.team.any(interrupt.asked)

    def _advance_or_rewind(self) -> None:
        completed = self.position.step
        try:
            self._advance()
        except BaseException as error:
            if self.team.size == 1:  # the other members of a team would wait for the repeated steps
                self._rewind(completed)
                if isinstance(error, Exception):
                    self._store()
            raise

    def _advance(self, careful: bool = False) -> None:
        self._broken = True
        step, epoch, index = self.position
        batch = self.feed.take(epoch, index)
        rows = len(next(iter(batch.values())))
        share = self.team.share(rows)
        self.team.begin(self.learner.objective, share)
        self.learner.objective.begin_step(step)
        losses = self.step(step, self.team.cut(batch, share), share, careful=careful)
        self.team.end(self.learner.objective, share)
        self.learner.end_step()
        self._last = losses
        self._pending.append((losses, rows))
        self.position = self.position.after(self.feed.ends(epoch, index + 1))
        self._broken = False

    def _rewind(self, step: int, careful: bool = False) -> None:
        """Back to the kept state, and on from it to a completed step."""
        state, self.position = self._kept
        self.learner.restore(state)
        self._pending.clear()
        while self.position.step < step:
            self._advance(careful)
        self._broken = False

    def _settle(self, bar: Display) -> float | None:
        """Reads, validates, records and writes where it is time to; returns the validation made, if any."""
        due = self._validation_is_due()
        row = due or self.position.step % self._row_every == 0
        if not (due or row or len(self._pending) >= READ_EVERY or self._writing_is_due()):
            return None
        self._broken = True
        self._read()
        value = self._validate(bar) if due else None
        if row:
            self.journal.record(self.position, value, self._rate())
        self._keep()
        if self._writing_is_due():
            self._write()
        self._broken = False
        return value

    def _tell(self, bar: Display, validation: float | None) -> None:
        losses = self._last
        bar.step(self.position.step, self.position.begun, losses[0])
        for callback in self.plan.callbacks if self.team.rank == 0 else ():
            step, epoch = self.position.step, self.position.begun
            callback(Moment(step, epoch, tuple(losses), validation, self.learner.objective))

    def _finish(self, reason: str) -> None:
        self._read()
        if reason != "interrupted" and self.journal.tally.rows:
            self.journal.record(self.position, None, self._rate())
        self._store()

    def _store(self) -> None:
        """Writes the present state, unless it is written."""
        self._read()
        if self.position != self._kept[1]:
            self._keep()
        if self.position.step != self._written_step:
            self._write()

    def _read(self) -> None:
        """Looks at the losses since the last time, and at the parameters."""
        if not self._pending:
            return
        losses = self._losses()
        if not (all(map(math.isfinite, losses)) and finite(self.parameters)):
            self._find_bad_step()
            losses = self._losses()  # of steps that were sound when taken again
        players = len(self.step.turns)
        for number, (_, rows) in enumerate(self._pending):
            self.journal.count(losses[number * players : (number + 1) * players], rows)
        self._pending.clear()

    def _losses(self) -> list[float]:
        return torch.stack([loss for losses, _ in self._pending for loss in losses]).tolist()

    def _find_bad_step(self) -> None:
        """Takes the steps again one by one, to stop before the first bad one."""
        try:
            self._rewind(self.position.step, careful=True)
        except NonFiniteError as error:
            found, bad = str(error), self.position
            self._rewind(bad.step)
            self._store()
            raise FloatingPointError(_bad_step(found, bad)) from None

    def _validation_is_due(self) -> bool:
        if self.validate is None:
            return False
        every = self.plan.validate_every
        return self.position.index == 0 if every is None else self.position.step % every == 0

    def _validate(self, bar: Display) -> float:
        value = self.validate()
        self.journal.validated(value, self.position, self.learner.objective)
        for turn in self.step.turns:
            turn.end_validation(value)
        bar.validation(value)
        return value

    def _writing_is_due(self) -> bool:
        checkpoint = self.plan.checkpoint
        if checkpoint is None:
            return False
        if checkpoint.steps is not None and self.position.step % checkpoint.steps == 0:
            return True
        alike = self.team.size == 1 or not self._pending  # clocks differ: a team looks at its own only after reading
        return alike and time.perf_counter() - self._written >= checkpoint.seconds

    def _write(self) -> None:
        checkpoint, journal = self.plan.checkpoint, self.journal
        if checkpoint is None or self.team.rank != 0:
            return
        if journal.best != self._written_best:
            write(checkpoint.best, {**self.identity, "objective": journal.best_state})
        write(checkpoint.last, self.stored())
        self._written, self._written_step, self._written_best = time.perf_counter(), self.position.step, journal.best

    def _keep(self) -> None:
        self._kept = (self.learner.state(), self.position)
        self.feed.keep()

    def _rate(self) -> float:
        return float(self.step.turns[0].optimizer.param_groups[0]["lr"])


def _row_interval(batches: int | None) -> int:
    """Steps between two rows of the history: an epoch or several if they are short, at most 1000."""
    if batches is None:
        return READ_EVERY
    return min(-(-READ_EVERY // batches) * batches, 1000)


def _bad_step(found: str, position: Position) -> str:
    return (
        f"fit: expected finite values; got {found} at step {position.step + 1} (epoch {position.epoch + 1}, batch "
        f"{position.index + 1}); the parameters are those before that step; "
        "try a smaller learning rate, clip=10.0, or a look at the data of that batch"
    )
