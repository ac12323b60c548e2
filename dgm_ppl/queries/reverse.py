"""Inverse problems under a diffusion prior: the reverse process led by what was measured, and the same corrected by weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property

import torch
from torch import Tensor

from ..compile import Model
from ..compile.reduction import PerWorld
from ..compile.schedule import Node
from ..conditionals import Parametric
from ..conditionals.chained import Chained
from ..conditionals.denoising import Denoiser, DenoisingConditional
from ..families import noise
from ..families.randomness import seeded
from ..graph import GraphError
from .methods import Guided, Twisted
from .posterior import Posterior
from .psis import Diagnosis, diagnose_weights
from .weighting import pick

__all__ = ["ReversePosterior", "ReverseProblem"]

MOMENTS = 48                                        # numbers measured in a world whose covariance is taken whole


class ReverseProblem:
    """A hidden diffusion node and the evidence below it; draws stand in front of the worlds."""

    def __init__(self, model: Model, values: Mapping[str, Tensor]):
        self.model, layout = model, model.layout
        self.values, self.worlds, self.sizes = layout.align_all(values), layout.worlds(values), layout.sizes(values)
        self.node = self._hidden(set(values))
        below = set(model.net.dag.descendants(self.node.name))
        self.below = [node for node in model.schedule if node.name in below and (node.deterministic or node.name in values)]
        self.measured = [node for node in self.below if not node.deterministic]
        self.conditional: DenoisingConditional = self.node.conditional
        self.schedule = self.conditional.schedule

    def _hidden(self, observed: set[str]) -> Node:
        """The one hidden node that matters."""
        model = self.model
        above = set(model.net.dag.ancestors(*observed))
        hidden = [node for node in model.schedule if node.name in above and node.name not in observed and not node.deterministic]
        stepped = next((node.name for node in hidden if isinstance(node.conditional, Chained)), None)
        if stepped is not None:
            raise GraphError(f"posterior: guided reverse diffusion answers for one hidden value; {stepped!r} is drawn at every step of a chain; try method=dgm.Amortized(guide), with guide = dgm.compile(dgm.amortize(net, observed={sorted(observed)}))")
        wrong = next((node for node in hidden if not isinstance(node.conditional, DenoisingConditional)), None)
        if not hidden or wrong is not None or len(hidden) > 1:
            found = "none" if not hidden else ", ".join(f"{node.name!r} ~ {model.net[node.name].caption}" for node in hidden)
            raise GraphError(
                f"posterior: guided reverse diffusion answers for one hidden Diffusion or FlowMatching node above the evidence; got {found}; other nets: "
                f"method=dgm.Amortized(guide), with guide = dgm.compile(dgm.amortize(net, observed={sorted(observed)}))"
            )
        if model.net[hidden[0].name].space.integer:
            raise GraphError(f"posterior: {hidden[0].name!r} has levels, through which no gradient goes; declare it without levels=")
        if not hidden[0].conditional.link.plain:
            raise GraphError(f"posterior: {hidden[0].name!r} is diffused in other coordinates than its own; declare it without space= and preprocess=")
        return hidden[0]

    def denoiser(self, samples: int) -> Denoiser:
        batch = self.model.layout.batch(self.node.name, (samples, *self.worlds), self.sizes)
        return self.conditional.denoiser(self.node.prepare(self.values), batch, self.conditional.sampler.guidance)

    def log_likelihood(self, clean: Tensor) -> Tensor:
        """log p(evidence below | the hidden node), `(samples, *worlds)`."""
        found, terms = {**self.values, self.node.name: clean}, []
        for node in self.below:
            if node.deterministic:
                found[node.name] = self.model.compute(node, found, self.sizes)
            else:
                value = found[node.name].expand(len(clean), *found[node.name].shape) if found[node.name].ndim < clean.ndim else found[node.name]
                terms.append(-PerWorld()(node, node.conditional.surprisals(value, node.prepare(found)), self._full(node, len(clean))))
        return torch.stack(terms).sum(0)

    def _full(self, node: Node, samples: int) -> Tensor:
        value = self.values[node.name]
        return value.expand(samples, *self.worlds, *value.shape[len(self.worlds):])

    # ---- what the evidence says of a noisy value

    @cached_property
    def gaussian(self) -> bool:
        """Whether everything measured is Normal, so that the clean value's uncertainty can be added to its noise."""
        return all(isinstance(node.conditional, Parametric) and node.conditional.variable.family_name == "Normal" for node in self.measured)

    def led(self, denoiser: Denoiser, noisy: Tensor, t: Tensor, *, scale: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
        """log p(evidence | z_t) as approximated `(samples, *worlds)`, the noise in z_t by the prior, and that by the posterior."""
        with torch.enable_grad():
            noisy = noisy.detach().requires_grad_()
            clean, found = denoiser(noisy, t)
            alpha, sigma = (float(level.detach()) for level in self.schedule.levels(t))
            value = self._moments(clean, noisy, alpha, sigma) if self.gaussian else None
            if value is None:
                value = self.log_likelihood(clean) * (alpha**2 / (alpha**2 + sigma**2))     # the less is known of the clean value, the less it is believed
            (gradient,) = torch.autograd.grad(value.sum(), noisy)
        return value.detach(), found.detach(), (found - scale * sigma * gradient).detach()

    def _moments(self, clean: Tensor, noisy: Tensor, alpha: float, sigma: float) -> Tensor | None:
        """log N(y; A x, S + A V A') with x the clean value and V = (sigma^2 / alpha) dx/dz its covariance by Tweedie's formula (Boys et al., 2023).

        Its gradient is shortened where it would take the measured location further from y than it was: dx/dz of a trained network is no covariance quite, and the
        process, led too far at every step, would leave all bounds.
        """
        found, rows = {**self.values, self.node.name: clean}, clean.shape[: 1 + len(self.worlds)]
        locations, scales, seen = [], [], []
        for node in self.below:
            if node.deterministic:
                found[node.name] = self.model.compute(node, found, self.sizes)
                continue
            loc, size = node.prepare(found)[:2]
            full = self._full(node, len(clean))
            for part, values in ((locations, loc), (scales, size), (seen, full)):
                values = values if isinstance(values, Tensor) else full.new_tensor(values)
                part.append(values.expand(full.shape).reshape(*rows, -1))
        loc, size, seen = (torch.cat(part, -1) for part in (locations, scales, seen))
        if not loc.requires_grad:                                           # what is measured depends on it by its scale alone
            return None
        residual, tiny = (seen - loc).detach(), torch.finfo(loc.dtype).tiny
        solve = self._solved if loc.shape[-1] <= MOMENTS else self._along
        solved, moved, half = solve(loc, clean, noisy, residual, size, sigma**2 / alpha)
        exact = (moved / size).square().sum(-1, keepdim=True)
        short = (2 * (residual * moved / size.square()).sum(-1, keepdim=True) / exact.clamp_min(tiny)).clamp(0, 1)  # one where V is a covariance
        lead = short * solved * (loc - loc.detach())                                        # whose gradient takes the matrix as it is
        return (lead - solved * residual / 2).sum(-1) - half - loc.shape[-1] * math.log(2 * math.pi) / 2

    @staticmethod
    def _solved(loc: Tensor, clean: Tensor, noisy: Tensor, residual: Tensor, size: Tensor, factor: float) -> tuple[Tensor, Tensor, Tensor]:
        """(S + A V A')^-1 residual, what it moves the measured location by, and half the log-determinant; the matrix is made symmetric and not negative."""
        parts = []
        for i in range(loc.shape[-1]):
            by_noisy, by_clean = torch.autograd.grad(loc[..., i].sum(), [noisy, clean], retain_graph=True)
            parts.append((by_noisy.flatten(loc.ndim - 1), by_clean.flatten(loc.ndim - 1)))
        first, second = (torch.stack(part, -2) for part in zip(*parts))
        found = factor * first @ second.transpose(-1, -2)
        values, vectors = torch.linalg.eigh((found + found.transpose(-1, -2)) / 2)
        root = torch.linalg.cholesky(size.square().diag_embed() + vectors * values.clamp_min(0).unsqueeze(-2) @ vectors.transpose(-1, -2))
        solved = torch.cholesky_solve(residual.unsqueeze(-1), root)
        return solved.squeeze(-1), (found @ solved).squeeze(-1), root.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    @staticmethod
    def _along(loc: Tensor, clean: Tensor, noisy: Tensor, residual: Tensor, size: Tensor, factor: float) -> tuple[Tensor, Tensor, Tensor]:
        """The same of too many numbers for the matrix: the sums of its rows stand for it, scaled to be right along the residual.

        One step of conjugate gradients; a trained network's V is no covariance quite, and further steps are led astray by it. A V A' v takes two gradients: V is
        symmetric, so that V A' v is the gradient of v . loc in the noisy value.
        """
        anything = torch.zeros_like(loc, requires_grad=True)
        (back,) = torch.autograd.grad(loc, clean, anything, create_graph=True)

        def spread(v: Tensor) -> Tensor:
            (down,) = torch.autograd.grad(loc, noisy, v, retain_graph=True)
            (along,) = torch.autograd.grad(back, anything, down, retain_graph=True)
            return factor * along

        wide = size.square() + spread(torch.ones_like(loc)).clamp_min(0)
        aimed = residual / wide
        moved = spread(aimed)
        curvature = (size * aimed).square().sum(-1, keepdim=True) + (aimed * moved).sum(-1, keepdim=True).clamp_min(0)
        length = (residual * aimed).sum(-1, keepdim=True) / curvature.clamp_min(torch.finfo(loc.dtype).tiny)
        return length * aimed, length * moved, wide.log().sum(-1) / 2

    # ---- the two samplers

    @torch.no_grad()
    def guided(self, method: Guided) -> Tensor:
        """Draws of the hidden node, `(samples, *worlds, ...)`, by the reverse process with the posterior's noise."""
        denoiser = self.denoiser(method.samples)
        value, earlier, last_width = denoiser.start(), None, None
        for t, s in self._times(method.steps, value):
            _, _, found = self.led(denoiser, value, t, scale=method.scale)
            alpha, sigma = self.schedule.levels(t)
            clean, width = (value - sigma * found) / alpha, self.schedule.log_snr(s)[0] - self.schedule.log_snr(t)[0]
            if earlier is not None and s > 0:                                   # SDE-DPM-Solver++(2M): half a step ahead along the last two
                found = found - alpha / sigma * width / last_width / 2 * (clean - earlier)
            mean, spread = self._step(value, found, t, s)
            value, earlier, last_width = mean + spread * torch.randn_like(mean), clean, width
        return value / self.schedule.levels(value.new_zeros(()))[0]

    @torch.no_grad()
    def twisted(self, method: Twisted) -> tuple[Tensor, Tensor, Tensor]:
        """Draws, their log-weights `(particles, *worlds)`, and an estimate of log p(evidence), `(*worlds)`."""
        denoiser, lead = self.denoiser(method.particles), 1 + len(self.worlds)
        value = denoiser.start()
        times = self._times(method.steps, value)
        twist, found, led = self.led(denoiser, value, times[0][0])
        weights, evidence = twist, torch.zeros_like(twist[0])
        for t, s in times:
            weights, evidence, (value, found, led, twist) = self._resampled(weights, evidence, (value, found, led, twist))
            plain, spread = self._step(value, found, t, s)
            proposed, _ = self._step(value, led, t, s)
            drawn = proposed + spread * torch.randn_like(proposed)
            ratio = ((drawn - proposed).square() - (drawn - plain).square()) / (2 * spread.square())
            before = twist
            value = drawn
            twist, found, led = self.led(denoiser, value, s)
            weights = weights + ratio.flatten(lead).sum(-1) + twist - before
        alpha, sigma = self.schedule.levels(value.new_zeros(()))
        clean = (value + sigma * torch.randn_like(value)) / alpha
        with torch.no_grad():
            weights = weights + self.log_likelihood(clean) - twist
        return clean, weights, evidence + weights.logsumexp(0) - math.log(len(weights))

    def _times(self, steps: int, like: Tensor) -> list[tuple[Tensor, Tensor]]:
        times = torch.linspace(1.0, 0.0, steps + 1, device=like.device, dtype=like.dtype)
        return list(zip(times[:-1], times[1:]))

    def _step(self, value: Tensor, found: Tensor, t: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of z_s given z_t and the noise in it."""
        (alpha_t, sigma_t), (alpha_s, sigma_s) = self.schedule.levels(t), self.schedule.levels(s)
        fresh = -torch.expm1(self.schedule.log_snr(t)[0] - self.schedule.log_snr(s)[0])
        return alpha_s / alpha_t * (value - sigma_t * fresh * found), sigma_s * fresh.sqrt()

    def _resampled(self, weights: Tensor, evidence: Tensor, states: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, tuple[Tensor, ...]]:
        """Particles chosen anew, systematically, in the worlds where fewer than half of them count."""
        particles = len(weights)
        shares = weights.softmax(0)
        poor = 1 / shares.square().sum(0) < particles / 2
        if not bool(poor.any()):
            return weights, evidence, states
        points = (torch.arange(particles, device=weights.device, dtype=weights.dtype).reshape(-1, *(1,) * poor.ndim) + torch.rand_like(evidence)) / particles
        chosen = torch.searchsorted(shares.cumsum(0).movedim(0, -1).contiguous(), points.movedim(0, -1).contiguous()).movedim(-1, 0).clamp_max(particles - 1)
        kept = torch.arange(particles, device=weights.device).reshape(-1, *(1,) * poor.ndim).expand_as(chosen)
        chosen = torch.where(poor, chosen, kept)
        picked = tuple(pick(state, chosen) for state in states)
        evidence = torch.where(poor, evidence + weights.logsumexp(0) - math.log(particles), evidence)
        return torch.where(poor, torch.zeros_like(weights), weights), evidence, picked


class ReversePosterior(Posterior):
    """Draws of a diffusion node given what was measured below it."""

    def __init__(self, model: Model, values: Mapping[str, Tensor], method: Guided | Twisted):
        super().__init__(model, values)
        self.method, self.problem = method, ReverseProblem(model, values)
        with seeded(method.seed, model.device):
            if isinstance(method, Twisted):
                drawn, self._log_weights, self._log_evidence = self.problem.twisted(method)
            else:
                drawn, self._log_weights, self._log_evidence = self.problem.guided(method), None, None
            self._draws = self._completed(drawn)

    def _completed(self, drawn: Tensor) -> dict[str, Tensor]:
        """The draws with the nodes that follow from them."""
        problem = self.problem
        with torch.no_grad():
            found = self.model.run({**problem.values, problem.node.name: drawn}, (len(drawn), *self.worlds), problem.sizes, noise)
        return {name: value for name, value in found.items() if name not in self.evidence}

    @property
    def draws(self) -> Mapping[str, Tensor]:
        return self._draws

    @property
    def log_weights(self) -> Tensor | None:
        return self._log_weights

    @property
    def log_evidence(self) -> Tensor:
        """The particles' estimate of log p(evidence) of each world."""
        if self._log_evidence is None:
            raise GraphError("log_evidence: guided reverse diffusion does not give it; ask method=dgm.Twisted(particles=500)")
        return self._log_evidence

    def _sampled(self, samples: int) -> dict[str, Tensor]:
        """Draws, with replacement where they have weights."""
        held = len(next(iter(self._draws.values())))
        if self._log_weights is None and samples > held:
            raise GraphError(f"sample: the posterior holds {held} draws; got {samples}; ask dgm.Guided(samples={samples})")
        if self._log_weights is None:
            return {name: self.released(name)[:samples] for name in self.names}
        picked = torch.distributions.Categorical(logits=self._log_weights.movedim(0, -1)).sample((samples,))
        return {name: pick(self.released(name), picked) for name in self.names}

    def diagnose(self) -> Diagnosis | str:
        """k-hat and effective particles; of guided draws, what they are."""
        if self._log_weights is None:
            return "guided reverse diffusion: approximate, its error unknown; dgm.Twisted(particles=...) corrects it by weights"
        return diagnose_weights(self._log_weights, mend="take more particles and steps")
