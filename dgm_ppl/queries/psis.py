"""How far importance weights can be trusted: the shape of their tail."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from pyro.ops.stats import fit_generalized_pareto
from torch import Tensor

__all__ = ["Diagnosis", "diagnose_weights", "pareto_k"]


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """k-hat and effective sample size of each world, with a verdict.

    k-hat below 0.5 is good, to 0.7 usable, above it the guide misses part of the posterior and estimates cannot be trusted
    (Vehtari et al., 2024, https://arxiv.org/abs/1507.02646).
    """

    khat: Tensor
    effective: Tensor
    samples: int
    mend: str = "use a richer family, or more training"

    @property
    def verdict(self) -> str:
        good, usable = (self.khat < 0.5).float().mean(), (self.khat < self.threshold).float().mean()
        if usable == 1:
            return "good" if good == 1 else "usable"
        return f"bad for {100 * (1 - usable):.0f} % of the worlds: {self.mend}"

    @property
    def threshold(self) -> float:
        """The k-hat up to which this many draws suffice: min(1 - 1 / log10 n, 0.7)."""
        return min(1 - 1 / math.log10(self.samples), 0.7) if self.samples > 10 else 0.0

    def __repr__(self) -> str:
        return (
            f"k-hat {self.khat.median():.2f} (median), {self.khat.max():.2f} (largest); effective draws {self.effective.median():.0f} of {self.samples} "
            f"(median): {self.verdict}"
        )


def diagnose_weights(log_weights: Tensor, mend: str = Diagnosis.mend) -> Diagnosis:
    """The diagnosis of log-weights `(samples, *worlds)`; `mend` says what helps where they are bad."""
    normalised = log_weights - log_weights.logsumexp(0)
    return Diagnosis(pareto_k(log_weights), (-(2 * normalised).logsumexp(0)).exp(), len(log_weights), mend)


def pareto_k(log_weights: Tensor) -> Tensor:
    """The shape of a generalized Pareto fitted to each world's largest weights, `(*worlds)`; minus infinity for equal weights, infinity where fewer than five carry most of the sum."""
    samples, worlds = len(log_weights), log_weights.shape[1:]
    tail = int(min(samples / 5, 3 * math.sqrt(samples)))
    if tail < 5:
        return log_weights.new_full(worlds, math.nan)
    ordered = (log_weights - log_weights.amax(0)).reshape(samples, -1).double().sort(0).values
    return torch.tensor([_tail_shape(column, tail) for column in ordered.T], dtype=log_weights.dtype, device=log_weights.device).reshape(worlds)


def _tail_shape(ordered: Tensor, tail: int) -> float:
    cutoff = ordered[-tail - 1].clamp_min(math.log(torch.finfo(ordered.dtype).tiny)).exp()
    excess = ordered[-tail:].exp() - cutoff
    excess = excess[excess > 1e-12]
    if len(excess) < 5:                                                     # the rest of the tail is ties, or nothing beside these
        weights = ordered.exp()
        return -math.inf if bool(weights[len(weights) - len(excess):].sum() < weights.sum() / 2) else math.inf
    return fit_generalized_pareto(excess.cpu())[0]
