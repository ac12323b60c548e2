"""Builders of neural parameterizations: frozen data until they are built for the shapes of a node."""

from ..graph.lazy import later
from .adapt import adapt
from .base import Net
from .convolution import ConvNet, ConvTransposeNet
from .mlp import MLP
from .residual import ResNet
from .sets import DeepSet, SetNet, SetTransformer
from .wrappers import Flat, Shaped

LATER = {                                                                   # the builders that most nets do without are loaded when first asked for
    "bidirectional": ["Bidirectional"],
    "causal": ["CausalNet"],
    "companding": ["mu_law", "mu_law_inverse"],
    "dit": ["DiT"],
    "masked": ["FVSBN", "MADE"],
    "nade": ["NADE"],
    "pixelcnn": ["PixelCNN"],
    "pixelsnail": ["PixelSNAIL"],
    "recurrent": ["Recurrent"],
    "attention_state": ["AttentionState"],
    "recurrent_state": ["RecurrentState"],
    "spectral": ["SpectralNorm"],
    "transformer": ["Transformer"],
    "unet": ["UNet"],
    "wavenet": ["WaveNet"],
}

__all__ = [
    "MLP", "ConvNet", "ConvTransposeNet", "DeepSet", "Flat", "Net", "ResNet", "SetNet", "SetTransformer", "Shaped", "adapt",
    *(name for names in LATER.values() for name in names),
]
__getattr__ = later(__name__, LATER)
