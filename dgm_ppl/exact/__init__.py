"""Exact elimination: finite hidden nodes summed out along a tree of cliques, Gaussian ones integrated, chains forwards and backwards, and what can be eliminated at all."""

from .cells import Cells, cells, hole_name, missing_cells, packed, unpacked
from .collapse import Collapse, Given, Mixture
from .complete import complete_log_prob
from .conditioning import certain
from .engine import Answer, Engine
from .factors import Compiled, Evidence, Factors
from .finite_chain import FiniteChain
from .gaussian_chain import GaussianChain
from .hidden import Observed
from .holes import Seen, see
from .obstacle import obstacle, single
from .report import PlanReport
from .sequences import ChainEngine, chain_engine, engine_for, plan_chain
from .soft import Likelihood, refuse_soft
from .structure import Block, Obstacle, hinges, kind_of
from .switching_chain import SwitchingChain
from .treatment import LatentPlan, Treatment, plan_latents
from .watching import Watched, watch

__all__ = [
    "Answer", "Block", "Cells", "ChainEngine", "Collapse", "Compiled", "Engine", "Evidence", "Factors", "FiniteChain", "GaussianChain", "Given", "LatentPlan", "Likelihood", "Mixture",
    "Observed", "Obstacle", "PlanReport", "Seen", "SwitchingChain", "Treatment", "Watched", "cells", "certain", "chain_engine", "complete_log_prob", "engine_for", "hinges", "hole_name", "kind_of", "missing_cells", "obstacle", "packed",
    "plan_chain", "plan_latents", "refuse_soft", "see", "single", "unpacked", "watch",
]
