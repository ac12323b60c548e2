"""Which engine eliminates the hidden nodes of a chain."""

from __future__ import annotations

from .factors import Compiled
from .finite_chain import FiniteChain
from .watching import Watched

__all__ = ["chain_engine"]


def chain_engine(model: Compiled, watched: Watched, *, memory: int = 2**31) -> FiniteChain:
    """The engine for the hidden nodes of a net with a chain, given what was observed.

    Raises:
        GraphError: hidden nodes that none can eliminate, with the reason.
    """
    observed = [name for name in watched.values if name in model.net]
    return FiniteChain(model, observed, watched.holes, memory=memory)
