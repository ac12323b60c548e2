"""Is a random estimate right on average? Means of independent repetitions against the truth, with a stated failure rate."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def gradient(loss: Tensor, parameters: Sequence[Tensor]) -> Tensor:
    """The gradient as one vector."""
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    return torch.cat([torch.zeros(parameter.numel()) if grad is None else grad.flatten() for parameter, grad in zip(parameters, found)])


def assert_unbiased(estimate: Callable[[], Tensor], truth: Tensor, repetitions: int = 40, deviations: float = 5.0) -> Tensor:
    """Raises where a coordinate's mean is off by more than so many standard errors (5: one in two million a coordinate); returns the variances."""
    draws = torch.stack([estimate().detach() for _ in range(repetitions)])
    error = draws.std(0) / repetitions**0.5
    off = (draws.mean(0) - truth.detach()).abs()
    assert bool((off <= deviations * error + 1e-4 * truth.detach().abs() + 1e-5).all()), (draws.mean(0), truth, error)
    return draws.var(0)
