"""The semi-graphoid closure of a list of independences.

A semi-graphoid is determined by its elementary statements `a _||_ b | C` between single nodes (Matúš, 1992), of which
there are only `n (n - 1) / 2 * 2 ** (n - 2)`. On them the four axioms become one exchange:

    a _||_ b | C   and   a _||_ c | {b} C      give      a _||_ c | C   and   a _||_ b | {c} C.

Nodes are numbers and sets are bit masks.
"""

from collections.abc import Iterable, Iterator

__all__ = ["Elementary", "follows"]

Statement = tuple[int, int, int]


class Elementary:
    """A set of elementary statements `a _||_ b | given`: nodes `a` and `b`, and a mask of what is given."""

    def __init__(self, nodes: int) -> None:
        self._nodes = nodes
        self._found: set[Statement] = set()

    def __contains__(self, statement: Statement) -> bool:
        a, b, given = statement
        return (min(a, b), max(a, b), given) in self._found

    def __len__(self) -> int:
        return len(self._found)

    def __iter__(self) -> Iterator[Statement]:
        return iter(self._found)

    @classmethod
    def closure(cls, statements: Iterable[tuple[int, int, int]], nodes: int) -> "Elementary":
        """Return everything that follows from `statements`, each three masks, over so many nodes."""
        found = cls(nodes)
        waiting = [small for one in statements for small in _elements(*one)]
        while waiting:
            a, b, given = waiting.pop()
            key = (min(a, b), max(a, b), given)
            if key not in found._found:
                found._found.add(key)
                waiting.extend(found._exchanges(a, b, given))
                waiting.extend(found._exchanges(b, a, given))
        return found

    def _exchanges(self, a: int, b: int, given: int) -> Iterator[Statement]:
        """What `a _||_ b | given` gives together with the statements that are already known."""
        for c in range(self._nodes):
            if c in (a, b):
                continue
            bit = 1 << c
            if given & bit:
                partner = (a, c, given ^ bit)
                if partner in self:
                    yield a, b, given ^ bit
                    yield a, c, given ^ bit | 1 << b
            elif (a, c, given | 1 << b) in self:
                yield a, c, given
                yield a, b, given | bit


def follows(found: Elementary, left: int, right: int, given: int) -> bool:
    """Return whether a statement between sets is in a closed set, one pair of nodes at a time.

    >>> x_y_given_z, x_z = (1, 2, 4), (1, 4, 0)
    >>> follows(Elementary.closure([x_y_given_z, x_z], 3), 1, 6, 0)
    True
    """
    for a in _members(left):
        met = given
        for b in _members(right):
            if (a, b, met) not in found:
                return False
            met |= 1 << b
        given |= 1 << a
    return True


def _elements(left: int, right: int, given: int) -> Iterator[Statement]:
    for a in _members(left):
        for b in _members(right):
            rest = (left | right) & ~(1 << a | 1 << b)
            yield from ((a, b, given | more) for more in _subsets(rest))


def _members(mask: int) -> Iterator[int]:
    return (index for index in range(mask.bit_length()) if mask >> index & 1)


def _subsets(mask: int) -> Iterator[int]:
    subset = mask
    while subset:
        yield subset
        subset = (subset - 1) & mask
    yield 0
