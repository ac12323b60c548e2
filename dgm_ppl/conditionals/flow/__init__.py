"""Normalizing flows as the distributions of nodes."""

from .declaration import Flow, NormalizingFlow
from .kinds import BPF, CNF, GF, IAF, MAF, NAF, NCSF, NICE, NSF, SOSPF, UNAF, FlowKind, Inverse, RealNVP
from .links import Affine, Logit

__all__ = [
    "Affine", "BPF", "CNF", "Flow", "FlowKind", "GF", "IAF", "Inverse", "Logit", "MAF", "NAF", "NCSF", "NICE", "NSF", "NormalizingFlow",
    "RealNVP", "SOSPF", "UNAF",
]
