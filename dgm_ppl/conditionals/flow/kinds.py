"""The architectures of normalizing flows, as data: each builds the transformation from values to noise."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from torch import nn

from ...families import Setting
from ...families.variable import whole
from ...graph import GraphError
from .coupling import Coupling
from .door import zuko
from .implicit import implicit

__all__ = ["BPF", "CNF", "GF", "IAF", "MAF", "NAF", "NCSF", "NICE", "NSF", "SOSPF", "UNAF", "FlowKind", "Inverse", "RealNVP"]


class FlowKind(Setting):
    """The architecture of a flow.

    To add one, write a frozen dataclass with `repr=False` whose `build` returns a module from a context `(*batch, context)`, or None, to
    an invertible `torch.distributions.Transform` of vectors of `features` numbers that has `call_and_ladj`.
    """

    inverse: ClassVar[bool] = False                 # whether the module maps noise to values, so that sampling is its fast direction
    circular: ClassVar[bool] = False                # whether values are angles
    ordered: ClassVar[bool] = False                 # whether each transformation is autoregressive, so that a single one keeps an order

    def __post_init__(self) -> None:
        for one in fields(self):
            _check(type(self).__name__, one.name, getattr(self, one.name))

    @abstractmethod
    def build(self, features: int, context: int) -> nn.Module:
        """The module, its parameters drawn from the global generator."""

    def build_for(self, shape: Sequence[int], context: int) -> nn.Module:
        """The module for an event whose shape matters; the numbers of the event in one vector otherwise."""
        return self.build(math.prod(shape), context)

    def layer(self, features: int, context: int, adjacency: Any) -> nn.Module | None:
        """One masked transformation, number i of which reads where row i of a boolean `(features, features + context)` is true; None where the kind has none."""
        return None

    def check(self, shape: tuple[int, ...]) -> None:
        """Raises `ValueError` for an event shape that this architecture cannot take."""

    @property
    def label(self) -> str:
        """The kind in a picture."""
        return type(self).__name__


def _check(kind: str, name: str, value: Any) -> None:
    if name in ("hidden", "network"):
        if not isinstance(value, tuple) or any((whole(width) or 0) < 1 for width in value):
            raise GraphError(f"{kind}: expected a tuple of positive widths for {name}; got {value!r}; try {name}=(64, 64)")
    elif name in COUNTS and value is not None and (whole(value) or 0) < 1:
        raise GraphError(f"{kind}: expected a positive whole number for {name}; got {value!r}; try {name}=3")


COUNTS = {"transforms", "bins", "signal", "degree", "polynomials", "components", "frequencies", "passes"}


def _dense(network: nn.Module) -> nn.Module:
    """The part of a zuko flow that transforms; its base distribution is said by the conditional."""
    return network.transform


@dataclass(frozen=True, repr=False)
class MAF(FlowKind):
    """Masked autoregressive flow: density in one pass, sampling in one pass a dimension (Papamakarios et al., 2017, https://arxiv.org/abs/1705.07057).

    `hidden` are the widths of each masked network; `passes=2` makes it a coupling; `random_order` permutes the dimensions
    between transformations, which else alternate between ascending and descending.

    >>> MAF(5, hidden=(128, 128))
    MAF(transforms=5, hidden=(128, 128))
    """

    ordered: ClassVar[bool] = True
    transforms: int = 3
    hidden: tuple[int, ...] = (64, 64)
    random_order: bool = False
    residual: bool = False
    passes: int | None = None

    def build(self, features: int, context: int) -> nn.Module:
        return _dense(zuko().flows.MAF(features, context, **_masked(self, features)))

    def layer(self, features: int, context: int, adjacency: Any) -> nn.Module | None:
        return _single(zuko().flows.MAF(features, context, transforms=1, hidden_features=self.hidden, adjacency=adjacency))


def _single(flow: nn.Module) -> nn.Module:
    masked = zuko().flows.autoregressive.MaskedAutoregressiveTransform
    return next(module for module in flow.modules() if isinstance(module, masked))


def _masked(kind: Any, features: int) -> dict[str, Any]:
    """What zuko's autoregressive flows take; a single dimension has no masked network but one that reads the context."""
    chosen = {"transforms": kind.transforms, "randperm": kind.random_order, "hidden_features": kind.hidden}
    return chosen if features == 1 else {**chosen, "residual": kind.residual, "passes": kind.passes}


@dataclass(frozen=True, repr=False)
class IAF(MAF):
    """Inverse autoregressive flow: sampling and the density of its own samples in one pass, so for guides (Kingma et al., 2016, https://arxiv.org/abs/1606.04934)."""

    inverse: ClassVar[bool] = True


@dataclass(frozen=True, repr=False)
class NSF(FlowKind):
    """Neural spline flow, of rational-quadratic splines on [-5, 5] and the identity outside (Durkan et al., 2019, https://arxiv.org/abs/1906.04032)."""

    ordered: ClassVar[bool] = True
    transforms: int = 3
    bins: int = 8
    hidden: tuple[int, ...] = (64, 64)
    random_order: bool = False
    residual: bool = False
    passes: int | None = None

    def build(self, features: int, context: int) -> nn.Module:
        return _dense(zuko().flows.NSF(features, context, bins=self.bins, **_masked(self, features)))

    def layer(self, features: int, context: int, adjacency: Any) -> nn.Module | None:
        return None if self.circular else _single(zuko().flows.NSF(features, context, bins=self.bins, transforms=1, hidden_features=self.hidden, adjacency=adjacency))


@dataclass(frozen=True, repr=False)
class NCSF(NSF):
    """Neural circular spline flow, of angles (Rezende et al., 2020, https://arxiv.org/abs/2002.02428)."""

    circular: ClassVar[bool] = True

    def build(self, features: int, context: int) -> nn.Module:
        return _dense(zuko().flows.NCSF(features, context, bins=self.bins, **_masked(self, features)))


@dataclass(frozen=True, repr=False)
class RealNVP(FlowKind):
    """Affine couplings with alternating masks: density and sampling in one pass each (Dinh et al., 2017, https://arxiv.org/abs/1605.08803)."""

    transforms: int = 3
    hidden: tuple[int, ...] = (64, 64)
    random_mask: bool = False

    def build(self, features: int, context: int) -> nn.Module:
        flow = zuko().flows.NICE(features, context, transforms=self.transforms, randmask=self.random_mask, hidden_features=self.hidden, **self._univariate())
        layers = flow.transform.transforms
        for position, layer in enumerate(layers):
            if features > 1:
                layers[position] = Coupling(layer)
        return _dense(flow)

    def _univariate(self) -> dict[str, Any]:
        return {}


@dataclass(frozen=True, repr=False)
class NICE(RealNVP):
    """Couplings as RealNVP's, affine as in zuko unless `additive`, which preserves volume (Dinh et al., 2014, https://arxiv.org/abs/1410.8516)."""

    additive: bool = False

    def _univariate(self) -> dict[str, Any]:
        return {"univariate": zuko().transforms.AdditiveTransform, "shapes": [()]} if self.additive else {}


@dataclass(frozen=True, repr=False)
class NAF(FlowKind):
    """Neural autoregressive flow: each transformation a monotonic network, inverted by bisection (Huang et al., 2018, https://arxiv.org/abs/1804.00779)."""

    ordered: ClassVar[bool] = True
    transforms: int = 3
    signal: int = 16
    hidden: tuple[int, ...] = (64, 64)
    network: tuple[int, ...] = (64, 64)
    random_order: bool = False
    residual: bool = False
    passes: int | None = None

    def build(self, features: int, context: int) -> nn.Module:
        return _dense(implicit(zuko().flows.NAF(features, context, signal=self.signal, network={"hidden_features": self.network}, **_masked(self, features))))


@dataclass(frozen=True, repr=False)
class UNAF(NAF):
    """Unconstrained neural autoregressive flow: each transformation the integral of a positive network, inverted by bisection (Wehenkel and Louppe, 2019, https://arxiv.org/abs/1908.05164)."""

    def build(self, features: int, context: int) -> nn.Module:
        return _dense(implicit(zuko().flows.UNAF(features, context, signal=self.signal, network={"hidden_features": self.network}, **_masked(self, features))))


@dataclass(frozen=True, repr=False)
class BPF(FlowKind):
    """Bernstein polynomial flow, on [-5, 5] and linear outside (Sick et al., 2020, https://arxiv.org/abs/2004.00464)."""

    ordered: ClassVar[bool] = True
    transforms: int = 3
    degree: int = 16
    hidden: tuple[int, ...] = (64, 64)
    random_order: bool = False
    residual: bool = False
    passes: int | None = None

    def build(self, features: int, context: int) -> nn.Module:
        return _dense(zuko().flows.BPF(features, context, degree=self.degree, **_masked(self, features)))


@dataclass(frozen=True, repr=False)
class SOSPF(FlowKind):
    """Sum-of-squares polynomial flow, inverted by bisection (Jaini et al., 2019, https://arxiv.org/abs/1905.02325)."""

    ordered: ClassVar[bool] = True
    transforms: int = 3
    degree: int = 4
    polynomials: int = 3
    hidden: tuple[int, ...] = (64, 64)
    random_order: bool = False
    residual: bool = False
    passes: int | None = None

    def build(self, features: int, context: int) -> nn.Module:
        return _dense(implicit(zuko().flows.SOSPF(features, context, degree=self.degree, polynomials=self.polynomials, **_masked(self, features))))


@dataclass(frozen=True, repr=False)
class GF(FlowKind):
    """Gaussianization flow: mixtures of normal distribution functions and rotations, inverted by bisection (Meng et al., 2020, https://arxiv.org/abs/2003.01941)."""

    transforms: int = 3
    components: int = 8
    hidden: tuple[int, ...] = (64, 64)

    def build(self, features: int, context: int) -> nn.Module:
        options = {"hidden_features": self.hidden} if context else {}
        return _dense(implicit(zuko().flows.GF(features, context, transforms=self.transforms, components=self.components, **options)))


@dataclass(frozen=True, repr=False)
class CNF(FlowKind):
    """Continuous normalizing flow, an ordinary differential equation solved adaptively (Grathwohl et al., 2019, https://arxiv.org/abs/1810.01367).

    Without `exact` the divergence is Hutchinson's unbiased estimate, and the density is an estimate.
    """

    frequencies: int = 3
    hidden: tuple[int, ...] = (64, 64)
    atol: float = 1e-6
    rtol: float = 1e-5
    exact: bool = True

    def build(self, features: int, context: int) -> nn.Module:
        flow = zuko().flows.CNF(features, context, freqs=self.frequencies, hidden_features=self.hidden, atol=self.atol, rtol=self.rtol, exact=self.exact)
        return _dense(flow)


@dataclass(frozen=True, repr=False)
class Inverse(FlowKind):
    """A flow used from noise to values: its fast direction is the one that samples, as a guide wants.

    >>> Inverse(NSF(2)).label
    'Inverse(NSF)'
    """

    kind: FlowKind = MAF()

    def __post_init__(self) -> None:
        if not isinstance(self.kind, FlowKind):
            raise GraphError(f"Inverse: expected a kind such as dgm.MAF(); got {self.kind!r}")

    @property
    def inverse(self) -> bool:
        return not self.kind.inverse

    @property
    def label(self) -> str:
        return f"Inverse({self.kind.label})"

    def build(self, features: int, context: int) -> nn.Module:
        return self.kind.build(features, context)

    def build_for(self, shape: Sequence[int], context: int) -> nn.Module:
        return self.kind.build_for(shape, context)

    def check(self, shape: tuple[int, ...]) -> None:
        self.kind.check(shape)
