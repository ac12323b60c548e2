"""Gradient estimators of bounds: what the guide's parameters are moved by, where the bound stays as it is."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from ..compile import Model
from ..compile.pairing import Pairing, own_latents
from ..compile.reduction import PerWorld, Reduction, added
from ..conditionals import Conditional
from ..families import Setting, noise
from ..graph import GraphError

__all__ = ["VIMCO", "DoublyReparameterized", "Drawn", "Estimator", "StickingTheLanding", "Weighed", "check_auxiliary", "check_reached", "check_reparameterized", "check_scored", "held", "log_mean", "scaled"]


class Drawn(NamedTuple):
    """A draw from the guide: every node's value, what the guide's conditionals were prepared with, the worlds, particles first, and what the elimination asks."""

    pairing: Pairing
    found: dict[str, Tensor]
    prepared: dict[str, Any]
    rows: tuple[int, ...]
    sizes: Mapping[str, int]
    holes: Mapping[str, Tensor]

    def collapsed(self) -> Tensor:
        """-log of the sum and integral over the latents that the guide leaves out, `(*rows)`."""
        return self.pairing.collapsed(self.found, self.rows, self.sizes, self.holes)

    def log_weights(self) -> Tensor:
        """log p(x, z) - log q(z | x), `(*rows)`."""
        return self.pairing.log_weights(self.found, self.prepared, self.rows, self.sizes, self.holes)

    def auxiliary(self, reduce: Reduction) -> list[Tensor]:
        """What the guide's conditionals are trained by beside a bound."""
        guided = [latent.q for latent in self.pairing.latents if latent.q.conditional.has_auxiliary]
        return [reduce(q, q.conditional.auxiliary(self.prepared[q.name]), self.found[q.name]) for q in guided]

    def detached(self) -> Drawn:
        """The same draw as numbers: the guide's density of it depends on the guide's parameters, its values do not."""
        settled = {name: value.detach() for name, value in self.pairing.settled(self.found).items()}
        found, prepared = self.pairing.reread(settled, self.sizes)
        return self._replace(found=self.pairing.extended(found, self.rows, self.sizes, noise), prepared=prepared)

    def path_only(self, scale: list[Tensor] | None = None) -> Drawn:
        """The draw with the guide's density read at constant parameters, so that they are moved through the values alone.

        `scale`, filled before the backward pass, multiplies what arrives at the values, one number for each of the rows.
        """
        values = {name: scaled(value, len(self.rows), scale) for name, value in self.pairing.settled(self.found).items()}
        with held(self.pairing.guide, self.pairing.model):
            found, prepared = self.pairing.reread(values, self.sizes)
        return self._replace(found=self.pairing.extended(found, self.rows, self.sizes, noise), prepared=prepared)


class Weighed(Protocol):
    """What estimators that move the guide's parameters through its draws alone ask of a draw; `Drawn` is one."""

    def log_weights(self) -> Tensor:
        """log p(x, z) - log q(z | x), `(particles, *worlds)`."""

    def path_only(self, scale: list[Tensor] | None = None) -> Weighed:
        """The draw with the guide's density read at constant parameters; `scale` as for `Drawn`."""


class Estimator(Setting):
    """How the gradient of a bound is estimated; to add one, write `check`, which says for what it is right, and `losses`."""

    @abstractmethod
    def check(self, objective: nn.Module) -> None:
        """Raises where the estimator does not go with the bound or with a latent of its guide."""

    @abstractmethod
    def losses(self, drawn: Drawn) -> Tensor:
        """The loss of each world, `(*worlds)`, whose gradient is the estimate."""


def log_mean(weights: Tensor) -> Tensor:
    """The log of the mean over the first dimension."""
    return weights.logsumexp(0) - math.log(len(weights))


