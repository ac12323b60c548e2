"""Columns of different kinds with the dependence of a normal vector: a Gaussian copula over declared marginals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

import torch
from pyro.distributions import constraints
from torch import Tensor, nn
from torch.distributions.transforms import CorrCholeskyTransform

from ..families import Architecture, Counts, Family, Noise, Space, Variable
from ..families.shapes import broadcast
from ..families.variable import whole
from ..graph import GraphError
from ..nets import Net
from .base import Conditional
from .distribution import ConditionalDistribution, leading
from .parametric import Parametric

__all__ = ["Columns", "Copula", "CopulaConditional", "GaussianCopula"]

CONTINUOUS = ("Cauchy", "Exponential", "Gumbel", "HalfCauchy", "HalfNormal", "Laplace", "LogNormal", "Logistic", "LogitNormal", "Normal", "Uniform", "Weibull")
EPSILON = 1e-6


def GaussianCopula(*margins: Variable, samples: int = 1) -> Variable:
    """A row of columns, each with a distribution of its own, that depend on each other as a normal vector does (Sklar; Song, 2000).

    p(x) = N(z; 0, R) / prod_j N(z_j; 0, 1) prod_j p_j(x_j) with z_j the normal quantile of F_j(x_j). The correlation R is learned. A column of whole numbers
    fills its step of F_j evenly, which makes the density a lower bound, nearer with more `samples` (Hoff, 2007, calls this the extended rank likelihood's parent).
    Values are one vector `(*worlds, *plates, columns)`; states are codes. Parents reach every marginal.

    Args:
        *margins: scalar declarations: `Normal()`, `LogNormal()`, `Bernoulli()`, `Categorical(3)`, `Binomial(total_count=5)`, `Poisson()`, ...
        samples: draws of the noise in each step.

    Raises:
        GraphError: fewer than two margins, one whose distribution function is not known.

    Example:
        >>> import dgm_ppl as dgm
        >>> net = dgm.BayesNet(x=dgm.GaussianCopula(dgm.LogNormal(), dgm.Poisson(), dgm.Bernoulli()))
        >>> dgm.compile(net).sample(5)["x"].shape
        torch.Size([5, 3])
    """
    if len(margins) < 2:
        raise GraphError(f"GaussianCopula: expected at least two margins; got {len(margins)}; try dgm.GaussianCopula(dgm.Normal(), dgm.Poisson())")
    if (whole(samples) or 0) < 1:
        raise GraphError(f"GaussianCopula: expected a positive whole number of samples; got {samples!r}")
    for margin in margins:
        if not isinstance(margin, Variable) or not isinstance(margin.family, Family) or margin.shape or margin.parents:
            raise GraphError(f"GaussianCopula: expected single numbers of known families, their parents given to the whole; got {margin!r}")
        if margin.space.cardinality is None and margin.family_name not in (*CONTINUOUS, "Poisson"):
            raise GraphError(f"GaussianCopula: the distribution function of {margin.family_name} is not known here; expected a finite family, Poisson, or one of {', '.join(CONTINUOUS)}")
    return Variable(Copula(tuple(margins), whole(samples)), (len(margins),))


@dataclass(frozen=True)
class Columns(Space):
    """Vectors whose elements live in spaces of their own; a network reads each as it would alone."""

    spaces: tuple[Space, ...] = ()

    @property
    def constraint(self) -> constraints.Constraint:
        return constraints.stack([space.constraint for space in self.spaces], -1)

    @property
    def bounds(self) -> tuple[float, float]:
        return min(space.bounds[0] for space in self.spaces), max(space.bounds[1] for space in self.spaces)

    def encoded_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (sum(math.prod(space.encoded_shape(())) for space in self.spaces),)

    def encode(self, value: Tensor) -> Tensor:
        parts = [space.encode(column) for space, column in zip(self.spaces, value.unbind(-1))]
        return torch.cat([part.to(value.dtype) if part.ndim == value.ndim else part.unsqueeze(-1).to(value.dtype) for part in parts], -1)

    def example(self, shape: tuple[int, ...], like: Tensor) -> Tensor:
        return torch.stack([space.example(shape[:-1], like).to(like.dtype) for space in self.spaces], -1)

    def __str__(self) -> str:
        return f"the columns ({'; '.join(map(str, self.spaces))})"


@dataclass(frozen=True, repr=False)
class Copula(Architecture):
    """The distribution of a node that `GaussianCopula` declares."""

    margins: tuple[Variable, ...] = ()
    samples: int = 1

    @property
    def inner(self) -> tuple[Variable, ...]:
        return self.margins

    def exact(self, variable: Variable) -> bool:
        return not any(part.space.cardinality is not None or isinstance(part.space, Counts) for part in self.inner)

    def space(self, variable: Variable) -> Space:
        return Columns(tuple(margin.space for margin in self.margins))

    def summary(self, variable: Variable) -> str:
        return f"GaussianCopula({', '.join([*map(repr, self.margins), *([f'samples={self.samples}'] if self.samples > 1 else [])])})"

    def caption(self, variable: Variable) -> str:
        return f"GaussianCopula of {len(self.margins)}"

    def build(self, name: str, variable: Variable, ports: Any, *, plates: Any, all_plates: int, shared: Any) -> CopulaConditional:
        parts = []
        for margin in self.margins:
            mine = tuple(parent for parent in variable.parents if margin.open_parameters)
            net = copy(variable.net) if isinstance(variable.net, Net) else variable.net                # each margin has outputs, so weights, of its own
            declared = replace(margin, parents=mine, net=net if mine else None, fn=variable.fn if mine else None)
            known = [port for port in ports if port.name in declared.all_parents]
            parts.append(Parametric(name, declared, known, plates=plates, all_plates=all_plates, shared=shared))
        return CopulaConditional(name, variable, ports, parts, self.samples)

    def check(self, name: str, variable: Variable, parents: Mapping[str, Variable]) -> None:
        if isinstance(variable.net, nn.Module):
            raise GraphError(f"node {name!r}: each margin of a copula has a network of its own; got one module; give a builder such as net=dgm.MLP(16)")
        if variable.parents and not any(margin.open_parameters for margin in self.margins):
            raise GraphError(f"node {name!r}: {list(variable.parents)} are parents, but every parameter of the margins is given, so nothing is left to compute from them")


class CopulaConditional(Conditional):
    """The margins' conditionals and the correlation's root."""

    functional = False

    def __init__(self, name: str, variable: Variable, ports: Sequence[Any], parts: Sequence[Parametric], samples: int):
        super().__init__(name, variable, ports)
        self.register_buffer("anchor", torch.empty(0), persistent=False)
        self.margins, self.samples, self.event = nn.ModuleList(parts), samples, variable.shape
        self._places = [[self.ports.index(port) for port in part.ports] for part in parts]
        size = len(parts)
        self.correlations = nn.Parameter(0.01 * torch.randn(size * (size - 1) // 2))
        self.discrete = [part.variable.space.cardinality is not None or isinstance(part.variable.space, Counts) for part in parts]
        self.density = "bound" if any(self.discrete) else "exact"

    @property
    def reparameterized(self) -> bool:
        return False

    def correlation(self) -> Tensor:
        """The correlation matrix R of the normal vector behind the columns."""
        root = CorrCholeskyTransform()(self.correlations)
        return root @ root.mT

    def prepare(self, *parents: Tensor) -> list:
        return [margin(*(parents[i] for i in places), validate_args=False) for margin, places in zip(self.margins, self._places)]

    def surprisals(self, value: Tensor, prepared: list) -> Tensor:
        batch = broadcast(value.shape[:-1], *(margin.batch_shape for margin in prepared))
        value = value.expand(*batch, *self.event)
        scores, normals = 0, []
        for column, margin, discrete in zip(value.unbind(-1), prepared, self.discrete):
            cells = column.long() if discrete and margin.event_shape == () and _codes(margin) else column
            score = margin.log_prob(cells)
            scores = scores + score
            normals.append(self._normal(cells, column, margin, score, discrete))
        widest = torch.broadcast_tensors(*normals)
        z = torch.stack(widest, -1)                                          # (samples, *batch, columns) where steps are filled
        root = CorrCholeskyTransform()(self.correlations)
        white = torch.linalg.solve_triangular(root, z.unsqueeze(-1), upper=False).squeeze(-1)
        log_copula = 0.5 * (z.square() - white.square()).sum(-1) - root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
        if self.density == "bound":
            log_copula = log_copula.logsumexp(0) - math.log(self.samples)
        return -(scores + log_copula)

    def _normal(self, cells: Tensor, column: Tensor, margin: Any, score: Tensor, discrete: bool) -> Tensor:
        if not discrete:
            return _quantile_of(margin, column)
        noise = torch.rand((self.samples, *column.shape), dtype=column.dtype, device=column.device)
        share = _below(margin, cells) + noise * score.exp()
        return _normal_quantile(share)

    def draw(self, batch: Sequence[int], prepared: list, noise: Noise) -> Tensor:
        with torch.no_grad():
            z = noise.normal((*batch, *self.event), self._buffers["anchor"]) @ CorrCholeskyTransform()(self.correlations).mT
            share = (0.5 * (1 + torch.erf(z / math.sqrt(2)))).clamp(EPSILON, 1 - EPSILON)
            columns = [_inverse(margin, u, discrete).expand(tuple(batch)) for margin, u, discrete in zip(prepared, share.unbind(-1), self.discrete)]
            return torch.stack([column.to(z.dtype) for column in columns], -1)

    def forward(self, *parents: Tensor, validate_args: bool | None = None) -> ConditionalDistribution:
        return ConditionalDistribution(self, self.prepare(*parents), leading(self.ports, parents), validate_args)


def _codes(margin: Any) -> bool:
    """Whether a distribution wants integer codes."""
    return margin.support is not None and getattr(margin, "_num_events", None) is not None


def _normal_quantile(share: Tensor) -> Tensor:
    return math.sqrt(2) * torch.erfinv(2 * share.clamp(EPSILON, 1 - EPSILON) - 1)


def _quantile_of(margin: Any, value: Tensor) -> Tensor:
    """The normal quantile of F(value), without the detour where the margin is normal."""
    base = margin
    if type(base).__name__ == "Normal":
        return (value - base.loc) / base.scale
    if type(base).__name__ == "LogNormal":
        return (value.log() - base.loc) / base.scale
    return _normal_quantile(base.cdf(value))


def _below(margin: Any, value: Tensor) -> Tensor:
    """F(value - 1), the probability of the states below."""
    if type(margin).__name__ == "Poisson":
        return torch.where(value > 0, torch.special.gammaincc(value.clamp_min(1), margin.rate.expand(value.shape)), torch.zeros_like(value))
    states = margin.expand(value.shape).enumerate_support(expand=True)       # (states, *batch)
    masses = margin.expand(value.shape).log_prob(states).exp()
    return (masses * (states < value)).sum(0)


def _inverse(margin: Any, share: Tensor, discrete: bool) -> Tensor:
    """The value at a quantile."""
    if not discrete:
        return margin.icdf(share)
    if type(margin).__name__ == "Poisson":
        low, high = torch.full_like(share, -1.0), (margin.rate + 10 * margin.rate.sqrt() + 30).ceil().expand(share.shape)
        for _ in range(60):
            middle = ((low + high) / 2).floor()
            reached = torch.special.gammaincc(middle.clamp_min(0) + 1, margin.rate.expand(share.shape)) >= share
            reached &= middle >= 0
            low, high = torch.where(reached, low, middle), torch.where(reached, middle, high)
        return high
    states = margin.expand(share.shape).enumerate_support(expand=True)
    masses = margin.expand(share.shape).log_prob(states).exp()
    return (masses.cumsum(0) < share).sum(0).clamp_max(len(states) - 1)
