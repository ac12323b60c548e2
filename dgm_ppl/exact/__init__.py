"""Exact elimination: finite hidden nodes summed out along a tree of cliques."""

from .conditioning import certain
from .engine import Answer, Engine
from .factors import Compiled, Evidence
from .holes import Seen, see
from .obstacle import obstacle, single
from .report import PlanReport
from .soft import Likelihood, refuse_soft

__all__ = ["Answer", "Compiled", "Engine", "Evidence", "Likelihood", "PlanReport", "Seen", "certain", "obstacle", "refuse_soft", "see", "single"]
