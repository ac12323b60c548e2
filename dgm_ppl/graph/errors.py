"""What a wrong graph says: where, what was expected, what was given, and the mend."""

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["GraphError", "did_you_mean"]

_SHOWN = 12


class GraphError(ValueError):
    """A graph, or a question about one, that cannot be right."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown `name`: its nearest miss, or else the known names.

    >>> did_you_mean("hieght", ["age", "height"])
    "; did you mean 'height'?"
    >>> did_you_mean("weight", ["age", "mood"])
    '; known names: age, mood'
    """
    known = list(known)
    folded = {other.casefold(): other for other in reversed(known)}         # the case of letters is the nearest of misses
    near = get_close_matches(str(name).casefold(), list(folded), n=1)
    return f"; did you mean {folded[near[0]]!r}?" if near else f"; known names: {_listing(known)}"


def _listing(names: list[str]) -> str:
    rest = len(names) - _SHOWN
    tail = f", ... ({rest} more)" if rest > 0 else ""
    return (", ".join(names[:_SHOWN]) or "none") + tail
