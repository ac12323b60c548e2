"""The divergence taken apart: what latents tell of the data, what they tell of each other, and how far each is from its prior."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from ..compile import Model
from ..compile.model import Node
from ..compile.pairing import Pairing
from ..compile.reduction import PerWorld, added
from ..conditionals.copies import CopiesConditional
from ..families.shapes import broadcast
from ..graph import GraphError
from .bounds import Bound
from .gradients import Drawn, check_reparameterized

__all__ = ["BetaTCVAE", "log_aggregate"]


def log_aggregate(log_q: Tensor, data_size: int) -> Tensor:
    """log q(z_i) = log (1/N) sum_n q(z_i | x_n) from a minibatch, given log q(z_i | x_j) in `[i, j]`: without bias before the logarithm.

    z_i's own row is in the data for sure and counts 1/N; the B - 1 others are a sample of the N - 1 others and share (N - 1)/N.
    """
    rows = log_q.shape[1]
    weights = torch.full((rows, rows), math.log1p(-1 / data_size) - math.log(rows - 1), dtype=log_q.dtype, device=log_q.device)
    weights.fill_diagonal_(-math.log(data_size))
    return (weights.reshape(rows, rows, *(1,) * (log_q.ndim - 2)) + log_q).logsumexp(1)


class BetaTCVAE(Bound):
    """-E_q[log p(x | z)] + alpha I(x; z) + beta TC(z) + gamma (sum_d log q(z_d) - log p(z)).

    The mean of I(x; z) = log q(z | x) - log q(z), of the total correlation TC(z) = log q(z) - sum_d log q(z_d), and of the rest is KL(q || p), with
    q(z) = (1/N) sum_n q(z | x_n) over the data and d the independent elements of the guide's latents. The densities q(z) and q(z_d) are estimated from the minibatch:
    the row's own term counts 1/N and the others share (N - 1)/N evenly, which has the expectation of stratified sampling and less variance. `score` is the ELBO.

    Args:
        model, guide: compiled nets.
        data_size: N, the number of rows of the training data.
        alpha, beta, gamma: weights; all 1 is the ELBO.

    Raises:
        GraphError: a batch of one row or of more than N, a guide in which a latent reads another, a latent that is not reparameterized.

    Source: Chen et al. (2018), https://arxiv.org/abs/1802.04942.

    Example:
        >>> import torch, dgm_ppl as dgm
        >>> net = dgm.BayesNet(z=dgm.Normal(3, loc=0.0, scale=1.0), x=dgm.Normal(6).given("z", net=dgm.MLP(8)))
        >>> guide = dgm.compile(dgm.amortize(net, observed="x", net=dgm.MLP(8)))
        >>> run = dgm.fit(dgm.BetaTCVAE(dgm.compile(net), guide, data_size=64, beta=6.0), {"x": torch.randn(64, 6)}, steps=3, batch_size=16, seed=0)
    """

    def __init__(self, model: Model, guide: Model, *, data_size: int, alpha: float = 1.0, beta: float = 6.0, gamma: float = 1.0):
        super().__init__(model, guide)
        if isinstance(data_size, bool) or not isinstance(data_size, int) or data_size < 2:
            raise GraphError(f"BetaTCVAE: expected data_size, the number of rows of the training data; got {data_size!r}; try data_size=len(x)")
        for name, value in (("alpha", alpha), ("beta", beta), ("gamma", gamma)):
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not (math.isfinite(value) and value >= 0):
                raise GraphError(f"BetaTCVAE: expected {name} to be a number that is not negative; got {value!r}")
        if model.net.chains:
            raise GraphError("BetaTCVAE: expected a net without chains; use dgm.ELBO(model, guide, kl_weight=...)")
        check_reparameterized(self, "BetaTCVAE", "dgm.ELBO(model, guide, kl_weight=...)")
        self.data_size, self.alpha, self.beta, self.gamma = data_size, alpha, beta, gamma

    def _check_pairing(self, pairing: Pairing) -> None:
        if pairing.collapse is not None:
            raise GraphError(
                "BetaTCVAE: expected every latent to have a distribution in the guide and no cell to be missing; derive the guide with dgm.amortize(net, observed=..., collapse=False)"
            )
        for latent in pairing.latents:
            if isinstance(latent.q.conditional, CopiesConditional):
                raise GraphError(
                    f"BetaTCVAE: the copies of node {latent.name!r} are coupled in the guide, so that none has a density of its own; try dgm.amortize(net, observed=..., "
                    f"structure=dgm.MeanField())"
                )
            above = [name for name in self.guide.net.ancestors(latent.name) if name in self.guide.random and name not in pairing.observed]
            if above:
                raise GraphError(
                    f"BetaTCVAE: node {latent.name!r} of the guide reads the latent {above[0]!r}; its density is wanted under every row of a batch; "
                    f"try dgm.amortize(net, observed=..., structure=dgm.MeanField())"
                )

    def world_losses(self, batch: Mapping[str, Tensor]) -> Tensor:
        drawn = self._drawn(batch)
        rows = drawn.rows[0]
        if len(drawn.rows) != 1 or not 2 <= rows <= self.data_size:
            raise GraphError(f"BetaTCVAE: expected batches of 2 to data_size={self.data_size} rows; got {drawn.rows}")
        fit, joint, aggregate, marginals, prior = self._densities(drawn)
        return fit + self.alpha * (joint - aggregate) + self.beta * (aggregate - marginals) + self.gamma * (marginals - prior)

    def _densities(self, drawn: Drawn) -> tuple[Tensor, ...]:
        """-log p(x | z), log q(z | x), log q(z), sum_d log q(z_d), log p(z), per world."""
        pairing, found, prepared, rows, *_ = drawn
        per_world = PerWorld()
        fit = added([pairing.model_term(node, found, per_world) for node in pairing.seen])
        prior = -added([pairing.model_term(latent.p, found, per_world) for latent in pairing.latents])
        pairs, marginals = [], []
        for latent in pairing.latents:
            elements = self._pairs(latent.q, found[latent.name], prepared[latent.name], rows[0])
            pairs.append(elements.reshape(rows[0], rows[0], -1).sum(2))
            marginals.append(log_aggregate(elements, self.data_size).reshape(rows[0], -1).sum(1))
        pairs = added(pairs)
        return fit.expand(rows), pairs.diagonal(), log_aggregate(pairs, self.data_size), added(marginals), prior.expand(rows)

    def _pairs(self, node: Node, value: Tensor, prepared: object, rows: int) -> Tensor:
        """log q(z_i,d | x_j) of every independent element, `(rows i, rows j, *plates, *elements)`."""
        terms = node.conditional.surprisals(value.unsqueeze(1), prepared)
        shape = (rows, rows, *value.shape[1: value.ndim - node.joint])
        return -terms.expand(broadcast(terms.shape, shape))

    def score(self, batch: Mapping[str, Tensor]) -> Tensor:
        with torch.no_grad():
            return self.log_weights(batch)

    def declaration(self) -> dict:
        return {**super().declaration(), "data_size": self.data_size, "alpha": self.alpha, "beta": self.beta, "gamma": self.gamma}
