"""Validation: the mean score of held-out worlds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..families.randomness import seeded
from .feed import Feed
from .randomness import mix
from .team import Team

__all__ = ["Validation"]


@dataclass(frozen=True)
class Validation:
    """Minus the mean of `objective.score` over held-out worlds, in nats a world: as a loss, lower is better.

    Each time it draws the same noise, so that two validations differ by the parameters alone; the generators of the
    training are left as they were.
    """

    objective: nn.Module
    feed: Feed
    team: Team
    seed: int
    device: torch.device
    autocast: bool

    def __call__(self) -> float:
        with seeded(mix(self.seed, 1), self.device), evaluating(self.objective), torch.no_grad(), self._precision():
            return self._mean()

    def _mean(self) -> float:
        total, count, index = None, 0, 0
        while index == 0 or not self.feed.ends(0, index):
            batch = self.feed.take(0, index)
            rows = len(next(iter(batch.values())))
            share = self.team.share(rows)
            self.team.begin(self.objective, share)
            scores = self.objective.score(self.team.cut(batch, share))
            part = scores.sum() if share.weight else scores.new_zeros(())
            total, count, index = part if total is None else total + part, count + rows, index + 1
            self.feed.keep()
        return -float(self.team.total(total)) / count

    def _precision(self) -> AbstractContextManager[Any]:
        return torch.autocast(self.device.type, dtype=torch.bfloat16) if self.autocast else nullcontext()


@contextmanager
def evaluating(objective: nn.Module) -> Iterator[None]:
    """Modules in evaluation mode, each put back into the mode that it was in."""
    modes = [(module, module.training) for module in objective.modules()]
    objective.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
