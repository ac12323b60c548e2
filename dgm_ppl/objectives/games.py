"""What a critic and a generator play for: losses of the critic's numbers on real and on generated worlds."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import relu, softplus

from ..families import Setting
from ..graph import GraphError

__all__ = [
    "FDivergence", "Game", "Hinge", "JensenShannon", "KullbackLeibler", "LeastSquares", "Pearson", "ReverseKullbackLeibler", "SquaredHellinger",
    "TotalVariation", "Wasserstein",
]


class Game(Setting):
    """Losses of a critic's numbers D, elementwise.

    `critic(real, fake)` is minimised by the critic, `generator(fake)` by the model, and `guide(real)`, its mirror image, by a guide
    whose latents are part of what the critic judges.
    """

    @abstractmethod
    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        """The critic's loss, `(*worlds, *plates)`."""

    @abstractmethod
    def generator(self, fake: Tensor) -> Tensor:
        """The model's loss on what it made."""

    @abstractmethod
    def guide(self, real: Tensor) -> Tensor:
        """The guide's loss on the data with the latents that it drew."""


@dataclass(frozen=True, repr=False)
class JensenShannon(Game):
    """The original game: D is the log-odds of being real; at its optimum the critic's loss is 2 log 2 - 2 JS(real, fake).

    The model minimises -log sigmoid(D(fake)), or log(1 - sigmoid(D(fake))) where `saturating`.

    Source: Goodfellow et al. (2014), https://arxiv.org/abs/1406.2661.
    """

    saturating: bool = False

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        return softplus(-real) + softplus(fake)

    def generator(self, fake: Tensor) -> Tensor:
        return -softplus(fake) if self.saturating else softplus(-fake)

    def guide(self, real: Tensor) -> Tensor:
        return -softplus(-real) if self.saturating else softplus(real)


@dataclass(frozen=True, repr=False)
class LeastSquares(Game):
    """((D(real) - 1)^2 + D(fake)^2) / 2 against (D(fake) - 1)^2 / 2.

    Source: Mao et al. (2017), https://arxiv.org/abs/1611.04076.
    """

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        return ((real - 1).square() + fake.square()) / 2

    def generator(self, fake: Tensor) -> Tensor:
        return (fake - 1).square() / 2

    def guide(self, real: Tensor) -> Tensor:
        return real.square() / 2


@dataclass(frozen=True, repr=False)
class Hinge(Game):
    """max(0, 1 - D(real)) + max(0, 1 + D(fake)) against -D(fake).

    Source: Lim and Ye (2017), https://arxiv.org/abs/1705.02894.
    """

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        return relu(1 - real) + relu(1 + fake)

    def generator(self, fake: Tensor) -> Tensor:
        return -fake

    def guide(self, real: Tensor) -> Tensor:
        return real


@dataclass(frozen=True, repr=False)
class Wasserstein(Game):
    """D(fake) - D(real), the earth mover's distance where D is 1-Lipschitz: by `clip`, or by `GradientPenalty` beside it.

    `clip` keeps each of the critic's parameters within [-clip, clip].

    Source: Arjovsky et al. (2017), https://arxiv.org/abs/1701.07875.
    """

    clip: float | None = None

    def __post_init__(self) -> None:
        if self.clip is not None and (isinstance(self.clip, bool) or not isinstance(self.clip, (int, float)) or not 0 < self.clip < math.inf):
            raise GraphError(f"Wasserstein: expected clip above 0, the largest size of a critic's parameter; got {self.clip!r}; try clip=0.01")

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        return fake - real

    def generator(self, fake: Tensor) -> Tensor:
        return -fake

    def guide(self, real: Tensor) -> Tensor:
        return real


class FDivergence(Game):
    """Any f-divergence by its variational bound: E_real[a(D)] - E_fake[f*(a(D))] <= D_f(real || fake).

    A subclass gives the `activation` a, which maps numbers to the domain of f*, and the `conjugate` f*.

    Source: Nowozin et al. (2016), https://arxiv.org/abs/1606.00709.
    """

    @abstractmethod
    def activation(self, number: Tensor) -> Tensor:
        """From any number to the domain of the conjugate."""

    @abstractmethod
    def conjugate(self, value: Tensor) -> Tensor:
        """f*(t) = sup_u (t u - f(u))."""

    def composed(self, number: Tensor) -> Tensor:
        """f*(a(number)); to be overridden where the two cancel out."""
        return self.conjugate(self.activation(number))

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        return self.composed(fake) - self.activation(real)

    def generator(self, fake: Tensor) -> Tensor:
        return -self.composed(fake)

    def guide(self, real: Tensor) -> Tensor:
        return self.activation(real)


@dataclass(frozen=True, repr=False)
class KullbackLeibler(FDivergence):
    """KL(real || fake)."""

    def activation(self, number: Tensor) -> Tensor:
        return number

    def conjugate(self, value: Tensor) -> Tensor:
        return (value - 1).exp()


@dataclass(frozen=True, repr=False)
class ReverseKullbackLeibler(FDivergence):
    """KL(fake || real)."""

    def activation(self, number: Tensor) -> Tensor:
        return -(-number).exp()

    def conjugate(self, value: Tensor) -> Tensor:
        return -1 - (-value).log()

    def composed(self, number: Tensor) -> Tensor:
        return number - 1


@dataclass(frozen=True, repr=False)
class Pearson(FDivergence):
    """The chi-square divergence E_fake[(real / fake - 1)^2]."""

    def activation(self, number: Tensor) -> Tensor:
        return number

    def conjugate(self, value: Tensor) -> Tensor:
        return value.square() / 4 + value


@dataclass(frozen=True, repr=False)
class SquaredHellinger(FDivergence):
    """E_fake[(sqrt(real / fake) - 1)^2]."""

    def activation(self, number: Tensor) -> Tensor:
        return 1 - (-number).exp()

    def conjugate(self, value: Tensor) -> Tensor:
        return value / (1 - value)

    def composed(self, number: Tensor) -> Tensor:
        return number.expm1()


@dataclass(frozen=True, repr=False)
class TotalVariation(FDivergence):
    """E_fake |real / fake - 1| / 2."""

    def activation(self, number: Tensor) -> Tensor:
        return number.tanh() / 2

    def conjugate(self, value: Tensor) -> Tensor:
        return value
