"""Exact elimination: finite hidden nodes summed out along a tree of cliques, Gaussian ones integrated, chains forwards and backwards, and what can be eliminated at all."""

from ..graph.lazy import later
from .cells import Cells, cells, hole_name, missing_cells, packed, unpacked
from .obstacle import obstacle, single

LATER = {                                                                   # engines that a net does without are not loaded
    "collapse": ["Collapse", "Given", "Mixture"],
    "complete": ["complete_log_prob"],
    "conditioning": ["certain"],
    "engine": ["Answer", "Engine"],
    "factors": ["Compiled", "Evidence", "Factors"],
    "finite_chain": ["FiniteChain"],
    "gaussian_chain": ["GaussianChain"],
    "hidden": ["Observed"],
    "holes": ["Seen", "see"],
    "report": ["PlanReport"],
    "sequences": ["ChainEngine", "chain_engine", "engine_for", "plan_chain"],
    "soft": ["Likelihood", "refuse_soft"],
    "structure": ["Block", "Obstacle", "hinges", "kind_of"],
    "switching_chain": ["SwitchingChain"],
    "treatment": ["LatentPlan", "Treatment", "plan_latents"],
    "watching": ["Watched", "watch"],
}

__all__ = ["Cells", "cells", "hole_name", "missing_cells", "obstacle", "packed", "single", "unpacked", *(name for names in LATER.values() for name in names)]
__getattr__ = later(__name__, LATER)
