"""From a Bayesian network to a Pyro program that is a plain torch module."""

from ..graph.lazy import later
from .compiling import compile
from .guide import Guide
from .model import Model
from .subset_guide import Evidence, Patterned, SubsetGuide

LATER = {"collapsing": ["CollapsedProgram", "collapse"]}

__all__ = ["CollapsedProgram", "Evidence", "Guide", "Model", "Patterned", "SubsetGuide", "collapse", "compile"]
__getattr__ = later(__name__, LATER)
