"""Deep generative models declared as graphs of conditional distributions, compiled to Pyro and torch."""

from typing import TYPE_CHECKING

from . import families
from .compile import Model, collapse, compile
from .families import *  # noqa: F403
from .graph import DAG, GraphError, Independence
from .graph.lazy import later
from .guides import Apart, Faithful, Forward, Full, InTurn, Jointly, LowRank, MeanField, PriorAnchored, amortize
from .nets import MLP, ConvNet, ConvTransposeNet, DeepSet, Flat, ResNet, SetTransformer, Shaped
from .network import BayesNet, Chain, Plate
from .objectives import ELBO, IWAE, MaximumLikelihood, Objective, Player

if TYPE_CHECKING:
    from . import metrics
    from .conditionals import Autoregressive, Partial, Prefix, Temperature, TopK, TopP, Transform
    from .conditionals import Generator
    from .conditionals import Clean, Diffusion, LikelihoodWeighting, MinSNR, NoisePrediction, SimpleWeighting, Velocity
    from .conditionals import FlowMatching, Independent, OptimalTransport
    from .conditionals import MaskedDiffusion, Unmasking
    from .conditionals import Blur, Clip, Coarsen, Grey, Mask
    from .conditionals import DDIM, Ancestral, DPMSolver, Heun
    from .conditionals import Cosine, Learned, LogLinear, VarianceExploding, VariancePreserving
    from .conditionals import GaussianCopula, GaussianMRF
    from .conditionals import Glow, Hurdle, Mixture, MultiscaleRealNVP, UniformDequantization, VariationalDequantization, ZeroInflated
    from .conditionals import BPF, CNF, GF, IAF, MAF, NAF, NCSF, NICE, NSF, SOSPF, UNAF, Affine, Flow, FlowKind, Inverse, Logit, RealNVP
    from .diagnostics import Calibration, calibrate
    from .distances import MMD, Distance, EnergyDistance, Sinkhorn, SlicedWasserstein
    from .drawing import draw, draw_difference, draw_steps
    from .formats import FormatError, read, to_pyro, to_pyro_state, write
    from .nets import FVSBN, MADE, NADE, PixelCNN, PixelSNAIL, Recurrent, Transformer, WaveNet, mu_law, mu_law_inverse
    from .nets import SpectralNorm
    from .nets import DiT, UNet
    from .objectives import Adversarial, Consistency, Critic, FDivergence, GradientPenalty, Hinge, JensenShannon, KullbackLeibler, LeastSquares
    from .objectives import Denoising, Matching, MutualInformation, Pearson, R1, R2, ReverseKullbackLeibler, SquaredHellinger, TotalVariation, Wasserstein
    from .objectives import CUBO, VIMCO, DoublyReparameterized, Estimator, ForwardKL, OnlineSimulations, Renyi, ReweightedWakeSleep, Simulations, StickingTheLanding
    from .objectives import SymmetricKL, simulate
    from .queries import Beams, beam_search
    from .queries import NUTS, Amortized, Bound, Exact, Importance, Likelihood, Posterior, Score, log_prob, posterior
    from .queries import Bits, Classification, Contributions, LikelihoodRatio, LinearProbe, OutlierScore, Surprisal, TailShape, Typicality
    from .queries import bits_per_dimension, classify, contributions, interpolate, linear_probe, outlier_scores, representations
    from .queries import ProbabilityFlow
    from .queries import HMC, Guided, Langevin, Twisted, compare
    from .saving import load, save
    from .structure import GES, PC, ConditionalTest, DataOracle, KernelTest, PartialCorrelation, StructureMethod, TableTest, benjamini_hochberg
    from .structure import holm, learn_structure, test_independences, testable
    from .training import SGD, Adam, AdamW, Checkpoint, EarlyStopping, Moment, Run, fit

