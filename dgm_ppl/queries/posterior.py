"""p(latents | evidence), answered in the net's words."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor

from ..compile import Model
from ..families.shapes import whole
from ..graph import Displayed, GraphError, did_you_mean
from .bounded import refuse_noisy
from .chains import Chains, run_nuts
from .export import to_arviz
from .methods import NUTS, Amortized, Importance, Refined
from .psis import Diagnosis, diagnose_weights
from .weighting import WeightedDraws, pick

__all__ = ["ChainPosterior", "GuidePosterior", "Posterior"]


class Posterior(Displayed):
    """The answer to `posterior`. Values are `(*worlds, *plates, *event)`, draws in front.

    A subclass gives `draws` (aligned, `(samples, *worlds, ...)`) and `log_weights` (None where all weigh the same).
    """

    def __init__(self, model: Model, values: Mapping[str, Tensor]):
        self.model, self.evidence = model, dict(values)
        self.worlds = model.layout.worlds(values)

    # what a subclass gives

    @property
    def draws(self) -> Mapping[str, Tensor]:
        raise NotImplementedError

    @property
    def log_weights(self) -> Tensor | None:
        return None

    def _sampled(self, samples: int) -> dict[str, Tensor]:
        """What `sample` returns, of a checked number."""
        raise NotImplementedError

    @property
    def log_evidence(self) -> Tensor:
        """An estimate of log p(evidence) of each world, where the method gives one."""
        raise GraphError(f"log_evidence: {type(self.method).__name__} does not give it; ask dgm.log_prob(model, evidence, method=dgm.Importance(guide, 5000))")

    def diagnose(self) -> Any:
        """How far the answer can be trusted."""
        raise NotImplementedError

    # what follows

    def sample(self, samples: int) -> dict[str, Tensor]:
        """Draws of every node that is not observed, `(samples, *worlds, *plates, *event)`; of chains, at most as many as there are."""
        if (whole(samples) or 0) < 1:
            raise GraphError(f"sample: expected a positive whole number of draws; got {samples!r}; try sample(100)")
        return self._sampled(whole(samples))

    @property
    def names(self) -> tuple[str, ...]:
        """The nodes that were inferred."""
        return tuple(name for name in self.model.net.order if name in self.draws)

    def mean(self) -> dict[str, Tensor]:
        """Posterior means; for finite nodes the mean of the codes is meaningless, so they give state probabilities `(..., states)`."""
        return {name: self._mean(name) for name in self.names}

    def std(self) -> dict[str, Tensor]:
        """Posterior standard deviations."""
        found = {}
        for name in self.names:
            if self._states(name) is None:
                value = self.released(name)
                mean = (self._weights(value) * value).sum(0)
                found[name] = (self._weights(value) * (value - mean) ** 2).sum(0).sqrt()
        return found

    def quantile(self, q: float) -> dict[str, Tensor]:
        """The q-quantile of every element: the smallest draw below which a weight of q lies."""
        if not 0 <= q <= 1:
            raise GraphError(f"quantile: expected a number from 0 to 1; got {q!r}")
        return {name: self._quantile(self.released(name), q) for name in self.names if self._states(name) is None}

    @property
    def marginals(self) -> Marginals:
        """Distributions of single nodes, one batch entry a world: `post.marginals["z"]`."""
        return Marginals(self)

    def marginal(self, name: str) -> dist.TorchDistribution:
        """The distribution of one node."""
        if name not in self.draws:
            raise GraphError(f"marginals: {name!r} was not inferred{did_you_mean(name, self.names)}")
        return self._empirical(name)

    def to_arviz(self, samples: int = 1000) -> Any:
        """Draws as ArviZ's InferenceData (0.x) or DataTree (1.x), one chain unless the method has several."""
        drawn = self.sample(samples)
        return to_arviz({name: value.unsqueeze(0).cpu().numpy() for name, value in drawn.items()}, self._observed())

    def _observed(self) -> dict[str, Any]:
        return {name: value.cpu().numpy() for name, value in self.evidence.items()}

    def released(self, name: str) -> Tensor:
        """The draws of one node in the user's layout."""
        return self.model.layout.release(name, self.draws[name])

    def _states(self, name: str) -> int | None:
        space = self.model.net[name].space
        return space.cardinality if space.integer or getattr(space, "binary", False) else None

    def _mean(self, name: str) -> Tensor:
        value, states = self.released(name), self._states(name)
        if states is not None:
            value = torch.nn.functional.one_hot(value.long(), states).to(self.model.anchor.dtype)
        return (self._weights(value) * value).sum(0)

    def _weights(self, like: Tensor) -> Tensor:
        """Normalised weights `(samples, *worlds, 1...)` against a value."""
        if self.log_weights is None:
            return like.new_full((1,) * like.ndim, 1 / len(like))
        weights = self.log_weights.softmax(0)
        return weights.reshape(*weights.shape, *(1,) * (like.ndim - weights.ndim))

    def _quantile(self, value: Tensor, q: float) -> Tensor:
        ordered, order = value.sort(0)
        mass = self._weights(value).expand_as(value).gather(0, order).cumsum(0)
        position = (mass < q * mass[-1:] - 1e-6).sum(0, keepdim=True).clamp_max(len(value) - 1)
        return ordered.gather(0, position).squeeze(0)

    def _empirical(self, name: str) -> dist.TorchDistribution:
        states = self._states(name)
        if states is not None:
            probs = self._mean(name)
            event = len(self.model.net[name].shape) + len(self.model.layout.members[name])
            marginal = dist.Categorical(probs=probs) if self.model.net[name].space.integer else dist.Bernoulli(probs=probs[..., 1])
            return marginal.to_event(event)
        value = self.released(name).movedim(0, len(self.worlds))
        weights = torch.zeros(value.shape[: len(self.worlds) + 1], dtype=value.dtype, device=value.device) if self.log_weights is None else self.log_weights.movedim(0, -1)
        return dist.Empirical(value, weights)


