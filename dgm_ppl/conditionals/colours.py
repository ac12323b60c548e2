"""Pixels whose colours share a mixture component and lean on each other, as PixelCNN++ has them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from pyro.distributions import constraints
from torch import Tensor

from ..families import Architecture, Forms, Levels, Noise, Parameter, Variable
from ..families.discretized import log_mass
from ..families.variable import checked_shape, whole
from ..graph import GraphError
from .base import Conditional
from .distribution import ConditionalDistribution, leading
from .parametric import Parametric
from .ports import Port

__all__ = ["ColourMixture", "ColourPixels", "Coloured", "ColouredConditional"]


def ColourMixture(*shape: int, components: int, levels: int = 256) -> Variable:
    """Images of three colours whose pixels are mixtures of discretized logistics, green's mean linear in red, blue's in both (PixelCNN++).

    A component is drawn for a whole pixel. With the levels y of colours on the scale s = 2 y / (levels - 1) - 1,

        p(r, g, b) = sum_k w_k P(r; m_k1) P(g; m_k2 + a_k s_r) P(b; m_k3 + b_k s_r + c_k s_g),

    P the logistic mass of a level's bin and a, b, c between -1 and 1. By itself, pixels are independent given the parents, whose network computes
    the parameters; `dgm.Autoregressive(dgm.ColourMixture(3, 32, 32, components=10), net=dgm.PixelCNN(96))` computes them from the pixels before,
    all colours of a pixel at once.

    Args:
        shape: `(3, height, width)`; a value holds levels, `(*worlds, *plates, 3, height, width)`.
        components: how many each pixel has.
        levels: how many each colour has.

    Raises:
        GraphError: an image without three colours in front.

    Source: Salimans et al. (2017), https://arxiv.org/abs/1701.05517.

    Example:
        >>> import dgm_ppl as dgm
        >>> net = dgm.BayesNet(x=dgm.Autoregressive(dgm.ColourMixture(3, 4, 4, components=2), net=dgm.PixelCNN(8, layers=2)))
        >>> net
        x ~ Autoregressive(ColourMixture(3, 4, 4, components=2, levels=256), net=PixelCNN(8, layers=2))
        >>> dgm.compile(net).sample(2)["x"].shape
        torch.Size([2, 3, 4, 4])
    """
    shape = checked_shape(shape, "ColourMixture")
    if len(shape) != 3 or shape[0] != 3:
        mend = (3, *shape[:2]) if shape[-1:] == (3,) else (3, *shape[-2:]) if len(shape) > 1 else (3, 32, 32)
        raise GraphError(f"ColourMixture: expected an image of three colours, (3, height, width); got {shape}; the nearest: dgm.ColourMixture{mend}"[:-1] + f", components={components!r}); of other depths: dgm.DiscretizedLogisticMixture")
    if (whole(components) or 0) < 1:
        raise GraphError(f"ColourMixture: expected a positive whole number of components; got {components!r}; try components=10")
    if (whole(levels) or 0) < 2:
        raise GraphError(f"ColourMixture: expected a whole number of levels from 2; got {levels!r}; try levels=256")
    return Variable(Coloured(Variable(ColourPixels(whole(components), whole(levels)), (1, *shape[1:], 3))), shape)


@dataclass(frozen=True, repr=False)
class ColourPixels(Architecture):
    """The mixture over pixels whose colours come last."""

    components: int
    levels: int

    parameters: ClassVar = {
        "weight_logits": Parameter(constraints.real_vector), "loc": Parameter(), "scale": Parameter(constraints.positive), "slopes": Parameter(constraints.interval(-1, 1)),
    }
    linear: ClassVar = ("loc",)
    event_dim: ClassVar = 1

    def space(self, variable: Variable) -> Levels:
        return Levels(self.levels - 1)

    def signature(self, names: Collection[str]) -> tuple[str, ...]:
        return tuple(self.parameters)

    def parameter_shape(self, name: str, variable: Variable) -> tuple[int, ...]:
        return (*variable.shape[:-1], self.components) if name == "weight_logits" else (*variable.shape, self.components)

    def start(self, name: str, shape: tuple[int, ...]) -> Tensor:
        return torch.linspace(-1, 1, shape[-1]).expand(shape).clone() if name == "loc" else torch.zeros(shape) - (2.0 if name == "scale" else 0.0)

    def forms_of(self, signature: tuple[str, ...]) -> ColourForms:
        return ColourForms(ConditionalDistribution, signature, 1, False, levels=self.levels)

    def summary(self, variable: Variable) -> str:
        return f"ColourMixture({', '.join(map(str, (3, *variable.shape[1:3])))}, components={self.components}, levels={self.levels})"

    def caption(self, variable: Variable) -> str:
        return f"ColourMixture({', '.join(map(str, (3, *variable.shape[1:3])))})"

    def build(self, name: str, variable: Variable, ports: Sequence[Port], *, plates: Any, all_plates: int, shared: Any) -> Parametric:
        return Parametric(name, variable, ports, plates=plates, all_plates=all_plates, shared=shared)


@dataclass(frozen=True)
class ColourForms(Forms):
    """-log p of pixels `(..., 3)`, from weights `(..., components)` and the other parameters `(..., 3, components)`."""

    levels: int = 256

    functional = True

    def surprisal(self, value: Tensor, params: Any) -> Tensor:
        weights, loc, scale, slopes = params
        scaled = (2 * value / (self.levels - 1) - 1).unsqueeze(-1)            # (..., 3, 1)
        moved = _moved(loc, slopes, scaled[..., 0, :], scaled[..., 1, :])
        return -(weights.log_softmax(-1) + log_mass(value.unsqueeze(-1), moved, scale, self.levels).sum(-2)).logsumexp(-1)

    @torch.no_grad()
    def sample(self, shape: Sequence[int], params: Any, like: Tensor, noise: Noise) -> Tensor:
        weights, loc, scale, slopes = params
        pixels = tuple(shape[:-1])
        weights = noise.widen(weights.expand(*pixels, weights.shape[-1]))
        chosen = torch.distributions.Categorical(logits=weights, validate_args=False).sample()
        loc, scale, slopes = (_of(noise.widen(each.expand(*pixels, *each.shape[-2:])), chosen) for each in (loc, scale, slopes))
        u = torch.rand(chosen.shape + (3,), dtype=like.dtype, device=like.device).clamp(1e-7, 1 - 1e-7)
        spread, top = scale * torch.logit(u), self.levels - 1
        drawn: list[Tensor] = []
        for colour in range(3):
            before = [2 * level / top - 1 for level in drawn] + [0.0, 0.0]
            mean = _moved(loc.unsqueeze(-1), slopes.unsqueeze(-1), *(each if isinstance(each, float) else each.unsqueeze(-1) for each in before[:2]))[..., colour, 0]
            drawn.append(((mean + spread[..., colour] + 1) * (top / 2)).round().clamp(0, top))
        return noise.narrow(torch.stack(drawn, -1))


def _moved(loc: Tensor, slopes: Tensor, red: Any, green: Any) -> Tensor:
    """The means `(..., 3, components)` of the colours given those before, whose values on the scale are `(..., 1)`."""
    return torch.stack(torch.broadcast_tensors(
        loc[..., 0, :] + 0 * red, loc[..., 1, :] + slopes[..., 0, :] * red, loc[..., 2, :] + slopes[..., 1, :] * red + slopes[..., 2, :] * green,
    ), -2)


def _of(value: Tensor, chosen: Tensor) -> Tensor:
    """A parameter `(..., 3, components)` of the chosen component, `(..., 3)`."""
    return value.gather(-1, chosen[..., None, None].expand(*chosen.shape, 3, 1)).squeeze(-1)


@dataclass(frozen=True, repr=False)
class Coloured(Architecture):
    """Images whose colours come first, of a distribution of pixels whose colours come last."""

    pixels: Variable

    @property
    def inner(self) -> tuple[Variable, ...]:
        return (self.pixels,)

    @property
    def net_label(self) -> str:
        return self.pixels.family.net_label

    def of(self, wrap: Callable[[Variable], Variable]) -> Variable:
        """The images of another distribution made of that of the pixels."""
        return Variable(Coloured(wrap(self.pixels)), (3, *self.pixels.shape[1:3]))

    def space(self, variable: Variable) -> Any:
        return self.pixels.space

    def summary(self, variable: Variable) -> str:
        return self.pixels.summary

    def caption(self, variable: Variable) -> str:
        return self.pixels.caption

    def _placed(self, variable: Variable) -> Variable:
        return replace(self.pixels, parents=variable.parents, net=variable.net, fn=variable.fn)

    def check(self, name: str, variable: Variable, parents: Mapping[str, Variable]) -> None:
        self.pixels.family.check(name, self._placed(variable), parents)

    def build(self, name: str, variable: Variable, ports: Sequence[Port], *, plates: Any, all_plates: int, shared: Any) -> ColouredConditional:
        built = self.pixels.family.build(name, self._placed(variable), ports, plates=plates, all_plates=all_plates, shared=shared)
        return ColouredConditional(name, variable, ports, built)


class ColouredConditional(Conditional):
    """The conditional of the pixels, its values turned."""

    functional = True

    def __init__(self, name: str, variable: Variable, ports: Sequence[Port], pixels: Conditional):
        super().__init__(name, variable, ports)
        self.pixels = pixels

    def prepare(self, *parents: Tensor) -> Any:
        return self.pixels.prepare(*parents)

    def draw(self, batch: Sequence[int], prepared: Any, noise: Noise) -> Tensor:
        return self.pixels.draw(batch, prepared, noise).squeeze(-4).movedim(-1, -3)

    def surprisals(self, value: Tensor, prepared: Any) -> Tensor:
        return -self.pixels.log_density(value.movedim(-3, -1).unsqueeze(-4), prepared)

    def forward(self, *parents: Tensor, validate_args: bool | None = None) -> ConditionalDistribution:
        return ConditionalDistribution(self, self.prepare(*parents), leading(self.ports, parents), validate_args)
