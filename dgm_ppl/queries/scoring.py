"""What a score is made of and what it is good for: bits per dimension, contributions of nodes, how strange a row is."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..compile import Model
from ..compile.reduction import PerWorld, added
from ..conditionals.chain import AutoregressiveConditional
from ..data import columns
from ..families import noise
from ..graph import GraphError
from .evidence import log_prob
from .methods import Amortized, Importance, Method
from .psis import diagnose_weights
from .weighting import WeightedDraws

__all__ = [
    "Bits", "Contributions", "LikelihoodRatio", "OutlierScore", "Surprisal", "TailShape", "Typicality", "bits_per_dimension", "contributions", "outlier_scores",
]


@dataclass(frozen=True, eq=False)
class Bits:
    """-log2 p of each world divided by its number of observed numbers, `counts`; `kind` is "exact", "estimate" or "bound" (from above)."""

    value: Tensor
    kind: str
    counts: Tensor

    @property
    def dimensions(self) -> int:
        """The number of observed numbers of a world, of the longest where sequences differ."""
        return int(self.counts.max())

    def mean(self) -> float:
        """The bits of all worlds divided by their numbers: the mean over worlds, weighted by the lengths of sequences where these differ."""
        return ((self.value * self.counts).sum() / self.counts.sum()).item()

    def mean_stderr(self) -> float:
        """The standard error of the mean over worlds."""
        apart = (self.value - self.mean()) * self.counts / self.counts.to(self.value.dtype).mean()
        return (apart.std() / math.sqrt(apart.numel())).item() if apart.numel() > 1 else 0.0

    def __repr__(self) -> str:
        several = self.value.numel() > 1
        error, worlds = (f" ± {self.mean_stderr():.4f}", f", mean of {self.value.numel()} worlds") if several else ("", "")
        least = int(self.counts.min())
        return f"{self.mean():.4f}{error} bits per dimension ({self.kind}, {'' if least == self.dimensions else f'{least} to '}{self.dimensions} dimensions{worlds})"


def bits_per_dimension(model: Model, data: Any, *, method: Method | None = None) -> Bits:
    """-log2 p(data) / d, where d counts the numbers of the observed random nodes in one world; what stands behind the end of a sequence does not count.

    Of whole numbers (levels, states, dequantized flows) it is the length of their best code; of real numbers it depends on their unit.

    Args:
        model, data, method: as for `log_prob`.

    Raises:
        GraphError: as `log_prob`; no random node among the data.

    Example:
        >>> import dgm_ppl as dgm, torch
        >>> fair = dgm.compile(dgm.BayesNet(x=dgm.Categorical(256, 8, logits=0.0)))
        >>> dgm.bits_per_dimension(fair, {"x": torch.zeros(5, 8)})
        8.0000 ± 0.0000 bits per dimension (exact, 8 dimensions, mean of 5 worlds)
    """
    score = log_prob(model, data, method=method)
    values = model.encode(data if isinstance(data, Mapping) else columns(data))
    if not any(name in values for name in model.random):
        raise GraphError(f"bits_per_dimension: no random node is observed; give data for one of {list(model.random)}")
    counts = _counts(model, values).expand(score.value.shape)
    return Bits(-score.value / (math.log(2) * counts), score.kind, counts)


def _counts(model: Model, values: Mapping[str, Tensor]) -> Tensor:
    """How many numbers of the observed random nodes count in each world, `(*worlds)`."""
    worlds, found = model.layout.worlds(values), model.layout.align_all(values)
    if model.net.chains:
        found = model.determined(found, model.layout.sizes(values))
    total = torch.zeros(worlds, dtype=torch.long, device=model.device)
    for node in (node for node in model.schedule if node.name in values and not node.deterministic):
        counted = torch.ones_like(found[node.name], dtype=torch.bool)
        if isinstance(node.conditional, AutoregressiveConditional) and all(parent in found for parent in node.parents):
            ends = node.conditional.counted(found[node.name], node.prepare(found))
            counted = counted if ends is None else counted & ends
        real = None if node.strand is None else node.strand.real(found)
        if real is not None:
            counted = counted & real.reshape(*real.shape, *(1,) * node.event_rank)
        total = total + counted.reshape(*worlds, -1).sum(-1)
    return total


@dataclass(frozen=True, eq=False)
class Contributions(Mapping):
    """The terms of each node, `(*worlds)` in nats, which add up to `total`: log p(data), or the ELBO where there are latents."""

    terms: Mapping[str, Tensor]
    kind: str

    def __getitem__(self, name: str) -> Tensor:
        return self.terms[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.terms)

    def __len__(self) -> int:
        return len(self.terms)

    @property
    def total(self) -> Tensor:
        """The sum over the nodes."""
        return added(self.terms.values())

    def __repr__(self) -> str:
        width = max(map(len, self.terms), default=0)
        return "\n".join([*(f"{name:{width}}  {term.mean().item():10.3f}" for name, term in self.terms.items()), f"{self.kind}, nats, mean over worlds"])


def contributions(model: Model, data: Any, *, method: Amortized | None = None) -> Contributions:
    """What every node adds to the score: log p(node | parents), and for latents, by a guide, minus the divergence E_q [log q - log p].

    Args:
        model: a compiled net.
        data: complete data, or with latents that the guide of `method` infers.
        method: `Amortized(guide, samples)`; expectations are means over that many draws.

    Raises:
        GraphError: latents without a guide.

    Example:
        >>> import dgm_ppl as dgm
        >>> net = dgm.BayesNet(a=dgm.Bernoulli(probs=0.5), b=dgm.Bernoulli(probs=[0.25, 0.75]).given("a"))
        >>> dgm.contributions(dgm.compile(net), {"a": [1.0], "b": [1.0]})
        a      -0.693
        b      -0.288
        exact, nats, mean over worlds
    """
    values = model.encode(data if isinstance(data, Mapping) else columns(data))
    if method is None:
        missing = [name for name in model.random if name not in values]
        if missing:
            raise GraphError(f"contributions: node {missing[0]!r} has no value; infer it: method=dgm.Amortized(guide), with guide = dgm.compile(dgm.amortize(net, observed={list(values)}))")
        kind = "exact" if all(model.conditionals[name].density == "exact" for name in model.random) else "bound"
        with torch.no_grad():
            return Contributions(model.log_densities(model.layout.align_all(values), model.layout.sizes(values)), kind)
    if not isinstance(method, Amortized):
        raise GraphError(f"contributions: expected dgm.Amortized(guide); got {type(method).__name__}; try method=dgm.Amortized(guide, samples=100)")
    return Contributions(_expected(WeightedDraws(model, method.guide, values), method.samples), "bound")


def _expected(draws: WeightedDraws, samples: int) -> dict[str, Tensor]:
    pairing, per_world = draws.pairing, PerWorld()
    worlds = (samples, *draws.worlds)
    with torch.no_grad():
        found, prepared = pairing.draw(draws.layout.align_all(draws.values), worlds, draws.sizes, noise)
        terms = {node.name: -pairing.model_term(node, found, per_world) for node in pairing.seen}
        for latent in pairing.latents:
            terms[latent.name] = pairing.guide_term(latent, found, prepared, per_world) - pairing.model_term(latent.p, found, per_world)
        return {name: terms[name].expand(worlds).mean(0) for name in draws.model.random if name in terms}


class OutlierScore:
    """A measure of how strange a row is to a model; larger is stranger. A subclass writes `__call__(model, data, method)`, `(*worlds)`."""

    @abstractmethod
    def __call__(self, model: Model, data: Any, method: Method | None) -> Tensor:
        """The score of each world."""


@dataclass(frozen=True, eq=False)
class Surprisal(OutlierScore):
    """-log p(x), in nats."""

    def __call__(self, model: Model, data: Any, method: Method | None) -> Tensor:
        return -log_prob(model, data, method=method).value


@dataclass(frozen=True, eq=False)
class LikelihoodRatio(OutlierScore):
    """log p_background(x) - log p(x): what both find improbable, such as a complex background, cancels (Ren et al., 2019, https://arxiv.org/abs/1906.02845).

    `background` is a model of the same nodes, trained on perturbed or general data; `method` is its own way to marginalise.
    """

    background: Model
    method: Method | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.background, Model):
            raise GraphError(f"LikelihoodRatio: expected a compiled background model; got {type(self.background).__name__}; try dgm.compile(net)")

    def __call__(self, model: Model, data: Any, method: Method | None) -> Tensor:
        return log_prob(self.background, data, method=self.method).value - log_prob(model, data, method=method).value


@dataclass(frozen=True, eq=False)
class Typicality(OutlierScore):
    """|-log p(x) - H|, H being the mean surprisal of reference data: rows that are too probable are strange too (Nalisnick et al., 2019, https://arxiv.org/abs/1906.02994)."""

    reference: Any

    def __call__(self, model: Model, data: Any, method: Method | None) -> Tensor:
        ours, theirs = ({name for name in (each if isinstance(each, Mapping) else columns(each)) if name in model.net} for each in (data, self.reference))
        if ours != theirs:
            raise GraphError(f"Typicality: expected reference data of the same columns as the rows; got {sorted(theirs)} for rows of {sorted(ours)}, whose surprisals are of other things")
        entropy = -log_prob(model, self.reference, method=method).mean()
        return (-log_prob(model, data, method=method).value - entropy).abs()


@dataclass(frozen=True, eq=False)
class TailShape(OutlierScore):
    """k-hat of the importance weights p(x, z) / q(z | x): where the guide never learned the posterior, the row is unlike the training data.

    It needs `method=dgm.Importance(guide, samples)`.
    """

    def __call__(self, model: Model, data: Any, method: Method | None) -> Tensor:
        if not isinstance(method, Importance):
            raise GraphError(f"TailShape: expected method=dgm.Importance(guide, 1000), whose weights it looks at; got {method!r}")
        values = model.encode(data if isinstance(data, Mapping) else columns(data))
        return diagnose_weights(WeightedDraws(model, method.guide, values).draw(method.samples)[1]).khat


def outlier_scores(model: Model, data: Any, score: OutlierScore = Surprisal(), *, method: Method | None = None) -> Tensor:
    """How strange each row is to the model, `(*worlds)`; larger is stranger.

    Args:
        model, data, method: as for `log_prob`.
        score: `Surprisal()`, `LikelihoodRatio(background)`, `Typicality(training_data)`, `TailShape()`, or your own.

    Raises:
        GraphError: as `log_prob`; a score that needs what is not there.

    Example:
        >>> import dgm_ppl as dgm
        >>> model = dgm.compile(dgm.BayesNet(x=dgm.Normal(loc=0.0, scale=1.0)))
        >>> dgm.outlier_scores(model, {"x": [0.0, 5.0]})
        tensor([ 0.9189, 13.4189])
    """
    if not isinstance(score, OutlierScore):
        raise GraphError(f"outlier_scores: expected a score such as dgm.Surprisal(); got {score!r}")
    with torch.no_grad():
        return score(model, data, method)
