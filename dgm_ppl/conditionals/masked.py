"""A conditional that reads all that may be known through a mask, as it is where the mask is fixed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor

from ..families import Noise, Variable
from .base import Conditional
from .ports import Port, broadcast_batch

__all__ = ["Masked"]


class Masked(Conditional):
    """q(latent | what is read), whose parents' numbers and a mask of them, zero elsewhere, go into a conditional that other masks share.

    Args:
        name, variable: of the latent, with its parents.
        ports: how it sees them.
        whole: the conditional of all numbers that may be read and of their mask, one vector `(*batch, 2 * numbers)`.
        owner: which slot each number belongs to, `(numbers,)`.
        slots: the slots' names; each parent is one.
    """

    def __init__(self, name: str, variable: Variable, ports: Sequence[Port], whole: Conditional, owner: Tensor, slots: Sequence[str]):
        super().__init__(name, variable, ports)
        self.whole, self.density, self.regressed, self.elements = whole, whole.density, whole.regressed, whole.elements
        places = torch.cat([(owner == slots.index(port.name)).nonzero().flatten() for port in self.ports])
        self.count = len(places)
        index = torch.full_like(owner, len(places)).scatter(0, places, torch.arange(len(places), device=owner.device))
        self.register_buffer("index", index, persistent=False)              # where each number is found, a zero after all others

    def _read(self, parents: Sequence[Tensor]) -> Tensor:
        like = next((parameter for parameter in self.whole.parameters()), parents[0])
        flat = broadcast_batch([port.encode_flat(parent, like) for port, parent in zip(self.ports, parents)], [1] * len(parents))
        found = torch.cat([*flat, flat[0].new_zeros(*flat[0].shape[:-1], 1)], -1)[..., self.index]
        return torch.cat([found, (self.index < self.count).to(found).expand(found.shape)], -1)

    @property
    def reparameterized(self) -> bool:
        return self.whole.reparameterized

    @property
    def functional(self) -> bool:
        return self.whole.functional

    def forward(self, *parents: Tensor, validate_args: bool | None = None) -> dist.TorchDistribution:
        return self.whole(self._read(parents), validate_args=validate_args)

    def parameters_of(self, *parents: Tensor) -> Mapping[str, Tensor]:
        return self.whole.parameters_of(self._read(parents))

    def prepare(self, *parents: Tensor) -> Any:
        return self.whole.prepare(self._read(parents))

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
