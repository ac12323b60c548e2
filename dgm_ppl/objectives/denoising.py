"""Training of denoisers by regression, with weights that favour other times than the bound does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ..compile import Model
from ..compile.reduction import PerWorld, Reduction, Total
from ..conditionals import SimpleWeighting
from ..conditionals.chained import Chained
from ..conditionals.denoising import DenoisingConditional
from ..conditionals.diffusion import LikelihoodWeighting, Weighting
from ..conditionals.schedules import MonotoneSchedule
from ..formats.declaration import describe
from ..graph import GraphError
from .base import Objective

__all__ = ["Denoising"]


class Denoising(Objective):
    """The weighted denoising error of `Diffusion` and `FlowMatching` nodes, plus -log p of every other node, the mean over worlds.

    w(t) E|noise - its prediction|^2 at a random time a world: `SimpleWeighting()` by default, `MinSNR(5.0)`, or
    `LikelihoodWeighting()`, which differs from the bound by a constant. Flows are matched by their velocity. `score` is the
    bound where there is one, so that validations mean the same whatever the weights.

    Raises:
        GraphError: no such node, a node without data (it takes no guide; a latent's diffusion is trained by `ELBO`), a node without a density.

    Source: Ho et al. (2020), https://arxiv.org/abs/2006.11239; Lipman et al. (2023), https://arxiv.org/abs/2210.02747.

    Example:
        >>> import torch, dgm_ppl as dgm
        >>> model = dgm.compile(dgm.BayesNet(x=dgm.Diffusion(2, net=dgm.MLP(32))))
        >>> run = dgm.fit(dgm.Denoising(model, dgm.MinSNR(5.0)), {"x": torch.randn(64, 2)}, steps=3, seed=0)
    """

    def __init__(self, model: Model, weighting: Weighting = SimpleWeighting()):
        super().__init__()
        if not isinstance(weighting, Weighting):
            raise GraphError(f"Denoising: expected a weighting such as dgm.SimpleWeighting() or dgm.MinSNR(5.0); got {weighting!r}")
        self.model, self.weighting = model, weighting
        for node in model.schedule:
            if node.conditional.density is None:
                raise node.conditional.without_density("denoising")
        for node in model.schedule:
            if isinstance(node.conditional, DenoisingConditional) and isinstance(node.conditional.schedule, MonotoneSchedule) and not isinstance(weighting, LikelihoodWeighting):
                raise GraphError(f"Denoising: the schedule of {node.name!r} is learned by the bound, and {weighting!r} is none; try dgm.Denoising(model, dgm.LikelihoodWeighting()), or dgm.MaximumLikelihood(model)")
            if isinstance(node.conditional, Chained) and isinstance(node.conditional.main, DenoisingConditional):
                raise GraphError(f"Denoising: node {node.name!r} ~ {model.net[node.name].caption} is diffused at every step of a chain, which the bound trains: dgm.MaximumLikelihood(model)")
        if not any(isinstance(node.conditional, DenoisingConditional) for node in model.schedule):
            raise GraphError(f"Denoising: no node is a Diffusion or FlowMatching; got {list(model.random)}; the objective that fits is dgm.MaximumLikelihood(model)")

    def prepare(self, data: Mapping[str, Any]) -> dict[str, Tensor]:
        values = self.model.layout.rowed(self.model.encode(data))
        for name in self.model.random:
            if name not in values:
                raise GraphError(f"Denoising: node {name!r} has no data; give a column {name!r}; a model with latents is trained by dgm.ELBO(model, guide)")
        return values

    def forward(self, batch: Mapping[str, Tensor], player: int = 0) -> Tensor:
        return self._mean_loss(batch)

    def world_losses(self, batch: Mapping[str, Tensor]) -> Tensor:
        return sum(self._terms(batch, PerWorld()))

    def _mean_loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        total = Total(self.model.layout.worlds(batch))
        return total.mean(self._terms(batch, total))

    def _terms(self, batch: Mapping[str, Tensor], reduce: Reduction) -> list[Tensor]:
        layout = self.model.layout
        found, sizes, terms = layout.align_all(batch), layout.sizes(batch), []
        for node in self.model.schedule:
            if node.deterministic:
                found[node.name] = self.model.compute(node, found, sizes)
                continue
            value, prepared, conditional = found[node.name], node.prepare(found), node.conditional
            matched = isinstance(conditional, DenoisingConditional)
            term = conditional.matching_loss(value, prepared, self.weighting) if matched else conditional.surprisals(value, prepared)
            terms.append(reduce(node, term, value))
        return terms

    def score(self, batch: Mapping[str, Tensor]) -> Tensor:
        layout = self.model.layout
        terms = self.model.surprisals(layout.align_all(batch), layout.sizes(batch), PerWorld())
        return -sum(terms.values())

    def declaration(self) -> dict:
        return {"objective": "Denoising", "model": describe(self.model.net), "weighting": repr(self.weighting)}
