"""The parameters of a net with chains in the net written out step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from ..conditionals import Chained
from ..families.lags import node_of
from ..network.unrolling import unrolled

if TYPE_CHECKING:
    from .model import Model

__all__ = ["share_over_steps"]


def share_over_steps(model: Model, found: Model, steps: int) -> None:
    """Gives the modules of a net that was written out the parameters of the one that it came from."""
    net, (_, _, origin) = found.net, unrolled(model.net, steps)
    for name, (node, step) in origin.items():
        if name in found.conditionals:
            _tie(found.conditionals[name], model.conditionals[node].at_step(step))
    for node in model.conditionals:
        conditional = model.conditionals[node]
        if isinstance(conditional, Chained):
            for position, port in enumerate(conditional.ports):
                before = [name for name in net if name not in origin and name in found.conditionals and name.startswith(f"{node_of(port.name)}[")]
                for name in before if conditional.learned(position) is not None else ():
                    found.conditionals[name].unconstrained["v"] = conditional.learned(position)


def _tie(module: nn.Module, other: nn.Module) -> None:
    """Gives a module the parameters and buffers of another one that is built alike."""
    for (_, one), (_, source) in zip(module.named_modules(), other.named_modules()):
        one._parameters.update(source._parameters)
        one._buffers.update({key: value for key, value in source._buffers.items() if key in one._buffers and value is not None and value.shape == one._buffers[key].shape})
