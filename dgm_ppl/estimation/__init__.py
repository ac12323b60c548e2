"""Parameters in closed form, and by expectation maximisation where cells or nodes are missing."""

from .estimating import estimate
from .maximisation import EM
from .priors import BDeu, PseudoCounts, TablePrior
from .report import Estimate, TablePosterior

__all__ = ["BDeu", "EM", "Estimate", "PseudoCounts", "TablePosterior", "TablePrior", "estimate"]
