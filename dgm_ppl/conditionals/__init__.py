"""Compiled variables: modules from parents to distributions, one file a kind."""

from ..graph.lazy import later
from .base import Conditional
from .chained import Chained
from .parametric import Parametric
from .ports import Port

LATER = {                                                                   # the kinds that most nets do without are loaded when first asked for
    "anchored": ["Anchored"],
    "autoregressive": ["Autoregression", "Autoregressive"],
    "codes": ["Codebook", "Codes", "Quantized"],
    "colours": ["ColourMixture", "ColourPixels", "Coloured"],
    "completed": ["Completed"],
    "copies": ["JointCopies", "OneByOne"],
    "copula": ["Columns", "Copula", "GaussianCopula"],
    "diffusion": ["Clean", "Diffusion", "DiffusionKind", "LikelihoodWeighting", "MinSNR", "NoisePrediction", "SimpleWeighting", "Velocity"],
    "drawing": ["Partial", "Prefix", "Temperature", "TopK", "TopP", "Transform"],
    "flow": [
        "BPF", "CNF", "GF", "IAF", "MAF", "NAF", "NCSF", "NICE", "NSF", "SOSPF", "UNAF", "Affine", "Flow", "FlowBlock", "FlowKind", "Glow", "Inverse", "Logit",
        "MultiscaleRealNVP", "NormalizingFlow", "RealNVP", "UniformDequantization", "VariationalDequantization",
    ],
    "flow_matching": ["FlowMatching", "FlowMatchingKind", "Independent", "OptimalTransport"],
    "implicit": ["Generator", "Implicit"],
    "inflated": ["Hurdle", "HurdleCounts", "ZeroInflated", "ZeroInflatedCounts"],
    "kernels": ["GaussianProcess", "Kernel", "Matern", "Periodic", "RBF"],
    "markov_field": ["GaussianMRF", "MarkovField"],
    "masked_diffusion": ["MaskedDiffusion", "MaskedDiffusionKind", "Unmasking"],
    "measurements": ["Blur", "Clip", "Coarsen", "Grey", "Mask"],
    "mixture": ["FiniteMixture", "Mixture"],
    "samplers": ["DDIM", "AdamsBashforth", "Ancestral", "DPMSolver", "Heun"],
    "schedules": ["Cosine", "Learned", "LogLinear", "Straight", "VarianceExploding", "VariancePreserving"],
}

__all__ = ["Chained", "Conditional", "Parametric", "Port", *(name for names in LATER.values() for name in names)]
__getattr__ = later(__name__, LATER)
