"""Sums over finite nodes as a method: its settings, the engine with its plans, the evidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..compile import Model
from ..exact import Engine, Seen, obstacle
from .methods import Method

__all__ = ["Exact", "exact_log_prob", "why_not"]


@dataclass(frozen=True, eq=False)
class Exact(Method):
    """Sums over every unobserved finite node along a tree of cliques. Plans are kept with the model, one for each pattern of evidence.

    Args:
        memory: the bytes that one row of evidence may take at most.
        cases: how many states of a cutset may be gone through one by one where the cliques do not fit.
        orders: how many random elimination orders are tried beside the three rules.
        keep_impossible: answer though some rows of evidence have probability zero; theirs are probabilities of zero.
        differentiable: answers have gradients with respect to the model's parameters where torch records them.
    """

    memory: int = 2**31
    cases: int = 1024
    orders: int = 10
    keep_impossible: bool = False
    differentiable: bool = False

    def engine(self, model: Model) -> Engine:
        """The engine of a model, with its plans."""
        key = ("exact", self.orders, self.memory, self.cases)
        if key not in model.memo:
            model.memo[key] = Engine(model, runs=self.orders, memory=self.memory, cases=self.cases)
        return model.memo[key]

    def recording(self) -> Any:
        """The context in which answers are computed."""
        return torch.set_grad_enabled(self.differentiable and torch.is_grad_enabled())


def exact_log_prob(model: Model, seen: Seen, method: Exact) -> Tensor:
    """log p(evidence) of each world, by elimination."""
    with method.recording():
        engine, found = method.engine(model), torch.zeros(seen.rows, dtype=torch.float64, device=model.device)
        for rows, evidence in seen.groups(engine):
            found[rows] = engine.log_evidence(evidence)
    return found.reshape(seen.worlds)


def why_not(model: Model, seen: Seen) -> str | None:
    """`obstacle`, found once where it does not depend on which cells are missing."""
    if seen.holes or seen.gaps:
        return obstacle(model, seen)
    key = ("obstacle", *seen.columns, None, *seen.soft)
    if key not in model.memo:
        model.memo[key] = obstacle(model, seen)
    return model.memo[key]
