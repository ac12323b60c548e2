"""Compiled variables: modules from parents to distributions, one file a kind."""

from .autoregressive import Autoregression, Autoregressive
from .base import Conditional
from .chained import Chained
from .parametric import Parametric
from .ports import Port

__all__ = ["Autoregression", "Autoregressive", "Chained", "Conditional", "Parametric", "Port"]
