"""What exact posteriors of the hidden nodes of a chain have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor

from ..compile import Model
from ..exact import ChainEngine, Watched
from ..graph import GraphError
from .exact import Exact
from .posterior import Posterior

__all__ = ["Filtered", "HiddenSequence", "checked_steps", "picked"]


class HiddenSequence(Posterior):
    """p(hidden nodes of a chain | evidence) as an engine answers it; a subclass reads moments or probabilities off `_answer`, and draws."""

    def __init__(self, model: Model, watched: Watched, method: Exact, engine: ChainEngine):
        super().__init__(model, watched.values)
        self.method, self.watched, self.worlds, self._engine = method, watched, watched.worlds, engine
        self._laid = watched.observed(engine.chain.name)

    @property
    def names(self) -> tuple[str, ...]:
        """The hidden nodes."""
        return (*self._engine.outside, *self._engine.names)

    @property
    def draws(self) -> Mapping[str, Tensor]:
        raise GraphError("draws: an exact posterior has none of its own; ask post.sample(100), or post.marginals")

    @cached_property
    def _answer(self) -> Any:
        with self.method.recording():
            return self._engine.answer(self._laid)

    @cached_property
    def log_evidence(self) -> Tensor:
        """log p(evidence) of each world, exact; minus infinity where it is impossible."""
        return self._answer.log_evidence.reshape(self.worlds)

    def _completed(self, found: Mapping[str, Tensor], samples: int) -> dict[str, Tensor]:
        """Draws of the hidden nodes with every other node that is not observed."""
        model, layout, worlds = self.model, self.model.layout, (samples, *self.worlds)
        with torch.no_grad():
            every = model.run(layout.align_all({**self.evidence, **found}), worlds, layout.sizes(self.evidence))
        return {name: model.released(name, every[name], worlds) for name in model.net if name in every and name not in self.evidence}


@dataclass(frozen=True)
class Filtered:
    """A posterior as `Marginals` reads it, given the steps up to each."""

    names: tuple[str, ...]
    marginal: Callable[[str], dist.TorchDistribution]


def checked_steps(steps: int) -> int:
    """A number of steps ahead."""
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
        raise GraphError(f"predict: expected a positive whole number of steps; got {steps!r}")
    return steps


def picked(value: Tensor, at: Tensor, worlds: tuple[int, ...]) -> Tensor:
    """Some steps of each row: from `(*worlds, steps, ...)` those at `(rows, steps asked for)`."""
    rows = value.reshape(len(at), *value.shape[len(worlds):])
    found = rows[torch.arange(len(at), device=at.device).unsqueeze(1), at]
    return found.reshape(*worlds, *found.shape[1:])
