"""Hamiltonian Monte Carlo in the space of the noise that a model's draws are made of: latent variables, flows and generators alike."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from pyro.ops.stats import effective_sample_size, split_gelman_rubin
from torch import Tensor

from ..compile import Model
from ..compile.reduction import PerWorld
from ..conditionals.denoising import DenoisingConditional
from ..families import Noise
from ..families.randomness import seeded
from ..graph import GraphError
from .chains import Chains
from .export import to_arviz
from .methods import HMC
from .posterior import Posterior

__all__ = ["NoisePosterior"]


class Recorded(Noise):
    """Noise that is given rather than drawn: each request takes the next tensor; the first run draws them."""

    moved = True

    def __init__(self, held: Sequence[Tensor] = ()):
        self.held, self.position, self.made = list(held), 0, []

    def normal(self, shape: Sequence[int], like: Tensor) -> Tensor:
        if self.held:
            value = self.held[self.position]
            self.position += 1
            return value.expand(tuple(shape))
        self.made.append(torch.randn(tuple(shape), dtype=like.dtype, device=like.device))
        return self.made[-1]


class NoiseSpace:
    """p(noise | evidence), which is N(0, 1) times the likelihood of the evidence given what the noise makes."""

    def __init__(self, model: Model, values: Mapping[str, Tensor], chains: int):
        self.model, layout = model, model.layout
        self.values, self.sizes, self.observed = layout.align_all(values), layout.sizes(values), set(values)
        self.worlds = (chains, *layout.worlds(values))
        self.start = self._recorded()

    def _recorded(self) -> list[Tensor]:
        """The noise of a first draw; the model is refused where the same noise would not give the same draw."""
        noise = Recorded()
        with torch.no_grad():
            first = self.model.run(self.values, self.worlds, self.sizes, noise)
            again = self.model.run(self.values, self.worlds, self.sizes, Recorded(noise.made)) if noise.made else self.model.run(self.values, self.worlds, self.sizes)
        above = self.model.net.ancestors(*self.observed)
        for name in self.model.random:
            if name in above and name not in self.observed and isinstance(self.model.conditionals[name], DenoisingConditional) and self.model.net[name].space.integer:
                raise GraphError(f"HMC: node {name!r} ~ {self.model.net[name].summary} has levels, through which no gradient leads the chains; declare it without levels=")
        for name, value in first.items():
            if name not in self.observed and not self.model.net[name].is_deterministic and not torch.equal(value, again[name]):
                raise GraphError(
                    f"HMC: node {name!r} ~ {self.model.net[name].summary} is not made of normal noise, so it cannot be moved in noise space; observe it, or use "
                    f"dgm.NUTS(), which moves the values themselves, or dgm.Importance(guide)"
                )
        if not noise.made:
            raise GraphError("HMC: nothing hidden is made of normal noise; got no latent that could be moved")
        return noise.made

    def values_of(self, held: Sequence[Tensor]) -> dict[str, Tensor]:
        return self.model.run(self.values, self.worlds, self.sizes, Recorded(held))

    def energy(self, held: Sequence[Tensor]) -> Tensor:
        """-log p(noise, evidence) of each chain and world."""
        found, reduce = self.values_of(held), PerWorld()
        lead = len(self.worlds)
        total = sum(part.square().flatten(lead).sum(-1) / 2 if part.ndim > lead else part.square() / 2 for part in held)
        for node in self.model.schedule:
            if node.name in self.observed:
                full = found[node.name].expand(*self.worlds, *found[node.name].shape[found[node.name].ndim - self.model.layout.rank - node.event_rank:])
                total = total + reduce(node, node.conditional.surprisals(found[node.name], node.prepare(found)), full).expand(self.worlds)
        return total

    def slope(self, held: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        with torch.enable_grad():
            held = [part.detach().requires_grad_() for part in held]
            energy = self.energy(held)
            return energy.detach(), list(torch.autograd.grad(energy.sum(), held))


class NoisePosterior(Posterior):
    """The draws of chains that moved the noise, worlds and chains side by side."""

    def __init__(self, model: Model, values: Mapping[str, Tensor], method: HMC):
        super().__init__(model, values)
        self.method = method
        with seeded(method.seed, model.device):
            space = NoiseSpace(model, values, method.chains)
            kept, self.acceptance = _run(space, method)
        self._chained = {name: torch.stack([draw[name] for draw in kept], 1) for name in kept[0] if name not in values}   # (chains, draws, *worlds, ...)

    @property
    def draws(self) -> Mapping[str, Tensor]:
        return {name: value.flatten(0, 1) for name, value in self._chained.items()}

    def _sampled(self, samples: int) -> dict[str, Tensor]:
        """Draws of the chains, evenly spaced; at most as many as there are."""
        held = self.method.chains * self.method.samples
        if samples > held:
            raise GraphError(f"sample: the chains hold {held} draws; got {samples}; ask for more: dgm.HMC(samples={math.ceil(samples / self.method.chains)})")
        spaced = torch.linspace(0, held - 1, samples).round().long()
        return {name: self.released(name)[spaced] for name in self.names}

    def diagnose(self) -> Chains:
        """Split R-hat and effective sample size of every node's worst element."""
        moving = {name: value for name, value in self._chained.items() if value.is_floating_point() and bool((value.std((0, 1)) > 0).all())}
        return Chains(
            self.draws, {name: split_gelman_rubin(value).max().item() for name, value in moving.items()},
            {name: effective_sample_size(value).min().item() for name, value in moving.items()},
        )

    def to_arviz(self, samples: int | None = None) -> object:
        drawn = {name: torch.stack([self.model.layout.release(name, chain) for chain in self._chained[name]]).cpu().numpy() for name in self.names}
        return to_arviz(drawn, self._observed())


