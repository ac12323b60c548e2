"""Deep generative models declared as graphs of conditional distributions, compiled to Pyro and torch."""

from typing import TYPE_CHECKING

from . import families
from .compile import Model, compile
from .families import *  # noqa: F403
from .graph import DAG, GraphError, Independence
from .graph.lazy import later
from .nets import MLP, ConvNet, ConvTransposeNet, DeepSet, Flat, ResNet, SetTransformer, Shaped
from .network import AnySubset, BayesNet, Chain, Plate

if TYPE_CHECKING:
    from . import metrics
    from .compile import collapse
    from .conditionals import (
        BPF, CNF, DDIM, GF, IAF, MAF, NAF, NCSF, NICE, NSF, RBF, SOSPF, UNAF, AdamsBashforth, Affine, Ancestral, Autoregressive, Blur, Clean, Clip, Coarsen, Codes, ColourMixture, Cosine, Diffusion,
        DPMSolver, Flow, FlowKind, FlowMatching, GaussianCopula, GaussianMRF, GaussianProcess, Generator, Glow, Grey, Heun, Hurdle, Independent, Inverse, Learned,
        LikelihoodWeighting, Logit, LogLinear, Mask, MaskedDiffusion, Matern, MinSNR, Mixture, MultiscaleRealNVP, NoisePrediction, OptimalTransport, Partial, Periodic, Prefix,
        RealNVP, SimpleWeighting, Temperature, TopK, TopP, Transform, UniformDequantization, Unmasking, VarianceExploding, VariancePreserving,
        VariationalDequantization, Velocity, ZeroInflated,
    )
    from .diagnostics import (
        Agreement, Calibration, Gaps, GuideChoice, GuideComparison, Weights, agreement, calibrate, compare_guides, gaps, guide_choices, judge_weights,
    )
    from .distances import MMD, Distance, EnergyDistance, Sinkhorn, SlicedWasserstein
    from .drawing import draw, draw_difference, draw_steps
    from .estimation import EM, BDeu, Estimate, PseudoCounts, TablePosterior, TablePrior, estimate
    from .formats import FormatError, read, to_pyro, to_pyro_state, write
    from .guides import Apart, BlockFlow, Faithful, Forward, Full, InTurn, Jointly, LowRank, MeanField, PriorAnchored, Usual, amortize
    from .nets import FVSBN, MADE, NADE, AttentionState, Bidirectional, DiT, PixelCNN, PixelSNAIL, Recurrent, RecurrentState, SpectralNorm, Transformer, UNet, WaveNet, mu_law, mu_law_inverse
    from .objectives import (
        CUBO, ELBO, IWAE, MIWAE, R1, R2, VIMCO, Adversarial, BetaTCVAE, Consistency, Critic, Denoising, DoublyReparameterized, Estimator, FDivergence, ForwardKL,
        FreeBits, GradientPenalty, Hinge, InfoVAE, JensenShannon, KullbackLeibler, LeastSquares, Matching, MaximumLikelihood, MutualInformation, Objective,
        OnlineSimulations, Pearson, Player, Renyi, ReverseKullbackLeibler, ReweightedWakeSleep, Simulations, SquaredHellinger, StickingTheLanding, SymmetricKL, TotalVariation, Wasserstein,
        WassersteinAutoencoder, simulate,
    )
    from .queries import (
        HMC, NUTS, Amortized, Beams, Bits, Bound, Classification, CodeUsage, Contributions, Exact, Guided, Importance, IndependenceMetropolis, Langevin, Likelihood,
        LikelihoodRatio, LinearProbe, OutlierScore, Posterior, ProbabilityFlow, Refined, Score, Surprisal, TailShape, Twisted, Typicality, beam_search,
        bits_per_dimension, classify, code_usage, codes_of, compare, contributions, interpolate, linear_probe, log_prob, outlier_scores, posterior,
        refine, representations, restart_codes,
    )
    from .saving import load, save
    from .structure import (
        GES, PC, ConditionalTest, DataOracle, KernelTest, PartialCorrelation, StructureMethod, TableTest, benjamini_hochberg, holm, learn_structure,
        test_independences, testable,
    )
    from .training import SGD, Adam, AdamW, Checkpoint, EarlyStopping, Moment, Run, fit

