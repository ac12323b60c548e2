"""Lower bounds of the log-evidence: ELBO and the importance-weighted bound."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..compile import Model
from ..compile.pairing import COLLAPSED, Pairing, check_guide
from ..compile.reduction import PerWorld, Reduction, Total, added
from ..exact import cells, hole_name, packed, unpacked
from ..families import Noise, ShardedNoise, noise
from ..formats.declaration import describe
from ..graph import GraphError
from .base import Objective
from .gradients import Drawn, Estimator, StickingTheLanding, check_auxiliary, check_reparameterized, check_scored, log_mean

__all__ = ["ELBO", "IWAE"]


class Bound(Objective):
    """What bounds share: the pairing of model and guide, particles on a leading dimension, noise.

    Latents that the guide leaves out are summed out or integrated exactly, given those that it draws; data may then have missing cells (NaN or None),
    which are eliminated where they are missing.
    """

    adds_auxiliary = False                                                  # whether the losses that conditionals of a guide have beside a bound are added

    def __init__(self, model: Model, guide: Model, *, particles: int = 1):
        super().__init__()
        if isinstance(particles, bool) or not isinstance(particles, int) or particles < 1:
            raise GraphError(f"{type(self).__name__}: expected a positive whole number of particles; got {particles!r}")
        if guide is None:
            raise GraphError(f"{type(self).__name__}: expected a compiled guide; got None; try dgm.compile(dgm.amortize(net, observed=...)), or dgm.MaximumLikelihood(model) where nothing is latent")
        check_guide(model, guide)
        self.model, self.guide, self.particles = model, guide, particles
        self._share: tuple[int, int] | None = None
        self._pairings: dict[frozenset[str], Pairing] = {}
        self._met: set[str] = set()                                         # columns that have had values
        check_auxiliary(guide, type(self).__name__, self.adds_auxiliary)
        self._check_capabilities()

    def _check_capabilities(self) -> None:
        for node in self.model.schedule:
            if node.conditional.density is None:
                raise node.conditional.without_density(f"the bound {type(self).__name__}")
        check_scored(self.guide, type(self).__name__)

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_pairings": {}}                           # pairings hold nodes of this copy

    def prepare(self, data: Mapping[str, Any]) -> dict[str, Tensor]:
        found = cells(self.model, data)
        for name in found.empty:
            if name not in self._met:
                raise GraphError(
                    f"{type(self).__name__}: node {name!r}: every cell of its column is missing; give some values (of a stream, in the first batch), or leave "
                    f"the column out, which makes {name!r} latent"
                )
        self._met |= set(found)
        batch = packed(found, self.model.layout.rowed(found))
        self.pairing(batch)
        return batch

    def pairing(self, batch: Collection[str]) -> Pairing:
        """The pairing for a pattern of columns, made once."""
        key = frozenset(batch)
        if key not in self._pairings:
            partial = [name for name in map(hole_name, batch) if name is not None]
            pairing = Pairing(self.model, self.guide, [name for name in batch if hole_name(name) is None], partial)
            self._check_pairing(pairing)
            self._pairings[key] = pairing
        return self._pairings[key]

    def _check_pairing(self, pairing: Pairing) -> None:
        """Raises where the objective cannot use a pairing."""

    def shard(self, offset: int, total: int) -> None:
        self._share = offset, total

    def forward(self, batch: Mapping[str, Tensor], player: int = 0) -> Tensor:
        return self._mean_loss(batch)

    def _drawn(self, batch: Mapping[str, Tensor]) -> Drawn:
        pairing, layout, holes = self.pairing(batch), self.model.layout, {}
        if pairing.partial:
            batch, holes = unpacked(batch)
        worlds = pairing.worlds(batch)
        rows = (self.particles, *worlds) if self.particles > 1 else worlds
        sizes = layout.sizes(batch) if layout.rank else {}
        gone = layout.align_all(holes)
        found, prepared = pairing.draw(pairing.cells.masked(layout.align_all(batch), gone, worlds, sizes), rows, sizes, self._noise(worlds))
        return Drawn(pairing, found, prepared, rows, sizes, gone)

    def log_weights(self, batch: Mapping[str, Tensor]) -> Tensor:
        """log p(x, z) - log q(z | x) of every particle, `(particles, *worlds)` (no particle dimension for one)."""
        return self._drawn(batch).log_weights()

    def _noise(self, worlds: Sequence[int], particles: int | None = None) -> Noise:
        if self._share is None or not worlds:
            return noise
        return ShardedNoise(*self._share, local=worlds[0], axis=1 if (particles or self.particles) > 1 else 0)

    def declaration(self) -> dict:
        return {
            "objective": type(self).__name__, "particles": self.particles,
            "model": describe(self.model.net), "guide": describe(self.guide.net),
        }


class ELBO(Bound):
    """E_q[log p(x, z) - log q(z | x)], per world, to be maximised.

    What the guide's conditionals are trained by beside a bound, such as the distance to their codes, is added to the loss and not to `score`.
    Gradients flow through reparameterized draws; KL(q || p) is in closed form wherever both families have one and p's parents are
    drawn before; other latents take the score function, with only the terms that a draw influences and a baseline (the running
    mean, or with several particles the mean of the others).

    Args:
        model, guide: compiled nets.
        particles: draws per world, averaged.
        kl_weight: the weight of log q - log p of the latents, a number or a function of the training step; 1 is the bound. Where latents are eliminated,
            it needs the observed nodes not to read them.
        closed_form: whether closed-form divergences may replace sampled ones.
        gradient: `dgm.StickingTheLanding()` for the gradient through the draws alone.

    Source: Kingma and Welling (2014), Ranganath et al. (2014), https://arxiv.org/abs/1312.6114, https://arxiv.org/abs/1401.0118.
    """

    adds_auxiliary = True

    def __init__(
        self, model: Model, guide: Model, *, particles: int = 1, kl_weight: float | Callable[[int], float] = 1.0, closed_form: bool = True,
        gradient: StickingTheLanding | None = None,
    ):
        super().__init__(model, guide, particles=particles)
        if not callable(kl_weight) and not (math.isfinite(kl_weight) and kl_weight >= 0):
            raise GraphError(f"ELBO: expected kl_weight to be a number that is not negative, or a function of the step; got {kl_weight!r}")
        if gradient is not None and not isinstance(gradient, StickingTheLanding):
            raise GraphError(f"ELBO: expected gradient=dgm.StickingTheLanding() or None; got {gradient!r}; other estimators go with dgm.IWAE(model, guide, particles=...)")
        if gradient is not None:
            gradient.check(self)
        self.kl_weight, self.closed_form, self.gradient = kl_weight, closed_form and gradient is None, gradient
        self.weighted = callable(kl_weight) or kl_weight != 1
        self.register_buffer("weight", torch.tensor(float(kl_weight(0) if callable(kl_weight) else kl_weight)), persistent=False)
        scores = [node.name for node in guide.schedule if not node.conditional.reparameterized]
        self._baselines = {name: position for position, name in enumerate(scores)}
        self.register_buffer("baselines", torch.zeros(len(scores)))

    def _check_pairing(self, pairing: Pairing) -> None:
        touched = [name for name in pairing.observed if name in pairing.touched]
        if self.weighted and pairing.cells.completed_by:
            name = next(iter(pairing.cells.completed_by))
            raise GraphError(f"ELBO: kl_weight has no meaning here: missing cells of {name!r} are drawn, and what is there of it is scored beside them; leave kl_weight out, or {name!r} out of missing")
        if self.weighted and touched:
            hidden = pairing.collapse.structure.hidden
            raise GraphError(
                f"ELBO: kl_weight has no meaning here: {', '.join(map(repr, hidden))} {'is' if len(hidden) == 1 else 'are'} eliminated together with the observed "
                f"{touched[0]!r}; leave kl_weight out, or give {hidden[0]!r} a distribution in the guide: dgm.amortize(..., collapse=False)"
            )

    def begin_step(self, step: int) -> None:
        if callable(self.kl_weight):
            self.weight.fill_(self.kl_weight(step))

    def world_losses(self, batch: Mapping[str, Tensor]) -> Tensor:
        drawn, per_world = self._estimated(batch), PerWorld()
        terms = [self._scored(drawn)] if self._takes_scores(drawn) else self._terms(drawn, per_world, self._weight)
        return self._over_particles(added([*terms, *drawn.auxiliary(per_world)]), drawn.rows)

    def score(self, batch: Mapping[str, Tensor]) -> Tensor:
        with torch.no_grad():
            drawn = self._drawn(batch)
            return -self._over_particles(added(self._terms(drawn, PerWorld(), None)), drawn.rows)

    def _mean_loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        drawn = self._estimated(batch)
        if self._takes_scores(drawn):
            return added([self._scored(drawn), *drawn.auxiliary(PerWorld())]).expand(drawn.rows).mean()
        total = Total(drawn.rows)
        return total.mean([*self._terms(drawn, total, self._weight), *drawn.auxiliary(total)])

    def _estimated(self, batch: Mapping[str, Tensor]) -> Drawn:
        drawn = self._drawn(batch)
        return drawn if self.gradient is None or not torch.is_grad_enabled() else drawn.path_only()

    @property
    def _weight(self) -> Tensor | None:
        return self.weight if self.weighted else None

    def _over_particles(self, losses: Tensor, rows: Sequence[int]) -> Tensor:
        losses = losses.expand(rows)
        return losses.mean(0) if self.particles > 1 else losses

    def _terms(self, drawn: Drawn, reduce: Reduction, weight: Tensor | None) -> list[Tensor]:
        """-log p of what is observed, and the divergences of the latents."""
        pairing, found, prepared, *_ = drawn
        terms = [pairing.model_term(node, found, reduce) for node in pairing.seen]
        latent_terms = [drawn.collapsed()] if pairing.collapse is not None else []
        for latent in pairing.latents:
            divergence, _ = pairing.divergence(latent, found, prepared, reduce, self.closed_form)
            latent_terms += divergence
        return terms + (latent_terms if weight is None else [weight * term for term in latent_terms])

    # ---- the score function

    def _takes_scores(self, drawn: Drawn) -> bool:
        return bool(drawn.pairing.score) and torch.is_grad_enabled()

    def _scored(self, drawn: Drawn) -> Tensor:
        """The loss of each world, with score-function terms that change the gradient and not the value."""
        pairing, found, prepared, *_ = drawn
        per_world = PerWorld()
        observed = {node.name: pairing.model_term(node, found, per_world) for node in pairing.seen}
        if pairing.collapse is not None:
            observed[COLLAPSED] = (1 if self._weight is None else self._weight) * drawn.collapsed()
        latent = {each.name: pairing.divergence(each, found, prepared, per_world, self.closed_form) for each in pairing.latents}
        latent = {name: (added(terms), closed) for name, (terms, closed) in latent.items()}
        weights = self._node_weights({name: term for name, (term, _) in latent.items()})
        latent = {name: (weights[name] * term, closed) for name, (term, closed) in latent.items()}
        total = added([*observed.values(), *(term for term, _ in latent.values())])
        for each, in_q, in_p in pairing.score:
            costs = [term for name, term in observed.items() if name in in_p]
            costs += [term for name, (term, closed) in latent.items() if name in in_q | in_p and not (closed and name == each.name)]
            if costs:
                cost = added(costs).detach()
                surrogate = -pairing.guide_term(each, found, prepared, per_world) * (cost - self._baseline(each.name, cost))
                total = total + (surrogate - surrogate.detach())
        return total

    def _node_weights(self, divergences: Mapping[str, Tensor]) -> Mapping[str, Tensor | int]:
        """The weight of each latent's divergence; they are given per world."""
        return dict.fromkeys(divergences, 1 if self._weight is None else self._weight)

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
        return {**super().declaration(), "kl_weight": weight, "closed_form": self.closed_form, **_named(self.gradient)}


