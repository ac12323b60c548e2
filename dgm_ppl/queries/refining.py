"""A guide improved for each world by itself, before it answers."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ..compile import Model
from ..compile.pairing import Latent, Pairing
from ..compile.reduction import PerWorld, added
from ..data import columns
from ..families import noise
from ..families.randomness import seeded
from ..graph import GraphError
from .methods import Refined
from .posterior import GuidePosterior
from .weighting import WeightedDraws

__all__ = ["RefinedPosterior", "refine"]

CHECKED = 256                                       # draws that decide whether a refinement is kept


class RefinedPosterior(GuidePosterior):
    """The answer of a copy of the guide for each world, refined on that world's evidence; `bound` is its ELBO there."""

    def __init__(self, model: Model, values: Mapping[str, Tensor], method: Refined):
        with seeded(method.seed, model.device):
            super().__init__(model, values, method, RefinedDraws(model, values, method))

    @property
    def log_weights(self) -> Tensor | None:
        return self._log_weights if self.method.weighted else None

    @property
    def bound(self) -> Tensor:
        """The mean of log p(evidence, z) - log q(z) of each world."""
        return self._log_weights.mean(0)


class RefinedDraws:
    """Draws of the refined guides, world by world, as `WeightedDraws` has them."""

    def __init__(self, model: Model, values: Mapping[str, Tensor], method: Refined):
        self.worlds, rows = model.layout.worlds(values), model.layout.rowed(values)
        inner = {name: len(model.layout.members[name]) + len(model.layout.events[name]) for name in values}
        flat = {name: value.reshape(-1, *value.shape[value.ndim - inner[name]:]) for name, value in rows.items()}
        count = max(len(value) for value in flat.values())
        each = [{name: value[row: row + 1] for name, value in flat.items()} for row in range(count)]
        self._each = [WeightedDraws(model, refined(model, method, one), one) for one in each]

    def unweighted(self, samples: int) -> tuple[dict[str, Tensor], Callable[[], Tensor]]:
        drawn, weighing = zip(*(source.unweighted(samples) for source in self._each))
        joined = {name: torch.cat([one[name].expand(samples, 1, *one[name].shape[2:]) for one in drawn], 1) for name in drawn[0]}
        shaped = {name: value.reshape(samples, *self.worlds, *value.shape[2:]) for name, value in joined.items()}
        return shaped, lambda: torch.cat([weigh() for weigh in weighing], 1).reshape(samples, *self.worlds)


def refine(model: Model, guide: Model, data: Any, *, steps: int = 200, particles: int = 16, lr: float = 0.02, seed: int | None = 0) -> Model:
    """A copy of a guide for the data at hand: its own parameters moved up the ELBO of these rows, which closes the amortization gap there.

    Of one row, or one world of a hierarchical model, it is the optimisation of that datum's own approximation; several rows share the copy. The copy is a
    guide like any other, for `posterior`, `log_prob`, `calibrate`, `save` and further training; elsewhere it may be worse than the guide, which `calibrate` tells. The guide is left as
    it is. To answer many rows, each with a copy of its own, use `method=dgm.Refined(guide)`.

    Args:
        model, guide: compiled nets; the model is held as it is.
        data: columns, as `posterior` takes evidence.
        steps, particles, lr: of Adam along a cosine to 0, with so many draws a step.
        seed: makes it reproducible and leaves the global generator as it was; None draws from that.

    Raises:
        GraphError: a guide without parameters of its own, or of families that have no gradient, such as `FlowMatching`.

    Source: Kim et al. (2018), https://arxiv.org/abs/1802.02550; Cremer et al. (2018), https://arxiv.org/abs/1801.03558.

    Example:
        >>> import dgm_ppl as dgm, torch
        >>> _ = torch.manual_seed(0)
        >>> net = dgm.BayesNet(z=dgm.Normal(loc=0.0, scale=1.0), x=dgm.Normal(loc="z", scale=1.0))
        >>> model, guide = dgm.compile(net), dgm.compile(dgm.amortize(net, observed="x", net=dgm.MLP(8)), seed=0)
        >>> own = dgm.refine(model, guide, {"x": 3.0}, steps=100, lr=0.05)
        >>> dgm.posterior(model, {"x": 3.0}, method=dgm.Amortized(own)).mean()["z"].round(decimals=1)
        tensor(1.5000)
    """
    method = Refined(guide, steps=steps, particles=particles, lr=lr, seed=seed)
    values = model.layout.rowed(model.encode(data if isinstance(data, Mapping) else columns(data)))
    with seeded(seed, model.device):
        return refined(model, method, values)


def refined(model: Model, method: Refined, values: Mapping[str, Tensor]) -> Model:
    """A copy of the guide whose own parameters have gone up the ELBO of some worlds; as they were where that did not help."""
    own = {id(parameter) for parameter in model.parameters()}
    names = [name for name, parameter in method.guide.named_parameters() if id(parameter) not in own and parameter.requires_grad]
    if not names:
        raise GraphError("Refined: the guide has no parameters of its own, so there is nothing to refine; use dgm.Amortized(guide) or dgm.Importance(guide)")
    regressed = next((node for node in method.guide.schedule if node.conditional.regressed), None)
    if regressed is not None:
        raise GraphError(f"Refined: node {regressed.name!r} ~ {regressed.conditional.variable.summary} of the guide is learned by regression and has no gradient for one world; use dgm.Importance(guide)")
    guide = copy.deepcopy(method.guide).eval()
    trained = [parameter for name, parameter in guide.named_parameters() if name in set(names)]
    pairing, sizes, aligned = Pairing(model, guide, frozenset(values)), model.layout.sizes(values), model.layout.align_all(values)
    before = [parameter.detach().clone() for parameter in trained]
    worlds = model.layout.worlds(values)
    start = _bound(pairing, aligned, (CHECKED, *worlds), sizes)
    optimizer = torch.optim.Adam(trained, lr=method.lr)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * step / method.steps)))
    with torch.enable_grad():
        for _ in range(method.steps):
            loss = _loss(pairing, aligned, (method.particles, *worlds), sizes)
            for parameter, gradient in zip(trained, torch.autograd.grad(loss, trained, allow_unused=True)):
                parameter.grad = gradient
            optimizer.step()
            schedule.step()
    if not _bound(pairing, aligned, (CHECKED, *worlds), sizes) > start:           # also where it is not a number
        with torch.no_grad():
            for parameter, value in zip(trained, before):
                parameter.copy_(value)
    return guide


def _bound(pairing: Pairing, values: Mapping[str, Tensor], worlds: tuple[int, ...], sizes: Mapping[str, int]) -> float:
    with torch.no_grad():
        found, prepared = pairing.draw(values, worlds, sizes, noise)
        return float(pairing.log_weights(found, prepared, worlds, sizes).mean())


def _loss(pairing: Pairing, values: Mapping[str, Tensor], worlds: tuple[int, ...], sizes: Mapping[str, int]) -> Tensor:
    """The negative ELBO, with the score function (its baseline the other particles) for latents that are not reparameterized."""
    found, prepared = pairing.draw(values, worlds, sizes, noise)
    weights = pairing.log_weights(found, prepared, worlds, sizes)
    scored: list[Latent] = [latent for latent, *_ in pairing.score if latent in pairing.latents]
    if not scored:
        return -weights.mean()
    log_q = -added([pairing.guide_term(latent, found, prepared, PerWorld()) for latent in scored])
    centred = weights.detach() - weights.detach().mean(0)
    return -weights.mean() - (log_q * centred * (worlds[0] / max(worlds[0] - 1, 1))).mean()