LATER = {                                                                   # what a declaration does not need is loaded when first asked for
    "compile": ["collapse"],
    "conditionals": [
        "BPF", "CNF", "DDIM", "GF", "IAF", "MAF", "NAF", "NCSF", "NICE", "NSF", "RBF", "SOSPF", "UNAF", "AdamsBashforth", "Affine", "Ancestral", "Autoregressive", "Blur", "Clean",
        "Clip", "Coarsen", "Codes", "ColourMixture", "Cosine", "Diffusion", "DPMSolver", "Flow", "FlowKind", "FlowMatching", "GaussianCopula", "GaussianMRF", "GaussianProcess", "Generator", "Glow", "Grey",
        "Heun", "Hurdle", "Independent", "Inverse", "Learned", "LikelihoodWeighting", "Logit", "LogLinear", "Mask", "MaskedDiffusion", "Matern", "MinSNR", "Mixture",
        "MultiscaleRealNVP", "NoisePrediction", "OptimalTransport", "Partial", "Periodic", "Prefix", "RealNVP", "SimpleWeighting", "Temperature", "TopK", "TopP",
        "Transform", "UniformDequantization", "Unmasking", "VarianceExploding", "VariancePreserving", "VariationalDequantization", "Velocity", "ZeroInflated",
    ],
    "diagnostics": [
        "Agreement", "Calibration", "Gaps", "GuideChoice", "GuideComparison", "Weights", "agreement", "calibrate", "compare_guides", "gaps", "guide_choices",
        "judge_weights",
    ],
    "distances": ["MMD", "Distance", "EnergyDistance", "Sinkhorn", "SlicedWasserstein"],
    "drawing": ["draw", "draw_difference", "draw_steps"],
    "estimation": ["EM", "BDeu", "Estimate", "PseudoCounts", "TablePosterior", "TablePrior", "estimate"],
    "formats": ["FormatError", "read", "to_pyro", "to_pyro_state", "write"],
    "guides": ["Apart", "BlockFlow", "Faithful", "Forward", "Full", "InTurn", "Jointly", "LowRank", "MeanField", "PriorAnchored", "Usual", "amortize"],
    "metrics": [],
    "nets": [
        "FVSBN", "MADE", "NADE", "AttentionState", "Bidirectional", "DiT", "PixelCNN", "PixelSNAIL", "Recurrent", "RecurrentState", "SpectralNorm", "Transformer", "UNet", "WaveNet", "mu_law", "mu_law_inverse",
    ],
    "objectives": [
        "CUBO", "ELBO", "IWAE", "MIWAE", "R1", "R2", "VIMCO", "Adversarial", "BetaTCVAE", "Consistency", "Critic", "Denoising", "DoublyReparameterized", "Estimator",
        "FDivergence", "ForwardKL", "FreeBits", "GradientPenalty", "Hinge", "InfoVAE", "JensenShannon", "KullbackLeibler", "LeastSquares", "Matching",
        "MaximumLikelihood", "MutualInformation", "Objective", "OnlineSimulations", "Pearson", "Player", "Renyi", "ReverseKullbackLeibler", "ReweightedWakeSleep", "Simulations", "SquaredHellinger",
        "StickingTheLanding", "SymmetricKL", "TotalVariation", "Wasserstein", "WassersteinAutoencoder", "simulate",
    ],
    "queries": [
        "HMC", "NUTS", "Amortized", "Beams", "Bits", "Bound", "Classification", "CodeUsage", "Contributions", "Exact", "Guided", "Importance", "IndependenceMetropolis",
        "Langevin", "Likelihood", "LikelihoodRatio", "LinearProbe", "OutlierScore", "Posterior", "ProbabilityFlow", "Refined", "Score", "Surprisal",
        "TailShape", "Twisted", "Typicality", "beam_search", "bits_per_dimension", "classify", "code_usage", "codes_of", "compare", "contributions", "interpolate", "linear_probe",
        "log_prob", "outlier_scores", "posterior", "refine", "representations", "restart_codes",
    ],
    "saving": ["load", "save"],
    "structure": [
        "GES", "PC", "ConditionalTest", "DataOracle", "KernelTest", "PartialCorrelation", "StructureMethod", "TableTest", "benjamini_hochberg", "holm",
        "learn_structure", "test_independences", "testable",
    ],
    "training": ["SGD", "Adam", "AdamW", "Checkpoint", "EarlyStopping", "Moment", "Run", "fit"],
}

__all__ = [
    *families.__all__, *(name for names in LATER.values() for name in names),
    "DAG", "MLP", "AnySubset", "BayesNet", "Chain", "ConvNet", "ConvTransposeNet", "DeepSet", "Flat", "GraphError", "Independence", "Model", "Plate", "ResNet",
    "SetTransformer", "Shaped", "compile",
]
__getattr__ = later(__name__, LATER)
