"""Gaussian processes at given points: a normal vector whose covariance is a kernel of a parent's values."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from numbers import Real
from typing import Any

import torch
from torch import Tensor, nn

from ..families import MultivariateNormal, Variable
from ..graph import GraphError
from .ports import Port
from .predictors import ParentFunction

__all__ = ["GaussianProcess", "Kernel", "Matern", "Periodic", "RBF"]


def GaussianProcess(points: int, *, at: str, kernel: Kernel, loc: Any = 0.0) -> Variable:
    """The values of a random function at the points that a parent holds: f ~ N(loc, K), K_ij = k(x_i, x_j) (Rasmussen and Williams, 2006, http://gaussianprocess.org/gpml).

    It is a `MultivariateNormal`, so that wherever it is hidden and read linearly it is integrated exactly: `log_prob` is the log marginal likelihood, `fit` by maximum
    likelihood learns the kernel, and the posterior where some of `y` is missing are the predictions there. It costs the cube of the number of points.

    Args:
        points: the number n of points; the event is `(n,)`.
        at: the parent that holds them, `(n,)` or `(n, features)`.
        kernel: `RBF()`, `Matern()` or `Periodic()`.
        loc: the mean, zero by default: a number, an array, a node's name or an expression, or `dgm.free()`.

    Raises:
        GraphError: a kernel that is none, points of another number than the parent's.

    Example:
        >>> import torch, dgm_ppl as dgm
        >>> net = dgm.BayesNet(x=dgm.Given(4), f=dgm.GaussianProcess(4, at="x", kernel=dgm.RBF()), y=dgm.Normal(4, loc="f", scale=0.1))
        >>> model = dgm.compile(net)
        >>> x, y = torch.tensor([[0.0, 1.0, 2.0, 1.5]]), torch.tensor([[0.0, 0.8, 0.9, torch.nan]])
        >>> dgm.posterior(model, {"x": x, "y": y}).mean()["f"][0, 3] > 0.8
        tensor(True)
    """
    if not isinstance(kernel, Kernel):
        raise GraphError(f"GaussianProcess: expected a kernel; got {kernel!r}; try kernel=dgm.RBF(), dgm.Matern() or dgm.Periodic()")
    if not isinstance(at, str):
        raise GraphError(f"GaussianProcess: at= names the node that holds the points; got {at!r}; try at='x' with x=dgm.Given({points})")
    return MultivariateNormal(points, loc=loc).given(at, fn=kernel)


@dataclass(frozen=True, repr=False)
class Kernel(ParentFunction):
    """k(x, x') = variance * correlation(x - x'): how alike a function's values are at two points.

    A hyperparameter that is given is fixed, one that is None is learned, from 1 on. `jitter` times the variance stands on the diagonal beside it.

    To add one, derive a frozen dataclass with `repr=False` and write `correlation`; fields of its own that may be None are learned like the others.
    """

    lengthscale: float | tuple[float, ...] | None = None
    variance: float | None = None
    jitter: float = 1e-6

    def __post_init__(self) -> None:
        if isinstance(self.lengthscale, list):
            object.__setattr__(self, "lengthscale", tuple(self.lengthscale))
        for name, value in self.settings().items():
            several = value if isinstance(value, tuple) and name == "lengthscale" and value else (value,)
            if (value is not None or name == "jitter") and not all(isinstance(each, Real) and math.isfinite(each) and each > 0 for each in several):
                learned = "" if name == "jitter" else ", or None for one that is learned"
                raise GraphError(f"{type(self).__name__}: expected {name} to be a number above 0{' (one a feature)' if name == 'lengthscale' else ''}{learned}; got {value!r}")

    def settings(self) -> dict[str, Any]:
        """The hyperparameters by name."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

    @abstractmethod
    def correlation(self, apart: Tensor, held: Mapping[str, Any]) -> Tensor:
        """From differences `(*batch, n, n, features)` and hyperparameters, `(*batch, n, n)`."""

    def of(self, name: str, ports: Sequence[Port]) -> Gram:
        if len(ports) != 1 or ports[0].rank not in (1, 2):
            found = ", ".join(f"{port.name!r} {port.shape}" for port in ports)
            raise GraphError(f"node {name!r}: {self!r} expects one parent, points (n,) or (n, features); got {found}")
        return Gram(name, self, ports[0].rank)

    def __call__(self, x: Tensor) -> Tensor:
        """The covariance at points `(*batch, n, features)`, `(*batch, n, n)`, hyperparameters that are learned being 1."""
        return Gram("", self, 2).covariance(x)


class Gram(nn.Module):
    """A kernel with its hyperparameters: from points to the Cholesky factor of their covariance, in double precision inside."""

    def __init__(self, name: str, kernel: Kernel, rank: int):
        super().__init__()
        self.name, self.kernel, self.rank = name, kernel, rank
        self.logarithms = nn.ParameterDict({setting: nn.Parameter(torch.zeros(())) for setting, value in kernel.settings().items() if value is None})

    def covariance(self, x: Tensor) -> Tensor:
        points = x.double() if self.rank == 2 else x.double().unsqueeze(-1)
        held = {setting: points.new_tensor(value) if isinstance(value, tuple) else value for setting, value in self.kernel.settings().items() if value is not None}
        held |= {setting: logarithm.double().exp() for setting, logarithm in self.logarithms.items()}
        found = self.kernel.correlation(points.unsqueeze(-2) - points.unsqueeze(-3), held)
        return held["variance"] * (found + held["jitter"] * torch.eye(found.shape[-1], dtype=found.dtype, device=found.device))

    def forward(self, x: Tensor) -> Tensor:
        try:
            return torch.linalg.cholesky(self.covariance(x)).to(x.dtype if x.is_floating_point() else torch.get_default_dtype())
        except torch.linalg.LinAlgError as error:
            raise GraphError(f"node {self.name!r}: the covariance of {self.kernel!r} is not positive definite at these points; expected points further apart; try jitter={100 * self.kernel.jitter:g}") from error


@dataclass(frozen=True, repr=False)
class RBF(Kernel):
    """exp(-|x - x'|^2 / 2) of differences in lengthscales: functions with all derivatives."""

    def correlation(self, apart: Tensor, held: Mapping[str, Any]) -> Tensor:
        return (-0.5 * (apart / held["lengthscale"]).square().sum(-1)).exp()


@dataclass(frozen=True, repr=False)
class Matern(Kernel):
    """Functions with so many derivatives as nu is above 1/2: nu = 0.5 (an Ornstein-Uhlenbeck process), 1.5 or 2.5."""

    nu: float = 1.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nu not in (0.5, 1.5, 2.5):
            raise GraphError(f"Matern: expected nu to be 0.5, 1.5 or 2.5; got {self.nu!r}; dgm.RBF() is the limit of large ones")

    def correlation(self, apart: Tensor, held: Mapping[str, Any]) -> Tensor:
        r = (2 * self.nu * (apart / held["lengthscale"]).square().sum(-1)).clamp_min(1e-30).sqrt()       # with a gradient at zero
        return {0.5: 1, 1.5: 1 + r, 2.5: 1 + r + r.square() / 3}[self.nu] * (-r).exp()


@dataclass(frozen=True, repr=False)
class Periodic(Kernel):
    """exp(-2 sum_j sin^2(pi (x_j - x'_j) / period) / lengthscale^2): functions that repeat themselves (MacKay, 1998)."""

    period: float | None = None

    def correlation(self, apart: Tensor, held: Mapping[str, Any]) -> Tensor:
        return (-2 * ((math.pi * apart / held["period"]).sin() / held["lengthscale"]).square().sum(-1)).exp()
