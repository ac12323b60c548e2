"""How to answer a query: objects that hold what a method needs."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..compile import Model, SubsetGuide
from ..conditionals.guidance import is_number
from ..graph import GraphError

__all__ = ["HMC", "NUTS", "Amortized", "Bound", "Guided", "Importance", "IndependenceMetropolis", "Langevin", "Method", "ProbabilityFlow", "Refined", "Twisted"]


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
class Refined(Method):
    """A copy of the guide for each world, improved by `steps` of gradient on that world's ELBO, then `samples` draws of it; `weighted` by p / q if asked.

    It costs as much for every world as a short training, and shows what the guide's families could do: the amortization gap is what it gains. A
    copy that did not gain is dropped. The guide itself is left as it is, and with `seed` the global generator too.

    Source: Kim et al. (2018), https://arxiv.org/abs/1802.02550; Cremer et al. (2018), https://arxiv.org/abs/1801.03558.
    """

    guide: Model
    steps: int = 200
    samples: int = 1000
    particles: int = 16
    lr: float = 0.02
    weighted: bool = False
    seed: int | None = 0

    def __post_init__(self) -> None:
        _check(self)
        for name in ("steps", "particles"):
            _whole("Refined", name, getattr(self, name))
        _check_seed("Refined", self.seed)
        if not 0 < self.lr < math.inf:
            raise GraphError(f"Refined: expected lr to be a positive number; got {self.lr!r}; try 0.02")


@dataclass(frozen=True, eq=False)
class IndependenceMetropolis(Method):
    """Chains that propose draws of the guide and accept with probability min(1, w' / w), w = p(x, z) / q(z | x); the posterior in the limit, whatever the guide.

    With `seed` the chains are reproducible and leave the global generator as it was.

    Source: Tierney (1994), doi:10.1214/aos/1176325750.
    """

    guide: Model
    samples: int = 500
    warmup: int = 100
    chains: int = 4
    seed: int | None = 0

    def __post_init__(self) -> None:
        _check(self)
        for name in ("warmup", "chains"):
            _whole("IndependenceMetropolis", name, getattr(self, name))
        _check_seed("IndependenceMetropolis", self.seed)


@dataclass(frozen=True, eq=False)
class HMC(Method):
    """Hamiltonian Monte Carlo in the space of the noise that hidden nodes are made of, every world and chain at once.

    For any net whose hidden nodes are made of normal noise (Normal, LogNormal, LogitNormal, flows, and what generators and functions
    make of them) and whose evidence has a density: the target is N(noise; 0, 1) p(evidence | noise). Each world has a step size of its
    own, set while warming up. With `seed` the chains are reproducible and leave the global generator as it was.

    Source: Neal (2011), https://arxiv.org/abs/1206.1901; Parno and Marzouk (2018), https://arxiv.org/abs/1412.5492.
    """

    samples: int = 200
    warmup: int = 300
    chains: int = 8
    leapfrog: int = 10
    step: float = 0.1
    target_accept: float = 0.8
    seed: int | None = None

    def __post_init__(self) -> None:
        for name in ("samples", "warmup", "chains", "leapfrog"):
            _whole(type(self).__name__, name, getattr(self, name))
        _check_seed(type(self).__name__, self.seed)
        if not (is_number(self.step) and self.step > 0 and is_number(self.target_accept) and 0 < self.target_accept < 1):
            raise GraphError(f"{type(self).__name__}: expected step above 0 and target_accept between 0 and 1; got step={self.step!r}, target_accept={self.target_accept!r}")


@dataclass(frozen=True, eq=False)
class Langevin(HMC):
    """`HMC` with one leapfrog step: the Metropolis-adjusted Langevin algorithm (Roberts and Tweedie, 1996, doi:10.2307/3318418)."""

    samples: int = 1000
    warmup: int = 1000
    leapfrog: int = 1
    target_accept: float = 0.6


@dataclass(frozen=True, eq=False)
class Guided(Method):
    """`samples` draws of a hidden `Diffusion` or `FlowMatching` node by `steps` of its reverse process, led by the evidence below it.

    The noise in z_t gets -sigma_t d log p(evidence | z_t) / dz_t, with p(evidence | z_t) taken at the clean value; where all that is measured is
    Normal, the clean value's own uncertainty is added to the noise of the measurement, which is exact for a Gaussian prior where 48 numbers
    or fewer are measured; of more, the sums of its rows stand for their covariance, scaled to be right along the residual. Steps are those of
    SDE-DPM-Solver++(2M). `scale` weighs the evidence; 1 is the posterior.

    Source: Chung et al. (2023), https://arxiv.org/abs/2209.14687; Boys et al. (2023), https://arxiv.org/abs/2310.06721; Lu et al. (2022),
    https://arxiv.org/abs/2211.01095.
    """

    samples: int = 100
    steps: int = 100
    scale: float = 1.0
    seed: int | None = None

    def __post_init__(self) -> None:
        for name in ("samples", "steps"):
            _whole("Guided", name, getattr(self, name))
        _check_seed("Guided", self.seed)
        if not (is_number(self.scale) and 0 <= self.scale < math.inf):
            raise GraphError(f"Guided: expected scale to be a finite number that is not negative; got {self.scale!r}")


@dataclass(frozen=True, eq=False)
class Twisted(Method):
    """Sequential Monte Carlo along the reverse process of a hidden diffusion: `Guided` proposals, weighted and resampled.

    Exact as `particles` grow, whatever leads them; gives an estimate of log p(evidence).

    Source: Wu et al. (2023), https://arxiv.org/abs/2306.17775.
    """

    particles: int = 200
    steps: int = 200
    seed: int | None = None

    def __post_init__(self) -> None:
        for name in ("particles", "steps"):
            _whole("Twisted", name, getattr(self, name))
        _check_seed("Twisted", self.seed)


@dataclass(frozen=True, eq=False)
class ProbabilityFlow(Method):
    """The exact density of `Diffusion` and `FlowMatching` nodes, by the ordinary differential equation that moves noise to data.

    The divergence is exact for small events (up to 64 elements), else, or where `probes` is given, the mean over so many random directions (1), which is unbiased;
    then `repeats` solutions give a standard error. `tolerance` is the solver's, relative and absolute.

    Source: Song et al. (2021), https://arxiv.org/abs/2011.13456.
    """

    tolerance: float = 1e-5
    probes: int | None = None
    repeats: int = 4

    def __post_init__(self) -> None:
        if not (is_number(self.tolerance) and 0 < self.tolerance < 1):
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
        _check_seed("NUTS", self.seed)


def _check(method: Amortized | Importance | Bound | Refined | IndependenceMetropolis) -> None:
    kind = type(method).__name__
    if isinstance(method.guide, SubsetGuide) and not isinstance(method, (Amortized, Importance)):
        raise GraphError(f"{kind}: a guide for any subset goes with dgm.Amortized(guide) or dgm.Importance(guide, samples); here, take the guide of one pattern: {kind}(guide.at({method.guide.net.example!r}))")
    if not isinstance(method.guide, (Model, SubsetGuide)):
        raise GraphError(f"{kind}: expected a compiled guide; got {type(method.guide).__name__}; try {kind}(dgm.compile(dgm.amortize(net, observed=...)))")
    _whole(kind, "samples", method.samples)


def _check_seed(kind: str, seed: object) -> None:
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
        raise GraphError(f"{kind}: expected seed to be a whole number, or None; got {seed!r}")


def _whole(kind: str, name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise GraphError(f"{kind}: expected a positive whole number for {name}; got {value!r}")