def _run(space: NoiseSpace, method: HMC) -> tuple[list[dict[str, Tensor]], Tensor]:
    """Leapfrog trajectories of every chain and world at once, each world with a step size of its own, set while warming up."""
    held, lead = space.start, len(space.worlds)
    energy, slope = space.slope(held)
    step = torch.full_like(energy[:1], method.step)
    log_step, average, error = step.log(), torch.zeros_like(step), torch.zeros_like(step)
    kept, accepted = [], torch.zeros_like(energy)
    for turn in range(method.warmup + method.samples):
        length = step * (0.8 + 0.4 * torch.rand_like(step))                # no trajectory closes on itself
        momentum = [torch.randn_like(part) for part in held]
        proposal, pushed, slope_there = list(held), list(momentum), slope
        for _ in range(method.leapfrog):
            pushed = [p - _wide(length, p, lead) / 2 * g for p, g in zip(pushed, slope_there)]
            proposal = [q + _wide(length, q, lead) * p for q, p in zip(proposal, pushed)]
            energy_there, slope_there = space.slope(proposal)
            pushed = [p - _wide(length, p, lead) / 2 * g for p, g in zip(pushed, slope_there)]
        change = energy + _kinetic(momentum, lead) - energy_there - _kinetic(pushed, lead)
        chance = change.nan_to_num(nan=-torch.inf).clamp_max(0).exp()
        taken = torch.rand_like(chance) < chance
        held = [torch.where(_wide(taken, old, lead), new, old) for new, old in zip(proposal, held)]
        slope = [torch.where(_wide(taken, old, lead), new, old) for new, old in zip(slope_there, slope)]
        energy = torch.where(taken, energy_there, energy)
        if turn < method.warmup:                                            # dual averaging (Hoffman and Gelman, 2014)
            count = turn + 1
            error = error + (method.target_accept - chance.mean(0, keepdim=True) - error) / (count + 10)
            log_step = math.log(10 * method.step) - math.sqrt(count) / 0.05 * error
            share = count**-0.75
            average = share * log_step + (1 - share) * average
            step = (log_step if count < method.warmup else average).clamp(-12.0, 3.0).exp()
        else:
            accepted = accepted + chance
            with torch.no_grad():
                kept.append(space.values_of(held))
    return kept, accepted / method.samples


def _wide(number: Tensor, part: Tensor, lead: int) -> Tensor:
    return number.reshape(*number.shape, *(1,) * (part.ndim - lead))


def _kinetic(momentum: Sequence[Tensor], lead: int) -> Tensor:
    return sum(part.square().flatten(lead).sum(-1) / 2 if part.ndim > lead else part.square() / 2 for part in momentum)
