"""Builders of neural parameterizations: frozen data until they are built for the shapes of a node."""

from dgm_ppl.graph.lazy import later
from dgm_ppl.nets.adapt import adapt
from dgm_ppl.nets.base import Net
from dgm_ppl.nets.convolution import ConvNet, ConvTransposeNet
from dgm_ppl.nets.mlp import MLP
from dgm_ppl.nets.residual import ResNet
from dgm_ppl.nets.sets import DeepSet, SetNet, SetTransformer
from dgm_ppl.nets.wrappers import Flat, Shaped

LATER = {                                                                   # the builders that most nets do without are loaded when first asked for
    "causal": ["CausalNet"],
    "companding": ["mu_law", "mu_law_inverse"],
    "dit": ["DiT"],
    "masked": ["FVSBN", "MADE"],
    "nade": ["NADE"],
    "pixelcnn": ["PixelCNN"],
    "pixelsnail": ["PixelSNAIL"],
    "recurrent": ["Recurrent"],
    "transformer": ["Transformer"],
    "wavenet": ["WaveNet"],
    "spectral": ["SpectralNorm"],
    "unet": ["UNet"],
}

__all__ = ["ConvNet", "ConvTransposeNet", "DeepSet", "Flat", "MLP", "Net", "ResNet", "SetNet", "SetTransformer", "Shaped", "adapt", *(name for names in LATER.values() for name in names)]
__getattr__ = later(__name__, LATER)
