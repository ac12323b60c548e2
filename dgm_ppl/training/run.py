"""Run: what a training run left behind."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from torch import nn

from ..graph import Displayed
from .history import History, learning_curves
from .stopping import Best

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

__all__ = ["Run"]


@dataclass(frozen=True, repr=False)
class Run(Displayed):
    """A finished or interrupted run.

    `stopped` says why it ended: "epochs", "steps", "early stopping", "convergence" or "interrupted". `best` is the best validation, None
    without one. The objective (and so its model and guide) holds the trained parameters: those of the best validation
    where `stopping` was given, else the last. `averaged` is a copy of the objective with the moving average of the parameters,
    where `average` was given.
    """

    objective: nn.Module
    stopped: str
    step: int
    epoch: int
    seconds: float
    best: Best | None = None
    records: History = field(default_factory=lambda: History(("all",)))
    averaged: nn.Module | None = None

    @property
    def model(self) -> nn.Module:
        """The trained model: the objective's submodule of that name."""
        return self.objective.get_submodule("model")

    @cached_property
    def history(self) -> pandas.DataFrame:
        """Step, epoch, loss, validation, learning rate and seconds; loss and validation in nats a world, lower is better."""
        return self.records.frame()

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """The learning curves as a matplotlib figure, saved where a path is given."""
        figure = learning_curves(self.history, self.best.step if self.best else None)
        if path is not None:
            figure.savefig(path)
        return figure

    def __repr__(self) -> str:
        name = type(self.objective).__name__
        parts = [f"{name} stopped by {self.stopped} at step {self.step:,}, epoch {self.epoch}, after {self.seconds:.1f} s"]
        if self.records.rows:
            last = self.records.rows[-1]
            parts += [f"{column} {last[column]:.4g}" for column in self.records.losses]
        if self.best:
            parts.append(f"best validation {self.best.value:.4g} at step {self.best.step:,}")
        return f"Run({'; '.join(parts)})"
