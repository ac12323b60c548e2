"""Exact elimination: finite hidden nodes summed out along a tree of cliques."""

from .conditioning import certain
from .engine import Answer, Engine
from .factors import Evidence
from .report import PlanReport

__all__ = ["Answer", "Engine", "Evidence", "PlanReport", "certain"]
