"""Exact posteriors of hidden Gaussian nodes of a chain."""

from __future__ import annotations

import pyro.distributions as dist
import torch
from torch import Tensor

from ..compile import Model
from ..exact import Watched, chain_engine
from ..graph import GraphError, did_you_mean
from .exact import Exact
from .hidden_sequence import Filtered, HiddenSequence, checked_steps, picked
from .posterior import Marginals

__all__ = ["GaussianSequencePosterior"]


class GaussianSequencePosterior(HiddenSequence):
    """p(hidden Gaussian nodes of a chain | evidence), exact, by the Kalman filter and smoother; one batch entry a world and step.

    `marginals` are given all of a sequence (smoothing), `filtered` given the steps up to each, `predict(k)` says what comes after its end. Steps
    behind the end of a shorter sequence repeat its last one.

    Example:
        >>> import torch, dgm_ppl as dgm
        >>> net = dgm.BayesNet(
        ...     level=dgm.Normal(loc=dgm.lag("level", initial=0.0), scale=1.0),
        ...     x=dgm.Normal(loc="level", scale=1.0),
        ...     plates={"time": dgm.Chain(["level", "x"])})
        >>> post = dgm.posterior(dgm.compile(net), {"x": [1.0, 2.0]})
        >>> post.filtered["level"].mean, post.marginals["level"].mean
        (tensor([0.5000, 1.4000]), tensor([0.8000, 1.4000]))
        >>> post.predict(1)["level"]
        Normal(loc: tensor([1.4000]), scale: tensor([1.2649]))
    """

    def __init__(self, model: Model, watched: Watched, method: Exact):
        super().__init__(model, watched, method, chain_engine(model, watched))

    @property
    def filtered(self) -> Marginals:
        """Distributions of single nodes at each step given the evidence up to that step."""
        return Marginals(Filtered(self._engine.names, lambda name: self._distribution(name, *self.moments(name, filtered=True))))

    def moments(self, name: str, *, filtered: bool = False) -> tuple[Tensor, Tensor]:
        """Mean `(*worlds, steps, *event)` and covariance `(*worlds, steps, n, n)` of a node's numbers; without steps for nodes outside the chain."""
        if name not in self.names:
            raise GraphError(f"marginals: {name!r} was not inferred{did_you_mean(name, self.names)}")
        means, covariances = self._answer.filtered if filtered else self._answer.smoothed
        place = self._engine.places[name, 0]
        mean, covariance = means[..., place].transpose(0, 1), covariances[..., place, place].transpose(0, 1)          # (rows, steps, ...)
        if name in self._engine.outside:
            mean, covariance = mean[:, -1], covariance[:, -1]
        return (mean.reshape(*self.worlds, *mean.shape[1:-1], *self.model.net[name].shape),
                covariance.reshape(*self.worlds, *covariance.shape[1:]))

    def marginal(self, name: str) -> dist.TorchDistribution:
        """The distribution of a node given all evidence, one batch entry a step."""
        return self._distribution(name, *self.moments(name))

    def _distribution(self, name: str, mean: Tensor, covariance: Tensor) -> dist.TorchDistribution:
        if not self.model.net[name].shape:
            return dist.Normal(mean, covariance[..., 0, 0].clamp_min(0).sqrt(), validate_args=False)
        return dist.MultivariateNormal(mean, covariance, validate_args=False)

    def predict(self, steps: int) -> dict[str, dist.TorchDistribution]:
        """The distributions of the hidden nodes at each of so many steps after the end of a sequence.

        Raises:
            GraphError: an input, or an observed node on which others depend, whose values after the end are not known.
        """
        later = GaussianSequencePosterior(self.model, self.watched.longer(checked_steps(steps)), self.method)
        at = self.watched.ends(steps)
        return {name: self._distribution(name, *(picked(value, at, self.worlds) for value in later.moments(name))) for name in self._engine.names}

    def _sampled(self, samples: int) -> dict[str, Tensor]:
        """Independent draws of the hidden nodes, `(samples, *worlds, steps, *event)`. Nodes on which nothing observed depends come along."""
        with torch.no_grad():
            drawn = self._engine.draw(self._laid, samples)
        found = {name: value.reshape(samples, *self.worlds, *value.shape[2:-1], *self.model.net[name].shape) for name, value in drawn.items()}
        if all(name in found or name in self.evidence for name in (*self.model.random, *self.model.net.deterministic)):
            return found
        return self._completed(found, samples)

    def mpe(self) -> dict[str, Tensor]:
        """The most probable joint values of the hidden nodes: for Gaussians, their smoothed means."""
        return self.mean()

    def std(self) -> dict[str, Tensor]:
        """Posterior standard deviations, of the shape of a value."""
        found = {}
        for name in self.names:
            mean, covariance = self.moments(name)
            found[name] = covariance.diagonal(dim1=-2, dim2=-1).clamp_min(0).sqrt().reshape(mean.shape)
        return found

    def quantile(self, q: float) -> dict[str, Tensor]:
        """The q-quantile of every number."""
        if not 0 <= q <= 1:
            raise GraphError(f"quantile: expected a number from 0 to 1; got {q!r}")
        mean, spread = self.mean(), self.std()
        return {name: mean[name] + spread[name] * torch.special.ndtri(torch.tensor(float(q), dtype=mean[name].dtype, device=mean[name].device)) for name in self.names}

    def diagnose(self) -> str:
        """What the answer rests on."""
        return "exact"

    def _mean(self, name: str) -> Tensor:
        return self.moments(name)[0]
