"""Compiled variables: modules from parents to distributions, one file a kind."""

from .autoregressive import Autoregression, Autoregressive
from .base import Conditional
from .copies import JointCopies, OneByOne
from .parametric import Parametric
from .ports import Port

__all__ = ["Autoregression", "Autoregressive", "Conditional", "JointCopies", "OneByOne", "Parametric", "Port"]
