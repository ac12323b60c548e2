"""Optimizers: small frozen builders, fused wherever the device has a fused kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import nn

__all__ = ["SGD", "Adam", "AdamW", "OptimizerBuilder", "ScheduleBuilder", "describe", "for_player"]

OptimizerBuilder: TypeAlias = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
ScheduleBuilder: TypeAlias = Callable[[torch.optim.Optimizer], Any]

FUSED_DEVICES = frozenset({"cpu", "cuda", "mps", "xpu"})


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma and Ba 2015, https://arxiv.org/abs/1412.6980), in one fused kernel where there is one.

    >>> Adam(lr=0.01)([nn.Parameter(torch.zeros(2))]).defaults["fused"]
    True
    """

    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0

    def __call__(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Adam:
        parameters = list(parameters)
        return torch.optim.Adam(
            parameters, self.lr, self.betas, self.eps, self.weight_decay, fused=_fusible(parameters)
        )


@dataclass(frozen=True)
class AdamW:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019, https://arxiv.org/abs/1711.05101), fused.

    >>> AdamW(weight_decay=0.1)([nn.Parameter(torch.zeros(2))]).defaults["weight_decay"]
    0.1
    """

    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 1e-2

    def __call__(self, parameters: Iterable[nn.Parameter]) -> torch.optim.AdamW:
        parameters = list(parameters)
        return torch.optim.AdamW(
            parameters, self.lr, self.betas, self.eps, self.weight_decay, fused=_fusible(parameters)
        )


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent with optional momentum, fused.

    >>> SGD(lr=0.1, momentum=0.9)([nn.Parameter(torch.zeros(2))]).defaults["momentum"]
    0.9
    """

    lr: float = 1e-2
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0

    def __call__(self, parameters: Iterable[nn.Parameter]) -> torch.optim.SGD:
        parameters = list(parameters)
        return torch.optim.SGD(
            parameters,
            self.lr,
            self.momentum,
            nesterov=self.nesterov,
            weight_decay=self.weight_decay,
            fused=_fusible(parameters),
        )


def for_player(builders: Any, player: str, players: Sequence[str], argument: str) -> Any:
    """The builder for one player, of a single builder for all or a dict by player.

    >>> for_player({"generator": Adam(1e-4), "critic": Adam(4e-4)}, "critic", ["generator", "critic"], "optimizer").lr
    0.0004
    """
    if not isinstance(builders, Mapping):
        return builders
    if set(builders) != set(players):
        raise ValueError(
            f"{argument}: expected an entry for each of the players {', '.join(players)}; got {', '.join(builders)}; "
            f"try {{{', '.join(f'{name!r}: ...' for name in players)}}}"
        )
    return builders[player]


def describe(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The class and the settings of an optimizer as JSON data."""
    settings = {name: repr(value) for name, value in optimizer.param_groups[0].items() if name != "params"}
    return {"class": type(optimizer).__name__, **settings}


def _fusible(parameters: Sequence[nn.Parameter]) -> bool:
    return all(parameter.device.type in FUSED_DEVICES and parameter.is_floating_point() for parameter in parameters)
