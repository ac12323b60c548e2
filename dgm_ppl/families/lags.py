"""Parents some steps back: the arrows of a chain that cross from one step to the next."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..graph import GraphError
from .expressions import Constant, Expression, Free, Operation, Ref
from .shapes import whole

__all__ = ["Lag", "Lagged", "joined_initials", "lag", "lags_in", "lead", "node_of"]


class Lagged(str):
    """The name of a node some steps back, as a child's parent: `z[-1]` is `z` one step before; `z[+1]`, of -1 steps back, one step after.

    It is a string like other parents' names and knows the node and the number of steps.
    """

    node: str
    steps: int

    def __new__(cls, node: str, steps: int = 1) -> Lagged:
        name = super().__new__(cls, f"{node}[{-steps:+d}]")
        name.node, name.steps = str(node), steps
        return name

    def __getnewargs__(self) -> tuple[str, int]:
        return self.node, self.steps


def node_of(name: str) -> str:
    """The node whose values a parent's name stands for."""
    return name.node if isinstance(name, Lagged) else name


@dataclass(frozen=True, repr=False)
class Lag(Ref):
    """The value of a node some steps back, and what stands for it before the first step (nothing: see `lag`)."""

    initial: Constant | Free | None = None

    def __repr__(self) -> str:
        return self.name


def lag(node: str, steps: int = 1, *, initial: Any = None) -> Lag:
    """A parent some steps back in the same chain: in `.given(dgm.lag("z"))`, or in the arithmetic of a parameter.

    Before the start of a sequence there is no such value. With `initial` (a number, an array, a state's code, or `dgm.free()` for a learned
    one) that value stands there, and the first step is like the others. Without it the first steps have a distribution of
    their own, which lacks the parents that do not exist yet: the one of `Variable.starting`, or else the same family with what those parents
    would have computed learned instead.

    Raises:
        GraphError: steps that are not a positive whole number.

    Example:
        >>> from dgm_ppl import Categorical, Normal
        >>> Categorical(3).given(lag("z"))
        Categorical(3) | z[-1]
        >>> Normal(loc=0.9 * lag("x", initial=0.0), scale=0.1)
        Normal(loc=0.9 * x[-1], scale=0.1), x[-1] = 0.0 at first
    """
    return _lag("lag", node, steps, initial, 1)


def lead(node: str, steps: int = 1, *, initial: Any) -> Lag:
    """A parent some steps ahead in the same chain, for nodes that are had from the end to the start: the state of an encoder that reads a sequence backwards.

    `initial` stands behind the end of every sequence (a number, an array, or `dgm.free()` for a learned one).

    Example:
        >>> from dgm_ppl import MLP, Delta
        >>> Delta(4).given(lead("h", initial=0.0), "x", net=MLP(8))
        Delta(4) | h[+1], x, MLP(8), h[+1] = 0.0 at first
    """
    if initial is None:
        raise GraphError(f"lead: expected initial, which stands behind the end; try dgm.lead({node!r}, initial=0.0)")
    return _lag("lead", node, steps, initial, -1)


def _lag(place: str, node: str, steps: int, initial: Any, sign: int) -> Lag:
    if not isinstance(node, str) or isinstance(node, Lagged) or not node:
        raise GraphError(f"{place}: a node is named by a string; got {node!r}; try dgm.lag('z')")
    if (whole(steps) or 0) < 1:
        raise GraphError(f"{place}: expected a positive whole number of steps; got {steps!r}; a parent of the same step is named without {place}: .given({node!r})")
    if not (initial is None or isinstance(initial, (Constant, Free))):
        if isinstance(initial, (str, Expression)):
            raise GraphError(f"{place}: expected a number, an array or dgm.free() for initial; got {initial!r}; a distribution of the first step is given by .starting(...)")
        try:
            initial = Constant(initial)
        except (TypeError, ValueError) as error:
            raise GraphError(f"{place}: expected a number, an array or dgm.free() for initial; got {initial!r}; a distribution of the first step is given by .starting(...)") from error
    return Lag(Lagged(node, sign * whole(steps)), initial)


def lags_in(value: Any) -> Iterator[Lag]:
    """The lagged nodes that an expression reads."""
    if isinstance(value, Lag):
        yield value
    elif isinstance(value, Operation):
        for operand in value.operands:
            yield from lags_in(operand)


def joined_initials(found: Iterable[Lag]) -> Mapping[str, Constant | Free]:
    """What stands before the start, by lagged name.

    Raises:
        GraphError: two values for one name.
    """
    initials: dict[str, Constant | Free] = {}
    for one in found:
        if one.initial is not None and initials.setdefault(one.name, one.initial) != one.initial:
            raise GraphError(f"lag: {one.name} has two initial values, {initials[one.name]} and {one.initial}; give one of them")
    return initials
