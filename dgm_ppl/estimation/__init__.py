"""Parameters in closed form, and by expectation maximisation where cells or nodes are missing."""

from .priors import BDeu, PseudoCounts, TablePrior

__all__ = ["BDeu", "PseudoCounts", "TablePrior"]
