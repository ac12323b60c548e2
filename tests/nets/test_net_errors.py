"""Every bad input, with the message that it gets."""

import re

import pytest
import torch
from torch import nn

from dgm_ppl.nets import MLP, ConvNet, ConvTransposeNet, Flat, Net, ResNet, Shaped

IMAGE, VECTOR = (1, 8, 8), (20,)


class Own(nn.Module):
    """An activation that is not in torch.nn."""


ARGUMENTS = {
    "negative": (lambda: MLP(-3), "MLP: expected each width in hidden to be a positive integer; got -3; try 64"),
    "zero": (
        lambda: ConvNet(32, 0),
        "ConvNet: expected each width in channels to be a positive integer; got 0; try 64",
    ),
    "list": (lambda: MLP([400, 20]), "got [400, 20]; try MLP(*[400, 20])"),
    "float": (lambda: ResNet(1.5), "ResNet: expected each width in channels to be a positive integer; got 1.5"),
    "hidden": (
        lambda: ConvNet(4, hidden=256),
        "ConvNet: expected hidden to be a tuple of widths; got 256; try hidden=(256,)",
    ),
    "none": (
        lambda: ConvTransposeNet(),
        "ConvTransposeNet: expected at least one width in channels; got none; try ConvTransposeNet(32, 64)",
    ),
    "even": (lambda: ConvNet(32, kernel=4), "ConvNet: expected kernel to be odd; got 4; try kernel=5"),
    "kernel": (lambda: ConvNet(32, kernel=0), "ConvNet: expected kernel to be a positive integer; got 0"),
    "stride": (lambda: ResNet(32, stride=0), "ResNet: expected stride to be a positive integer; got 0; try stride=2"),
    "blocks": (lambda: ResNet(32, blocks=0), "ResNet: expected blocks to be a positive integer; got 0; try blocks=2"),
    "dropout": (lambda: MLP(4, dropout=1.0), "MLP: expected dropout in [0, 1); got 1.0; try dropout=0.1"),
}

SHAPES = {
    "no image": (
        ConvNet(32),
        (VECTOR,),
        (VECTOR,),
        "ConvNet(32): expected an image (channels, height, width) among the parents; got (20); try MLP(400)",
    ),
    "no channels": (
        ConvNet(32),
        ((28,),),
        (VECTOR,),
        "got (28); try MLP(400), or a parent such as Bernoulli(1, 28, 28)",
    ),
    "two sizes": (
        ConvNet(32),
        (IMAGE, (1, 9, 8)),
        (VECTOR,),
        "ConvNet(32): expected image parents to be images (channels, height, width) of one height and width; "
        "got (1, 8, 8), (1, 9, 8)",
    ),
    "too many strides": (
        ConvNet(4, 4, 4, 4),
        (IMAGE,),
        (VECTOR,),
        "ConvNet(4, 4, 4, 4): expected at most 3 layers of stride 2 on images of 8 x 8; "
        "got 4; try fewer channels or stride=1",
    ),
    "too many strides back": (
        ConvTransposeNet(4, 4, 4, 4),
        (VECTOR,),
        (IMAGE,),
        "expected at most 3 layers of stride 2 on images of 8 x 8; got 4",
    ),
    "too many stages": (ResNet(4, 4, 4, 4), (VECTOR,), (IMAGE,), "ResNet(4, 4, 4, 4): expected at most 3 layers"),
    "vectors out": (
        ConvTransposeNet(4),
        (VECTOR,),
        (VECTOR, VECTOR),
        "ConvTransposeNet(4): expected the computed parameters to be images (channels, height, width) "
        "of one height and width; "
        "got (20), (20); try MLP(400), or images (1, 28, 28)",
    ),
    "image and scalar out": (ConvTransposeNet(4), (VECTOR,), (IMAGE, ()), "got (1, 8, 8), (); try MLP(400)"),
    "resnet changes size": (
        ResNet(4),
        (IMAGE,),
        ((1, 4, 4),),
        "ResNet(4): expected image parents and computed parameters to be images (channels, height, width) "
        "of one height and width; "
        "got (1, 8, 8), (1, 4, 4); try ConvNet(32, 64) or Shaped(module)",
    ),
    "no parents": (MLP(4), (), (VECTOR,), "MLP(4): expected a parent to compute from; got none; try .given('z')"),
    "no parameters": (MLP(4), (VECTOR,), (), "MLP(4): expected a parameter to compute; got none; try leaving net out"),
    "flat module": (
        Flat(nn.Linear(20, 3)),
        (VECTOR,),
        ((2,),),
        "Linear: last layer must have 2 outputs: (2); got 3 outputs for parents (20)",
    ),
    "shaped module": (
        Shaped(nn.Linear(20, 3)),
        (VECTOR, VECTOR),
        ((3,),),
        "last layer must have 3 outputs: (3); got TypeError",
    ),
}

FILES = {
    "unknown net": ({"net": "Nope"}, "net 'Nope': expected one of"),
    "no net": ({"hidden": [3]}, "net None: expected one of"),
    "unknown field": (
        {"net": "MLP", "hidden": [3], "depth": 2},
        "net 'MLP': expected the fields hidden, activation, dropout, norm; got ['depth']",
    ),
    "not a class": (
        {"net": "MLP", "activation": "functional"},
        "activation 'functional': expected the name of a module class in torch.nn; try 'ReLU'",
    ),
    "elsewhere": (
        {"net": "MLP", "activation": "os.system"},
        "activation 'os.system': expected the name of a module class",
    ),
    "abstract": ({"net": "Convolution"}, "net 'Convolution': expected one of"),
    "bad width": ({"net": "MLP", "hidden": [-3]}, "expected each width in hidden to be a positive integer; got -3"),
}


@pytest.mark.parametrize("make, message", ARGUMENTS.values(), ids=ARGUMENTS)
def test_arguments(make, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        make()


@pytest.mark.parametrize("activation", ["relu", nn.ReLU(), torch.relu, None, int])
@pytest.mark.parametrize("kind", [MLP, ConvNet, ConvTransposeNet, ResNet])
def test_activations(kind, activation):
    message = (
        f"{kind.__name__}: expected activation to be a class of torch.nn; got {activation!r}; try activation=nn.ReLU"
    )
    with pytest.raises(TypeError, match=re.escape(message)):
        kind(4, activation=activation)


@pytest.mark.parametrize("net, inputs, outputs, message", SHAPES.values(), ids=SHAPES)
def test_shapes(net, inputs, outputs, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        net.build(inputs, outputs)


@pytest.mark.parametrize("data, message", FILES.values(), ids=FILES)
def test_files(data, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Net.from_dict(data)


def test_reading_as_another_kind():
    with pytest.raises(ValueError, match=re.escape("net 'MLP': expected a ConvNet; try Net.from_dict(data)")):
        ConvNet.from_dict(MLP(3).to_dict())


@pytest.mark.parametrize("kind", [Flat, Shaped])
def test_code_is_not_data(kind):
    with pytest.raises(ValueError, match=re.escape(f"net {kind.__name__}(Linear): expected data; got a module")):
        kind(nn.Linear(2, 2)).to_dict()
    with pytest.raises(TypeError, match=f"{kind.__name__}: expected a torch module; got 3"):
        kind(3)


def test_an_activation_of_ones_own_works_but_cannot_be_saved():
    net = MLP(4, activation=Own)
    net.build((VECTOR,), (VECTOR,))
    message = (
        "net MLP(4): expected activation to be a class of torch.nn, which is saved by name; "
        "got Own; try activation=nn.ReLU"
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        net.to_dict()
