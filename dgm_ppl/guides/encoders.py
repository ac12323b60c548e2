"""One encoder for each observed node whose shape asks for one: what the latents of a guide read in its place."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from copy import copy
from typing import Any

from torch import nn

from ..conditionals import Autoregression
from ..families import Delta, Variable
from ..graph import GraphError, did_you_mean
from ..nets import Bidirectional, ConvNet, Net
from ..network import BayesNet

__all__ = ["Encoded", "encoders_of"]

FEATURES = 128                                          # what an encoder sums an observed node up to
LARGEST_FLAT = 32                                       # sides up to which an image is as well off with a perceptron, at half the time (docs/benchmarks.md)


class Encoded:
    """The deterministic nodes that stand for observed ones in a guide; `names` has their name for each."""

    def __init__(self, model: BayesNet, nets: Mapping[str, Any]):
        taken = {*model, *model.plates}
        self.names: dict[str, str] = {}
        self.variables: dict[str, Variable] = {}
        for observed, net in nets.items():
            name = f"{observed}_encoded"
            while name in taken:
                name += "_"
            self.names[observed] = name
            self.variables[name] = Delta(FEATURES).given(observed, net=net if isinstance(net, nn.Module) else copy(net))

    def __call__(self, parents: Iterable[str]) -> tuple[str, ...]:
        """Parents as they are read: encoded where they have an encoder."""
        return tuple(self.names.get(parent, parent) for parent in parents)


def encoders_of(model: BayesNet, observed: Collection[str], asked: Mapping[str, Any], automatic: bool) -> Encoded:
    """The encoders that were asked for, and, where the nets were left to the guide, those of images and of sequences.

    Raises:
        GraphError: an encoder for what is not observed, or that is no network.
    """
    for name, net in asked.items():
        if name not in observed:
            raise GraphError(f"amortize: encoders names {name!r}, which is not observed{did_you_mean(name, observed)}; encoders read what the guide is given: {list(observed)}")
        if net is not None and not isinstance(net, (Net, nn.Module)):
            raise GraphError(f"amortize: encoders[{name!r}]: expected a network such as dgm.ConvNet(32, 64), or None to read the values as they are; got {net!r}")
    open_ones = [name for name in observed if automatic and name not in asked]
    chosen = {name: ConvNet(32, 64, 64) for name in open_ones if _is_image(model[name])} | {name: Bidirectional(64) for name in open_ones if _is_sequence(model[name])}
    return Encoded(model, chosen | {name: net for name, net in asked.items() if net is not None})


def _is_image(variable: Variable) -> bool:
    """Whether an event is an image (channels, height, width) large enough for convolutions."""
    return len(variable.shape) == 3 and min(variable.shape[1:]) > LARGEST_FLAT and len(variable.space.encoded_shape(variable.shape)) == 3


def _is_sequence(variable: Variable) -> bool:
    """Whether the model draws an event's elements one after another in time."""
    return isinstance(variable.family, Autoregression) and variable.family.net.over_time and len(variable.shape) <= 2
