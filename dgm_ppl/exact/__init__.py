"""Exact elimination: finite hidden nodes summed out along a tree of cliques."""

from .engine import Answer, Engine
from .factors import Compiled, Evidence
from .holes import Seen, see
from .obstacle import obstacle, single

__all__ = ["Answer", "Compiled", "Engine", "Evidence", "Seen", "obstacle", "see", "single"]
