"""Networks whose slope is bounded, by the largest singular value of each layer."""

from dataclasses import dataclass

from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from .base import Net, Shapes

__all__ = ["SpectralNorm"]

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm, nn.modules.instancenorm._InstanceNorm)


@dataclass(frozen=True, repr=False)
class SpectralNorm(Net):
    """A network whose weights are divided by their largest singular value: W / sigma(W), each linear and convolution layer.

    torch's own `spectral_norm` does it, one power iteration a training step. A linear layer then stretches no direction by more than one; of a convolution
    the kernel is taken as a matrix, as in the paper, and the layer may stretch by up to the root of the kernel's places. For critics (Miyato et al., 2018,
    https://arxiv.org/abs/1802.05957).

    Raises:
        ValueError: in `build`, for a network that normalizes activations: dividing by their spread bounds no slope.

    Example:
        >>> import torch
        >>> from dgm_ppl.nets import MLP
        >>> net = SpectralNorm(MLP(8))
        >>> net.build(((3,),), ((1,),))(torch.zeros(5, 3)).shape, net.label()
        (torch.Size([5, 1]), 'SpectralNorm(MLP(8))')
    """

    of: Net

    def __post_init__(self) -> None:
        if not isinstance(self.of, Net):
            raise TypeError(f"SpectralNorm: expected a builder; got {self.of!r}; try SpectralNorm(MLP(128)); for a module, apply torch.nn.utils.parametrizations.spectral_norm")

    @property
    def flatten(self) -> bool:
        return self.of.flatten

    def build(self, inputs: Shapes, outputs: Shapes) -> nn.Module:
        module = self.of.build(inputs, outputs)
        for layer in list(module.modules()):
            if isinstance(layer, NORMS):
                raise ValueError(f"SpectralNorm: expected layers whose slope their weights bound; got {type(layer).__name__} in {self.of!r}, which divides by a spread; leave the normalization out")
            if isinstance(layer, LAYERS):
                spectral_norm(layer)
        return module

    def label(self) -> str:
        return f"SpectralNorm({self.of.label()})"
