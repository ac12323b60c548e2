"""Nodes that share one table, or one regression."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Tied"]


@dataclass(frozen=True)
class Tied:
    """The classical conditional, its learned parameters shared by every node that is given the same object, as networks are.

    The nodes must be alike: family, event shape, given parameters, and the spaces of their parents, in order. Rows of data of all of
    them count together when the parameters are learned.

    >>> from dgm_ppl import BayesNet, Categorical
    >>> coder = Tied()
    >>> BayesNet(
    ...     truth=Categorical(3),
    ...     first=Categorical(3).given("truth", net=coder), second=Categorical(3).given("truth", net=coder))
    truth ~ Categorical(3)
    first | truth ~ Categorical(3), tied shared with second
    second | truth ~ Categorical(3), tied shared with first
    """

    def label(self) -> str:
        """The name in pictures."""
        return "tied"
