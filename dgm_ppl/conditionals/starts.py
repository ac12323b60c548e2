"""Where parameters start that are left out and computed from the parents: the bias of what computes them is moved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..families import Variable
from ..graph import GraphError
from .predictors import Function, Linear, LinearAndTable, Table

__all__ = ["move_to_starts"]


@torch.no_grad()
def move_to_starts(name: str, variable: Variable, predictor: nn.Module | None, computed: Mapping[str, Tensor]) -> None:
    """Adds to the biases of a node's predictor where the parameters that it computes start, unconstrained, for those that were given a `start`.

    Raises:
        GraphError: a predictor without such biases, or a module, whose weights are the user's.
    """
    moved = [] if predictor is None or isinstance(variable.net, nn.Module) else _biases(predictor, [start.numel() for start in computed.values()])
    added = dict(zip(computed, moved))
    for parameter, start in computed.items():
        if parameter in variable.started and parameter not in added:
            raise GraphError(
                f"node {name!r}: {parameter}={variable.started[parameter]} expected a network of a builder whose last layer is linear, a linear predictor or a table, whose bias is moved; "
                f"got {_shown(predictor, variable.net)}; leave it out, and start a module of your own where you like: set its last bias, then net=module"
            )
        if parameter in variable.started:
            added[parameter] += start.flatten()


def _biases(predictor: nn.Module, sizes: list[int]) -> list[Tensor]:
    """What is added to each parameter, its numbers in the last dimension; nothing where no bias of so many numbers comes last."""
    if isinstance(predictor, (Table, Linear, LinearAndTable)):
        return predictor.biases()
    linear = [part for part in predictor.modules() if isinstance(part, nn.Linear)][-1:]
    fits = linear and linear[0].bias is not None and linear[0].out_features == sum(sizes)
    return list(linear[0].bias.split(sizes)) if fits else []


def _shown(predictor: nn.Module | None, net: Any) -> str:
    if predictor is None:
        return "parameters that are computed elsewhere"
    return "a function (fn)" if isinstance(predictor, Function) else f"a module of your own, {type(net).__name__}" if isinstance(net, nn.Module) else f"net={net!r}"
