"""Deep generative models declared as graphs of conditional distributions, compiled to Pyro and torch."""

from typing import TYPE_CHECKING

from . import families
from .compile import Model, compile
from .conditionals import Autoregressive
from .families import *  # noqa: F403
from .graph import DAG, GraphError, Independence
from .graph.lazy import later
from .guides import Apart, Faithful, Forward, Full, InTurn, Jointly, LowRank, MeanField, amortize
from .nets import FVSBN, MADE, MLP, ConvNet, ConvTransposeNet, DeepSet, Flat, ResNet, SetTransformer, Shaped
from .network import BayesNet, Plate
from .objectives import ELBO, IWAE, MaximumLikelihood, Objective, Player

if TYPE_CHECKING:
    from .drawing import draw, draw_difference, draw_steps
    from .formats import FormatError, read, to_pyro, to_pyro_state, write
    from .queries import NUTS, Amortized, Bound, Exact, Importance, Likelihood, Posterior, Score, log_prob, posterior
    from .saving import load, save
    from .showing import load_ipython_extension, notebook
    from .structure import GES, PC, ConditionalTest, DataOracle, KernelTest, PartialCorrelation, StructureMethod, TableTest, benjamini_hochberg
    from .structure import holm, learn_structure, test_independences, testable
    from .training import SGD, Adam, AdamW, Checkpoint, EarlyStopping, Moment, Run, fit

LATER = {                                                                   # what a declaration does not need is loaded when first asked for
    "drawing": ["draw", "draw_difference", "draw_steps"],
    "formats": ["FormatError", "read", "to_pyro", "to_pyro_state", "write"],
    "queries": ["NUTS", "Amortized", "Bound", "Exact", "Importance", "Likelihood", "Posterior", "Score", "log_prob", "posterior"],
    "saving": ["load", "save"],
    "structure": [
        "ConditionalTest", "DataOracle", "GES", "KernelTest", "PC", "PartialCorrelation", "StructureMethod", "TableTest", "benjamini_hochberg", "holm",
        "learn_structure", "test_independences", "testable",
    ],
    "training": ["Adam", "AdamW", "Checkpoint", "EarlyStopping", "Moment", "Run", "SGD", "fit"],
}

__all__ = [
    *families.__all__, *(name for names in LATER.values() for name in names),
    "Autoregressive", "FVSBN", "MADE",
    "Apart", "DeepSet", "Faithful", "Forward", "Full", "InTurn", "Jointly", "LowRank", "MeanField", "SetTransformer",
    "BayesNet", "ConvNet", "ConvTransposeNet", "DAG", "ELBO", "Flat", "GraphError", "IWAE", "Independence", "MLP", "MaximumLikelihood", "Model",
    "Objective", "Plate", "Player", "ResNet", "Shaped", "amortize", "compile",
]
__getattr__ = later(__name__, LATER)
