"""From a Bayesian network to a Pyro program that is a plain torch module."""

from .collapsing import CollapsedProgram, collapse
from .compiling import compile
from .guide import Guide
from .model import Model

__all__ = ["CollapsedProgram", "Guide", "Model", "collapse", "compile"]
