"""What a guide does about copies of a latent that depend on each other across a plate."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ..conditionals import JointCopies, OneByOne
from ..families import Architecture, Circle, Counts, Family, Finite, Simplex, Variable
from ..graph import GraphError
from .recognition import recognition_variable

__all__ = ["Apart", "Coupling", "InTurn", "Jointly", "drawn_together"]


class Coupling:
    """A way to draw the copies of a latent; `declare` returns the latent's declaration in the guide."""

    def declare(self, name: str, base: Variable, over: Sequence[str]) -> Variable:
        raise NotImplementedError


@dataclass(frozen=True)
class Jointly(Coupling):
    """All copies in one Gaussian of some rank plus a diagonal, taken to the latent's support; for latents that are not finite."""

    rank: int = 4

    def declare(self, name: str, base: Variable, over: Sequence[str]) -> Variable:
        if isinstance(base.space, (Finite, Counts, Simplex, Circle)):
            raise GraphError(f"amortize: copies of {name!r}, with values in {base.space}, have no joint Gaussian; try coupling={{{name!r}: dgm.InTurn()}}")
        return replace(base, family=JointCopies(replace(base, parents=(), net=None, whole=()), tuple(over), self.rank), parameters=())


@dataclass(frozen=True)
class InTurn(Coupling):
    """One copy after the other, each reading a summary of those before it; for latents of any kind.

    The summary is a mean, or with `heads` what a copy attends to among those before it.
    """

    features: int = 16
    heads: int = 0

    def __post_init__(self) -> None:
        if self.features < 1 or self.heads < 0 or self.heads and self.features % self.heads:
            raise GraphError(f"InTurn: expected a positive number of features, a multiple of heads; got features={self.features}, heads={self.heads}; try features={8 * max(1, self.heads)}")

    def declare(self, name: str, base: Variable, over: Sequence[str]) -> Variable:
        return replace(base, family=OneByOne(replace(base, parents=(), net=None, whole=()), tuple(over), self.features, self.heads), parameters=())


@dataclass(frozen=True)
class Apart(Coupling):
    """Copies drawn independently though they depend on each other: cheap, wrong, warned of, and written into the certificate."""

    def declare(self, name: str, base: Variable, over: Sequence[str]) -> Variable:
        warnings.warn(
            f"amortize: copies of {name!r} depend on each other over {', '.join(over)} given what is observed, and the guide draws them apart, as asked; "
            f"guide.certificate() says what that costs", UserWarning, stacklevel=4,
        )
        return base


def usual(base: Variable) -> Coupling:
    """A joint Gaussian where the support can be stretched to one; else one copy after the other."""
    return InTurn() if isinstance(base.space, (Finite, Counts, Simplex, Circle)) else Jointly()


def drawn_together(latent: str, own: Variable, variable: Variable, over: Sequence[str], coupling: Coupling | Mapping[str, Coupling] | None, *, named: bool) -> Variable:
    """The declaration of a latent whose copies depend on each other over some plates; `own` is the model's, `variable` that of one copy, which was asked for by
    its name or not.

    Raises:
        GraphError: a family that has no form for copies that are drawn together.
    """
    chosen = coupling if isinstance(coupling, Coupling) else (coupling or {}).get(latent, usual(variable))
    if not isinstance(chosen, Apart) and (not isinstance(variable.family, Family) or isinstance(own.family, Architecture)):
        if named:
            raise GraphError(f"amortize: copies of {latent!r} are drawn together, for which {variable.summary} has no form; leave it out of families, or try coupling={{{latent!r}: dgm.Apart()}}")
        variable = recognition_variable(latent, own)
    return chosen.declare(latent, variable, over)
