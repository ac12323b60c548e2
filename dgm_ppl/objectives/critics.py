"""Critics: networks that tell the worlds of the data from those of the model, one for each clique of nodes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..conditionals import Port
from ..conditionals.networks import network_of
from ..families import Setting
from ..families.shapes import broadcast
from ..graph import GraphError, did_you_mean
from ..nets import MLP, Net
from ..network import BayesNet

__all__ = ["Critic", "CriticNetwork", "critics_of"]


@dataclass(frozen=True, init=False, repr=False)
class Critic(Setting):
    """A critic of some nodes of a net, judged together: of a node and its parents it judges the conditional.

    `against` names the columns of the data that the nodes are held against, the nodes' own by default; the two rows need not
    belong together (unpaired translation).

    >>> Critic("x", "label")
    Critic('x', 'label', net=MLP(128))
    """

    nodes: tuple[str, ...]
    net: Any
    against: tuple[str, ...]

    def __init__(self, *nodes: str, net: Any = None, against: str | Iterable[str] = ()):
        against = (against,) if isinstance(against, str) else tuple(against)
        if not nodes or not all(isinstance(name, str) for name in nodes):
            raise GraphError(f"Critic: expected names of nodes; got {nodes!r}; try dgm.Critic('x', net=dgm.MLP(128))")
        if len(set(nodes)) < len(nodes):
            raise GraphError(f"Critic: expected each node once; got {list(nodes)}")
        if net is not None and not isinstance(net, (Net, nn.Module)):
            raise GraphError(f"Critic: expected a network for {', '.join(map(repr, nodes))} such as dgm.MLP(128) or any torch module; got {net!r}")
        if against and len(against) != len(nodes):
            raise GraphError(f"Critic: expected one column for each of the nodes {list(nodes)} in against; got {list(against)}")
        for name, value in (("nodes", nodes), ("net", MLP(128) if net is None else net), ("against", against or nodes)):
            object.__setattr__(self, name, value)

    def __repr__(self) -> str:
        against = "" if self.against == self.nodes else f", against={list(self.against)}"
        return f"Critic({', '.join(map(repr, self.nodes))}, net={self.net!r}{against})"


class CriticNetwork(nn.Module):
    """A compiled critic: from the values of its nodes to one number a world (and plate member)."""

    def __init__(self, critic: Critic, net: BayesNet):
        super().__init__()
        self.critic = critic
        plates = len(net.plates)
        self.plated = plates > 0
        self.ports = tuple(Port(name, net[name].space, net[name].shape, plates=plates) for name in critic.nodes)
        label = f"critic of {', '.join(map(repr, critic.nodes))}"
        self.network = network_of(label, critic.net, self.ports, ("score",), [()], {})
        self.smooth = tuple(i for i, port in enumerate(self.ports) if not port.space.integer)

    def forward(self, *values: Tensor) -> Tensor:
        return self.network(*values)[0]

    def squared_slope(self, values: Sequence[Tensor]) -> Tensor:
        """The squared norm of the gradient in the real-valued nodes, one number a world (and member), differentiable."""
        values = list(values)
        if self.plated:                                                     # a node outside a plate is read by every member, with a slope of its own
            lead = broadcast(*[value.shape[: value.ndim - len(port.event)] for value, port in zip(values, self.ports)])
            values = [value.expand(*lead, *port.event) for value, port in zip(values, self.ports)]
        moved = [values[i].detach().requires_grad_() for i in self.smooth]
        for i, value in zip(self.smooth, moved):
            values[i] = value
        score = self(*values)
        gradients = torch.autograd.grad(score.sum(), moved, create_graph=True)
        norms = [gradient.square().reshape(*score.shape, -1).sum(-1) for gradient in gradients]
        return sum(norms[1:], start=norms[0])


def critics_of(declared: Mapping[Any, Any] | Sequence[Critic], net: BayesNet) -> tuple[Critic, ...]:
    """The critics as declared, by a dict from node (or tuple of nodes) to network, or as a list; names are checked.

    Raises:
        GraphError: no critic, an unknown node, columns of another shape or space than the nodes they are held against.
    """
    if isinstance(declared, Mapping):
        critics = tuple(Critic(*(nodes if isinstance(nodes, tuple) else (nodes,)), net=network) for nodes, network in declared.items())
    else:
        critics = tuple(declared) if isinstance(declared, (list, tuple)) else (declared,)
    if not critics or not all(isinstance(critic, Critic) for critic in critics):
        raise GraphError(f"Adversarial: expected critics by node; got {declared!r}; try {{'x': dgm.MLP(128)}} or [dgm.Critic('x', net=dgm.MLP(128))]")
    for critic in critics:
        for name in (*critic.nodes, *critic.against):
            if name not in net:
                raise GraphError(f"{critic!r}: no node {name!r}{did_you_mean(name, net)}")
        for name, column in zip(critic.nodes, critic.against):
            if net[name].shape != net[column].shape:
                raise GraphError(f"{critic!r}: {name!r} has the shape {net[name].shape}, {column!r} has {net[column].shape}; expected columns of the nodes' own shape")
            kinds = [(net[each].space.integer, net[each].space.cardinality) for each in (name, column)]
            if kinds[0] != kinds[1]:
                raise GraphError(f"{critic!r}: {name!r} has values in {net[name].space}, {column!r} in {net[column].space}; expected columns of the nodes' own kind")
            if net.plates_of(name) != net.plates_of(column):
                raise GraphError(f"{critic!r}: {name!r} is in the plates {net.plates_of(name)}, {column!r} in {net.plates_of(column)}; expected columns of the nodes' own plates")
        if all(net[name].space.integer for name in critic.nodes):
            raise GraphError(f"{critic!r}: every node is finite, so no gradient could reach the model; train finite nodes by dgm.MaximumLikelihood")
    return critics
