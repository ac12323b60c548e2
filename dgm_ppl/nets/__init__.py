"""Builders of neural parameterizations: frozen data until they are built for the shapes of a node."""

from dgm_ppl.nets.adapt import adapt
from dgm_ppl.nets.base import Net
from dgm_ppl.nets.convolution import ConvNet, ConvTransposeNet
from dgm_ppl.nets.mlp import MLP
from dgm_ppl.nets.residual import ResNet
from dgm_ppl.nets.spectral import SpectralNorm
from dgm_ppl.nets.wrappers import Flat, Shaped

__all__ = ["ConvNet", "ConvTransposeNet", "Flat", "MLP", "Net", "ResNet", "Shaped", "SpectralNorm", "adapt"]
