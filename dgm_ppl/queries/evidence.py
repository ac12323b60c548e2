"""log p(data), latents marginalised, saying whether it is exact, an estimate or a bound."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..compile import Model
from ..exact import Cells, Obstacle, cells, complete_log_prob, refuse_soft, see, watch
from ..graph import GraphError
from .bounded import bounded, bounds, check_weights, flowing, marginaliser, noisy_kind, refuse_implicit
from .elimination import by_cliques, collapsed_log_prob, integrates
from .exact import Exact, exact_log_prob, why_not
from .methods import Bound, Importance, Method, ProbabilityFlow
from .sequences import sequence_log_prob
from .subsets import serves_subsets, subset_estimate
from .weighting import WeightedDraws, evidence_for

__all__ = ["Score", "log_prob"]


@dataclass(frozen=True, eq=False)
class Score:
    """log p of each world, in nats: `kind` is "exact", "estimate" or "bound"; `stderr` the Monte Carlo error of each where not exact."""

    value: Tensor
    kind: str
    stderr: Tensor | None = None
    method: str = ""

    def mean(self) -> float:
        """The mean over worlds."""
        return self.value.mean().item()

    def mean_stderr(self) -> float:
        """The standard error of the mean over worlds as an estimate for the population: rows vary, draws vary."""
        if self.value.numel() < 2:
            return 0.0 if self.stderr is None else self.stderr.max().item()
        return (self.value.std() / math.sqrt(self.value.numel())).item()

    def monte_carlo_stderr(self) -> float:
        """The standard error of the mean over these very worlds, from the draws alone."""
        return 0.0 if self.stderr is None else (self.stderr.square().sum().sqrt() / self.stderr.numel()).item()

    def __repr__(self) -> str:
        spread = "" if self.stderr is None else f" ± {self.monte_carlo_stderr():.3f}"
        worlds = f", mean of {self.value.numel()} worlds" if self.value.numel() > 1 else ""
        return f"log p = {self.mean():.3f}{spread} nats ({self.kind}{', ' + self.method if self.method else ''}{worlds})"


def log_prob(model: Model, data: Any, *, method: Method | None = None) -> Score:
    """log p(data) of each world, summed or integrated over the nodes that the data lack.

    Nodes that nothing observed depends on integrate to one and are dropped. Where no other latent is left, or all that are left are
    finite, or Gaussian and everything that depends on them linear, the answer is exact and needs no method; cells may then be missing (NaN or None), evidence soft
    (`Likelihood`).

    Args:
        model: a compiled net.
        data: a dict of tensors, arrays or labels (a DataFrame is taken too), one row or many.
        method: `Importance(guide, 5000)` for the estimate log mean_s p(x, z_s) / q(z_s | x), or `Bound(guide, particles)`;
            `ProbabilityFlow()` for the exact density of diffusions, whose bound is the answer else.

    Raises:
        GraphError: latents without a method, a method that cannot do this, data that the declaration excludes.

    Example:
        >>> import dgm_ppl as dgm
        >>> rain = dgm.compile(dgm.BayesNet(rain=dgm.Bernoulli(probs=0.25)))
        >>> dgm.log_prob(rain, {"rain": [1.0, 0.0]})
        log p = -0.837 nats (exact, mean of 2 worlds)
    """
    if serves_subsets(method):
        value, stderr = subset_estimate(model, data, method)
        return Score(value, "estimate", stderr, f"{method.samples} importance samples")
    exact = method is None or isinstance(method, Exact)
    if model.net.chains and exact:
        watched = watch(model, data)
        if bounded(model, watched.values) and not watched.holes and watched.values.keys() >= set(model.random):
            with torch.no_grad():
                value, stderr = bounds(lambda: model.log_prob(watched.values))
            return Score(value, noisy_kind(model, watched.values), stderr)
        return Score(sequence_log_prob(model, watched, method or Exact()), "exact")
    found = cells(model, data) if exact and integrates(model) else None
    if found is not None and (relevant(model, found) or found.holes or found.soft) and not by_cliques(model, found):
        try:
            return Score(collapsed_log_prob(model, found, method or Exact()), "exact")
        except Obstacle as obstacle_met:
            refuse_implicit(model, found, "log_prob")
            raise GraphError(
                f"log_prob: the latents {relevant(model, found)} have to be marginalised, and {obstacle_met.name!r} cannot be eliminated exactly: {obstacle_met.reason}; say how: "
                f"{marginaliser(model)}, with guide = dgm.compile(dgm.amortize(net, observed={list(found)}))"
            ) from obstacle_met
    if exact:
        seen = see(model, data)
        reason = why_not(model, seen)
        if (seen.holes or seen.gaps or seen.soft or relevant(model, seen.columns)) and reason is None:
            return Score(exact_log_prob(model, seen, method or Exact()), "exact")
        if seen.soft:
            raise GraphError(f"log_prob: the evidence on {next(iter(seen.soft))!r} is soft, which needs exact elimination, and {reason}; observe that node, or give states")
    else:
        refuse_soft(data, "log_prob", method)
    whole = exact and not (seen.holes or seen.gaps or seen.empty)
    values = seen.complete if whole else evidence_for(model, data, method)
    refuse_implicit(model, values, "log_prob")
    if isinstance(method, ProbabilityFlow):
        value, kind, stderr = flowing(model, values, method)
        return Score(value, kind, stderr, "probability flow")
    latents = relevant(model, values)
    if not latents and not (isinstance(values, Cells) and values.holes):    # a missing cell is latent as well
        if bounded(model, values):
            value, stderr = bounds(lambda: _complete(model, values))
            return Score(value, noisy_kind(model, values), stderr)
        return Score(_complete(model, values), "exact")
    if method is None or isinstance(method, Exact):
        raise GraphError(
            f"log_prob: the latents {latents} have to be marginalised; say how: {marginaliser(model)}, with "
            f"guide = dgm.compile(dgm.amortize(net, observed={[name for name in values]}))"
        )
    if not isinstance(method, (Importance, Bound)):
        raise GraphError(f"log_prob: {type(method).__name__} gives no evidence; use dgm.Importance(guide, samples) or dgm.Bound(guide, particles)")
    check_weights(model, method)
    pieces = list(WeightedDraws(model, method.guide, values).pieces())
    answers = [_estimate(piece, method) if isinstance(method, Importance) else _bound(piece, method) for piece in pieces]
    value, stderr = (torch.cat(parts) if len(parts) > 1 else parts[0] for parts in zip(*answers))
    if isinstance(method, Importance):
        return Score(value, "estimate", stderr, f"{method.samples} importance samples")
    return Score(value, "bound", stderr, f"{method.particles} particle{'s' if method.particles > 1 else ''}")


def relevant(model: Model, observed: Iterable[str]) -> list[str]:
    """The random nodes that are not observed and on which something observed depends."""
    observed = [name for name in observed if name in model.random]
    above = model.net.ancestors(*observed) if observed else ()
    return [name for name in model.random if name in above and name not in observed]


def _complete(model: Model, values: Mapping[str, Tensor]) -> Tensor:
    found, worlds, sizes = model.layout.align_all(values), model.layout.worlds(values), model.layout.sizes(values)
    rows = math.prod(worlds)
    with torch.no_grad():
        total, gathered = complete_log_prob(Exact().engine(model).factors, {name: value for name, value in found.items() if value.numel() == rows}, rows)
        total = total.reshape(worlds)
        for node in model.schedule:
            readable = all(parent in found for parent in node.parents)
            if node.deterministic and readable:
                found[node.name] = model.compute(node, found, sizes)
            elif node.name in values and node.name not in gathered:
                total = total + model.per_world(node.conditional.log_density(found[node.name], node.prepare(found)))
    return total


def _estimate(draws: WeightedDraws, method: Importance) -> tuple[Tensor, Tensor]:
    """log mean w and its standard error by the delta method: sqrt((E w^2 / (E w)^2 - 1) / n)."""
    first, second = None, None
    for weights in draws.weights(method.samples):
        one, two = weights.logsumexp(0), (2 * weights).logsumexp(0)
        first = one if first is None else torch.logaddexp(first, one)
        second = two if second is None else torch.logaddexp(second, two)
    mean = first - math.log(method.samples)
    spread = (second - math.log(method.samples) - 2 * mean).exp() - 1
    return mean, (spread.clamp_min(0) / method.samples).sqrt()


def _bound(draws: WeightedDraws, method: Bound) -> tuple[Tensor, Tensor]:
    weights = torch.cat(list(draws.weights(method.samples * method.particles)))
    bounds = weights.unflatten(0, (method.samples, method.particles)).logsumexp(1) - math.log(method.particles)
    spread = bounds.std(0) / math.sqrt(method.samples) if method.samples > 1 else torch.zeros_like(bounds[0])
    return bounds.mean(0), spread
