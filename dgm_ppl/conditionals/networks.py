"""The networks of nodes: built for a node's shapes, and shared by the nodes that were given the same object."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from ..graph import GraphError
from ..nets import Flat, Net, SetNet, Shaped, adapt
from .ports import Port
from .predictors import Network
from .sets import SetNetwork, set_network

__all__ = ["Shared", "network_of", "shared_module"]

Shapes = tuple[tuple[int, ...], ...]
Shared = dict[int, tuple[nn.Module, tuple[Any, Shapes], Net]]
"""By the identity of a builder: the module it became, the shapes that it was built for, and the builder, which keeps its identity from being taken."""


def network_of(name: str, net: Net | nn.Module, ports: Sequence[Port], parameters: Sequence[str], shapes: Sequence[tuple[int, ...]], shared: Shared, plates: Sequence[int] = ()) -> Network | SetNetwork:
    """The network of a node in the plates at some positions, which computes `parameters` of the given shapes.

    Raises:
        GraphError: a net that cannot join these shapes, or that was built for others.
    """
    if isinstance(net, SetNet) and ports[0].frame:
        return set_network(name, net, ports, parameters, shapes, plates, shared)
    inputs, outputs = tuple(port.encoded_shape for port in ports), tuple(map(tuple, shapes))
    for port in ports:
        if None in port.encoded_shape:
            raise GraphError(
                f"node {name!r}: its network reads all members of a plate through {port.name!r}, so the plate needs a size: "
                f"plates={{...: dgm.Plate([...], size=8)}}; or read it as a set of any size: net=dgm.DeepSet(64); or use fn="
            )
    if not isinstance(net, (Net, nn.Module)):
        raise GraphError(f"node {name!r}: expected a network such as dgm.MLP(128) or any torch module; got {net!r}")
    try:
        if isinstance(net, Net):
            return Network(_built(net, inputs, outputs, tuple(parameters), shared), ports, outputs, flat=net.flatten, batched=net.flatten)
        module, flat = adapt(net, inputs, outputs, tuple(parameters))
        return Network(module, ports, outputs, flat=flat, batched=True)
    except ValueError as error:
        raise GraphError(f"node {name!r}: {error}") from error


def _built(net: Net, inputs: Shapes, outputs: Shapes, names: tuple[str, ...], shared: Shared) -> nn.Module:
    def build() -> nn.Module:
        return net.build(inputs, outputs, names) if isinstance(net, (Flat, Shaped)) else net.build(inputs, outputs)
    return shared_module(net, (inputs, outputs), build, shared)


def shared_module(net: Net, sizes: tuple, build: Callable[[], nn.Module], shared: Shared) -> nn.Module:
    """The module that a builder becomes; the one at hand where a node was given the same object.

    Raises:
        ValueError: the one at hand was built for other sizes.
    """
    if id(net) not in shared:
        shared[id(net)] = build(), sizes, net
    module, built_for, _ = shared[id(net)]
    if built_for != sizes:
        raise ValueError(
            f"shares the net {net.label()} with a node of other sizes ({_sizes(*built_for)} against {_sizes(*sizes)}); "
            f"pass an object of its own to each node: net={net.label()}"
        )
    return module


def _sizes(inputs: Any, outputs: Shapes) -> str:
    return f"{' + '.join(map(str, inputs)) if isinstance(inputs, tuple) else inputs} -> {' + '.join(map(str, outputs))}"
