"""What a compiled net is made of: the steps of its schedule, and the module that holds its conditionals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from ..conditionals import Conditional
from ..families.lags import Lagged
from .stepping import Strand

__all__ = ["Conditionals", "Node", "Prepared"]

Prepared = Any


@dataclass(frozen=True, eq=False, slots=True)
class Node:
    """One step of the schedule: a conditional and where it finds its parents.

    `inside` are the dimensions of a term that lie within one world, `joint` counts the event dimensions that share one term.
    """

    name: str
    conditional: Conditional
    parents: tuple[str, ...]
    event_rank: int
    deterministic: bool
    pooled: bool
    inside: tuple[int, ...]
    joint: int

    strand: Strand | None = None

    @property
    def now(self) -> tuple[str, ...]:
        """The parents within the same step."""
        if self.strand is None:
            return self.parents
        return tuple(parent for parent, port in zip(self.parents, self.conditional.ports) if not isinstance(port.name, Lagged))

    def receive(self, values: Mapping[str, Tensor]) -> list[Tensor]:
        """The parents' values as the conditional sees them."""
        if not self.pooled:
            return [values[parent] for parent in self.parents]
        return [port.receive(values[parent]) for port, parent in zip(self.conditional.ports, self.parents)]

    def prepare(self, values: Mapping[str, Tensor]) -> Prepared:
        """What the parents determine."""
        parents = self.receive(values) if self.pooled else [values[parent] for parent in self.parents]
        if self.strand is None:
            return self.conditional.prepare(*parents)
        return self.conditional.prepare(*parents, real=self.strand.real(values), steps=self.strand.steps(values))


class Conditionals(nn.Module):
    """The conditionals by node; a parameter of node z is named `conditionals.p(z)...`, so that any node name will do."""

    def __init__(self, conditionals: Mapping[str, Conditional]):
        super().__init__()
        self.names = tuple(conditionals)
        for name, conditional in conditionals.items():
            self.add_module(self.key(name), conditional)

    @staticmethod
    def key(name: str) -> str:
        return f"p({name.replace('%', '%25').replace('.', '%2E')})"

    def __getitem__(self, name: str) -> Conditional:
        return self._modules[self.key(name)]

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __iter__(self):
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)
