"""Which engine eliminates the hidden nodes of a chain."""

from __future__ import annotations

from collections.abc import Collection

from ..families.affine import GAUSSIAN
from ..graph import GraphError
from .factors import Compiled
from .finite_chain import FiniteChain
from .gaussian_chain import GaussianChain
from .hidden import hidden_chain
from .switching_chain import SwitchingChain
from .treatment import LatentPlan, Treatment
from .watching import Watched

__all__ = ["ChainEngine", "chain_engine", "engine_for", "plan_chain"]

ChainEngine = FiniteChain | GaussianChain | SwitchingChain


def chain_engine(model: Compiled, watched: Watched, *, memory: int = 2**31) -> ChainEngine:
    """The engine for the hidden nodes of a net with a chain, given what was observed.

    Raises:
        GraphError: hidden nodes that none can eliminate, with the reason.
    """
    observed = [name for name in watched.values if name in model.net]
    try:
        return engine_for(model, observed, watched.holes, steps=watched.sizes.get(model.net.chains[0]), memory=memory)
    except GraphError as error:
        guided = "dgm.Importance(guide, 1000), dgm.Amortized(guide) or dgm.ELBO(model, guide), with guide = dgm.compile(dgm.amortize(net, observed="
        holed = f", missing={list(watched.holes)}" if watched.holes else ""
        raise GraphError(f"{error}; what cannot be eliminated takes a guide: {guided}{observed}{holed}))") from error


def engine_for(model: Compiled, observed: Collection[str], partial: Collection[str] = (), *, steps: int | None = None, memory: int = 2**31) -> ChainEngine:
    """The engine for a pattern of observed nodes, of which some have missing cells."""
    hidden, _ = hidden_chain(model, observed, partial)
    finite = [name for name in hidden if model.net[name].space.cardinality is not None]
    gaussian = [name for name in hidden if model.net[name].family in GAUSSIAN]
    if finite and gaussian:
        if steps is None:
            raise GraphError(
                f"exact chains: {', '.join(finite)} {'are' if len(finite) > 1 else 'is'} finite and {', '.join(gaussian)} Gaussian, and both are hidden: a switching system, whose "
                f"posterior is a mixture of as many Gaussians as there are paths; say how many steps there are, as the chain's size"
            )
        return SwitchingChain(model, observed, partial, steps)
    return GaussianChain(model, observed, partial) if gaussian else FiniteChain(model, observed, partial, memory=memory)


def plan_chain(model: Compiled, observed: str | Collection[str]) -> LatentPlan:
    """What happens to every latent of a net with a chain: eliminated whole, without a guide, or not at all.

    Raises:
        GraphError: an unknown or deterministic node observed.
    """
    net = model.net
    observed = (observed,) if isinstance(observed, str) else tuple(observed)
    for name in observed:
        if net[name].is_deterministic:
            raise GraphError(f"plan: node {name!r} is deterministic and cannot be observed; observe a noisy child of it instead")
    known = [*net.inputs, *observed]
    latents = [name for name in net.order if name in model.conditionals and not net[name].is_deterministic and name not in known]
    hidden, chain = hidden_chain(model, known)
    try:
        engine, reason = engine_for(model, known, steps=chain.size), ""
        if isinstance(engine, SwitchingChain):
            engine.check(1)
    except GraphError as error:
        engine, reason = None, str(error)

    def treatment(name: str) -> Treatment:
        if name not in hidden:
            return Treatment(name, "dropped", "nothing observed depends on it", "nothing")
        if engine is None:
            return Treatment(name, "amortized", reason, "a draw from the guide")
        each = f"of each step of {chain.name}" if net.chain_of(name) is not None else "of each sequence"
        if isinstance(engine, FiniteChain):
            states = net[name].space.cardinality
            return Treatment(name, "enumerated", f"{states} states {each}, summed out forwards and backwards", f"{engine.states}^2 = {engine.states**2} products a step")
        if isinstance(engine, SwitchingChain):
            how, kind = ("enumerated", f"{net[name].space.cardinality} states") if name in engine.finite else ("integrated", "Gaussian")
            return Treatment(name, how, f"{kind} {each}, by going through every path of {', '.join(engine.finite)}", f"{engine.paths} linear systems")
        return Treatment(name, "integrated", f"Gaussian {each}, and linear in one another, by the Kalman filter", f"{engine.size} unknowns solved for a step")

    return LatentPlan(observed, tuple(map(treatment, latents)))