class IWAE(Bound):
    """log (1/K) sum_k p(x, z_k) / q(z_k | x) with z_k ~ q(z | x), per world: between the ELBO (K = 1) and log p(x).

    Args:
        model, guide: compiled nets.
        particles: the draws K of each world.
        gradient: None differentiates the bound; `dgm.DoublyReparameterized()` is less noisy the more particles there are; `dgm.VIMCO()` takes
            latents that are not reparameterized; `dgm.StickingTheLanding()` goes with one particle.

    Source: Burda et al. (2016), https://arxiv.org/abs/1509.00519.

    Raises:
        GraphError: a guide with a latent that is not reparameterized, but for `VIMCO`.
    """

    def __init__(self, model: Model, guide: Model, *, particles: int = 1, gradient: Estimator | None = None):
        super().__init__(model, guide, particles=particles)
        if gradient is not None and not isinstance(gradient, Estimator):
            raise GraphError(f"{type(self).__name__}: expected a gradient such as dgm.DoublyReparameterized() or dgm.VIMCO(); got {gradient!r}")
        if isinstance(gradient, StickingTheLanding) and particles > 1:
            raise GraphError(f"{type(self).__name__}: StickingTheLanding is biased for {particles} particles; use gradient=dgm.DoublyReparameterized()")
        self.gradient = gradient
        if gradient is None:
            check_reparameterized(self, type(self).__name__, "gradient=dgm.VIMCO(), or dgm.ELBO(model, guide, particles=...), which takes its score function")
        else:
            gradient.check(self)

    def world_losses(self, batch: Mapping[str, Tensor]) -> Tensor:
        drawn = self._drawn(batch)
        if self.gradient is None or not torch.is_grad_enabled():
            weights = drawn.log_weights()
            return -log_mean(weights) if self.particles > 1 else -weights
        if self.particles > 1:
            return self.gradient.losses(drawn)
        return -drawn.path_only().log_weights()                              # where both estimators for reparameterized latents agree

    def score(self, batch: Mapping[str, Tensor]) -> Tensor:
        with torch.no_grad():
            return -self.world_losses(batch)

    def declaration(self) -> dict:
        return {**super().declaration(), **_named(self.gradient)}


def _named(gradient: Estimator | None) -> dict:
    return {} if gradient is None else {"gradient": repr(gradient)}
