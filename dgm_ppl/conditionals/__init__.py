"""Compiled variables: modules from parents to distributions, one file a kind."""

from .base import Conditional
from .chained import Chained
from .parametric import Parametric
from .ports import Port

__all__ = ["Chained", "Conditional", "Parametric", "Port"]
