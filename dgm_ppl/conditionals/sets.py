"""Networks over plates: they see every parent with its plates in place, and pool over those that a child reads whole."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..graph import GraphError
from ..nets.sets import TOLD, Axis, Reading, SetNet
from .ports import Port
from .predictors import split

__all__ = ["SetNetwork", "set_network"]


class SetNetwork(nn.Module):
    """A set network's output, cut into the computed parameters.

    Parents come aligned, `(*worlds, *plates of the net, *event)`. A child in a plate whose members are told apart reads which member it is.
    """

    def __init__(self, network: nn.Module, ports: Sequence[Port], shapes: Sequence[tuple[int, ...]], *, rank: int, own: Sequence[tuple[int, int]]):
        super().__init__()
        self.network, self.ports, self.shapes, self.rank = network, tuple(ports), tuple(map(tuple, shapes)), rank
        self.sizes = [math.prod(shape) for shape in self.shapes]
        self.own = tuple(own)
        self.register_buffer("anchor", torch.empty(0), persistent=False)

    def forward(self, *parents: Tensor) -> Sequence[Tensor]:
        anchor, rank = self._buffers["anchor"], self.rank
        encoded = [port.encode_flat(value, anchor) for port, value in zip(self.ports, parents)]
        missing = max(0, rank + 1 - max(value.ndim for value in encoded))   # a program leaves singletons on the left away
        encoded = [value if value.ndim > rank else value.reshape(*(1,) * (rank + 1 - value.ndim), *value.shape) for value in encoded]
        encoded += [_places(place, size, rank, anchor) for place, size in self.own]
        output = self.network(*encoded)
        while missing and output.shape[0] == 1:
            output, missing = output.squeeze(0), missing - 1
        return split(output, self.sizes, self.shapes)


def _places(place: int, size: int, rank: int, like: Tensor) -> Tensor:
    """Which member of a plate it is, one-hot on the plate's axis."""
    shape = [1] * rank
    shape[place] = size
    return torch.eye(size, dtype=like.dtype, device=like.device).reshape(*shape, size)


def set_network(
    name: str, net: SetNet, ports: Sequence[Port], parameters: Sequence[str], shapes: Sequence[tuple[int, ...]], plates: Sequence[int], shared: dict,
) -> SetNetwork:
    """The network of a node that pools over plates, which computes `parameters`; `plates` are the positions of the node's own."""
    frame, outputs = ports[0].frame, tuple(map(tuple, shapes))
    rank = len(frame)
    for plate in net.ordered:
        if (plate, None) in frame:
            raise GraphError(
                f"node {name!r}: the members of plate {plate!r} are told apart, so its network reads them in order and needs their number; "
                f"declare it: plates={{{plate!r}: dgm.Plate([...], size=8)}}"
            )
    readings = [
        Reading(source, port.features, tuple(Axis(place - rank, frame[place][1] if frame[place][0] in net.ordered else None) for place in places))
        for source, port in enumerate(ports) for places in port.readings
    ]
    own = [(place, frame[place][1]) for place in plates if frame[place][0] in net.ordered]
    readings += [Reading(len(ports) + count, size) for count, (_, size) in enumerate(own)]
    key = (tuple(readings), outputs, *[name for name in parameters if any(name in pair for pair in TOLD)])
    if id(net) not in shared:
        shared[id(net)] = net.build_sets(readings, outputs, parameters), key, net
    module, built_for, _ = shared[id(net)]
    if built_for != key:
        raise GraphError(f"node {name!r}: shares the net {net.label()} with a node of other sizes or plates; pass an object of its own to each node: net={net.label()}")
    return SetNetwork(module, ports, outputs, rank=rank, own=own)
