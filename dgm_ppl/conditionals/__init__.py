"""Compiled variables: modules from parents to distributions, one file a kind."""

from ..graph.lazy import later
from .base import Conditional
from .chained import Chained
from .parametric import Parametric
from .ports import Port

LATER = {                                                                   # the kinds that most nets do without are loaded when first asked for
    "autoregressive": ["Autoregression", "Autoregressive"],
    "drawing": ["Partial", "Prefix", "Temperature", "TopK", "TopP", "Transform"],
    "diffusion": ["Clean", "Diffusion", "DiffusionKind", "LikelihoodWeighting", "MinSNR", "NoisePrediction", "SimpleWeighting", "Velocity"],
    "flow_matching": ["FlowMatching", "FlowMatchingKind", "Independent", "OptimalTransport"],
    "flow": [
        "Affine", "BPF", "CNF", "Flow", "FlowKind", "GF", "Glow", "IAF", "Inverse", "Logit", "MAF", "MultiscaleRealNVP", "NAF", "NCSF", "NICE", "NSF", "NormalizingFlow", "RealNVP", "SOSPF",
        "UNAF", "UniformDequantization", "VariationalDequantization",
    ],
    "inflated": ["Hurdle", "HurdleCounts", "ZeroInflated", "ZeroInflatedCounts"],
    "anchored": ["Anchored"], "copies": ["JointCopies", "OneByOne"],
    "copula": ["Columns", "Copula", "GaussianCopula"],
    "markov_field": ["GaussianMRF", "MarkovField"],
    "mixture": ["FiniteMixture", "Mixture"],
    "implicit": ["Generator", "Implicit"],
    "masked_diffusion": ["MaskedDiffusion", "MaskedDiffusionKind", "Unmasking"],
    "measurements": ["Blur", "Clip", "Coarsen", "Grey", "Mask"],
    "samplers": ["DDIM", "Ancestral", "DPMSolver", "Heun"],
    "schedules": ["Cosine", "Learned", "LogLinear", "Straight", "VarianceExploding", "VariancePreserving"],
}

__all__ = ["Chained", "Conditional", "Parametric", "Port", *(name for names in LATER.values() for name in names)]
__getattr__ = later(__name__, LATER)
