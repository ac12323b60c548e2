"""Monotonic transformations of the whole line without a closed inverse: found by bisection, differentiated by the implicit function theorem.

zuko looks for an inverse on [-10, 10], and squeezes what passes from one layer to the next into [-11, 11], so that a value beyond is
another value's and the density misses some mass. Here the bracket grows until it holds the value, and layers are joined by a
function that is onto the line.

zuko differentiates an inverse, and an integral, with respect to the network's weights through everything that the network's input was
computed from as well, which for a draw of an autoregressive flow is earlier inverses by the same weights: they are counted more than
once. Here the inverse is found without gradients, one Newton step from it, x - (f(x) - y) / f'(x), carries them, and torch
differentiates the sums of a quadrature.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Transform, constraints

from .door import zuko

__all__ = ["Gaussianization", "Monotone", "implicit"]

DOUBLINGS = 64
NEWTON = 8


def implicit(flow: nn.Module) -> nn.Module:
    """A flow of zuko's whose layers are monotonic in each number, onto the line, with inverses that are found wherever they are and differentiate rightly."""
    library, layers = zuko(), flow.transform.transforms
    for position, layer in enumerate(layers):
        if isinstance(layer, library.lazy.UnconditionalTransform) and isinstance(layer(), library.transforms.SoftclipTransform):
            layers[position] = library.lazy.UnconditionalTransform(Compressed)
        elif univariate := getattr(layer, "univariate", None):
            layer._modules.pop("univariate", None)
            layer.__dict__.pop("univariate", None)
            layer.univariate = Monotone(Gaussianization if univariate is library.transforms.GaussianizationTransform else univariate)
    return flow


class Monotone(nn.Module):
    """A monotonic network, or a function, from a signal (and a constant) to its transformation."""

    def __init__(self, network: Any):
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
            x = bisected(self.base.f, y, getattr(self.base, "bound", 1.0))
        if not torch.is_grad_enabled():
            return x
        slope = self.call_and_ladj(x)[1].detach().exp()
        return x + (y - self._differentiable(x)) / slope

    def _differentiable(self, x: Tensor) -> Tensor:
        """f(x) by operations that torch differentiates itself."""
        if self.integral:
            return zuko().utils.GaussLegendre.quadrature(self.base.g, torch.zeros_like(x), x, self.base.n)
        return self.base.f(x)


def bisected(f: Any, y: Tensor, bound: float) -> Tensor:
    """Where an increasing function has these values: the interval from -bound to bound is doubled until it holds them, then halved.

    Raises:
        FloatingPointError: values that are not finite, or that the function reaches nowhere among the numbers of their dtype.
    """
    low, high, doublings = torch.full_like(y, -bound), torch.full_like(y, bound), 0
    while True:
        left, right = ~(f(low) <= y), ~(f(high) >= y)
        if not (left | right).any():
            break
        if doublings == DOUBLINGS or not (low.isfinite() & high.isfinite()).all():
            strange = y[left | right].flatten()[0].item()
            raise FloatingPointError(
                f"a flow was asked for the value whose noise is {strange:g}, and has none among numbers of {y.dtype}; try standardized values, "
                f"preprocess=dgm.Affine(x.mean(0), x.std(0)), a smaller learning rate, or model.double()"
            )
        low, high, doublings = torch.where(left, 2 * low, low), torch.where(right, 2 * high, high), doublings + 1
    for _ in range(25 + doublings):
        middle = (low + high) / 2
        below = f(middle) < y
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return (low + high) / 2


class Compressed(Transform):
    """b asinh(x / b): near the identity around zero, a logarithm far out, so that what one layer stretches does not overflow in the next."""

    domain = constraints.real
    codomain = constraints.real
    bijective = True
    sign = +1
    width = 11.0

    def _call(self, x: Tensor) -> Tensor:
        return self.width * torch.asinh(x / self.width)

    def _inverse(self, y: Tensor) -> Tensor:
        return self.width * torch.sinh(y / self.width)

    def log_abs_det_jacobian(self, x: Tensor, y: Tensor) -> Tensor:
        return -torch.log(torch.cosh(y / self.width))

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self._call(x)
        return y, self.log_abs_det_jacobian(x, y)


class Gaussianization(Transform):
    """Phi^-1(1/K sum_k Phi(exp(a_k) x + b_k)), computed by logarithms of both tails, so that it is onto the line in floating point too."""

    domain = constraints.real
    codomain = constraints.real
    bijective = True
    sign = +1

    def __init__(self, shift: Tensor, scale: Tensor):
        super().__init__()
        self.shift, self.log_scale = shift, scale

    def f(self, x: Tensor) -> Tensor:
        return self._mapped(self._scores(x))

    def call_and_ladj(self, x: Tensor) -> tuple[Tensor, Tensor]:
        scores = self._scores(x)
        y = self._mapped(scores)
        return y, (self.log_scale - 0.5 * scores.square()).logsumexp(-1) - math.log(scores.shape[-1]) + 0.5 * y.square()

    def _scores(self, x: Tensor) -> Tensor:
        return x.unsqueeze(-1) * self.log_scale.exp() + self.shift

    @staticmethod
    def _mapped(scores: Tensor) -> Tensor:
        lower, upper = (torch.special.log_ndtr(side).logsumexp(-1) - math.log(scores.shape[-1]) for side in (scores, -scores))
        left = lower < upper
        found = normal_quantile(torch.where(left, lower, upper))
        return torch.where(left, found, -found)


def normal_quantile(log_p: Tensor) -> Tensor:
    """z with log Phi(z) = log_p, for probabilities up to a half; Newton's method goes up to it from the left, as log Phi is concave."""
    with torch.no_grad():
        z = -(-2 * log_p).sqrt()
        for _ in range(NEWTON):
            at = torch.special.log_ndtr(z)
            inverse = (at + 0.5 * z.square() + 0.5 * math.log(2 * math.pi)).exp()
            z = z + (log_p - at) * inverse
        inverse = (torch.special.log_ndtr(z) + 0.5 * z.square() + 0.5 * math.log(2 * math.pi)).exp()
    return z + (log_p - log_p.detach()) * inverse
