"""Chains that propose draws of a guide and accept them by their importance weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from pyro.ops.stats import effective_sample_size, split_gelman_rubin
from torch import Tensor

from ..compile import Model
from ..families.randomness import seeded
from .methods import IndependenceMetropolis
from .posterior import Posterior
from .weighting import WeightedDraws

__all__ = ["Acceptance", "MetropolisPosterior"]


@dataclass(frozen=True, eq=False, repr=False)
class Acceptance:
    """The share of proposals that each world accepted, the longest stay in one place, and split R-hat and effective draws of every node's worst element."""

    rate: Tensor
    longest: Tensor
    rhat: Mapping[str, float]
    effective: Mapping[str, float]
    draws: int

    @property
    def verdict(self) -> str:
        """Chains that stay in one place for long have met a draw that the guide hardly ever makes: the guide misses part of the posterior there."""
        bad = (self.rate < 0.05) | (self.longest > self.draws / 5)
        if bool(bad.any()):
            return f"bad for {100 * bad.double().mean():.0f} % of the worlds: the chains hardly move; use a richer family, refine, or more training"
        return "good" if bool((self.rate > 0.3).all()) and not [value for value in self.rhat.values() if value > 1.01] else "usable: take more draws"

    def __repr__(self) -> str:
        lines = [f"{name}: R-hat {self.rhat[name]:.3f}, effective draws {self.effective[name]:.0f}" for name in self.rhat]
        return "\n".join([f"accepted {self.rate.mean():.2f} (mean), {self.rate.min():.2f} (smallest)", *lines, self.verdict])


class MetropolisPosterior(Posterior):
    """Draws of independence Metropolis-Hastings: exact in the limit of many, whatever the guide, where it covers the posterior."""

    def __init__(self, model: Model, values: Mapping[str, Tensor], method: IndependenceMetropolis):
        super().__init__(model, values)
        self.method = method
        steps = method.warmup + method.samples
        with seeded(method.seed, model.device), torch.no_grad():
            drawn, weights = WeightedDraws(model, method.guide, values).draw(steps * method.chains)
            places, accepted = _chains(weights.unflatten(0, (method.chains, steps)))
        kept = places[:, method.warmup:]
        offset = torch.arange(method.chains, device=kept.device).reshape(-1, *(1,) * (kept.ndim - 1)) * steps
        self._draws = {name: _at(value.expand(steps * method.chains, *self.worlds, *value.shape[1 + len(self.worlds):]), (kept + offset).flatten(0, 1)) for name, value in drawn.items()}
        self._accepted = accepted[:, method.warmup:].double().mean((0, 1))
        self._longest = _longest(kept)

    @property
    def draws(self) -> Mapping[str, Tensor]:
        return self._draws

    def _sampled(self, samples: int) -> dict[str, Tensor]:
        """Draws of the chains at random, with replacement where more are asked for than there are."""
        held = self.method.samples * self.method.chains
        picked = torch.randperm(held)[:samples] if samples <= held else torch.randint(held, (samples,))
        return {name: self.released(name)[picked.to(self.model.device)] for name in self.names}

    def diagnose(self) -> Acceptance:
        """Acceptance of each world, split R-hat and effective draws of every node."""
        rhat, effective = {}, {}
        for name in (name for name in self.names if self.draws[name].is_floating_point()):
            chains = self.draws[name].unflatten(0, (self.method.chains, self.method.samples))
            rhat[name] = split_gelman_rubin(chains).max().item() if self.method.samples >= 4 else float("nan")
            effective[name] = effective_sample_size(chains).min().item()
        return Acceptance(self._accepted, self._longest, rhat, effective, self.method.samples)


def _chains(weights: Tensor) -> tuple[Tensor, Tensor]:
    """Where each chain is at each step `(chains, steps, *worlds)`, and whether it moved there."""
    chains, steps = weights.shape[:2]
    coins = torch.rand_like(weights).log()
    here, weight = torch.zeros_like(weights[:, 0], dtype=torch.long), weights[:, 0]
    places, moved = [here], [torch.ones_like(here, dtype=torch.bool)]
    for step in range(1, steps):
        accept = coins[:, step] < weights[:, step] - weight
        here, weight = torch.where(accept, step, here), torch.where(accept, weights[:, step], weight)
        places.append(here)
        moved.append(accept)
    return torch.stack(places, 1), torch.stack(moved, 1)


def _longest(places: Tensor) -> Tensor:
    """The most steps that any chain of a world stays in one place."""
    stay, longest = torch.ones_like(places[:, 0]), torch.ones_like(places[:, 0])
    for step in range(1, places.shape[1]):
        stay = torch.where(places[:, step] == places[:, step - 1], stay + 1, 1)
        longest = torch.maximum(longest, stay)
    return longest.amax(0)


def _at(values: Tensor, picked: Tensor) -> Tensor:
    index = picked.reshape(*picked.shape, *(1,) * (values.ndim - picked.ndim))
    return values.gather(0, index.expand(*picked.shape, *values.shape[picked.ndim:]))
