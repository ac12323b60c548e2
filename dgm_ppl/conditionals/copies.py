"""Copies of a node that depend on each other across plates: drawn together, or one after the other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.distributions import biject_to, constraints
from torch.nn.functional import scaled_dot_product_attention

from ..families import Architecture, Noise, Variable
from ..families.shapes import broadcast
from ..graph import GraphError
from ..nets.sets import Skip, together
from .base import Conditional
from .distribution import ConditionalDistribution
from .networks import Shared, network_of
from .parametric import Parametric
from .ports import Port

__all__ = ["CopiesConditional", "JointCopies", "OneByOne"]

HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


@dataclass(frozen=True, repr=False)
class _Copies(Architecture):
    base: Variable
    over: tuple[str, ...]

    @property
    def coupled(self) -> tuple[str, ...]:
        return self.over

    def space(self, variable: Variable) -> Any:
        return self.base.space

    def check(self, name: str, variable: Variable, parents: Any) -> None:
        if not variable.parents or variable.net is None:
            raise GraphError(f"node {name!r}: copies that are drawn together read their parents through a network; try .given(..., net=dgm.DeepSet(64))")

    def _axes(self, name: str, ports: Sequence[Port]) -> tuple[int, ...]:
        names = [plate for plate, _ in ports[0].frame]
        for plate in self.over:
            if plate not in names:
                raise GraphError(f"node {name!r}: expected plates of the net, read by a network over sets such as dgm.DeepSet(64); got {plate!r}")
        return tuple(names.index(plate) - len(names) for plate in self.over)


@dataclass(frozen=True, repr=False)
class JointCopies(_Copies):
    """All copies over some plates in one Gaussian of low rank plus a diagonal, taken to the base's support.

    `z = loc + scale * (noise + (pull - 1) * mean of the noise + factor @ shared)`: `shared` are `rank` numbers that all copies have in common, and a
    `pull` below one makes copies that look alike repel each other, as where their sum is observed. A network for each copy makes a location, a scale and the factor, and
    a location and a scale for the mean of all copies, of which less may be known or more: `loc` has the mean of the latter, and `pull` is the ratio of the scales. So any number
    of copies will do, and any number of members that tell of them.
    """

    rank: int = 4

    def summary(self, variable: Variable) -> str:
        return f"{self.base.summary} jointly over {', '.join(self.over)}, rank={self.rank}"

    def caption(self, variable: Variable) -> str:
        return f"joint {self.base.caption}"

    def build(self, name: str, variable: Variable, ports: Sequence[Port], *, plates: Any, all_plates: int, shared: Shared) -> Conditional:
        event = variable.shape
        network = network_of(name, variable.net, ports, ("loc", "scale", "common loc", "common scale", "factor"), [*[event] * 4, (*event, self.rank)], shared, plates)
        return JointConditional(name, variable, ports, network, self._axes(name, ports), self.rank)


@dataclass(frozen=True, repr=False)
class OneByOne(_Copies):
    """Copies over some plates one after the other, each reading the mean of what a network makes of those before it, or with `heads` what it attends to among them.

    Any family will do, finite ones included, and any number of copies. Attention tells the copies before apart, at a cost that is the square of their number
    (Vaswani et al., 2017, https://arxiv.org/abs/1706.03762).
    """

    features: int = 16
    heads: int = 0

    def summary(self, variable: Variable) -> str:
        return f"{self.base.summary} one by one over {', '.join(self.over)}" + (f", heads={self.heads}" if self.heads else "")

    def caption(self, variable: Variable) -> str:
        return f"one by one {self.base.caption}"

    def build(self, name: str, variable: Variable, ports: Sequence[Port], *, plates: Any, all_plates: int, shared: Shared) -> Conditional:
        network = network_of(name, variable.net, ports, ("features",), [(self.features,)], shared, plates)
        base = Parametric(name, self.base, (), plates=plates, all_plates=all_plates, computed_outside=True)
        return OneByOneConditional(name, variable, ports, network, self._axes(name, ports), base, self.features, self.heads)


class CopiesConditional(Conditional):
    """What both have in common. A term is given to each copy; only the sum over all copies that are drawn together is a log-density."""

    def __init__(self, name: str, variable: Variable, ports: Sequence[Port], network: torch.nn.Module, axes: Sequence[int]):
        super().__init__(name, variable, ports)
        self.network, self.axes = network, tuple(axes)
        self.register_buffer("anchor", torch.empty(0), persistent=False)

    @property
    def finite(self) -> bool:
        return False                                                        # copies cannot be enumerated one by one

    @property
    def functional(self) -> bool:
        return True

    def forward(self, *parents: Tensor, validate_args: bool | None = None) -> ConditionalDistribution:
        prepared = self.prepare(*parents)
        return ConditionalDistribution(self, prepared, self._batch(prepared), validate_args)

    def _batch(self, prepared: Any) -> tuple[int, ...]:
        """The batch dimensions of what was prepared."""
        raise NotImplementedError


class JointConditional(CopiesConditional):
    """log q = log N(z; loc, S (A A' + factor factor') S) of all copies at once, S the scales and A v = v + (pull - 1) mean(v), by the matrix determinant lemma."""

    def __init__(self, name: str, variable: Variable, ports: Sequence[Port], network: torch.nn.Module, axes: Sequence[int], rank: int):
        super().__init__(name, variable, ports, network, axes)
        self.rank, self.event_rank = rank, len(variable.shape)
        constraint = variable.space.constraint
        self.real = constraint is constraints.real
        self.transform = biject_to(constraint)

    @property
    def reparameterized(self) -> bool:
        return True

    def prepare(self, *parents: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Location, log-scale and factor of each copy, and the logarithm of their pull, as `(loc, log scale, log pull, factor)`."""
        loc, log_scale, common, log_common, factor = self.network(*parents)
        return loc + self._mean(common - loc), log_scale, self._mean(log_common - log_scale), factor

    def _mean(self, value: Tensor) -> Tensor:
        """The mean over the copies that are drawn together."""
        return value.mean(tuple(axis - self.event_rank for axis in self.axes), keepdim=True)

    def _batch(self, prepared: tuple) -> tuple[int, ...]:
        loc = prepared[0]
        return tuple(loc.shape[: loc.ndim - self.event_rank])

    def draw(self, batch: Sequence[int], prepared: tuple, noise: Noise) -> Tensor:
        loc, log_scale, log_pull, factor = prepared
        shared = list(batch)
        for axis in self.axes:
            shared[axis] = 1
        own = noise.normal((*batch, *self.variable.shape), loc)
        common = noise.normal((*shared, *(1,) * self.event_rank, self.rank), loc)
        own = own + (log_pull.exp() - 1) * self._mean(own)
        z = loc + (own + (factor * common).sum(-1)) * log_scale.exp()
        return z if self.real else self.transform(z)

    def surprisals(self, value: Tensor, prepared: tuple) -> Tensor:
        loc, log_scale, log_pull, factor = prepared
        z = value if self.real else self.transform.inv(value)
        batch = broadcast(z.shape[: z.ndim - self.event_rank], loc.shape[: loc.ndim - self.event_rank])
        flat, whole = (*batch, self.variable.numel), (*batch, *self.variable.shape)
        scaled = self._unpulled(((z - loc) / log_scale.exp()).expand(whole), log_pull).reshape(flat)
        weights = factor.expand(*whole, self.rank)
        weights = torch.stack([self._unpulled(column, log_pull) for column in weights.unbind(-1)], -1).reshape(*flat, self.rank)
        own = 0.5 * scaled.square().sum(-1) + log_scale.expand(*batch, *self.variable.shape).reshape(flat).sum(-1) + self.variable.numel * HALF_LOG_TWO_PI
        inside = tuple(axis - 2 for axis in self.axes)                      # element and rank come behind the plates
        gram = (weights.unsqueeze(-1) * weights.unsqueeze(-2)).sum((-3, *(axis - 1 for axis in inside)), keepdim=True).squeeze(-3)
        crossed = (weights * scaled.unsqueeze(-1)).sum((-2, *inside), keepdim=True).squeeze(-2)
        root = torch.linalg.cholesky(gram + torch.eye(self.rank, dtype=gram.dtype, device=gram.device))
        solved = torch.linalg.solve_triangular(root, crossed.unsqueeze(-1), upper=False).squeeze(-1)
        coupled = root.diagonal(dim1=-2, dim2=-1).log().sum(-1) - 0.5 * solved.square().sum(-1)
        coupled = coupled + (log_pull.flatten(log_pull.ndim - self.event_rank).sum(-1) if self.event_rank else log_pull)
        copies = math.prod(batch[axis] for axis in self.axes)
        terms = own + coupled / copies
        return terms if self.real else terms + self._stretch(z, value).expand(*batch, *self.variable.shape).reshape(flat).sum(-1)

    def _unpulled(self, value: Tensor, log_pull: Tensor) -> Tensor:
        return value + ((-log_pull).exp() - 1) * self._mean(value)

    def _stretch(self, z: Tensor, value: Tensor) -> Tensor:
        return self.transform.log_abs_det_jacobian(z, value)


class OneByOneConditional(CopiesConditional):
    """log q = sum_j log q(copy j | copies before it, what is read)."""

    def __init__(
        self, name: str, variable: Variable, ports: Sequence[Port], network: torch.nn.Module, axes: Sequence[int], base: Parametric, features: int, heads: int,
    ):
        super().__init__(name, variable, ports, network, axes)
        self.base, self.features = base, features
        self.before = Attended(features, heads) if heads else Averaged()
        self.shapes = [base.variable.parameter_shape(parameter) for parameter in base.computed]
        self.sizes = [math.prod(shape) for shape in self.shapes]
        encoded = math.prod(variable.space.encoded_shape(variable.shape))
        self.member = Skip(features + encoded, (2 * features,), features, torch.nn.SiLU)
        self.head = Skip(2 * features + 1, (2 * features,), sum(self.sizes), torch.nn.SiLU)

    @property
    def reparameterized(self) -> bool:
        return self.base.reparameterized

    @property
    def functional(self) -> bool:
        return self.base.functional

    def prepare(self, *parents: Tensor) -> Tensor:
        """What is read for each copy, `(*batch, features)`."""
        return self.network(*parents)[0]

    def _batch(self, prepared: Tensor) -> tuple[int, ...]:
        return tuple(prepared.shape[:-1])

    def _in_line(self, value: Tensor, batch: Sequence[int], rank: int) -> Tensor:
        """Copies of a value on one axis behind the batch, `(*others, copies, *event)`."""
        value = value.expand(*batch, *value.shape[value.ndim - rank:])
        places = tuple(axis - rank for axis in self.axes)
        moved = value.movedim(places, tuple(range(-rank - len(places), -rank)))
        return moved.flatten(-rank - len(places), -rank - 1) if len(places) > 1 else moved

    def _back(self, value: Tensor, batch: Sequence[int], rank: int) -> Tensor:
        sizes = [batch[axis] for axis in self.axes]
        value = value.unflatten(value.ndim - rank - 1, sizes) if len(sizes) > 1 else value
        return value.movedim(tuple(range(-rank - len(sizes), -rank)), tuple(axis - rank for axis in self.axes))

    def _encoded(self, value: Tensor, lead: int) -> Tensor:
        encoded = self.variable.space.encode(value).to(self.anchor.dtype)
        return encoded.flatten(lead) if encoded.ndim > lead else encoded.unsqueeze(-1)

    def _family_of(self, read: Tensor, summary: Tensor, count: Tensor) -> tuple:
        """The family's parameters of copies, given a summary of those before them and how many these are."""
        found = self.head(together([read, summary, (1 + count).log().unsqueeze(-1)]))
        pieces = found.split(self.sizes, -1)
        return self.base.complete([piece.reshape(*piece.shape[:-1], *shape) for piece, shape in zip(pieces, self.shapes)], ())

    def surprisals(self, value: Tensor, prepared: Tensor) -> Tensor:
        rank = len(self.variable.shape)
        batch = broadcast(value.shape[: value.ndim - rank], prepared.shape[:-1])
        read, values = self._in_line(prepared, batch, 1), self._in_line(value, batch, rank) if rank else self._in_line(value.unsqueeze(-1), batch, 1).squeeze(-1)
        members = self.member(together([read, self._encoded(values, read.ndim - 1)]))
        count = torch.arange(read.shape[-2], dtype=read.dtype, device=read.device)
        params = self._family_of(read, self.before(read, members), count)
        terms = self.base.surprisals(values, params)
        terms = terms.sum(tuple(range(-self.base.elements, 0))) if self.base.elements else terms
        return self._back(terms.unsqueeze(-1), batch, 1).squeeze(-1)

    def draw(self, batch: Sequence[int], prepared: Tensor, noise: Noise) -> Tensor:
        read, drawn, rank = self._in_line(prepared, batch, 1), [], len(self.variable.shape)
        members = read[..., :0, :]
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.reparameterized):
            for j in range(read.shape[-2]):
                now = read[..., j, :]
                params = self._family_of(now, self.before.last(now, members), now.new_tensor(float(j)))
                drawn.append(self.base.forms.sample((*now.shape[:-1], *self.variable.shape), params, self.anchor, noise))
                member = self.member(together([now, self._encoded(drawn[-1], now.ndim - 1)]))
                members = torch.cat([members, member.unsqueeze(-2)], -2)
        values = torch.stack(drawn, read.ndim - 2)
        return self._back(values, batch, rank) if rank else self._back(values.unsqueeze(-1), batch, 1).squeeze(-1)


