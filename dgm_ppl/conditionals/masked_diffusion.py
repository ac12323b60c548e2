"""Discrete diffusion: elements of a finite vector are masked one by one, and a network says what stood there."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..families import Architecture, Finite, Noise, Real, Setting, Variable
from ..families.shapes import broadcast
from ..families.variable import checked_shape, states_of
from ..graph import GraphError
from ..nets import Net
from .base import Conditional
from .denoising import FEATURES, time_features
from .distribution import ConditionalDistribution, leading
from .guidance import Dropping, check_guidance, check_shares, shares_of, weights_of
from .networks import Shared, network_of
from .ports import Port

__all__ = ["MaskedDiffused", "MaskedDiffusion", "MaskedDiffusionKind", "Unmasking"]


def MaskedDiffusion(states: int | Sequence[str], *shape: int, net: Any, sampler: Unmasking | None = None, drop: Mapping[str, float] | None = None) -> Variable:
    """A vector of finite elements, made by unmasking: at time t each element is masked with probability t, independently.

    The bound of log p(x) is that of absorbing diffusion in continuous time, unbiased with one random time a world:

        log p(x) >= E_t E[ sum over masked i of log p(x_i | x_t, parents) / t ].

    Args:
        states: their number or labels.
        shape: the event's shape; a sequence of tokens is (length,).
        net: from the visible elements (one-hot, with a state for the mask), features of the time and the encoded parents to the logits of
            every element: `MLP(256)`, `DiT(64)`.
        sampler: `Unmasking(64)`; `model.sampling(x=dgm.Unmasking(8))` changes it later.
        drop: parents left out in training, with the share of worlds: needed for guidance by them.

    Raises:
        GraphError: no event, a network that cannot take the shape, `drop` or guidance by what is no parent.

    Source: Austin et al. (2021), https://arxiv.org/abs/2107.03006; Sahoo et al. (2024), https://arxiv.org/abs/2406.07524.

    Example:
        >>> import dgm_ppl as dgm
        >>> model = dgm.compile(dgm.BayesNet(x=dgm.MaskedDiffusion(3, 5, net=dgm.MLP(32))))
        >>> model.sample(4)["x"].shape
        torch.Size([4, 5])
    """
    labels, size = states_of(states, "MaskedDiffusion")
    shape = checked_shape(shape, "MaskedDiffusion")
    if not shape:
        raise GraphError("MaskedDiffusion: expected an event with elements; got a single one; try dgm.Categorical(...) for it, or MaskedDiffusion(states, 8, net=...)")
    if sampler is not None and not isinstance(sampler, Unmasking):
        raise GraphError(f"MaskedDiffusion: expected a sampler such as dgm.Unmasking(64); got {sampler!r}")
    return Variable(MaskedDiffusionKind(net, sampler or Unmasking(), shares_of("MaskedDiffusion", drop)), shape, size=size, labels=labels)


@dataclass(frozen=True, init=False, repr=False)
class Unmasking(Setting):
    """Shows the masked elements in `steps` steps, as many at a time as the time says, each drawn by itself: few steps are fast and blur dependences.

    `guidance` weighs parents by name (classifier-free guidance): an element is drawn from p(x_i | seen, parents) times (p(x_i | seen, parents) /
    p(x_i | seen, parents without this one))^(weight - 1), normalised; 1 is the model's own conditional, more follows the parent more, 0 forgets it.

    Source: Schiff et al. (2025), https://arxiv.org/abs/2412.10193.
    """

    steps: int
    guidance: tuple[tuple[str, float], ...] = ()

    def __init__(self, steps: int = 64, *, guidance: Mapping[str, float] | tuple = ()):
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
            raise GraphError(f"Unmasking: expected a positive whole number of steps; got {steps!r}")
        object.__setattr__(self, "steps", steps)
        object.__setattr__(self, "guidance", weights_of("Unmasking", guidance))


@dataclass(frozen=True, repr=False)
class MaskedDiffusionKind(Architecture):
    """What `MaskedDiffusion(...)` declares."""

    net: Any
    sampler: Unmasking = Unmasking()
    drop: tuple[tuple[str, float], ...] = ()

    @property
    def net_label(self) -> str:
        return self.net.label() if isinstance(self.net, Net) else type(self.net).__name__

    def exact(self, variable: Variable) -> bool:
        return False

    def space(self, variable: Variable) -> Any:
        return Finite(variable.size)

    def summary(self, variable: Variable) -> str:
        drop = [f"drop={dict(self.drop)}"] if self.drop else []
        return f"MaskedDiffusion({', '.join([variable.states, *map(str, variable.shape), f'net={self.net!r}', f'sampler={self.sampler!r}', *drop])})"

    def caption(self, variable: Variable) -> str:
        return f"MaskedDiffusion({', '.join(map(str, (variable.size, *variable.shape)))})"

    def check(self, name: str, variable: Variable, parents: Mapping[str, Variable]) -> None:
        if variable.net is not None or variable.fn is not None:
            raise GraphError(f"node {name!r}: the denoiser reads the parents itself; give it where the node is declared: MaskedDiffusion(..., net=dgm.MLP(128))")
        check_shares(name, self.drop, variable.parents)
        check_guidance(name, self.sampler.guidance, [parent for parent, _ in self.drop], variable.parents)

    def build(self, name: str, variable: Variable, ports: Sequence[Port], *, plates: Any, all_plates: int, shared: Shared) -> MaskedDiffused:
        return MaskedDiffused(name, variable, ports, shared)


class MaskedDiffused(Conditional):
    """The bound and the sampler of absorbing diffusion."""

    density = "bound"

    def __init__(self, name: str, variable: Variable, ports: Sequence[Port], shared: Shared):
        super().__init__(name, variable, ports)
        self.register_buffer("anchor", torch.empty(0), persistent=False)
        self.states, self.sampler, self.dropping = variable.size, variable.family.sampler, Dropping(variable.family.drop, ports)
        seen = (*variable.shape, self.states + 1)
        read = [Port("visible", Real(), seen), Port("time", Real(), (FEATURES,))]
        if self.dropping.names:
            read.append(Port("present", Real(), (len(self.dropping.names),)))
        read += [Port(port.name, Real(), port.encoded_shape) for port in ports]
        self.network = network_of(name, variable.family.net, read, ("logits",), [seen], shared)

    @property
    def finite(self) -> bool:
        return False

    @property
    def functional(self) -> bool:
        return True

    def prepare(self, *parents: Tensor) -> tuple[list[Tensor], tuple[int, ...]]:
        return [port.encode(value, self.anchor) for port, value in zip(self.ports, parents)], leading(self.ports, parents)

    def log_probabilities(self, codes: Tensor, t: Tensor, prepared: Any, present: Tensor | None) -> Tensor:
        """log p(x_i = k | visible elements, parents that are present) `(*batch, *event, states)`; the mask's own code is `states`."""
        visible = torch.nn.functional.one_hot(codes, self.states + 1).to(self.anchor.dtype)
        told = [] if present is None else [present]
        (logits,) = self.network(visible, time_features(t, FEATURES), *told, *self.dropping.left(prepared[0], present))
        return logits[..., : self.states].log_softmax(-1)

    def _guided(self, codes: Tensor, t: Tensor, prepared: Any, present: Tensor | None) -> Tensor:
        """The probabilities that elements are drawn with, in two dimensions."""
        def read(there: Tensor | None) -> Tensor:
            return self.log_probabilities(codes, t, prepared, there)
        return self.dropping.guided(read, read(present), present, self.sampler.guidance).softmax(-1).reshape(-1, self.states)

    def surprisals(self, value: Tensor, prepared: Any) -> Tensor:
        event = self.variable.shape
        batch = broadcast(prepared[1], value.shape[: value.ndim - len(event)])
        value, axes = value.expand(*batch, *event), tuple(range(-len(event), 0))
        count = math.prod(batch)
        spread = torch.arange(count, device=value.device, dtype=self.anchor.dtype) / max(count, 1)
        t = ((spread + torch.rand((), device=value.device, dtype=self.anchor.dtype)) % 1.0).clamp_min(1e-4).reshape(batch)
        masked = torch.rand(value.shape, device=value.device, dtype=t.dtype) < t.reshape(*batch, *(1,) * len(event))
        found = self.log_probabilities(torch.where(masked, self.states, value), t, prepared, self.dropping.present(batch, self.anchor, self.training))
        terms = torch.where(masked, found.gather(-1, value.unsqueeze(-1)).squeeze(-1), 0.0)
        return -terms.sum(axes) / t

    def sampling(self, how: Any) -> MaskedDiffused:
        if not isinstance(how, Unmasking):
            raise GraphError(f"node {self.name!r}: expected a sampler such as dgm.Unmasking(16); got {how!r}")
        check_guidance(self.name, how.guidance, self.dropping.names, self.variable.parents)
        twin = copy(self)
        twin.sampler = how
        return twin

    def draw(self, batch: Sequence[int], prepared: Any, noise: Noise) -> Tensor:
        with torch.no_grad():
            codes = torch.full((*batch, *self.variable.shape), self.states, device=self.anchor.device)
            present = self.dropping.present(batch, self.anchor, False)
            times = torch.linspace(1.0, 0.0, self.sampler.steps + 1, device=self.anchor.device, dtype=self.anchor.dtype)
            for t, s in zip(times[:-1], times[1:]):
                drawn = torch.multinomial(self._guided(codes, t.expand(tuple(batch)), prepared, present), 1).reshape(codes.shape)
                shown = torch.rand(codes.shape, device=codes.device, dtype=t.dtype) >= s / t
                codes = torch.where((codes == self.states) & shown, drawn, codes)
            return codes

    def forward(self, *parents: Tensor, validate_args: bool | None = None) -> ConditionalDistribution:
        return ConditionalDistribution(self, self.prepare(*parents), leading(self.ports, parents), validate_args)
