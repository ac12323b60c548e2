"""Lower bounds of the log-evidence: ELBO and the importance-weighted bound."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from torch import Tensor

from ..compile import Model
from ..compile.pairing import Pairing, check_guide
from ..families import Noise, ShardedNoise, noise
from ..formats.declaration import describe
from ..graph import GraphError
from .base import Objective

__all__ = ["ELBO", "IWAE"]


class Bound(Objective):
    """What bounds share: the pairing of model and guide, particles on a leading dimension, noise."""

    def __init__(self, model: Model, guide: Model, *, particles: int = 1):
        super().__init__()
        if isinstance(particles, bool) or not isinstance(particles, int) or particles < 1:
            raise GraphError(f"{type(self).__name__}: expected a positive whole number of particles; got {particles!r}")
        check_guide(model, guide)
        self.model, self.guide, self.particles = model, guide, particles
        self.noise: Noise = noise
        self._pairings: dict[frozenset[str], Pairing] = {}
        self._check_capabilities()

    def _check_capabilities(self) -> None:
        for node in self.model.schedule:
            if node.conditional.density is None:
                raise GraphError(f"{type(self).__name__}: node {node.name!r} has no density; use an adversarial objective")

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_pairings": {}}                           # pairings hold nodes of this copy

    def prepare(self, data: Mapping[str, Any]) -> dict[str, Tensor]:
        values = self.model.encode(data)
        self.pairing(values)
        return values

    def pairing(self, observed: Collection[str]) -> Pairing:
        """The pairing for a pattern of observed nodes, made once."""
        key = frozenset(observed)
        if key not in self._pairings:
            self._pairings[key] = Pairing(self.model, self.guide, key)
        return self._pairings[key]

    def shard(self, offset: int, total: int) -> None:
        self.noise = ShardedNoise(offset, total, axis=1 if self.particles > 1 else 0)

    def _drawn(self, batch: Mapping[str, Tensor]) -> tuple[Pairing, dict[str, Tensor], dict[str, Any]]:
        pairing, layout = self.pairing(batch), self.model.layout
        worlds = layout.worlds(batch)
        rows = (self.particles, *worlds) if self.particles > 1 else worlds
        sizes = layout.sizes(batch) if layout.rank else {}
        found, prepared = pairing.draw(layout.align_all(batch), rows, sizes, self.noise)
        return pairing, found, prepared

    def declaration(self) -> dict:
        return {
            "objective": type(self).__name__, "particles": self.particles,
            "model": describe(self.model.net), "guide": describe(self.guide.net),
        }


class ELBO(Bound):
    """E_q[log p(x, z) - log q(z | x)], per world, to be maximised.

    Gradients flow through reparameterized draws; KL(q || p) is in closed form wherever both families have one and p's parents are
    drawn before; other latents take the score function, with only the terms that a draw influences and a baseline (the running
    mean, or with several particles the mean of the others).

    Args:
        model, guide: compiled nets.
        particles: draws per world, averaged.
        kl_weight: the weight of log q - log p of the latents, a number or a function of the training step; 1 is the bound.
        closed_form: whether closed-form divergences may replace sampled ones.

    Source: Kingma and Welling (2014), Ranganath et al. (2014), https://arxiv.org/abs/1312.6114, https://arxiv.org/abs/1401.0118.
    """

    def __init__(
        self, model: Model, guide: Model, *, particles: int = 1, kl_weight: float | Callable[[int], float] = 1.0, closed_form: bool = True,
    ):
        super().__init__(model, guide, particles=particles)
        if not callable(kl_weight) and not (math.isfinite(kl_weight) and kl_weight >= 0):
            raise GraphError(f"ELBO: expected kl_weight to be a number that is not negative, or a function of the step; got {kl_weight!r}")
        self.kl_weight, self.closed_form = kl_weight, closed_form
        self.weighted = callable(kl_weight) or kl_weight != 1
        self.register_buffer("weight", torch.tensor(float(kl_weight(0) if callable(kl_weight) else kl_weight)), persistent=False)
        scores = [node.name for node in guide.schedule if not node.conditional.reparameterized]
        self._baselines = {name: position for position, name in enumerate(scores)}
        self.register_buffer("baselines", torch.zeros(len(scores)))

    def begin_step(self, step: int) -> None:
        if callable(self.kl_weight):
            self.weight.fill_(self.kl_weight(step))

    def world_losses(self, batch: Mapping[str, Tensor]) -> Tensor:
        return -self._elbo(batch, self.weight if self.weighted else None)

    def score(self, batch: Mapping[str, Tensor]) -> Tensor:
        with torch.no_grad():
            return self._elbo(batch, None)

    def _elbo(self, batch: Mapping[str, Tensor], weight: Tensor | None) -> Tensor:
        pairing, found, prepared_q = self._drawn(batch)
        likelihood, divergences, log_q = {}, {}, {}
        latents = {latent.q.name: latent for latent in pairing.latents}
        for node, kind in pairing.steps:
            if kind == "observed":
                term = self.model.per_world(node.conditional.log_density(found[node.name], node.prepare(found)))
                likelihood[node.name] = term
            elif kind == "latent":
                latent, name = latents[node.name], node.name
                prepared_p, term = node.prepare(found), None
                if latent.closed and self.closed_form:
                    term = latent.q.conditional.divergence(prepared_q[name], node.conditional, prepared_p)
                if term is None or latent in pairing.score:
                    log_q[name] = latent.q.conditional.log_density(found[name], prepared_q[name])
                if term is None:
                    term = log_q[name] - node.conditional.log_density(found[name], prepared_p)
                    divergences[name] = self.model.per_world(term), True
                else:
                    divergences[name] = self.model.per_world(term), False
        total = sum(likelihood.values())
        for term, _ in divergences.values():
            total = total - (term if weight is None else weight * term)
        if pairing.score and torch.is_grad_enabled():
            total = self._with_scores(pairing, total, likelihood, divergences, log_q, weight)
        return total.mean(0) if self.particles > 1 else total

    def _with_scores(self, pairing: Pairing, total: Tensor, likelihood: dict, divergences: dict, log_q: dict, weight: Tensor | None) -> Tensor:
        """Adds score-function terms that change the gradient and not the value."""
        for latent in pairing.score:
            in_q, in_p = pairing.downstream(latent)
            cost = sum(term for name, term in likelihood.items() if name in in_p)
            for name, (term, sampled) in divergences.items():
                concerned = (name in in_q or name in in_p) and (sampled or name != latent.q.name)
                cost = cost - ((1 if weight is None else weight) * term if concerned else 0)
            cost = torch.as_tensor(cost, device=total.device).detach()
            score = self.guide.per_world(log_q[latent.q.name])
            surrogate = score * (cost - self._baseline(latent.q.name, cost))
            total = total + (surrogate - surrogate.detach())
        return total

    def _baseline(self, name: str, cost: Tensor) -> Tensor:
        if self.particles > 1:
            return (cost.sum(0, keepdim=True) - cost) / (self.particles - 1)
        position = self._baselines[name]
        current = self.baselines[position].clone()
        if self.training:
            with torch.no_grad():
                mean = cost.mean()
                started = torch.where(current == 0, mean, 0.9 * current + 0.1 * mean)
                self.baselines[position] = torch.where(mean.isfinite(), started, current)
        return current

    def declaration(self) -> dict:
        weight = "schedule" if callable(self.kl_weight) else self.kl_weight
        return {**super().declaration(), "kl_weight": weight, "closed_form": self.closed_form}


class IWAE(Bound):
    """log (1/K) sum_k p(x, z_k) / q(z_k | x) with z_k ~ q(z | x), per world: between the ELBO (K = 1) and log p(x).

    Source: Burda et al. (2016), https://arxiv.org/abs/1509.00519.

    Raises:
        GraphError: a guide with a latent that is not reparameterized.
    """

    def _check_capabilities(self) -> None:
        super()._check_capabilities()
        for node in self.guide.schedule:
            if not node.conditional.reparameterized:
                raise GraphError(
                    f"IWAE: node {node.name!r} ~ {node.conditional.variable.summary} is not reparameterized; use dgm.ELBO(model, guide, particles=...), which takes "
                    f"its score function"
                )

    def log_weights(self, batch: Mapping[str, Tensor]) -> Tensor:
        """log p(x, z) - log q(z | x) of every particle, `(particles, *worlds)` (no particle dimension for one)."""
        pairing, found, prepared = self._drawn(batch)
        return pairing.log_weights(found, prepared)

    def world_losses(self, batch: Mapping[str, Tensor]) -> Tensor:
        weights = self.log_weights(batch)
        return -(weights.logsumexp(0) - math.log(self.particles)) if self.particles > 1 else -weights

    def score(self, batch: Mapping[str, Tensor]) -> Tensor:
        with torch.no_grad():
            return -self.world_losses(batch)
