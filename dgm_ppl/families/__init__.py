"""Distribution families, the spaces they live on, and the declaration of one node."""

from . import catalogue, discrete_catalogue
from .catalogue import *  # noqa: F403
from .discrete_catalogue import *  # noqa: F403
from .expressions import Constant, Expression, Free, Operation, Ref, Start, exp, free, log, matmul, refs, sigmoid, softplus, start
from .family import CATALOGUE, Family, Parameter, family
from .forms import Forms, Noise, ShardedNoise, noise
from .kind import Architecture, Kind, Setting
from .lags import Lag, lag, lead
from .spaces import Circle, Codewords, Counts, Finite, Interval, Levels, OneHot, Positive, Real, Simplex, Space
from .tied import Tied
from .variable import Given, Variable

__all__ = [
    *catalogue.__all__, *discrete_catalogue.__all__, "Levels", "OneHot",
    "Architecture", "CATALOGUE", "Circle", "Codewords", "Constant", "Counts", "Expression", "Family", "Finite", "Forms", "Free", "Given", "Interval", "Kind", "Lag", "Noise", "Operation",
    "Parameter", "Positive", "Real", "Ref", "Setting", "ShardedNoise", "Simplex", "Space", "Start", "Tied", "Variable", "exp", "family", "free", "lag", "lead", "log", "matmul", "noise", "refs", "start",
    "sigmoid", "softplus",
]
