"""Compiled variables: modules from parents to distributions, one file a kind."""

from . import flow
from .base import Conditional
from .flow import *  # noqa: F403
from .parametric import Parametric
from .ports import Port

__all__ = ["Conditional", "Parametric", "Port", *flow.__all__]
