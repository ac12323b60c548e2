"""A conditional of a guide for a node whose cells may be missing: what is there stands, what is missing is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..families import Architecture, Noise, Variable
from ..graph import GraphError
from .base import Conditional
from .distribution import ConditionalDistribution, leading
from .networks import Shared
from .parametric import Parametric
from .ports import Port

__all__ = ["Completed"]


@dataclass(frozen=True, repr=False)
class Completed(Architecture):
    """q(node) = the value of the parent `seen` in the cells where the parent `mask` is 1, and a draw of `base` given all parents where it is 0.

    The density is that of the missing cells alone, so that the elements of `base` must be independent given the parents.
    """

    base: Variable
    seen: str
    mask: str

    def space(self, variable: Variable) -> Any:
        return self.base.space

    def summary(self, variable: Variable) -> str:
        return f"{self.base.summary} where missing"

    def caption(self, variable: Variable) -> str:
        return f"{self.base.caption} where missing"

    def build(self, name: str, variable: Variable, ports: Sequence[Port], *, plates: Any, all_plates: int, shared: Shared) -> CompletedConditional:
        inner = replace(variable, family=self.base.family, parameters=self.base.parameters)
        kind = inner.family.build if isinstance(inner.family, Architecture) else Parametric
        base = kind(name, inner, ports, plates=plates, all_plates=all_plates, shared=shared)
        if base.elements != len(variable.shape):
            raise GraphError(
                f"guide: cells of {name!r} may be missing, and the elements of {self.base.summary} hang together; take a family of independent elements for it: leave it out of families={{...}}"
            )
        return CompletedConditional(name, variable, ports, base)


class Known(NamedTuple):
    """What the base was prepared with, the values that are there, and where."""

    base: Any
    value: Tensor
    there: Tensor


class CompletedConditional(Conditional):
    """The base's conditional, overruled where the node is observed."""

    def __init__(self, name: str, variable: Variable, ports: Sequence[Port], base: Conditional):
        super().__init__(name, variable, ports)
        self.base, self.elements, self.density, self.regressed = base, base.elements, base.density, base.regressed
        names = [port.name for port in ports]
        self._seen, self._mask = names.index(variable.family.seen), names.index(variable.family.mask)

    @property
    def reparameterized(self) -> bool:
        return self.base.reparameterized

    @property
    def functional(self) -> bool:
        return self.base.functional

    @property
    def finite(self) -> bool:
        return False                                                        # its states are not all possible where one is observed

    def prepare(self, *parents: Tensor) -> Known:
        return Known(self.base.prepare(*parents), parents[self._seen], parents[self._mask] > 0)

    def draw(self, batch: Sequence[int], prepared: Known, noise: Noise) -> Tensor:
        drawn = self.base.draw(batch, prepared.base, noise)
        return torch.where(prepared.there, prepared.value.to(drawn.dtype), drawn)

    def surprisals(self, value: Tensor, prepared: Known) -> Tensor:
        return torch.where(prepared.there, 0.0, self.base.surprisals(value, prepared.base))

    def forward(self, *parents: Tensor, validate_args: bool | None = None) -> ConditionalDistribution:
        return ConditionalDistribution(self, self.prepare(*parents), leading(self.ports, parents), validate_args)
