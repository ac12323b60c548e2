"""Flow matching: a velocity field along straight lines from noise to data, whose flow has an exact density."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from ..families import Setting, Space, Variable
from ..families.shapes import broadcast
from ..families.variable import checked_shape
from ..graph import GraphError
from .denoising import Denoising, DenoisingConditional, check_taken_in
from .flow.links import Affine
from .guidance import shares_of
from .networks import Shared
from .ports import Port
from .probability_flow import LARGEST_EXACT
from .samplers import Heun, Sampler
from .schedules import Straight

__all__ = ["Coupling", "FlowMatching", "FlowMatchingKind", "Independent", "OptimalTransport"]


class Coupling(Setting):
    """Which noise goes with which world of a batch, among those whose parents are alike: noise that tells of the parents would be none."""

    @abstractmethod
    def __call__(self, clean: Tensor, noise: Tensor) -> Tensor:
        """The noise, rows in another order; both `(rows, numbers)`."""


@dataclass(frozen=True, repr=False)
class Independent(Coupling):
    """Any noise with any world."""

    def __call__(self, clean: Tensor, noise: Tensor) -> Tensor:
        return noise


@dataclass(frozen=True, repr=False)
class OptimalTransport(Coupling):
    """The assignment of noise to worlds with the smallest sum of squared distances, batch by batch: straighter paths, fewer steps.

    With parents it is that of the worlds that share their values, so that it changes nothing where parents are real numbers.

    Source: Tong et al. (2024), https://arxiv.org/abs/2302.00482.
    """

    def __call__(self, clean: Tensor, noise: Tensor) -> Tensor:
        with torch.no_grad():
            _, columns = linear_sum_assignment(torch.cdist(clean, noise).square().cpu().numpy())
        return noise[torch.as_tensor(columns, device=noise.device)]


def FlowMatching(
    *shape: int, net: Any, coupling: Coupling = Independent(), sampler: Sampler = Heun(20), drop: Mapping[str, float] | None = None, space: Space | None = None,
    preprocess: Affine | None = None, context: int = 64,
) -> Variable:
    """A node that a velocity field carries from noise at t = 1 to data at t = 0: dx/dt = v(x, t, parents).

    The field is regressed on noise - x along straight lines x_t = (1 - t) x + t noise, by `dgm.Denoising(model)`. The flow's density is
    exact (of events of more than 64 elements an estimate without bias), by an ordinary differential equation: log p(x) = log N(x_1) + int_0^1 div v dt. Draws are
    the flow's as far as the sampler's steps are fine enough. As the family of a guide it is trained by `dgm.ForwardKL`.

    Args:
        shape: the event shape; data are scaled to about unit variance before, or here by `preprocess`.
        net: the field's network: it reads the value, features of the time, and the encoded parents, or what `.given(..., net=...)` sums them up to.
        coupling: `Independent()` or `OptimalTransport()`.
        sampler: `Heun(20)`, `DDIM(50)` (Euler's steps); where draws are weighed by the density, steps that are fine.
        drop: parents left out in training, with the share of worlds: needed for guidance by them.
        space: where values live: positive numbers are carried by their logarithm, numbers between bounds by their log-odds.
        preprocess: `Affine(loc, scale)` after the space's own map.
        context: how many numbers a network given with the parents sums them up to.

    Raises:
        GraphError: a network that cannot take the shape, a sampler that needs a chain of noisy values, an unknown parent.

    Source: Lipman et al. (2023), https://arxiv.org/abs/2210.02747; Liu et al. (2023), https://arxiv.org/abs/2209.03003.

    Example:
        >>> import torch, dgm_ppl as dgm
        >>> model = dgm.compile(dgm.BayesNet(x=dgm.FlowMatching(2, net=dgm.MLP(32), coupling=dgm.OptimalTransport())))
        >>> run = dgm.fit(dgm.Denoising(model), {"x": torch.randn(64, 2)}, steps=3, seed=0)
        >>> model.log_prob(model.sample(5)).shape
        torch.Size([5])
    """
    if not isinstance(coupling, Coupling):
        raise GraphError(f"FlowMatching: expected a coupling such as dgm.Independent() or dgm.OptimalTransport(); got {coupling!r}")
    if not isinstance(sampler, Sampler):
        raise GraphError(f"FlowMatching: expected a sampler such as dgm.Heun(20) or dgm.DDIM(50); got {sampler!r}")
    if not sampler.deterministic:
        raise GraphError(f"FlowMatching: expected a sampler without fresh noise, as the flow's density is that of its own draws; got {sampler!r}; try sampler=dgm.Heun(20)")
    check_taken_in("FlowMatching", space, preprocess, context)
    kind = FlowMatchingKind(net, sampler, shares_of("FlowMatching", drop), preprocess, context, coupling)
    return Variable(kind, checked_shape(shape, "FlowMatching"), declared_space=space)


@dataclass(frozen=True, repr=False)
class FlowMatchingKind(Denoising):
    """What `FlowMatching(...)` declares."""

    coupling: Coupling = Independent()

    def summary(self, variable: Variable) -> str:
        options = [f"net={self.net!r}", f"coupling={self.coupling!r}", f"sampler={self.sampler!r}", *self.options(variable)]
        return f"FlowMatching({', '.join([*map(str, variable.shape), *options])})"

    def caption(self, variable: Variable) -> str:
        return f"FlowMatching({', '.join(map(str, variable.shape))})"

    def build(self, name: str, variable: Variable, ports: Sequence[Port], *, plates: Any, all_plates: int, shared: Shared) -> FlowMatched:
        return FlowMatched(name, variable, ports, Straight(), shared, plates)


class FlowMatched(DenoisingConditional):
    """The flow of a learned velocity."""

    regressed, accuracy = True, 1e-2                                        # solved with steps that all rows share

    def __init__(self, name: str, variable: Variable, ports: Sequence[Port], schedule: Straight, shared: Shared, plates: Sequence[int] = ()):
        super().__init__(name, variable, ports, schedule, shared, plates)
        self.density = "exact" if variable.numel <= LARGEST_EXACT else "estimate"

    def read(self, output: Tensor, noisy: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        alpha, sigma = (self.spread(level) for level in self.schedule.levels(t))
        return noisy - sigma * output, noisy + alpha * output

    def matching_loss(self, value: Tensor, prepared: Any, weighting: Any) -> Tensor:
        """|velocity - (noise - x)|^2 at a random time, summed over the event."""
        event = self.variable.shape
        batch = broadcast(prepared[1], value.shape[: value.ndim - len(event)])
        clean = self.encode(value).expand(*batch, *event)
        t, noise = self.times(batch, clean), torch.randn_like(clean)
        noise = self._coupled(clean.reshape(-1, self.variable.numel), noise.reshape(-1, self.variable.numel), prepared[0], batch).reshape(clean.shape)
        alpha, sigma = (self.spread(level) for level in self.schedule.levels(t))
        found_clean, found_noise = self.denoiser(prepared, batch, drop=True)(alpha * clean + sigma * noise, t)
        errors = (found_noise - found_clean - noise + clean).square()
        return errors.sum(self.events(clean)) if event else errors

    @torch.no_grad()
    def _coupled(self, clean: Tensor, noise: Tensor, parents: Sequence[Tensor], batch: Sequence[int]) -> Tensor:
        """The noise by the coupling, within rows of the same parents."""
        coupling = self.variable.family.coupling
        if isinstance(coupling, Independent) or not parents:
            return coupling(clean, noise)
        told = [value.expand(*batch, *value.shape[len(value.shape) - rank:]).reshape(len(clean), -1) for value, rank in zip(parents, self._parent_ranks)]
        _, kind = torch.unique(torch.cat(told, 1), dim=0, return_inverse=True)
        coupled = noise.clone()
        for one in kind.unique():
            rows = (kind == one).nonzero().squeeze(1)
            coupled[rows] = coupling(clean[rows], noise[rows])
        return coupled

    @property
    def _parent_ranks(self) -> list[int]:
        """How many dimensions each of the prepared parents has in one world."""
        return [1] if self.encoder is not None else [port.encoded_rank for port in self.ports]

    def surprisals(self, value: Tensor, prepared: Any) -> Tensor:
        batch = broadcast(prepared[1], value.shape[: value.ndim - len(self.variable.shape)])
        return -self.flow_density(value, prepared, batch)

    def training_losses(self, value: Tensor, prepared: Any) -> Tensor:
        return self.matching_loss(value, prepared, None)
