"""Normalizing flows as the distributions of nodes."""

from .block import FlowBlock
from .declaration import Flow, NormalizingFlow
from .dequantization import Dequantization, UniformDequantization, VariationalDequantization
from .image import Glow, ImageFlow, MultiscaleRealNVP
from .kinds import BPF, CNF, GF, IAF, MAF, NAF, NCSF, NICE, NSF, SOSPF, UNAF, FlowKind, Inverse, RealNVP
from .links import Affine, Logit

__all__ = [
    "Affine", "BPF", "CNF", "Dequantization", "Flow", "FlowBlock", "FlowKind", "GF", "Glow", "IAF", "ImageFlow", "Inverse", "Logit", "MAF", "MultiscaleRealNVP", "NAF", "NCSF", "NICE", "NSF", "NormalizingFlow",
    "RealNVP", "SOSPF", "UNAF", "UniformDequantization", "VariationalDequantization",
]
