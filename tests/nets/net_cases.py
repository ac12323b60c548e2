"""The table of builders that every contract test runs on: builder, shapes of the parents, shapes of the parameters."""

from torch import nn

from dgm_ppl.nets import MLP, AttentionState, Bidirectional, ConvNet, ConvTransposeNet, DiT, Flat, RecurrentState, ResNet, Shaped, SpectralNorm, UNet
from dgm_ppl.nets.sets import DeepSet, SetTransformer

__all__ = ["CASES", "DATA"]

TWO = ((3,), (2, 2))
IMAGES = ((2, 7, 5), (1, 7, 5))

DATA = {  # builders that are data: they can be saved
    "linear": (MLP(), ((4,),), TWO),
    "mlp": (MLP(16), ((4,), (2,)), TWO),
    "mlp of a scalar": (MLP(16, 8, activation=nn.Tanh), ((),), ((),)),
    "mlp with norm and dropout": (MLP(16, dropout=0.2, norm=True), ((2, 3),), TWO),
    "convnet": (ConvNet(4, 8), ((1, 28, 28),), TWO),
    "convnet with a vector": (ConvNet(4, 8, hidden=(6,), kernel=5), ((3,), (1, 9, 6), (2, 9, 6)), TWO),
    "convnet without strides": (ConvNet(4, 8, stride=1, activation=nn.ELU), ((1, 1, 1),), TWO),
    "convnet with a scalar": (ConvNet(4), ((1, 9, 6), ()), TWO),
    "convnet of planes": (ConvNet(4), ((9, 6), (3,), (9, 6)), TWO),
    "transposed 28": (ConvTransposeNet(8, 4), ((4,), (2,)), ((1, 28, 28), (1, 28, 28))),
    "transposed 8": (ConvTransposeNet(8, 4, hidden=(6,)), ((4,),), ((3, 8, 8),)),
    "transposed 32": (ConvTransposeNet(8, 8, 4, kernel=5), ((4,),), ((1, 32, 32),)),
    "transposed 7": (ConvTransposeNet(8, 4, 4), ((4,),), ((1, 7, 7),)),
    "transposed stride 3": (ConvTransposeNet(8, 4, stride=3), ((4,),), IMAGES),
    "resnet image to vector": (ResNet(4, 8, blocks=1), ((1, 9, 6), (3,)), TWO),
    "resnet vector to image": (ResNet(8, 4, blocks=1), ((3,), (2,)), IMAGES),
    "resnet image to image": (ResNet(4, 6), ((2, 7, 5), (3,), (1, 7, 5)), IMAGES),
    "resnet image to image with a scalar": (ResNet(4, blocks=1), ((2, 7, 5), ()), IMAGES),
    "resnet vector to vector": (ResNet(8, 6, activation=nn.SiLU), ((3,), (2,)), TWO),
    "resnet of a scalar": (ResNet(8, blocks=1), ((), (2,)), TWO),
    "deep set": (DeepSet(16, features=4), ((4,), (2,)), TWO),
    "deep set that is linear": (DeepSet(), ((4,),), TWO),
    "set transformer": (SetTransformer(16, features=8, heads=2, inducing=4, ordered=("k",)), ((4,), ()), TWO),
    "unet": (UNet(4, 8, heads=2), ((1, 8, 12), (3,)), ((1, 8, 12),)),
    "unet without vectors": (UNet(4, heads=0), ((2, 7, 5),), ((1, 7, 5), (2, 7, 5))),
    "dit of images": (DiT(8, depth=1, heads=2, patch=2), ((1, 4, 6), (3,)), ((1, 4, 6),)),
    "dit of a sequence": (DiT(8, depth=1, heads=2), ((5, 2), (3,), (5, 2)), ((5, 2), (5, 2))),
    "spectral norm of an mlp": (SpectralNorm(MLP(16)), ((4,), (2,)), TWO),
    "spectral norm of a convnet": (SpectralNorm(ConvNet(4, 8)), ((1, 9, 6),), TWO),
    "resnet to one pixel": (ResNet(4, 4, blocks=1), ((1, 3, 3),), ((1,),)),
    "bidirectional": (Bidirectional(5, layers=2), ((6, 3), (2,), (6,), ()), TWO),
    "bidirectional of numbers": (Bidirectional(5, cell=nn.LSTM), ((6,),), TWO),
    "attention state": (AttentionState(2, features=4), ((10,), (3,), ()), ((10,),)),
    "recurrent state": (RecurrentState(5), ((5,), (3,), ()), ((5,),)),
}


class Pair(nn.Module):
    """A module that wants an image and a vector."""

    def __init__(self, size: int, width: int, outputs: int) -> None:
        super().__init__()
        self.image, self.vector = nn.Linear(size, outputs), nn.Linear(width, outputs)

    def forward(self, image, vector):
        return self.image(image.flatten(1)) + self.vector(vector)


CASES = DATA | {
    "flat": (Flat(nn.Sequential(nn.Linear(6, 9), nn.Tanh(), nn.Linear(9, 7))), ((4,), (2,)), TWO),
    "shaped": (Shaped(Pair(16, 3, 7)), ((1, 4, 4), (3,)), TWO),
}