def reached(model: Model, ends: Collection[str]) -> set[str]:
    """The nodes from which a gradient at the values of some nodes comes through: by way of nodes that are deterministic and real, or reparameterized."""
    found: set[str] = set()
    for node in reversed(model.schedule):
        through = not node.conditional.variable.space.integer if node.deterministic else node.conditional.reparameterized
        if through and (node.name in ends or not found.isdisjoint(model.net.dag.children(node.name))):
            found.add(node.name)
    return found


def check_reached(model: Model, ends: Collection[str], place: str, judge: str) -> None:
    """Raises for a learned node at or above `ends` that no gradient reaches from there; `judge` says what they are to the objective."""
    above, open_to = set(ends) | set(model.net.ancestors(*ends)), reached(model, ends)
    for node in model.schedule:
        if node.name not in above or node.name in open_to or not any(parameter.requires_grad for parameter in node.conditional.parameters()):
            continue
        summary, mend = f"node {node.name!r} ~ {node.conditional.variable.summary}", "fix its parameters, make it a Given input, or train it apart by dgm.MaximumLikelihood"
        if not node.deterministic and not node.conditional.reparameterized:
            raise GraphError(f"{place}: {summary} is learned and not reparameterized, so {judge} cannot train it; {mend}")
        closed = [child for child in model.net.dag.children(node.name) if child in above]
        raise GraphError(f"{place}: {summary} is learned, and no gradient comes back to it from {judge}: {', '.join(map(repr, closed)) or repr(node.name)} is not reparameterized; {mend}")


def check_reparameterized(objective: nn.Module, asked: str, mend: str) -> None:
    """Raises where a latent of the guide that contributes to the bound has no gradient through its draws."""
    own = own_latents(objective.guide)
    for node in objective.guide.schedule:
        if not node.conditional.reparameterized and node.name not in own:
            raise GraphError(f"{asked}: node {node.name!r} ~ {node.conditional.variable.summary} is not reparameterized; use {mend}")


def check_scored(guide: Model, asked: str) -> None:
    """Raises where a latent of the guide has no density that a bound could be trained by: one that is regressed, or bounded itself."""
    own = own_latents(guide)
    for node in guide.schedule:
        if not node.deterministic and node.name not in own and (node.conditional.regressed or node.conditional.density != "exact"):
            raise GraphError(
                f"{asked}: node {node.name!r} ~ {node.conditional.variable.summary} of the guide is learned by regression on simulations, not by a bound; train it by "
                f"dgm.ForwardKL(model, guide) on dgm.simulate(model, 10_000), or choose a family with a density and draws that have gradients: families={{{node.name!r}: dgm.Flow(...)}}"
            )


def check_auxiliary(guide: Model, asked: str, adds: bool = False) -> None:
    """Raises where a latent of the guide is trained by a loss of its own, which an objective does not add or cannot see inside copies or steps."""
    for node in guide.schedule:
        if (not adds or not node.conditional.has_auxiliary) and any(isinstance(part, Conditional) and part.has_auxiliary for part in node.conditional.modules()):
            mend = "dgm.ELBO(model, guide)" if node.conditional.has_auxiliary else "a latent whose copies are not drawn together, outside chains"
            raise GraphError(f"{asked}: node {node.name!r} ~ {node.conditional.variable.summary} of the guide is trained by a loss beside the bound, which {asked} does not add; use {mend}")


@contextmanager
def held(*modules: nn.Module) -> Iterator[None]:
    """Parameters as constants: what is evaluated inside has no gradient with respect to them, whatever holds or caches them."""
    free = [parameter for module in modules for parameter in module.parameters() if parameter.requires_grad]
    for parameter in free:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in free:
            parameter.requires_grad_(True)


def scaled(value: Tensor, rank: int, scale: list[Tensor] | None) -> Tensor:
    """The value as a variable of its own, so that the scaling acts where densities read it and not where later draws do."""
    if scale is None or not value.requires_grad:
        return value
    value = value.view_as(value)
    value.register_hook(lambda gradient: gradient * scale[0].reshape(*scale[0].shape, *(1,) * (gradient.ndim - rank)))
    return value


