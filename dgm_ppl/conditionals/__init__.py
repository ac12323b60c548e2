"""Compiled variables: modules from parents to distributions, one file a kind."""

from . import flow
from .autoregressive import Autoregression, Autoregressive
from .base import Conditional
from .flow import *  # noqa: F403
from .parametric import Parametric
from .ports import Port

__all__ = ["Autoregression", "Autoregressive", "Conditional", "Parametric", "Port", *flow.__all__]
