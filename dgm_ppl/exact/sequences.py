"""Which engine eliminates the hidden nodes of a chain."""

from __future__ import annotations

from collections.abc import Collection

from ..families.affine import GAUSSIAN
from ..graph import GraphError
from .factors import Compiled
from .finite_chain import FiniteChain, hidden_chain
from .gaussian_chain import GaussianChain
from .watching import Watched

__all__ = ["ChainEngine", "chain_engine", "engine_for"]

ChainEngine = FiniteChain | GaussianChain


def chain_engine(model: Compiled, watched: Watched, *, memory: int = 2**31) -> ChainEngine:
    """The engine for the hidden nodes of a net with a chain, given what was observed.

    Raises:
        GraphError: hidden nodes that none can eliminate, with the reason.
    """
    return engine_for(model, [name for name in watched.values if name in model.net], watched.holes, steps=watched.sizes.get(model.net.chains[0]), memory=memory)


def engine_for(model: Compiled, observed: Collection[str], partial: Collection[str] = (), *, steps: int | None = None, memory: int = 2**31) -> ChainEngine:
    """The engine for a pattern of observed nodes, of which some have missing cells."""
    hidden, _ = hidden_chain(model, observed, partial)
    finite = [name for name in hidden if model.net[name].space.cardinality is not None]
    gaussian = [name for name in hidden if model.net[name].family in GAUSSIAN]
    if finite and gaussian:
        raise GraphError(
            f"exact chains: {', '.join(finite)} {'are' if len(finite) > 1 else 'is'} finite and {', '.join(gaussian)} Gaussian, and both are hidden: a switching system, whose posterior "
            f"is a mixture of {_paths(model, finite, steps)}; observe one kind, or use a guide: method=dgm.Importance(guide, 5000)"
        )
    return GaussianChain(model, observed, partial) if gaussian else FiniteChain(model, observed, partial, memory=memory)


def _paths(model: Compiled, finite: Collection[str], steps: int | None) -> str:
    states = 1
    for name in finite:
        states *= model.net[name].space.cardinality
    return f"{states}^{steps} = {float(states) ** steps:.3g} Gaussians" if steps is not None and steps < 300 else f"{states} Gaussians to the power of the number of steps"