@dataclass(frozen=True, repr=False)
class StickingTheLanding(Estimator):
    """For the ELBO: the gradient through the draws alone, the guide's density at constant parameters.

    What is left out, the score of q, has mean zero; at the exact posterior every draw's gradient is zero. Divergences are not taken in closed form.

    Raises:
        GraphError: a latent that is not reparameterized; several particles of an importance-weighted bound, for which it is biased.

    Source: Roeder, Wu and Duvenaud (2017), https://arxiv.org/abs/1703.09194.
    """

    def check(self, objective: nn.Module) -> None:
        check_auxiliary(objective.guide, "StickingTheLanding")
        check_reparameterized(objective, "StickingTheLanding", "dgm.ELBO(model, guide) without it, which takes the score function of this node")

    def losses(self, drawn: Weighed) -> Tensor:
        return -drawn.path_only().log_weights()


@dataclass(frozen=True, repr=False)
class DoublyReparameterized(Estimator):
    """For the importance-weighted bound: sum_k sg(w_k^2) d(log p - log q)/dz_k dz_k/dphi with normalised weights w_k; the model's gradient is sum_k sg(w_k) d log p.

    Its signal-to-noise ratio grows with the particles, where that of the plain gradient shrinks; it is zero at the exact posterior.

    Raises:
        GraphError: a latent that is not reparameterized.

    Source: Tucker et al. (2019), https://arxiv.org/abs/1810.04152.
    """

    def check(self, objective: nn.Module) -> None:
        check_reparameterized(objective, "DoublyReparameterized", "gradient=dgm.VIMCO()")

    def losses(self, drawn: Weighed) -> Tensor:
        scale: list[Tensor] = []
        weights = drawn.path_only(scale).log_weights()
        normalised = weights.detach().softmax(0)
        scale.append(normalised)
        surrogate = -(normalised * weights).sum(0)
        return surrogate + (-log_mean(weights.detach()) - surrogate.detach())


@dataclass(frozen=True, repr=False)
class VIMCO(Estimator):
    """For the importance-weighted bound L with finite latents: sum_k sg(L - L_-k) d log q(z_k | x) + sum_k sg(w_k) d(log p - log q)_k.

    L_-k is the bound with the k-th log-weight replaced by the mean of the others. Reparameterized latents beside them take the gradient through their draws.

    Source: Mnih and Rezende (2016), https://arxiv.org/abs/1602.06725.
    """

    def check(self, objective: nn.Module) -> None:
        if objective.particles < 2:
            raise GraphError(
                f"VIMCO: expected two particles or more, each one's baseline being the others; got {objective.particles}; try particles=5, or dgm.ELBO(model, guide)"
            )

    def losses(self, drawn: Drawn) -> Tensor:
        weights = drawn.log_weights()
        loss = -log_mean(weights)
        scored = [latent for latent, *_ in drawn.pairing.score if latent in drawn.pairing.latents]
        if not scored:
            return loss
        surprisals = added([drawn.pairing.guide_term(latent, drawn.found, drawn.prepared, PerWorld()) for latent in scored])
        surrogate = (surprisals * (-loss.detach() - _left_out(weights.detach()))).sum(0)
        return loss + (surrogate - surrogate.detach())


def _left_out(weights: Tensor) -> Tensor:
    """The bound with each log-weight replaced by the mean of the others, `(particles, *worlds)`."""
    count = len(weights)
    others = (weights.sum(0) - weights) / (count - 1)
    itself = torch.eye(count, dtype=torch.bool, device=weights.device).reshape(count, count, *(1,) * (weights.ndim - 1))
    return log_mean(torch.where(itself, others.unsqueeze(0), weights.unsqueeze(1)))    # the first dimension is summed, the second says which is left out
