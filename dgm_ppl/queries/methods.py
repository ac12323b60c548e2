"""How to answer a query: objects that hold what a method needs."""

from __future__ import annotations

from dataclasses import dataclass

from ..compile import Model
from ..graph import GraphError

__all__ = ["NUTS", "Amortized", "Bound", "Importance", "Method", "ProbabilityFlow"]


@dataclass(frozen=True, eq=False)
class Method:
    """A way to answer `posterior` or `log_prob`."""


@dataclass(frozen=True, eq=False)
class Amortized(Method):
    """The guide's distribution as it is; `samples` draws stand behind means and the diagnosis."""

    guide: Model
    samples: int = 1000

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True, eq=False)
class Importance(Method):
    """`samples` draws from the guide, weighted by p(x, z) / q(z | x)."""

    guide: Model
    samples: int = 1000

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True, eq=False)
class Bound(Method):
    """The importance-weighted lower bound with `particles` draws (1 is the ELBO), averaged over `samples` repetitions."""

    guide: Model
    particles: int = 1
    samples: int = 1

    def __post_init__(self) -> None:
        _check(self)
        _whole("Bound", "particles", self.particles)


@dataclass(frozen=True, eq=False)
class ProbabilityFlow(Method):
    """The exact density of `Diffusion` and `FlowMatching` nodes, by the ordinary differential equation that moves noise to data.

    The divergence is exact for small events (up to 64 elements), or the mean over `probes` random directions, which is unbiased; then
    `repeats` solutions give a standard error. `tolerance` is the solver's, relative and absolute.

    Source: Song et al. (2021), https://arxiv.org/abs/2011.13456.
    """

    tolerance: float = 1e-5
    probes: int | None = None
    repeats: int = 4

    def __post_init__(self) -> None:
        if not 0 < self.tolerance < 1:
            raise GraphError(f"ProbabilityFlow: expected tolerance between 0 and 1; got {self.tolerance!r}; try 1e-5")
        for name in ("repeats",) if self.probes is None else ("probes", "repeats"):
            _whole("ProbabilityFlow", name, getattr(self, name))


@dataclass(frozen=True, eq=False)
class NUTS(Method):
    """The No-U-Turn sampler (Hoffman and Gelman, 2014) on the model's Pyro program; all rows of evidence in one chain.

    `seed` makes the chains reproducible and leaves the global generator as it was.
    """

    samples: int = 1000
    warmup: int = 500
    chains: int = 1
    target_accept: float = 0.8
    max_tree_depth: int = 10
    seed: int | None = None

    def __post_init__(self) -> None:
        for name in ("samples", "warmup", "chains", "max_tree_depth"):
            _whole("NUTS", name, getattr(self, name))


def _check(method: Amortized | Importance | Bound) -> None:
    kind = type(method).__name__
    if not isinstance(method.guide, Model):
        raise GraphError(f"{kind}: expected a compiled guide; got {type(method.guide).__name__}; try {kind}(dgm.compile(dgm.amortize(net, observed=...)))")
    _whole(kind, "samples", method.samples)


def _whole(kind: str, name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise GraphError(f"{kind}: expected a positive whole number for {name}; got {value!r}")
