"""Two players over importance-weighted draws: the model climbs the bound, the guide is fitted to the posterior that the weights describe."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ..compile import Model
from ..compile.reduction import PerWorld
from ..exact import unpacked
from ..graph import GraphError
from .base import Player
from .bounds import Bound
from .gradients import Drawn, log_mean

__all__ = ["CUBO", "ReweightedWakeSleep", "TwoPlayers", "dreamt", "guides_own"]


def guides_own(model: Model, guide: Model) -> tuple[nn.Parameter, ...]:
    """What the guide learns and does not share with the model."""
    theirs = set(model.parameters())
    return tuple(parameter for parameter in guide.parameters() if parameter.requires_grad and parameter not in theirs)


def dreamt(bound: Bound, batch: Mapping[str, Tensor]) -> Tensor:
    """-log q(z | x) of one draw (z, x) from the model for each world of the batch, `(*worlds)`; inputs and plates are those of the batch."""
    model, pairing = bound.model, bound.pairing(batch)
    values, holes = unpacked(batch)
    worlds, sizes = pairing.worlds(values), model.layout.sizes(values) if model.layout.rank else {}
    given = {name: value for name, value in values.items() if name not in model.random}
    with torch.no_grad():
        drawn = model.run(model.layout.align_all(given), worlds, sizes, bound._noise(worlds, particles=1))
    found, prepared = pairing.reread(pairing.dreamt(drawn, model.layout.align_all(holes), worlds, sizes), sizes)
    return pairing.guide_terms(found, prepared, PerWorld()).expand(worlds)


class TwoPlayers(Bound):
    """Bounds whose guide is not trained by the bound: the model's player climbs log (1/K) sum_k p(x, z_k) / q(z_k | x), the guide's one has a loss of its own.

    To add one, write `guide_losses`. Draws are numbers here, so latents of any kind will do.
    """

    @property
    def players(self) -> tuple[Player, ...]:
        model = tuple(parameter for parameter in self.model.parameters() if parameter.requires_grad)
        sides = (Player("model", model, self._model_loss), Player("guide", guides_own(self.model, self.guide), self._guide_loss))
        return tuple(side for side in sides if side.parameters) or sides

    def model_losses(self, batch: Mapping[str, Tensor]) -> Tensor:
        """Minus the importance-weighted bound of each world, with a gradient for the model alone."""
        drawn = self._numbers(batch)
        found = drawn.pairing.extended(drawn.pairing.settled(drawn.found), drawn.rows, drawn.sizes, self._noise(drawn.rows[-1:]))
        return -log_mean(self._stacked(drawn._replace(found=found).log_weights()))

    @abstractmethod
    def guide_losses(self, batch: Mapping[str, Tensor]) -> Tensor:
        """The guide's loss of each world, `(*worlds)`."""

    def world_losses(self, batch: Mapping[str, Tensor]) -> Tensor:
        guide = self.guide_losses(batch)
        return self.model_losses(batch) + (guide - guide.detach())

    def score(self, batch: Mapping[str, Tensor]) -> Tensor:
        with torch.no_grad():
            return -self.model_losses(batch)

    def forward(self, batch: Mapping[str, Tensor], player: int = 0) -> Tensor:
        return self.players[player].loss(batch)

    def _model_loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        return self.model_losses(batch).mean()

    def _guide_loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        return self.guide_losses(batch).mean()

    def _numbers(self, batch: Mapping[str, Tensor]) -> Drawn:
        with torch.no_grad():
            return self._drawn(batch)

    def _weighed(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """The log-weights, as numbers, and log q of the draws, with a gradient for the guide; `(particles, *worlds)`."""
        drawn = self._numbers(batch)
        with torch.no_grad():
            weights = self._stacked(drawn.log_weights())
        pairing = drawn.pairing
        found, prepared = pairing.reread(pairing.settled(drawn.found), drawn.sizes)
        return weights, -self._stacked(pairing.guide_terms(found, prepared, PerWorld()).expand(drawn.rows))

    def _stacked(self, weights: Tensor) -> Tensor:
        return weights if self.particles > 1 else weights.unsqueeze(0)


class ReweightedWakeSleep(TwoPlayers):
    """The model climbs the importance-weighted bound; the guide minimises KL(p || q), awake -sum_k sg(w_k) log q(z_k | x), asleep -log q(z | x) of draws from the model.

    w_k are the normalised weights of the guide's draws for a row of data. Finite latents need no score function and no relaxation. With
    `particles=1, sleep=1.0` it is the wake-sleep algorithm.

    Args:
        model, guide: compiled nets.
        particles: the draws of each world; few make the wake update of the guide biased.
        sleep: the share of the sleep update in the guide's loss, from 0 (wake alone) to 1 (sleep alone).

    Raises:
        GraphError: a share outside [0, 1]; a wake update with a single particle, whose weight says nothing.

    Source: Bornschein and Bengio (2015), https://arxiv.org/abs/1406.2751; Hinton et al. (1995), doi:10.1126/science.7761831; Le et al. (2019), https://arxiv.org/abs/1805.10469.

    Example:
        >>> import torch, dgm_ppl as dgm
        >>> net = dgm.BayesNet(k=dgm.Categorical(3), x=dgm.Normal(2).given("k"))
        >>> guide = dgm.compile(dgm.amortize(net, observed="x", net=dgm.MLP(8)))
        >>> objective = dgm.ReweightedWakeSleep(dgm.compile(net), guide, particles=5, sleep=0.5)
        >>> [player.name for player in objective.players]
        ['model', 'guide']
        >>> run = dgm.fit(objective, {"x": torch.randn(64, 2)}, steps=3, seed=0)
    """

    def __init__(self, model: Model, guide: Model, *, particles: int = 5, sleep: float = 0.0):
        super().__init__(model, guide, particles=particles)
        if not isinstance(sleep, (int, float)) or not 0 <= sleep <= 1:
            raise GraphError(f"ReweightedWakeSleep: expected sleep to be a share from 0 to 1; got {sleep!r}")
        if sleep < 1 and particles < 2:
            raise GraphError(
                "ReweightedWakeSleep: with one particle the weight is always 1 and the wake update says nothing about the posterior; try particles=5, or sleep=1.0"
            )
        self.sleep = float(sleep)

    def guide_losses(self, batch: Mapping[str, Tensor]) -> Tensor:
        asleep = self.sleep * dreamt(self, batch) if self.sleep else 0.0
        if self.sleep == 1:
            return asleep
        weights, log_q = self._weighed(batch)
        return asleep - (1 - self.sleep) * (weights.softmax(0) * log_q).sum(0)

    def declaration(self) -> dict:
        return {**super().declaration(), "sleep": self.sleep}


class CUBO(TwoPlayers):
    """The guide minimises the chi upper bound of the log-evidence, log E_q[(p(x, z) / q(z | x))^n] / n; the model climbs the importance-weighted lower bound.

    Its gradient is (1 - n) / n sum_k sg(v_k) d log q(z_k | x), with v_k the normalised n-th powers of the weights: the guide covers the posterior's mass.
    `upper` gives the bound's estimate, which few particles put too low; `score` is the lower bound.

    Args:
        model, guide: compiled nets.
        order: n, above 1; 2 is the chi-squared divergence.
        particles: the draws of each world, two or more.

    Raises:
        GraphError: an order that is not above 1, a single particle.

    Source: Dieng et al. (2017), https://arxiv.org/abs/1611.00328.

    Example:
        >>> import torch, dgm_ppl as dgm
        >>> net = dgm.BayesNet(z=dgm.Normal(2, loc=0.0, scale=1.0), x=dgm.Normal(4).given("z"))
        >>> guide = dgm.compile(dgm.amortize(net, observed="x", net=dgm.MLP(8)))
        >>> objective = dgm.CUBO(dgm.compile(net), guide, particles=10)
        >>> run = dgm.fit(objective, {"x": torch.randn(64, 4)}, steps=3, seed=0)
        >>> objective.upper(objective.prepare({"x": torch.zeros(2, 4)})).shape
        torch.Size([2])
    """

    def __init__(self, model: Model, guide: Model, *, order: float = 2.0, particles: int = 5):
        super().__init__(model, guide, particles=particles)
        if isinstance(order, bool) or not isinstance(order, (int, float)) or not (math.isfinite(order) and order > 1):
            raise GraphError(f"CUBO: expected an order above 1; got {order!r}; try order=2.0")
        if particles < 2:
            raise GraphError(f"CUBO: expected two particles or more, whose weights are compared; got {particles}; try particles=5")
        self.order = float(order)

    def guide_losses(self, batch: Mapping[str, Tensor]) -> Tensor:
        weights, log_q = self._weighed(batch)
        powers = self.order * weights
        surrogate = (1 - self.order) / self.order * (powers.softmax(0) * log_q).sum(0)
        return surrogate + (log_mean(powers) / self.order - surrogate).detach()

    def upper(self, batch: Mapping[str, Tensor]) -> Tensor:
        """The estimate of the upper bound of each world, `(*worlds)`, in nats."""
        with torch.no_grad():
            return log_mean(self.order * self._stacked(self.log_weights(batch))) / self.order

    def declaration(self) -> dict:
        return {**super().declaration(), "order": self.order}