LATER = {                                                                   # what a declaration does not need is loaded when first asked for
    "conditionals": [
        "Autoregressive", "Partial", "Prefix", "Temperature", "TopK", "TopP", "Transform",
        "Generator",
        "FlowMatching", "Independent", "OptimalTransport",
        "MaskedDiffusion", "Unmasking",
        "Blur", "Clip", "Coarsen", "Grey", "Mask",
        "Clean", "Diffusion", "LikelihoodWeighting", "MinSNR", "NoisePrediction", "SimpleWeighting", "Velocity",
        "DDIM", "Ancestral", "DPMSolver", "Heun",
        "Cosine", "Learned", "LogLinear", "VarianceExploding", "VariancePreserving",
        "GaussianCopula", "GaussianMRF", "Hurdle", "Mixture", "ZeroInflated",
        "Affine", "BPF", "CNF", "Flow", "FlowKind", "GF", "Glow", "IAF", "Inverse", "Logit", "MAF", "MultiscaleRealNVP", "NAF", "NCSF", "NICE", "NSF", "RealNVP", "SOSPF", "UNAF",
        "UniformDequantization", "VariationalDequantization",
    ],
    "diagnostics": ["Calibration", "calibrate"],
    "distances": ["MMD", "Distance", "EnergyDistance", "Sinkhorn", "SlicedWasserstein"],
    "drawing": ["draw", "draw_difference", "draw_steps"],
    "estimation": ["BDeu", "EM", "Estimate", "PseudoCounts", "TablePosterior", "TablePrior", "estimate"],
    "formats": ["FormatError", "read", "to_pyro", "to_pyro_state", "write"],
    "nets": [
        "FVSBN", "MADE", "NADE", "PixelCNN", "PixelSNAIL", "Recurrent", "Transformer", "WaveNet", "mu_law", "mu_law_inverse",
        "SpectralNorm",
        "DiT", "UNet",
    ],
    "metrics": [],
    "objectives": [
        "Adversarial", "Consistency", "Critic", "Denoising", "FDivergence", "GradientPenalty", "Hinge", "JensenShannon", "KullbackLeibler", "LeastSquares",
        "Matching", "MutualInformation", "Pearson", "R1", "R2", "ReverseKullbackLeibler", "SquaredHellinger", "TotalVariation", "Wasserstein",
        "CUBO", "DoublyReparameterized", "Estimator", "ForwardKL", "OnlineSimulations", "Renyi", "ReweightedWakeSleep", "Simulations", "StickingTheLanding", "SymmetricKL", "VIMCO",
        "simulate",
    ],
    "queries": [
        "Bits", "Classification", "Contributions", "LikelihoodRatio", "LinearProbe", "OutlierScore", "Surprisal", "TailShape", "Typicality",
        "bits_per_dimension", "classify", "contributions", "interpolate", "linear_probe", "outlier_scores", "representations",
        "NUTS", "Amortized", "Bound", "Exact", "Importance", "Posterior", "Score", "log_prob", "posterior",
        "Likelihood",
        "ProbabilityFlow",
        "Guided", "HMC", "Langevin", "Twisted", "compare",
        "Beams", "beam_search",
    ],
    "saving": ["load", "save"],
    "structure": [
        "ConditionalTest", "DataOracle", "GES", "KernelTest", "PC", "PartialCorrelation", "StructureMethod", "TableTest", "benjamini_hochberg", "holm",
        "learn_structure", "test_independences", "testable",
    ],
    "training": ["Adam", "AdamW", "Checkpoint", "EarlyStopping", "Moment", "Run", "SGD", "fit"],
}

__all__ = [
    *families.__all__, *(name for names in LATER.values() for name in names),
    "Apart", "DeepSet", "Faithful", "Forward", "Full", "InTurn", "Jointly", "LowRank", "MeanField", "PriorAnchored", "SetTransformer",
    "BayesNet", "Chain", "ConvNet", "ConvTransposeNet", "DAG", "ELBO", "Flat", "GraphError", "IWAE", "Independence", "MLP", "MaximumLikelihood", "Model",
    "Objective", "Plate", "Player", "ResNet", "Shaped", "amortize", "collapse", "compile",
]
__getattr__ = later(__name__, LATER)
