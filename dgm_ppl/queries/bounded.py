"""Scores of complete data where a node's density is a bound, or is had by solving an equation; and of nodes without one."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from torch import Tensor

from ..compile import Model
from ..conditionals.denoising import DenoisingConditional
from ..conditionals.probability_flow import LARGEST_EXACT
from ..graph import GraphError
from .methods import Bound, Method, ProbabilityFlow

__all__ = ["bounded", "bounds", "check_weights", "flowing", "marginaliser", "noisy", "noisy_kind", "refuse_implicit", "refuse_noisy"]

REPEATS = 16                                        # draws of a stochastic bound that are averaged


def refuse_implicit(model: Model, observed: Collection[str], asked: str) -> None:
    """Raises `GraphError` where a density is needed of a node that has none: one that is observed, or above one."""
    for name in model.random:
        if model.conditionals[name].density is None and name in observed:
            raise model.conditionals[name].without_density(asked)


def bounded(model: Model, observed: Collection[str]) -> bool:
    """Whether a node that is observed has a bound, or an estimate, for its density."""
    return noisy(model, observed) is not None


def noisy_kind(model: Model, observed: Collection[str]) -> str:
    """What a score of noisy densities is: a bound where one of them is."""
    return "bound" if any(name in observed and model.conditionals[name].density == "bound" for name in model.random) else "estimate"


def bounds(score: Callable[[], Tensor]) -> tuple[Tensor, Tensor]:
    """The mean of several draws of the bound of each world, and its standard error."""
    found = torch.stack([score() for _ in range(REPEATS)])
    return found.mean(0), found.std(0) / math.sqrt(REPEATS)


def noisy(model: Model, names: Collection[str] | None = None) -> str | None:
    """The first node, of these or of all, whose density is a stochastic bound or estimate."""
    return next((name for name in model.random if model.conditionals[name].density in ("bound", "estimate") and (names is None or name in names)), None)


def marginaliser(model: Model) -> str:
    """The method that marginalises latents, as code."""
    return "method=dgm.Importance(guide, 5000)" if noisy(model) is None else "method=dgm.Bound(guide, samples=100)"


def check_weights(model: Model, method: Method) -> None:
    """Raises `GraphError` where weights would be exponentials of a noisy density, of the model or of the guide, which are no weights."""
    model, name = next(((each, noisy(each)) for each in (model, method.guide) if noisy(each) is not None), (model, None))
    if name is not None and not (isinstance(method, Bound) and method.particles == 1):
        raise GraphError(
            f"log_prob: the density of {name!r} ~ {model.net[name].summary} is a stochastic {model.conditionals[name].density}, whose exponential would bias importance weights; ask for the "
            f"bound: method=dgm.Bound(guide, samples=100)"
        )


def refuse_noisy(model: Model, names: Collection[str] | None, asked: str) -> None:
    """Raises `GraphError` where draws would be weighed or accepted by a noisy bound of one of these nodes, or of any."""
    name = noisy(model, names)
    if name is not None:
        raise GraphError(
            f"{asked}: the density of {name!r} ~ {model.net[name].summary} is a stochastic {model.conditionals[name].density}, by which draws can be neither weighed nor accepted; take a guide's draws as they "
            f"are, dgm.posterior(model, evidence, method=dgm.Amortized(guide)), and for the bound dgm.log_prob(model, evidence, method=dgm.Bound(guide, samples=100))"
        )


def flowing(model: Model, values: Mapping[str, Tensor], method: ProbabilityFlow) -> tuple[Tensor, str, Tensor | None]:
    """log p of complete data, that of each denoising node by its probability flow; whether it is exact or an estimate, by how much where it was repeated."""
    if not any(isinstance(model.conditionals[name], DenoisingConditional) for name in model.random):
        raise GraphError(f"log_prob: no node is a Diffusion or FlowMatching outside a chain, whose flow could be solved; got {list(model.random)}; leave the method out")
    scored = set(values) | set(model.net.ancestors(*values))
    missing = [name for name in model.random if name in scored and name not in values]
    if missing:
        raise GraphError(f"log_prob: ProbabilityFlow scores complete data; node {missing[0]!r} has no value; marginalise it by method=dgm.Bound(guide, samples=100), which takes the bound")
    probed = any(
        name in values and isinstance(model.conditionals[name], DenoisingConditional) and (method.probes is not None or model.net[name].numel > LARGEST_EXACT) for name in model.random
    )
    found = torch.stack([_once(model, values, method, scored) for _ in range(method.repeats if probed else 1)])
    return found.mean(0), "estimate" if probed else "exact", found.std(0) / math.sqrt(len(found)) if len(found) > 1 else None


def _once(model: Model, values: Mapping[str, Tensor], method: ProbabilityFlow, scored: Collection[str]) -> Tensor:
    layout, worlds, sizes = model.layout, model.layout.worlds(values), model.layout.sizes(values)
    found, total = layout.align_all(values), torch.zeros(worlds, dtype=model.anchor.dtype, device=model.device)
    with torch.no_grad():
        for node in (node for node in model.schedule if node.name in scored):
            if node.deterministic:
                found[node.name] = model.compute(node, found, sizes)
                continue
            total = total + model.per_world(_density(model, node, found, layout.batch(node.name, worlds, sizes), method))
    return total


def _density(model: Model, node: Any, found: Mapping[str, Tensor], batch: tuple[int, ...], method: ProbabilityFlow) -> Tensor:
    conditional, value, prepared = node.conditional, found[node.name], node.prepare(found)
    if not isinstance(conditional, DenoisingConditional):
        return conditional.log_density(value, prepared)
    if model.net[node.name].space.integer:
        raise GraphError(f"log_prob: node {node.name!r} has levels, of which the flow has no density; the bound is dgm.log_prob(model, data)")
    return conditional.flow_density(value, prepared, batch, rtol=method.tolerance, atol=method.tolerance, probes=method.probes)
