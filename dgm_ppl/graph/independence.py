"""Statements of conditional independence, and what follows from them.

A statement `x _||_ y | z` is read, compared and printed here. What a list of statements entails is decided by the
semi-graphoid axioms, which every probability distribution obeys.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from .errors import GraphError
from .names import NAME, Names, braced, disjoint, several, unquoted
from .semigraphoid import Elementary, follows

__all__ = ["LARGEST_CLOSURE", "Independence", "closure", "entails"]

LARGEST_CLOSURE = 12
"""The number of variables beyond which the semi-graphoid closure is not computed; it grows as `2 ** variables`."""

_PLACE = "independence"
_SEPARATOR = re.compile(r"_\|\|_|⊥⊥|⊥|⫫")
_PIECE = re.compile(rf"(?P<space>[\s,{{}}]+)|(?P<name>{NAME})|(?P<odd>.)")
_MEND = "try 'x _||_ y | z'"


@dataclass(frozen=True, eq=False, repr=False)
class Independence:
    """The statement that `left` and `right` are independent given `given`; the two sides may change places.

    >>> statement = Independence("height", ["vocabulary"], "age")
    >>> print(statement)
    height _||_ vocabulary | age
    >>> statement == Independence.parse("vocabulary ⊥ height | age")
    True
    """

    left: frozenset[str]
    right: frozenset[str]
    given: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        for side in ("left", "right", "given"):
            object.__setattr__(self, side, frozenset(several(getattr(self, side), _PLACE)))
        if not (self.left and self.right):
            raise GraphError(f"{_PLACE}: expected names on both sides; got {self}; {_MEND}")
        disjoint(_PLACE, left=self.left, right=self.right, given=self.given)

    @classmethod
    def trusted(cls, left: Iterable[str], right: Iterable[str], given: Iterable[str]) -> "Independence":
        """A statement about sets of names that are known to be names, not empty and disjoint: nothing is checked."""
        statement = object.__new__(cls)
        vars(statement).update(left=frozenset(left), right=frozenset(right), given=frozenset(given))
        return statement

    @classmethod
    def parse(cls, text: str) -> "Independence":
        """Read a statement such as `"a, b _||_ c | d e"`, also with `⊥` or `⫫`; odd names want double quotes."""
        sides = _SEPARATOR.split(text) if isinstance(text, str) else []
        if len(sides) != 2 or sides[0].count("|") or sides[1].count("|") > 1:
            raise GraphError(f"{_PLACE}: expected two sides and what is given; got {text!r}; {_MEND}")
        right, _, given = sides[1].partition("|")
        return cls(*(frozenset(_names(part, text)) for part in (sides[0], right, given)))

    @property
    def names(self) -> frozenset[str]:
        """Every name in the statement."""
        return self.left | self.right | self.given

    def __eq__(self, other: object) -> bool:
        return self._key == other._key if isinstance(other, Independence) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def _key(self) -> tuple[frozenset, frozenset]:
        return frozenset((self.left, self.right)), self.given

    def __str__(self) -> str:
        left, right, given = (braced(sorted(side)) for side in (self.left, self.right, self.given))
        return f"{left} _||_ {right}" + (f" | {given}" if self.given else "")

    def __repr__(self) -> str:
        return f"Independence.parse({str(self)!r})"


def entails(statements: Iterable[Independence | str], statement: Independence | str) -> bool:
    """Return whether `statement` follows from `statements` by the semi-graphoid axioms (Pearl and Paz, 1985).

    The axioms are symmetry, decomposition, weak union and contraction. Beyond `LARGEST_CLOSURE` variables only what a
    single statement gives is found; if that is not enough the question is refused, never answered wrongly.

    >>> entails(["x _||_ y | z", "x _||_ z"], "x _||_ y, z")
    True
    >>> entails(["x _||_ y"], "x _||_ y | z")
    False
    """
    known, wanted = [as_statement(one) for one in statements], as_statement(statement)
    names = sorted(wanted.names.union(*(one.names for one in known)))
    if any(_gives(one, wanted) for one in known):
        return True
    _check_closable(names)
    return follows(closure_of(known, names), *masks(wanted, names))


def closure(statements: Iterable[Independence | str], names: Iterable[str] = ()) -> tuple[Independence, ...]:
    """Return every statement between two single nodes that follows from `statements` by the semi-graphoid axioms.

    Those between sets follow from these (Matúš, 1992): `a _||_ b, c` is `a _||_ b` and `a _||_ c | b`. Their number grows as
    `2 ** names`; `names` adds variables that no statement mentions. Raises `GraphError` beyond `LARGEST_CLOSURE` of them.

    >>> print(*closure(["x _||_ y | z", "x _||_ z"]), sep="; ")
    x _||_ y; x _||_ y | z; x _||_ z; x _||_ z | y
    """
    known = [as_statement(one) for one in statements]
    mentioned = sorted({*several(names, _PLACE)}.union(*(one.names for one in known)))
    _check_closable(mentioned)
    found = closure_of(known, mentioned)
    return tuple(Independence(mentioned[a], mentioned[b], [name for i, name in enumerate(mentioned) if given >> i & 1])
                 for a, b, given in sorted(found, key=lambda one: (one[0], one[1], one[2].bit_count(), one[2])))


def _check_closable(names: list[str]) -> None:
    if len(names) > LARGEST_CLOSURE:
        raise GraphError(f"{_PLACE}: expected at most {LARGEST_CLOSURE} variables for a closure; got {len(names)}; "
                         "try dag.independent(...) on the graph that the statements describe")


def closure_of(statements: Iterable[Independence], names: list[str]) -> Elementary:
    """Return the semi-graphoid closure of `statements`, nodes numbered by their place in `names`."""
    return Elementary.closure((masks(one, names) for one in statements), len(names))


def masks(statement: Independence, names: list[str]) -> tuple[int, int, int]:
    """Return the three sets of a statement as bit masks over `names`."""
    place = {name: 1 << index for index, name in enumerate(names)}
    return tuple(sum(place[name] for name in side) for side in (statement.left, statement.right, statement.given))


def as_statement(statement: Independence | str) -> Independence:
    """Return a statement, read from text where it is text."""
    return statement if isinstance(statement, Independence) else Independence.parse(statement)


def _gives(one: Independence, wanted: Independence) -> bool:
    """Whether symmetry, decomposition and weak union lead from one statement to the other."""
    inside = one.given <= wanted.given and wanted.names <= one.names
    return inside and any(wanted.left <= a and wanted.right <= b
                          for a, b in ((one.left, one.right), (one.right, one.left)))


def _names(text: str, whole: str) -> Names:
    names = []
    for match in _PIECE.finditer(text):
        if match.lastgroup == "odd":
            raise GraphError(f"{_PLACE}: expected names; got {match.group()!r} in {whole!r}; {_MEND}")
        if match.lastgroup == "name":
            names.append(unquoted(match.group(), _PLACE))
    return names
