"""Exact elimination: finite hidden nodes summed out along a tree of cliques."""

from .engine import Answer, Engine
from .factors import Evidence

__all__ = ["Answer", "Engine", "Evidence"]
