"""Free bits: a latent's divergence costs nothing below a floor."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor

from ..compile import Model
from ..compile.pairing import Pairing
from ..graph import GraphError, did_you_mean
from .bounds import ELBO

__all__ = ["FreeBits"]


class FreeBits(ELBO):
    """-E_q[log p(x | z)] + sum_j max(floor_j, mean over the batch of KL_j), j being the latent nodes of the graph, KL_j summed over a node's plates and event.

    A node whose mean divergence lies below its floor is not pulled to the prior, so that it stays in use; the means are over the worlds (and particles) of a batch.
    `score` is the ELBO.

    Args:
        model, guide: compiled nets.
        floor: nats, one number for every latent or a dict of them by node; others have none.
        particles, closed_form: as for `ELBO`.

    Raises:
        GraphError: a floor that is negative or no number, of a node that is no latent of the guide or is read by what is eliminated.

    Source: Kingma et al. (2016), https://arxiv.org/abs/1606.04934.

    Example:
        >>> import torch, dgm_ppl as dgm
        >>> net = dgm.BayesNet(z=dgm.Normal(2, loc=0.0, scale=1.0), y=dgm.Normal(2).given("z"), x=dgm.Normal(4).given("y"))
        >>> guide = dgm.compile(dgm.amortize(net, observed="x", net=dgm.MLP(8)))
        >>> run = dgm.fit(dgm.FreeBits(dgm.compile(net), guide, {"z": 0.5}), {"x": torch.randn(64, 4)}, steps=3, seed=0)
    """

    adds_auxiliary = False

    def __init__(self, model: Model, guide: Model, floor: float | Mapping[str, float], *, particles: int = 1, closed_form: bool = True):
        super().__init__(model, guide, particles=particles, closed_form=closed_form)
        self.floors = {name: floor for name in guide.random} if not isinstance(floor, Mapping) else dict(floor)
        for name, value in self.floors.items():
            if name not in guide.random:
                raise GraphError(f"FreeBits: the guide has no latent {name!r}{did_you_mean(name, guide.random)}; it has {list(guide.random)}")
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not (math.isfinite(value) and value >= 0):
                raise GraphError(f"FreeBits: node {name!r}: expected a floor in nats that is not negative; got {value!r}; try 0.5")

    def _check_pairing(self, pairing: Pairing) -> None:
        super()._check_pairing(pairing)
        for name in pairing.cells.completed_by:
            raise GraphError(f"FreeBits: the divergence of {name!r} cannot be told apart, as it is observed in some cells and drawn in others; use dgm.ELBO(model, guide)")
        for name in self.floors:
            if name in pairing.touched:
                hidden = pairing.collapse.structure.hidden[0]
                raise GraphError(
                    f"FreeBits: the divergence of {name!r} cannot be told apart: {hidden!r}, which reads it or which it reads, is eliminated; "
                    f"give {hidden!r} a distribution in the guide: dgm.amortize(..., collapse=False)"
                )

    def world_losses(self, batch: Mapping[str, Tensor]) -> Tensor:
        drawn = self._drawn(batch)
        self._lifted: list[Tensor] = []
        losses = self._over_particles(self._scored(drawn), drawn.rows)
        return losses + sum(self._lifted)

    def _mean_loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        return self.world_losses(batch).mean()

    def _node_weights(self, divergences: Mapping[str, Tensor]) -> Mapping[str, Tensor | int]:
        weights: dict[str, Tensor | int] = {}
        for name, divergence in divergences.items():
            floor = self.floors.get(name, 0.0)
            weights[name] = (divergence.detach().mean() > floor).to(divergence.dtype) if floor else 1
            if floor:
                self._lifted.append((1 - weights[name]) * floor)
        return weights

    def declaration(self) -> dict:
        return {**super().declaration(), "floors": self.floors}
