"""Exact elimination: finite hidden nodes summed out along a tree of cliques, Gaussian ones integrated, and what can be eliminated at all."""

from .cells import HOLES, Cells, cells, packed, unpacked
from .collapse import Collapse, Given, Mixture
from .conditioning import certain
from .engine import Answer, Engine
from .factors import Compiled, Evidence
from .holes import Seen, see
from .obstacle import obstacle, single
from .report import PlanReport
from .soft import Likelihood, refuse_soft
from .structure import Obstacle, hinges
from .treatment import LatentPlan, Treatment, plan_latents

__all__ = [
    "HOLES", "Answer", "Cells", "Collapse", "Compiled", "Engine", "Evidence", "Given", "LatentPlan", "Likelihood", "Mixture", "Obstacle", "PlanReport", "Seen",
    "Treatment", "cells", "certain", "hinges", "obstacle", "packed", "plan_latents", "refuse_soft", "see", "single", "unpacked",
]
