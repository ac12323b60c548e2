"""The Renyi bound: a family between the ELBO and the log-evidence, and beyond it."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from ..compile import Model
from ..graph import GraphError
from .bounds import Bound
from .gradients import check_reparameterized, log_mean

__all__ = ["Renyi"]


class Renyi(Bound):
    """log E_q[(p(x, z) / q(z | x))^(1 - alpha)] / (1 - alpha), its expectation estimated by the mean over the particles of each world.

    alpha = 1 is the ELBO and alpha = 0 the importance-weighted bound; it falls as alpha grows, and below 0 it is an upper bound in the limit
    of many particles alone. alpha above 1 seeks one mode more than the ELBO does.

    Args:
        model, guide: compiled nets.
        alpha: any finite number.
        particles: the draws of each world.

    Raises:
        GraphError: an alpha that is no finite number, a latent of the guide that is not reparameterized.

    Source: Li and Turner (2016), https://arxiv.org/abs/1602.02311.

    Example:
        >>> import torch, dgm_ppl as dgm
        >>> net = dgm.BayesNet(z=dgm.Normal(2, loc=0.0, scale=1.0), x=dgm.Normal(4).given("z"))
        >>> guide = dgm.compile(dgm.amortize(net, observed="x", net=dgm.MLP(8)))
        >>> run = dgm.fit(dgm.Renyi(dgm.compile(net), guide, alpha=0.5, particles=5), {"x": torch.randn(64, 4)}, steps=3, seed=0)
    """

    def __init__(self, model: Model, guide: Model, *, alpha: float = 0.5, particles: int = 5):
        super().__init__(model, guide, particles=particles)
        if isinstance(alpha, bool) or not isinstance(alpha, (int, float)) or not math.isfinite(alpha):
            raise GraphError(f"Renyi: expected alpha to be a finite number; got {alpha!r}; try alpha=0.5")
        check_reparameterized(self, "Renyi", "dgm.IWAE(model, guide, particles=..., gradient=dgm.VIMCO()), or dgm.ELBO(model, guide)")
        self.alpha = alpha

    def world_losses(self, batch: Mapping[str, Tensor]) -> Tensor:
        weights = self.log_weights(batch)
        weights = weights if self.particles > 1 else weights.unsqueeze(0)
        return -weights.mean(0) if self.alpha == 1 else -log_mean((1 - self.alpha) * weights) / (1 - self.alpha)

    def score(self, batch: Mapping[str, Tensor]) -> Tensor:
        with torch.no_grad():
            return -self.world_losses(batch)

    def declaration(self) -> dict:
        return {**super().declaration(), "alpha": self.alpha}
