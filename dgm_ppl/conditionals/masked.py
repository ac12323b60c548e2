"""A conditional that reads all that may be known through a mask, as it is where the mask is fixed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pyro.distributions as dist
import torch
from torch import Tensor

from ..families import Noise, Variable
from ..graph import GraphError
from .base import Conditional
from .ports import Port, broadcast_batch

__all__ = ["Group", "Masked"]


class Group(NamedTuple):
    """Nodes in the same plates: which of all slots each of their numbers belongs to, and the positions of the plates."""

    slots: tuple[str, ...]
    owner: Tensor
    plates: tuple[int, ...]


class Masked(Conditional):
    """q(latent | what is read), whose parents' numbers and a mask of them, zero elsewhere, go into a conditional that other masks share.

    Args:
        name, variable: of the latent, with its parents.
        ports: how it sees them, each by itself: aligned, plates in place.
        whole: the conditional of all that may be read: for each group of numbers, these and their mask, `(*worlds, *plates, 2 * numbers)`.
        groups: what it reads, in the order of its parents.
        slots: all of them.
    """

    def __init__(self, name: str, variable: Variable, ports: Sequence[Port], whole: Conditional, groups: Sequence[Group], slots: Sequence[str]):
        super().__init__(name, variable, ports)
        self.whole, self.density, self.regressed, self.elements = whole, whole.density, whole.regressed, whole.elements
        self.plates = [group.plates for group in groups]
        self.inside = [[at for at, port in enumerate(self.ports) if port.name in group.slots] for group in groups]
        told = {plate for group, inside in zip(groups, self.inside) if inside for plate in group.plates}
        for at, (group, port) in enumerate(zip(groups, whole.ports)):
            if not self.inside[at] and not {*port.pooled, *(plate for reading in port.readings for plate in reading)} <= told:
                raise GraphError(f"guide: in this pattern {name!r} reads nothing of a plate whose size it is told; ask for the posterior instead: dgm.Importance(guide, 1000)")
            places = [(group.owner == slots.index(self.ports[place].name)).nonzero().flatten() for place in self.inside[at]]
            found = torch.cat([*places, group.owner.new_zeros(0)])
            index = torch.full_like(group.owner, len(found)).scatter(0, found, torch.arange(len(found), device=found.device))
            self.register_buffer(f"index{at}", index, persistent=False)     # where each number is found, a zero after all others
            self.register_buffer(f"mask{at}", index < len(found), persistent=False)

    def _read(self, parents: Sequence[Tensor]) -> list[Tensor]:
        like = next((parameter for parameter in self.whole.parameters()), parents[0])
        flat, found = [port.encode_flat(parent, like) for port, parent in zip(self.ports, parents)], []
        rank = self.whole.ports[0].plates
        sizes = [max(part.shape[at - rank - 1] for part in flat) for at in range(rank)]
        for at, (inside, port) in enumerate(zip(self.inside, self.whole.ports)):
            index, mask = getattr(self, f"index{at}"), getattr(self, f"mask{at}")
            nothing = flat[0].new_zeros(*(size if plate in self.plates[at] else 1 for plate, size in enumerate(sizes)), 0)
            parts = broadcast_batch([flat[place] for place in inside] or [nothing], [1] * max(1, len(inside)))
            numbers = torch.cat([*parts, parts[0].new_zeros(*parts[0].shape[:-1], 1)], -1)[..., index]
            found.append(port.receive(torch.cat([numbers, mask.to(numbers).expand(numbers.shape)], -1)))
        return found

    @property
    def reparameterized(self) -> bool:
        return self.whole.reparameterized

    @property
    def functional(self) -> bool:
        return self.whole.functional

    def forward(self, *parents: Tensor, validate_args: bool | None = None) -> dist.TorchDistribution:
        return self.whole(*self._read(parents), validate_args=validate_args)

    def parameters_of(self, *parents: Tensor) -> Mapping[str, Tensor]:
        return self.whole.parameters_of(*self._read(parents))

    def prepare(self, *parents: Tensor) -> Any:
        return self.whole.prepare(*self._read(parents))

    def draw(self, batch: Sequence[int], prepared: Any, noise: Noise) -> Tensor:
        return self.whole.draw(batch, prepared, noise)

    def surprisals(self, value: Tensor, prepared: Any) -> Tensor:
        return self.whole.surprisals(value, prepared)

    def training_losses(self, value: Tensor, prepared: Any) -> Tensor:
        return self.whole.training_losses(value, prepared)

    def log_probabilities(self, prepared: Any) -> Tensor | None:
        return self.whole.log_probabilities(prepared)

    def divergences(self, prepared: Any, other: Conditional, other_prepared: Any) -> Tensor | None:
        return self.whole.divergences(prepared, other, other_prepared)
