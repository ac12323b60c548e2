"""Exact elimination: finite hidden nodes summed out along a tree of cliques, hidden chains forwards and backwards."""

from .engine import Answer, Engine
from .factors import Compiled, Evidence
from .finite_chain import FiniteChain, Observed
from .holes import Seen, see
from .sequences import chain_engine
from .watching import Watched, watch

__all__ = ["Answer", "Compiled", "Engine", "Evidence", "FiniteChain", "Observed", "Seen", "Watched", "chain_engine", "see", "watch"]
