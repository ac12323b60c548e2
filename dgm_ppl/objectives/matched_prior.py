"""Autoencoders whose aggregate of the guide is held to the prior by a distance between samples."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..compile import Model
from ..compile.reduction import PerWorld, added
from ..distances import MMD, Distance
from ..graph import GraphError
from .bounds import Bound
from .gradients import Drawn, check_reached, check_reparameterized

__all__ = ["InfoVAE", "WassersteinAutoencoder"]


def _number(asked: str, name: str, value: float) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise GraphError(f"{asked}: expected {name} to be a finite number; got {value!r}")
    return float(value)


class InfoVAE(Bound):
    """-E_q[log p(x | z)] + (1 - alpha) KL(q(z | x) || p(z)) + (alpha + weight - 1) D(q(z), p(z)).

    D compares the latents that the guide draws for the batch with as many draws of the prior. alpha = 0, weight = 1 is the ELBO; alpha = 1 (the MMD-VAE) leaves the
    mutual information of x and z free. `score` is the ELBO.

    Args:
        model, guide: compiled nets.
        alpha: how much of the divergence to the prior is lifted.
        weight: the lambda of the paper.
        distance: between samples of the latents; `dgm.MMD(heavy=True)` has inverse multiquadrics as kernels.

    Raises:
        GraphError: a guide with a latent that is not reparameterized, a number that is not finite.

    Source: Zhao, Song and Ermon (2019), https://arxiv.org/abs/1706.02262.

    Example:
        >>> import torch, dgm_ppl as dgm
        >>> net = dgm.BayesNet(z=dgm.Normal(2, loc=0.0, scale=1.0), x=dgm.Normal(4).given("z", net=dgm.MLP(8)))
        >>> guide = dgm.compile(dgm.amortize(net, observed="x", net=dgm.MLP(8)))
        >>> run = dgm.fit(dgm.InfoVAE(dgm.compile(net), guide, alpha=1.0, weight=10.0), {"x": torch.randn(64, 4)}, steps=3, seed=0)
    """

    def __init__(self, model: Model, guide: Model, *, alpha: float = 0.0, weight: float = 10.0, distance: Distance = MMD(heavy=True)):
        super().__init__(model, guide)
        name = type(self).__name__
        if not isinstance(distance, Distance):
            raise GraphError(f"{name}: expected a distance such as dgm.MMD(heavy=True); got {distance!r}")
        self.alpha, self.weight, self.distance = _number(name, "alpha", alpha), _number(name, "weight", weight), distance
        if model.net.chains:
            raise GraphError(f"{name}: expected a net without chains, whose sequences may differ in length; use dgm.ELBO(model, guide, kl_weight=...)")
        check_reparameterized(self, name, "dgm.ELBO(model, guide)")
        if self.alpha == 1:                                                 # the prior is learned by what is drawn of it alone
            check_reached(model, [latent for latent in guide.random if latent in model.random], name, "a distance of samples")

    def world_losses(self, batch: Mapping[str, Tensor]) -> Tensor:
        drawn = self._drawn(batch)
        loss, factor = self._fit(drawn), self.alpha + self.weight - 1
        if self.alpha != 1:
            loss = loss + (1 - self.alpha) * self._divergence(drawn)
        if factor:
            loss = loss + factor * self.distance(*self.latents(drawn))
        return loss

    def latents(self, drawn: Drawn) -> tuple[Tensor, Tensor]:
        """The latents that the guide drew, and as many of the prior, as a network reads them, `(rows, features)`."""
        pairing, model, rows = drawn.pairing, self.model, drawn.rows
        given = {name: drawn.found[name] for name in model.net.inputs if name in drawn.found}
        prior = model.run(given, rows, drawn.sizes, self._noise(rows))
        names = [latent.name for latent in pairing.latents]
        return self._features(drawn.found, names, rows), self._features(prior, names, rows)

    def _features(self, values: Mapping[str, Tensor], names: Sequence[str], rows: Sequence[int]) -> Tensor:
        count = math.prod(rows)
        return torch.cat([self.model.net[name].space.encode(values[name]).to(self.model.anchor.dtype).reshape(count, -1) for name in names], 1)

    def _fit(self, drawn: Drawn) -> Tensor:
        """-log p of what is observed, per world."""
        return added([drawn.pairing.model_term(node, drawn.found, PerWorld()) for node in drawn.pairing.seen]).expand(drawn.rows)

    def _divergence(self, drawn: Drawn) -> Tensor:
        """KL(q || p) of the latents, in closed form where there is one, per world."""
        pairing, found, prepared, *_ = drawn
        terms = [drawn.collapsed()] if pairing.collapse is not None else []
        for latent in pairing.latents:
            terms += pairing.divergence(latent, found, prepared, PerWorld())[0]
        return added(terms)

    def score(self, batch: Mapping[str, Tensor]) -> Tensor:
        with torch.no_grad():
            drawn = self._drawn(batch)
            return -(self._fit(drawn) + self._divergence(drawn))

    def declaration(self) -> dict:
        return {**super().declaration(), "alpha": self.alpha, "weight": self.weight, "distance": repr(self.distance)}


class WassersteinAutoencoder(InfoVAE):
    """E_q[c(x, z)] + weight D(q(z), p(z)), the penalised optimal transport from data to model through the latents.

    The cost c is -log p(x | z) of nodes with a density (a normal of fixed scale s: |x - loc|^2 / 2 s^2 and a constant) and |x - G(z)|^2 of generators. The guide may be
    as narrow as wanted, `dgm.Normal(8, scale=1e-3)`: its density is not asked for. `score` is minus the loss.

    Args:
        model, guide, distance: as for `InfoVAE`.
        weight: the lambda of the paper.

    Source: Tolstikhin et al. (2018), https://arxiv.org/abs/1711.01558.

    Example:
        >>> import torch, dgm_ppl as dgm
        >>> net = dgm.BayesNet(z=dgm.Normal(2, loc=0.0, scale=1.0), x=dgm.Generator(4).given("z", net=dgm.MLP(8)))
        >>> guide = dgm.compile(dgm.BayesNet(x=dgm.Given(4), z=dgm.Normal(2).given("x", net=dgm.MLP(8))))
        >>> run = dgm.fit(dgm.WassersteinAutoencoder(dgm.compile(net), guide), {"x": torch.randn(64, 4)}, steps=3, seed=0)
    """

    def __init__(self, model: Model, guide: Model, *, weight: float = 10.0, distance: Distance = MMD(heavy=True)):
        super().__init__(model, guide, alpha=1.0, weight=weight, distance=distance)

    def _check_capabilities(self) -> None:
        for node in self.model.schedule:
            if node.conditional.density is None and not node.conditional.reparameterized:
                raise node.conditional.without_density("a cost of reconstruction")

    def _fit(self, drawn: Drawn) -> Tensor:
        pairing, found, rows = drawn.pairing, drawn.found, drawn.rows
        terms = []
        for node in pairing.seen:
            if node.conditional.density is not None:
                terms.append(pairing.model_term(node, found, PerWorld()))
                continue
            made = self.model.draw(node, node.prepare(found), rows, drawn.sizes, self._noise(rows))
            terms.append((made - found[node.name]).square().reshape(*rows, -1).sum(-1))
        return added(terms).expand(rows)

    def score(self, batch: Mapping[str, Tensor]) -> Tensor:
        with torch.no_grad():
            return -self.world_losses(batch)
