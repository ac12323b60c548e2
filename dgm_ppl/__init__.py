"""Deep generative models declared as graphs of conditional distributions, compiled to Pyro and torch."""

from .compile import Model, compile
from .drawing import draw, draw_difference
from .families import *  # noqa: F403
from .formats import read, to_pyro, to_pyro_state, write
from .graph import DAG, GraphError, Independence
from .guides import amortize
from .nets import MLP, ConvNet, ConvTransposeNet, Flat, ResNet, Shaped
from .network import BayesNet, Plate
from .objectives import ELBO, IWAE, MaximumLikelihood, Objective, Player
from .queries import NUTS, Amortized, Bound, Exact, Importance, Posterior, Score, log_prob, posterior
from .saving import load, save
from .structure import ConditionalTest, KernelTest, PartialCorrelation, TableTest, benjamini_hochberg, holm, test_independences, testable
from .training import SGD, Adam, AdamW, Checkpoint, EarlyStopping, Moment, Run, fit
