"""Markov chains over a model's Pyro program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyro.infer
import torch
from pyro.ops.stats import effective_sample_size, split_gelman_rubin
from torch import Tensor

from ..compile import Model
from ..families.randomness import seeded
from ..graph import GraphError
from ..network.unrolling import at_step
from .methods import NUTS

__all__ = ["Chains", "run_nuts"]


@dataclass(frozen=True, eq=False, repr=False)
class Chains:
    """Draws, aligned and chains end to end, with split R-hat and effective sample size of every node's worst element."""

    draws: Mapping[str, Tensor]
    rhat: Mapping[str, float]
    effective: Mapping[str, float]

    @property
    def verdict(self) -> str:
        bad = [name for name, value in self.rhat.items() if not value < 1.01]
        return "converged" if not bad else f"not converged: R-hat above 1.01 for {', '.join(bad)}; run longer chains"

    def __repr__(self) -> str:
        lines = [f"{name}: R-hat {self.rhat[name]:.3f}, effective draws {self.effective[name]:.0f}" for name in self.rhat]
        return "\n".join([*lines, self.verdict])


def run_nuts(model: Model, values: Mapping[str, Tensor], worlds: Sequence[int], method: NUTS) -> Chains:
    """Runs the No-U-Turn sampler on the program with the evidence observed."""
    for node in model.schedule:
        if node.name not in values and node.conditional.variable.space.cardinality is not None:
            raise GraphError(f"NUTS: node {node.name!r} ~ {node.conditional.variable.summary} is discrete and has no gradient; observe it, or use dgm.Importance(guide)")
    runs = []
    with seeded(method.seed, model.device):
        for _ in range(method.chains):
            kernel = pyro.infer.NUTS(model, target_accept_prob=method.target_accept, max_tree_depth=method.max_tree_depth)
            sampler = pyro.infer.MCMC(kernel, num_samples=method.samples, warmup_steps=method.warmup, disable_progbar=True)
            sampler.run(values)
            runs.append(_side_by_side(model, sampler.get_samples()))
    chains = {name: torch.stack([run[name] for run in runs]) for name in runs[0]}                       # (chains, draws, ...)
    draws = {name: _aligned(model, name, value.flatten(0, 1), len(worlds)) for name, value in chains.items()}
    return Chains(
        _with_functions(model, draws, values),
        {name: split_gelman_rubin(value).max().item() for name, value in chains.items()} if method.samples >= 4 else {},
        {name: effective_sample_size(value).min().item() for name, value in chains.items()},
    )


def _side_by_side(model: Model, drawn: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The steps of a chain, which have a site each, in one tensor a node."""
    found = dict(drawn)
    for node in (node for node in model.schedule if node.strand is not None):
        steps = []
        while at_step(node.name, len(steps)) in found:
            steps.append(found.pop(at_step(node.name, len(steps))))
        if steps:
            found[node.name] = torch.cat(steps, node.strand.members[node.name])
    return found


def _aligned(model: Model, name: str, value: Tensor, worlds: int) -> Tensor:
    """Pyro leaves out singletons to the left; puts them back: `(draws, *worlds, *plates, *event)`."""
    wanted = 1 + worlds + model.layout.rank + len(model.layout.events[name])
    return value.reshape(len(value), *(1,) * (wanted - value.ndim), *value.shape[1:])


def _with_functions(model: Model, draws: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Adds the deterministic nodes."""
    found = {**model.layout.align_all(values), **draws}
    samples = len(next(iter(draws.values())))
    if model.net.chains:
        with torch.no_grad():
            found = model.determined(found, model.layout.sizes(values))
        return {name: value for name, value in found.items() if name not in values}
    with torch.no_grad():
        for node in model.schedule:
            if node.deterministic:
                value = node.conditional.value(node.prepare(found))
                batch = model.layout.batch(node.name, (samples, *model.layout.worlds(values)), model.layout.sizes(values))
                found[node.name] = value.expand(*batch, *model.layout.events[node.name])
    return {name: value for name, value in found.items() if name not in values}
