"""Gradients of inverses of monotonic networks, by the implicit function theorem.

zuko differentiates an inverse, and an integral, with respect to the network's weights through everything that the network's input was
computed from as well, which for a draw of an autoregressive flow is earlier inverses by the same weights: they are counted more than
once. Here the inverse is found without gradients, one Newton step from it, x - (f(x) - y) / f'(x), carries them, and torch
differentiates the sums of a quadrature.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Transform, constraints

from .door import zuko

__all__ = ["Monotone", "implicit"]


def implicit(flow: nn.Module) -> nn.Module:
    """A flow of zuko's whose layers have monotonic networks, with inverses that differentiate rightly."""
    for layer in flow.transform.transforms:
        if "univariate" in layer._modules:
            layer.univariate = Monotone(layer.univariate)
    return flow


class Monotone(nn.Module):
    """A monotonic network, from a signal (and a constant) to its transformation."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, *phi: Tensor) -> Transform:
        found = self.network(*phi)
        transforms = zuko().transforms
        if isinstance(found, transforms.ComposedTransform):
            first, *rest = found.transforms
            return transforms.ComposedTransform(Implicit(first), *rest)
        return Implicit(found)


class Implicit(Transform):
    """A monotonic transformation whose inverse is differentiated implicitly."""

    domain = constraints.real
    codomain = constraints.real
    bijective = True
    sign = +1

    def __init__(self, base: Any):
        super().__init__()
        self.base, self.integral = base, isinstance(base, zuko().transforms.UnconstrainedMonotonicTransform)

    def _call(self, x: Tensor) -> Tensor:
        return self._differentiable(x)

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return (self._differentiable(x), self.base.g(x).log()) if self.integral else self.base.call_and_ladj(x)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return self.call_and_ladj(x)[1]

    def _inverse(self, y: Tensor) -> Tensor:
        with torch.no_grad():
            x = self.base.inv(y)
        if not torch.is_grad_enabled():
            return x
        slope = self.call_and_ladj(x)[1].detach().exp()
        return x + (y - self._differentiable(x)) / slope

    def _differentiable(self, x: Tensor) -> Tensor:
        """f(x) by operations that torch differentiates itself."""
        if self.integral:
            return zuko().utils.GaussLegendre.quadrature(self.base.g, torch.zeros_like(x), x, self.base.n)
        return self.base.f(x)
