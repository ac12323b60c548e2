"""How an autoregressive node is drawn otherwise than from its own distribution: transformed element by element, or completed from a part."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..families import Setting
from ..graph import GraphError

__all__ = ["Drawing", "Partial", "Prefix", "Temperature", "TopK", "TopP", "Transform", "drawings", "transforms_of"]


class Transform(ABC):
    """A change of the distribution from which each element is drawn, given the elements before it.

    What is drawn then is no draw from the model: its density is not the model's `log_prob`. A subclass is a frozen dataclass that
    maps log-probabilities of the states `(*batch, states)` to those of which one is drawn (they need not be normalized).
    """

    @abstractmethod
    def __call__(self, log_probs: Tensor) -> Tensor:
        """The log-probabilities to draw from."""


@dataclass(frozen=True, repr=False)
class Temperature(Setting, Transform):
    """p(state)^(1 / temperature): below 1 more certain, above 1 more varied.

    >>> Temperature(0.5)(torch.tensor([0.2, 0.8]).log()).softmax(-1)
    tensor([0.0588, 0.9412])
    """

    temperature: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise GraphError(f"Temperature: expected a positive number; got {self.temperature!r}; for the likeliest sequence try dgm.beam_search")

    def __call__(self, log_probs: Tensor) -> Tensor:
        return log_probs / self.temperature


@dataclass(frozen=True, repr=False)
class TopK(Setting, Transform):
    """The k likeliest states (Fan, Lewis and Dauphin, 2018, https://arxiv.org/abs/1805.04833).

    >>> TopK(1)(torch.tensor([0.2, 0.8]).log()).softmax(-1)
    tensor([0., 1.])
    """

    k: int

    def __post_init__(self) -> None:
        if not isinstance(self.k, int) or isinstance(self.k, bool) or self.k < 1:
            raise GraphError(f"TopK: expected a positive whole number; got {self.k!r}; try dgm.TopK(40)")

    def __call__(self, log_probs: Tensor) -> Tensor:
        if self.k >= log_probs.shape[-1]:
            return log_probs
        kept = log_probs.topk(self.k, -1)
        return torch.full_like(log_probs, -math.inf).scatter(-1, kept.indices, kept.values)


@dataclass(frozen=True, repr=False)
class TopP(Setting, Transform):
    """The fewest likeliest states that have probability p together (Holtzman et al., 2020, https://arxiv.org/abs/1904.09751).

    >>> TopP(0.6)(torch.tensor([0.2, 0.5, 0.3]).log()).softmax(-1)
    tensor([0.0000, 0.6250, 0.3750])
    """

    p: float

    def __post_init__(self) -> None:
        if not 0 < self.p <= 1:
            raise GraphError(f"TopP: expected a probability above 0; got {self.p!r}; try dgm.TopP(0.9)")

    def __call__(self, log_probs: Tensor) -> Tensor:
        ordered = log_probs.log_softmax(-1).sort(-1, descending=True)
        before = ordered.values.exp().cumsum(-1) - ordered.values.exp()     # of the states likelier than each: the first is always kept
        kept = ordered.values.masked_fill(before >= self.p, -math.inf)
        return torch.full_like(log_probs, -math.inf).scatter(-1, ordered.indices, kept)


@dataclass(frozen=True, eq=False)
class Partial:
    """Evidence on some elements of a node's event, for `model.sample(given={"x": Partial(image, known=mask)})`; the others are drawn given them.

    `value` is `(*worlds, *event)`, whatever it holds where `known`, of the event's shape, is false.
    """

    value: Any
    known: Any

    def of(self, name: str, event: tuple[int, ...], legal: Any) -> tuple[Any, Tensor]:
        """The value, legal everywhere, and what is known of it."""
        known = torch.as_tensor(self.known)
        if known.dtype is not torch.bool or tuple(known.shape) != event:
            raise GraphError(f"node {name!r}: expected known= to be boolean with the event's shape {event}, one for all worlds; got {known.dtype} with the shape {tuple(known.shape)}")
        value = torch.as_tensor(self.value)
        if tuple(value.shape[max(value.ndim - len(event), 0):]) != event:
            raise GraphError(f"node {name!r}: expected a value with the event's shape {event} at the end; got {tuple(value.shape)}; for the first elements alone try dgm.Prefix(value)")
        return torch.where(known.to(value.device), value, torch.as_tensor(legal, device=value.device).to(value.dtype)), known


@dataclass(frozen=True, eq=False)
class Prefix:
    """Evidence on the beginning of a node's event, along its first dimension: `(*worlds, length, *rest)`; `event` dimensions are those of the node."""

    value: Any

    def of(self, name: str, event: tuple[int, ...], legal: Any) -> tuple[Any, Tensor]:
        value = torch.as_tensor(self.value)
        axis = value.ndim - len(event)
        if axis < 0 or tuple(value.shape[axis + 1:]) != event[1:] or not value.shape[axis] <= event[0]:
            raise GraphError(f"node {name!r}: expected the first of {event[0]} along the event {event}, (*worlds, length{''.join(f', {n}' for n in event[1:])}); got the shape {tuple(value.shape)}")
        length = value.shape[axis]
        rest = torch.as_tensor(legal, device=value.device).to(value.dtype).expand(*value.shape[:axis], event[0] - length, *event[1:])
        known = (torch.arange(event[0]) < length).reshape(-1, *(1,) * (len(event) - 1)).expand(event)
        return torch.cat([value, rest], axis), known


@dataclass(frozen=True, eq=False)
class Drawing:
    """How one node is drawn: what is known of it, aligned, and how its elements' distributions are changed."""

    transforms: tuple[Transform, ...] = ()
    value: Tensor | None = None
    known: Tensor | None = None

    def __str__(self) -> str:
        return " and ".join([*(repr(one) for one in self.transforms), *([] if self.known is None else ["evidence on a part of it"])])


def drawings(transform: Any, parts: Mapping[str, tuple[Tensor, Tensor]], nodes: Sequence[str]) -> dict[str, Drawing]:
    """The drawing of each node: `transform` is one, several to be applied in turn, or a dict of these by node; `nodes` are those it can be."""
    asked = transform if isinstance(transform, Mapping) else {} if transform is None else dict.fromkeys(nodes, transform)
    if transform is not None and not asked:
        raise GraphError(f"sample: {transform!r} changes how elements are drawn one after another; no node is autoregressive: dgm.Autoregressive(...)")
    found = {name: Drawing(transforms_of(one)) for name, one in asked.items()}
    return found | {name: Drawing(found[name].transforms if name in found else (), *part) for name, part in parts.items()}


def transforms_of(transform: Any) -> tuple[Transform, ...]:
    """One transform, or several to be applied in turn."""
    several = tuple(transform) if isinstance(transform, (tuple, list)) else (transform,)
    for one in several:
        if not isinstance(one, Transform):
            raise GraphError(f"sample: expected a transform, dgm.Temperature, dgm.TopK, dgm.TopP or several in a tuple; got {one!r}")
    return several
