"""Networks that read the members of plates as sets: of any size, in any order."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention, softplus

from .base import Net, Shapes, numbers
from .checks import activation_class, nonempty, positive, widths

__all__ = ["Axis", "DeepSet", "Reading", "SetNet", "SetTransformer"]


@dataclass(frozen=True)
class Axis:
    """A plate that is read whole: its place among the plates, counted from the right, and its size where members are told apart."""

    place: int
    size: int | None = None


@dataclass(frozen=True)
class Reading:
    """One way in which a parent is read: which input it is, of how many numbers, and the plates over which all members are read."""

    source: int
    features: int
    axes: tuple[Axis, ...] = ()


class SetNet(Net):
    """A builder whose networks read all members of a plate where a parent is in a plate that the child is not in.

    Its module takes one tensor a parent, `(*batch, *plates, features)`, and pools over axes of plates. On a node that pools over
    nothing it is the perceptron of its widths. What is linear in the parents is passed on beside the hidden layers; numbers
    beyond 10 are read on a logarithmic scale.
    """

    flatten = True

    hidden: tuple[int, ...]
    activation: type[nn.Module]
    ordered: tuple[str, ...]

    @abstractmethod
    def stage(self, features: int) -> nn.Module:
        """A module from `(..., members, ..., features)` and an axis to `(..., 1, ..., width)`, beside which the number of members is put; it says its `width`."""

    def build(self, inputs: Shapes, outputs: Shapes) -> nn.Module:
        nonempty(self.label(), inputs, outputs)
        return nn.Sequential(Tempered(), Skip(numbers(inputs), self.hidden, numbers(outputs), self.activation))

    def build_sets(self, readings: Sequence[Reading], outputs: Shapes, names: Sequence[str] = ()) -> nn.Module:
        """Allocate the module for parents of which some are read over all members of plates; the outputs may be parameters of some `names`."""
        return Sets(self, readings, outputs, names)


class Tempered(nn.Module):
    """Numbers as they are up to 10, and beyond on a logarithmic scale, `10 (1 + log(|x| / 10))`: draws of heavy tails do not throw training off."""

    limit: ClassVar[float] = 10.0

    def forward(self, x: Tensor) -> Tensor:
        size = x.abs().clamp_min(self.limit) / self.limit
        linear = x / size
        return torch.addcmul(linear, linear, size.log())                    # linear * (1 + log(size)), in one step


class Skip(nn.Module):
    """A perceptron whose last layer reads its inputs as well: what is linear in them need not be bent, and stays right outside the data."""

    def __init__(self, features: int, hidden: Sequence[int], outputs: int, activation: type[nn.Module]) -> None:
        super().__init__()
        sizes = (features, *hidden)
        self.deep = nn.Sequential(*(layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), activation()))) if hidden else None
        self.last = nn.Linear(features + (sizes[-1] if hidden else 0), outputs)

    def forward(self, x: Tensor) -> Tensor:
        rows = x if x.ndim == 2 else x.reshape(-1, x.shape[-1])             # once here, where each layer would do it
        found = self.last(rows if self.deep is None else torch.cat([rows, self.deep(rows)], -1))
        return found if x.ndim == 2 else found.view(*x.shape[:-1], -1)


TOLD = ("loc", "scale"), ("common loc", "common scale")                      # of which members of plates tell, by the names of parameters


class Sets(nn.Module):
    """What is read as it is, and what is read over plates: joined member by member, pooled plate by plate, then read together."""

    def __init__(self, net: SetNet, readings: Sequence[Reading], outputs: Shapes, names: Sequence[str] = ()) -> None:
        super().__init__()
        self.plain = tuple(reading.source for reading in readings if not reading.axes)
        self.groups = groups(readings)
        counted = [place for place, (axes, _) in enumerate(self.groups) if axes[-1].size is None]
        tells = bool(counted) and any(location in names and scale in names for location, scale in TOLD)
        features = {reading.source: reading.features for reading in readings}
        beside, widths, pools = sum(features[source] for source in self.plain), [], []
        for axes, sources in self.groups:
            width, stages = sum(features[source] for source in sources), []
            for axis in axes:
                stages.append(Ordered(width, axis.size) if axis.size is not None else net.stage(width))
                width = stages[-1].width + (0 if axis.size is not None else 1 if tells else 2)
            pools.append(nn.ModuleList(stages))
            widths.append(width)
        self.temper, self.pools = Tempered(), nn.ModuleList(pools)
        self.evidence = Evidence(net, beside, widths, counted, outputs, names) if tells else None
        self.head = Skip(beside + sum(widths), net.hidden, numbers(outputs), net.activation)

    def forward(self, *values: Tensor) -> Tensor:
        values = tuple(map(self.temper, values))
        plain, pooled, sizes = [values[source] for source in self.plain], [], []
        for (axes, sources), stages in zip(self.groups, self.pools):
            members = together([values[source] for source in sources])
            for axis, stage in zip(axes, stages):
                size = members.shape[axis.place - 1]
                members = stage(members, axis.place - 1)                    # the features come last
                if axis.size is None:
                    members = sized(members, size, self.evidence is None)
            pooled.append(members)
            sizes.append(size)
        read = together([*plain, *pooled])
        found = self.head(read)
        return found if self.evidence is None else self.evidence(found, plain, read, sizes)


class Evidence(nn.Module):
    """Locations and scales of which the members of plates tell, each by itself: right in the number of members by construction, as where all is Gaussian.

    `loc = s m + (1 - s) c` and `log scale = h - log(1 + n q') / 2` with the share `s = n q / (1 + n q)`: m and h are what the head makes of what
    was pooled, q and q' the information of a member, made of all that is read and positive by a softplus, c is made of what is read beside alone.
    Several plates add up. Each pair of `TOLD` that is among the parameters has an information of its own.
    """

    def __init__(self, net: SetNet, beside: int, widths: Sequence[int], counted: Sequence[int], outputs: Shapes, names: Sequence[str]) -> None:
        super().__init__()
        self.counted, self.sizes = tuple(counted), [math.prod(shape) for shape in outputs]
        pairs = [pair for pair in TOLD if set(pair) <= set(names)]
        self.locs, self.scales = ([names.index(pair[place]) for pair in pairs] for place in (0, 1))
        self.asked = [self.sizes[place] for place in (*self.locs, *self.scales)]
        self.information = Skip(beside + sum(widths), net.hidden, len(self.counted) * sum(self.asked), net.activation)
        self.without = Skip(beside, net.hidden, sum(self.sizes[place] for place in self.locs), net.activation) if beside else None

    def forward(self, found: Tensor, plain: Sequence[Tensor], read: Tensor, sizes: Sequence[int]) -> Tensor:
        each = softplus(self.information(read))
        parted = (each,) if len(self.counted) == 1 else each.chunk(len(self.counted), -1)
        told = reduce(torch.add, [sizes[place] * one for place, one in zip(self.counted, parted)]).split(self.asked, -1)
        parts, places = list(found.split(self.sizes, -1)), (*self.locs, *self.scales)
        without = [None] * len(self.locs) if self.without is None else self.without(together(plain)).split(self.asked[: len(self.locs)], -1)
        for place, about, alone in zip(self.locs, told, without):
            share = about / (1 + about)
            parts[place] = share * parts[place] if alone is None else share * parts[place] + (1 - share) * alone
        for place, about in zip(self.scales, told[len(self.locs):]):
            parts[place] = parts[place] - 0.5 * about.log1p()
        return torch.cat(parts, -1)


def groups(readings: Sequence[Reading]) -> tuple[tuple[tuple[Axis, ...], tuple[int, ...]], ...]:
    """Which inputs are pooled together, over which plates: those of a smaller set of plates join a larger one, member by member.

    >>> school = (Axis(-1),)
    >>> groups([Reading(0, 1, school), Reading(1, 2, school), Reading(2, 1)])
    (((Axis(place=-1, size=None),), (0, 1)),)
    """
    largest: dict[int, tuple[Axis, ...]] = {}
    for reading in readings:
        if len(reading.axes) >= len(largest.get(reading.source, ())):
            largest[reading.source] = reading.axes
    found = []
    for axes in dict.fromkeys(reading.axes for reading in readings if reading.axes):
        own = {reading.source for reading in readings if reading.axes == axes}
        joining = {source for source, theirs in largest.items() if theirs and set(theirs) < set(axes)}
        elsewhere = any(set(axes) < set(other.axes) for other in readings)
        if not elsewhere or any(largest[source] != axes for source in own):
            found.append((axes, tuple(sorted(own | joining))))
    return tuple(found)


def together(values: Sequence[Tensor]) -> Tensor:
    """Tensors `(*batch, features)` side by side, their batches broadcast."""
    if len(values) == 1:
        return values[0]
    longest = max(value.dim() for value in values)
    shape = [                                                               # as torch.broadcast_shapes, which takes longer than joining small tensors
        next((value.shape[-place] for value in values if value.dim() >= place and value.shape[-place] != 1), 1) for place in range(longest, 1, -1)
    ]
    return torch.cat([value.expand(*shape, value.shape[-1]) for value in values], -1)


class Ordered(nn.Module):
    """Members that are told apart: side by side, in order."""

    def __init__(self, features: int, size: int) -> None:
        super().__init__()
        self.size, self.width = size, features * size

    def forward(self, members: Tensor, axis: int) -> Tensor:
        members = members.movedim(axis, -2)
        return members.expand(*members.shape[:-2], self.size, members.shape[-1]).flatten(-2).unsqueeze(axis)


SOME = 10.0


def sized(pooled: Tensor, size: int, growing: bool = True) -> Tensor:
    """What was pooled, with 10 / (10 + n) of the n members beside it, which hardly changes beyond large sets, and log n where what is made of it may grow."""
    lead = (*pooled.shape[:-1], 1)
    return torch.cat([pooled, *[pooled.new_full(lead, math.log(size))] * growing, pooled.new_full(lead, SOME / (SOME + size))], -1)


@dataclass(frozen=True, init=False, repr=False)
class DeepSet(SetNet):
    """The mean of what a network makes of each member, with the log of their number: `rho(mean_j phi(x_j), log n)`.

    It reads a plate of any size, in any order, sizes that were never seen in training included. Parents in the same plates are joined
    member by member; nested plates are pooled from the inside out. Parents that are in no plate to pool over are read beside.

    Args:
        *hidden: widths of the hidden layers of `phi` and of `rho`.
        features: width of what is pooled.
        activation: module class put after each hidden layer.
        ordered: plates whose members are told apart, and which are read in order; their sizes must be declared.

    Raises:
        ValueError: for a width that is not a positive integer.

    Source: Zaheer et al. (2017), https://arxiv.org/abs/1703.06114.

    Example:
        >>> from dgm_ppl import BayesNet, Normal
        >>> total = BayesNet(x=Normal(loc=0.0, scale=1.0), y=Normal(scale=0.1).given("x", net=DeepSet(16)), plates={"n": ["x"]})
        >>> print(total.check())
        node  worlds  plates  event  parameters  device
        x     (2,)    (3,)    ()     0           cpu
        y     (2,)    ()      ()     1,219       cpu
    """

    features: int

    def __init__(self, *hidden: int, features: int = 32, activation: type[nn.Module] = nn.SiLU, ordered: tuple[str, ...] = ()) -> None:
        self._freeze(
            hidden=widths("DeepSet", "hidden", hidden), features=positive("DeepSet", "features", features),
            activation=activation_class("DeepSet", activation), ordered=tuple(ordered),
        )

    def stage(self, features: int) -> nn.Module:
        return Mean(features, self.hidden, self.features, self.activation)


class Mean(nn.Module):
    """The mean over an axis of what a network makes of each member."""

    def __init__(self, features: int, hidden: Sequence[int], pooled: int, activation: type[nn.Module]) -> None:
        super().__init__()
        self.member, self.width = Skip(features, hidden, pooled, activation), pooled

    def forward(self, members: Tensor, axis: int) -> Tensor:
        return self.member(members).mean(axis, keepdim=True)


@dataclass(frozen=True, init=False, repr=False)
class SetTransformer(SetNet):
    """Members that attend to each other through inducing points, pooled by an attention that is learned, with the log of their number.

    For sets whose members must be compared: mixtures, crossed plates. The cost grows with the number of members, not with its square.

    Args:
        *hidden: widths of the hidden layers of the network that reads what was pooled.
        features: width of a member, a multiple of `heads`.
        heads: attention heads.
        inducing: points through which members attend to each other.
        activation: module class put after each hidden layer.
        ordered: plates whose members are told apart, and which are read in order; their sizes must be declared.

    Raises:
        ValueError: for a width that is not a positive integer, or features that the heads do not divide.

    Source: Lee et al. (2019), https://arxiv.org/abs/1810.00825.

    Example:
        >>> net = SetTransformer(16, features=8, heads=2, inducing=4)
        >>> module = net.build_sets([Reading(0, 3, (Axis(-1),))], ((2,),))
        >>> module(torch.zeros(5, 7, 3)).shape, module(torch.zeros(5, 20, 3)).shape
        (torch.Size([5, 1, 2]), torch.Size([5, 1, 2]))
    """

    features: int
    heads: int
    inducing: int

    def __init__(
        self, *hidden: int, features: int = 32, heads: int = 4, inducing: int = 16, activation: type[nn.Module] = nn.SiLU, ordered: tuple[str, ...] = (),
    ) -> None:
        self._freeze(
            hidden=widths("SetTransformer", "hidden", hidden), features=positive("SetTransformer", "features", features), heads=positive("SetTransformer", "heads", heads),
            inducing=positive("SetTransformer", "inducing", inducing), activation=activation_class("SetTransformer", activation), ordered=tuple(ordered),
        )
        if self.features % self.heads:
            raise ValueError(f"SetTransformer: expected features to be a multiple of heads; got features={features}, heads={heads}; try features={self.heads * 8}")

    def stage(self, features: int) -> nn.Module:
        return Attending(self, features)


class Attending(nn.Module):
    """Induced self-attention among members, then attention pooling."""

    def __init__(self, net: SetTransformer, features: int) -> None:
        super().__init__()
        width, self.width = net.features, 2 * net.features
        self.member = Skip(features, net.hidden, width, net.activation)
        self.points = nn.Parameter(torch.randn(net.inducing, width) / math.sqrt(width))
        self.seed = nn.Parameter(torch.randn(1, width) / math.sqrt(width))
        self.gather, self.spread, self.pool = (Attention(width, net.heads, net.activation) for _ in range(3))

    def forward(self, members: Tensor, axis: int) -> Tensor:
        x = self.member(members).movedim(axis, -2)
        x = self.spread(x, self.gather(self.points.expand(*x.shape[:-2], *self.points.shape), x))
        pooled = self.pool(self.seed.expand(*x.shape[:-2], *self.seed.shape), x).squeeze(-2)
        return torch.cat([pooled, x.mean(-2)], -1).unsqueeze(axis)


class Attention(nn.Module):
    """`h + act(W h)` with `h = query + attention(query, members)`."""

    def __init__(self, width: int, heads: int, activation: type[nn.Module]) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.activation = activation()

    def forward(self, query: Tensor, members: Tensor) -> Tensor:
        asked = scaled_dot_product_attention(*(self._headed(layer(x)) for layer, x in ((self.query, query), (self.key, members), (self.value, members))))
        h = query + asked.transpose(-3, -2).flatten(-2)
        return h + self.activation(self.out(h))

    def _headed(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(-3, -2)
