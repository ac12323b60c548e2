"""Journal: what a run writes down about itself, beside what it learns."""

from __future__ import annotations

import math
import time
from dataclasses import asdict
from typing import Any

from torch import Tensor, nn

from .history import History, Tally
from .learner import Position
from .stopping import Best, EarlyStopping
from .trees import clone

__all__ = ["Journal"]


class Journal:
    """History, running means, time, and the best validation with its parameters."""

    def __init__(self, players: tuple[str, ...], stopping: EarlyStopping | None) -> None:
        self.stopping = stopping
        self.history = History(players)
        self.tally = Tally([0.0] * len(players))
        self.best: Best | None = None
        self.best_state: dict[str, Tensor] | None = None
        self.waited = 0
        self._before, self._since = 0.0, time.perf_counter()

    @property
    def seconds(self) -> float:
        """Time spent, over all sittings."""
        return self._before + time.perf_counter() - self._since

    @property
    def exhausted(self) -> bool:
        """Whether the validation has not improved for too long."""
        return self.stopping is not None and self.stopping.exhausted(self.waited)

    def count(self, losses: list[float], rows: int) -> None:
        """Counts the losses of one step."""
        self.tally.add(losses, rows)

    def validated(self, value: float, position: Position, objective: nn.Module) -> None:
        """Notes a validation; the parameters are kept if it is the best so far."""
        margin = self.stopping.min_delta if self.stopping else 0.0
        if self.best is None or math.isnan(self.best.value) or value < self.best.value - margin:
            self.best = Best(position.step, position.begun, value)
            self.best_state = clone(objective.state_dict())
            self.waited = 0
        else:
            self.waited += 1

    def record(self, position: Position, validation: float | None, rate: float) -> None:
        """Closes a row of the history."""
        self.history.add(
            step=position.step,
            epoch=position.begun,
            losses=self.tally.take(),
            validation=float("nan") if validation is None else validation,
            rate=rate,
            seconds=self.seconds,
        )

    def state(self) -> dict[str, Any]:
        """All of it as a tree."""
        return {
            "rows": self.history.rows,
            "tally": asdict(self.tally),
            "best": self.best and asdict(self.best),
            "best_state": self.best_state,
            "waited": self.waited,
            "seconds": self.seconds,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from a stored journal."""
        self.history.rows = list(state["rows"])
        self.tally = Tally(**state["tally"])
        self.best = state["best"] and Best(**state["best"])
        self.best_state = state["best_state"]
        self.waited = state["waited"]
        self._before, self._since = state["seconds"], time.perf_counter()