class Marginals(Mapping):
    """The marginal distributions of a posterior, by node."""

    def __init__(self, posterior: Posterior):
        self._posterior = posterior

    def __getitem__(self, name: str) -> dist.TorchDistribution:
        return self._posterior.marginal(name)

    def __contains__(self, name: object) -> bool:
        return name in self._posterior.names

    def __iter__(self):
        return iter(self._posterior.names)

    def __len__(self) -> int:
        return len(self._posterior.names)


class GuidePosterior(Posterior):
    """A guide's answer: its own draws (Amortized), or the same weighted by p / q (Importance)."""

    def __init__(self, model: Model, values: Mapping[str, Tensor], method: Amortized | Importance | Refined, source: Any = None):
        super().__init__(model, values)
        self.method, self._source = method, WeightedDraws(model, method.guide, values) if source is None else source
        self._draws, self._weigh = self._source.unweighted(method.samples)

    @cached_property
    def _log_weights(self) -> Tensor:
        return self._weigh()

    @property
    def draws(self) -> Mapping[str, Tensor]:
        return self._draws

    @property
    def log_weights(self) -> Tensor | None:
        return self._log_weights if isinstance(self.method, Importance) else None

    @property
    def log_evidence(self) -> Tensor:
        refuse_noisy(self.model, None, "log_evidence")
        return self._log_weights.logsumexp(0) - torch.tensor(float(self.method.samples), dtype=self._log_weights.dtype).log().item()

    def _sampled(self, samples: int) -> dict[str, Tensor]:
        if self.log_weights is None:
            drawn, _ = self._source.unweighted(samples)
            return {name: self.model.layout.release(name, drawn[name]) for name in self.names}
        picked = dist.Categorical(logits=self._log_weights.movedim(0, -1)).sample((samples,))          # with replacement, (samples, *worlds)
        return {name: pick(self.released(name), picked) for name in self.names}

    def marginal(self, name: str) -> dist.TorchDistribution:
        guide = self.method.guide
        if isinstance(self.method, Amortized) and name in guide.random:
            node = next(step for step in guide.schedule if step.name == name)
            known = guide.layout.align_all({key: value for key, value in self.evidence.items() if key in guide.net})
            if all(parent in known for parent in node.parents):
                plates = len(guide.layout.members[name])
                marginal = node.conditional(*node.receive(known))
                batch = guide.layout.batch(name, self.worlds, guide.layout.sizes(self.evidence))
                return marginal.expand(batch).to_event(plates) if plates == guide.layout.rank else super().marginal(name)
        return super().marginal(name)

    def diagnose(self) -> Diagnosis:
        """k-hat and effective sample size of p / q for every world."""
        refuse_noisy(self.model, None, "diagnose")
        return diagnose_weights(self._log_weights)


class ChainPosterior(Posterior):
    """The draws of Markov chains."""

    def __init__(self, model: Model, values: Mapping[str, Tensor], method: NUTS):
        super().__init__(model, values)
        self.method, self._chains = method, run_nuts(model, values, self.worlds, method)

    @property
    def draws(self) -> Mapping[str, Tensor]:
        return self._chains.draws

    def _sampled(self, samples: int) -> dict[str, Tensor]:
        """Draws of the chains, evenly spaced; at most as many as there are."""
        held = len(next(iter(self.draws.values())))
        if samples > held:
            raise GraphError(f"sample: the chains hold {held} draws; got {samples}; ask dgm.NUTS(samples={samples})")
        spaced = torch.linspace(0, held - 1, samples).round().long()
        return {name: self.released(name)[spaced] for name in self.names}

    def diagnose(self) -> Chains:
        """Split R-hat and effective sample size of every node."""
        return self._chains

    def to_arviz(self, samples: int | None = None) -> Any:
        """All draws, chain by chain."""
        chains = self.method.chains
        drawn = {name: self.released(name).unflatten(0, (chains, -1)).cpu().numpy() for name in self.names}
        return to_arviz(drawn, self._observed())
