"""Compiled variables: modules from parents to distributions, one file a kind."""

from .base import Conditional
from .parametric import Parametric
from .ports import Port

__all__ = ["Conditional", "Parametric", "Port"]
