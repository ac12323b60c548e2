"""From a Bayesian network to a Pyro program that is a plain torch module."""

from ..graph.lazy import later
from .compiling import compile
from .guide import Guide
from .model import Model

LATER = {"collapsing": ["CollapsedProgram", "collapse"]}

__all__ = ["CollapsedProgram", "Guide", "Model", "collapse", "compile"]
__getattr__ = later(__name__, LATER)
