"""Builders of neural parameterizations: frozen data until they are built for the shapes of a node."""

from dgm_ppl.nets.adapt import adapt
from dgm_ppl.nets.base import Net
from dgm_ppl.nets.causal import CausalNet
from dgm_ppl.nets.convolution import ConvNet, ConvTransposeNet
from dgm_ppl.nets.masked import FVSBN, MADE
from dgm_ppl.nets.mlp import MLP
from dgm_ppl.nets.residual import ResNet
from dgm_ppl.nets.sets import DeepSet, SetNet, SetTransformer
from dgm_ppl.nets.wrappers import Flat, Shaped

__all__ = ["CausalNet", "ConvNet", "ConvTransposeNet", "DeepSet", "FVSBN", "Flat", "MADE", "MLP", "Net", "ResNet", "SetNet", "SetTransformer", "Shaped", "adapt"]