class Averaged(torch.nn.Module):
    """For each copy the mean of the members before it, zero for the first."""

    def forward(self, read: Tensor, members: Tensor) -> Tensor:
        count = torch.arange(members.shape[-2], dtype=members.dtype, device=members.device).clamp_min(1)
        return (members.cumsum(-2) - members) / count.unsqueeze(-1)

    def last(self, read: Tensor, members: Tensor) -> Tensor:
        """That of the copy that comes next."""
        return members.sum(-2) / max(1, members.shape[-2])


class Attended(torch.nn.Module):
    """For each copy what it attends to among the members before it, and a place that is always there."""

    def __init__(self, features: int, heads: int):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (torch.nn.Linear(features, features) for _ in range(3))
        self.nothing = torch.nn.Parameter(torch.zeros(features))

    def forward(self, read: Tensor, members: Tensor) -> Tensor:
        count = members.shape[-2]
        seen = torch.ones(count, count + 1, dtype=torch.bool, device=members.device).tril()      # the first column is the place that is always there
        return self._attend(read, members, seen)

    def last(self, read: Tensor, members: Tensor) -> Tensor:
        """That of the copy that comes next."""
        return self._attend(read.unsqueeze(-2), members, None).squeeze(-2)

    def _attend(self, read: Tensor, members: Tensor, seen: Tensor | None) -> Tensor:
        places = torch.cat([self.nothing.expand(*members.shape[:-2], 1, members.shape[-1]), members], -2)
        asked = (self._headed(layer(x)) for layer, x in ((self.query, read), (self.key, places), (self.value, places)))
        return scaled_dot_product_attention(*asked, attn_mask=seen).transpose(-3, -2).flatten(-2)

    def _headed(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(-3, -2)
