"""Exact posteriors of short switching systems."""

from __future__ import annotations

from functools import cached_property

import pyro.distributions as dist
import torch
from torch import Tensor

from ..compile import Model
from ..exact import Watched, chain_engine
from ..graph import GraphError, did_you_mean
from .exact import Exact
from .hidden_sequence import HiddenSequence

__all__ = ["SwitchingPosterior"]


class SwitchingPosterior(HiddenSequence):
    """p(hidden nodes of a chain | evidence) where some are finite and others Gaussian given these: a mixture of one Gaussian for each path, exactly.

    Example:
        >>> import dgm_ppl as dgm
        >>> net = dgm.BayesNet(
        ...     fast=dgm.Bernoulli(probs=[0.1, 0.9]).given(dgm.lag("fast", initial=0)),
        ...     place=dgm.Normal(loc=dgm.lag("place", initial=0.0) + 2.0 * dgm.Ref("fast"), scale=0.5),
        ...     x=dgm.Normal(loc="place", scale=0.5),
        ...     plates={"time": dgm.Chain(["fast", "place", "x"])})
        >>> post = dgm.posterior(dgm.compile(net), {"x": [0.0, 2.0, 4.0]})
        >>> post.marginals["fast"].probs
        tensor([0.0072, 0.9751, 0.9941])
    """

    def __init__(self, model: Model, watched: Watched, method: Exact):
        super().__init__(model, watched, method, chain_engine(model, watched))
        self._engine.check(self._laid.rows)

    @property
    def names(self) -> tuple[str, ...]:
        """The hidden nodes."""
        return (*self._engine.finite, *self._engine.inner.outside, *self._engine.inner.names)

    @cached_property
    def _codes(self) -> dict[str, Tensor]:
        return self._engine.codes()

    def probabilities(self, name: str) -> Tensor:
        """The probability of each state of a finite node, `(*worlds, steps, states)`; without steps for one outside the chain."""
        self._check(name, self._engine.finite)
        hot = torch.nn.functional.one_hot(self._codes[name], self.model.net[name].space.cardinality).to(self._answer.weights.dtype)     # (paths, steps, states)
        found = torch.einsum("pr,ptk->rtk", self._answer.weights, hot)
        found = found if self.model.net.chain_of(name) is not None else found[:, 0]
        return found.reshape(*self.worlds, *found.shape[1:])

    def _components(self, name: str) -> tuple[Tensor, Tensor]:
        """Means `(rows, steps, paths, n)` and covariances of a Gaussian node given each path; one step for one outside the chain."""
        inner, paths = self._engine.inner, self._engine.paths
        place = inner.places[name, 0]
        means, covariances = (each.unflatten(1, (paths, -1)) for each in self._answer.given.smoothed)                                   # (steps, paths, rows, ...)
        mean, covariance = means[..., place].permute(2, 0, 1, 3), covariances[..., place, place].permute(2, 0, 1, 3, 4)
        return (mean, covariance) if name in inner.names else (mean[:, -1:], covariance[:, -1:])

    def moments(self, name: str) -> tuple[Tensor, Tensor]:
        """Mean `(*worlds, steps, *event)` and covariance `(*worlds, steps, n, n)` of a Gaussian node's numbers."""
        self._check(name, (*self._engine.inner.outside, *self._engine.inner.names))
        mean, covariance = self._components(name)
        weights = self._answer.weights.T.unsqueeze(1).unsqueeze(-1)                                                                     # (rows, 1, paths, 1)
        centre = (weights * mean).sum(2)
        beside = mean - centre.unsqueeze(2)
        spread = (weights.unsqueeze(-1) * (covariance + beside.unsqueeze(-1) * beside.unsqueeze(-2))).sum(2)
        if name in self._engine.inner.outside:
            centre, spread = centre[:, 0], spread[:, 0]
        return centre.reshape(*self.worlds, *centre.shape[1:-1], *self.model.net[name].shape), spread.reshape(*self.worlds, *spread.shape[1:])

    def marginal(self, name: str) -> dist.TorchDistribution:
        """The distribution of a node, one batch entry a step: of a Gaussian one a mixture."""
        if name in self._engine.finite:
            probs = self.probabilities(name)
            return dist.Categorical(probs=probs) if self.model.net[name].space.integer else dist.Bernoulli(probs=probs[..., 1].clamp(0, 1))
        self._check(name, self.names)
        mean, covariance = self._components(name)
        batch = (*self.worlds, *((mean.shape[1],) if name in self._engine.inner.names else ()))
        weights = self._answer.weights.T.unsqueeze(1).expand(mean.shape[:3]).reshape(*batch, -1)
        mean, covariance = mean.reshape(*batch, *mean.shape[2:]), covariance.reshape(*batch, *covariance.shape[2:])
        if not self.model.net[name].shape:
            each = dist.Normal(mean[..., 0], covariance[..., 0, 0].clamp_min(0).sqrt(), validate_args=False)
        else:
            each = dist.MultivariateNormal(mean, covariance, validate_args=False)
        return dist.MixtureSameFamily(torch.distributions.Categorical(probs=weights, validate_args=False), each, validate_args=False)

    def _sampled(self, samples: int) -> dict[str, Tensor]:
        """Independent draws of the hidden nodes, `(samples, *worlds, steps, *event)`."""
        engine, rows = self._engine, self._laid.rows
        with torch.no_grad():
            which = torch.multinomial(self._answer.weights.T, samples, replacement=True).T                                              # (samples, rows)
            codes = {name: code[which] for name, code in self._codes.items()}                                                           # (samples, rows, steps)
            drawn = engine.inner.draw(engine.along(self._laid, codes), 1)
        found = {name: code if self.model.net[name].space.integer else code.to(self.model.anchor.dtype) for name, code in codes.items()}
        found = {name: code.reshape(samples, *self.worlds, -1) if self.model.net.chain_of(name) is not None else code.reshape(samples, *self.worlds) for name, code in found.items()}
        for name, value in drawn.items():
            value = value.squeeze(0).unflatten(0, (samples, rows))
            found[name] = value.reshape(samples, *self.worlds, *value.shape[2:-1], *self.model.net[name].shape)
        return found

    def std(self) -> dict[str, Tensor]:
        """Posterior standard deviations of the Gaussian nodes."""
        found = {}
        for name in (*self._engine.inner.outside, *self._engine.inner.names):
            mean, covariance = self.moments(name)
            found[name] = covariance.diagonal(dim1=-2, dim2=-1).clamp_min(0).sqrt().reshape(mean.shape)
        return found

    def quantile(self, q: float) -> dict[str, Tensor]:
        raise GraphError("quantile: the marginals are mixtures of Gaussians, whose quantiles have no closed form; take them from draws: post.sample(10_000)")

    def diagnose(self) -> str:
        """What the answer rests on."""
        return f"exact; a mixture of {self._engine.paths} Gaussians"

    def _mean(self, name: str) -> Tensor:
        return self.probabilities(name) if name in self._engine.finite else self.moments(name)[0]

    def _check(self, name: str, among: tuple[str, ...]) -> None:
        if name not in among:
            raise GraphError(f"marginals: {name!r} was not inferred{did_you_mean(name, among)}")
