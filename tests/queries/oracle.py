"""A linear-Gaussian net whose posterior and evidence are known in closed form."""

from __future__ import annotations

import torch
from torch import Tensor

import dgm_ppl as dgm

WEIGHT = torch.tensor([[1.0, 0.5], [-0.3, 0.8], [0.2, -1.1]])
NOISE = 0.7


def net() -> dgm.BayesNet:
    """z ~ N(0, I_2), x | z ~ N(W z, 0.7^2 I_3)."""
    return dgm.BayesNet(z=dgm.Normal(2, loc=0.0, scale=1.0), x=dgm.Normal(3, loc=dgm.matmul(WEIGHT, dgm.Ref("z")), scale=NOISE))


def posterior(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean `(rows, 2)` and covariance `(2, 2)` of z given x."""
    precision = torch.eye(2) + WEIGHT.T @ WEIGHT / NOISE**2
    covariance = precision.inverse()
    return x @ WEIGHT / NOISE**2 @ covariance, covariance


def evidence(x: Tensor) -> Tensor:
    """log p(x) of each row."""
    return torch.distributions.MultivariateNormal(torch.zeros(3), WEIGHT @ WEIGHT.T + NOISE**2 * torch.eye(3)).log_prob(x)


def guide(inflation: float = 1.0) -> dgm.Model:
    """The exact posterior as a guide, its standard deviations multiplied by `inflation`."""
    _, covariance = posterior(torch.zeros(1, 3))
    weight = covariance @ WEIGHT.T / NOISE**2
    q = dgm.BayesNet(
        x=dgm.Given(3),
        z=dgm.MultivariateNormal(2, loc=dgm.matmul(weight, dgm.Ref("x")), covariance_matrix=covariance * inflation**2),
    )
    return dgm.compile(q)
