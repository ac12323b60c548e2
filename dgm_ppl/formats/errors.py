"""What a wrong file says: where, what was expected, what was found, and the mend."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from ..graph import did_you_mean

__all__ = ["FormatError", "clipped", "hint"]

_SHOWN = 40
_LONGEST = 60
_COMPARED = 500


class FormatError(ValueError):
    """A file that cannot be read, or a net that a format cannot hold.

    `path`, `line` (from 1) and `token` say where, as far as it is known; `problem` says what.

    >>> raise FormatError("expected '{'; got '}'", path="asia.bif", line=3, token="}")
    Traceback (most recent call last):
    ...
    dgm_ppl.formats.errors.FormatError: asia.bif, line 3, at '}': expected '{'; got '}'
    """

    def __init__(self, problem: str, *, path: str = "", line: int | None = None, token: str | None = None) -> None:
        self.problem, self.path, self.line, self.token = problem, path, line, token and str(token)
        places = [path] if path else []
        places += [f"line {line}"] if line is not None else []
        places += [f"at {clipped(token)!r}"] if token else []
        super().__init__(": ".join([", ".join(places), problem] if places else [problem]))


def clipped(text: str) -> str:
    """Return a text short enough for a message."""
    return str(text) if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def hint(name: str, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown name, comparing it with few and short names only.

    >>> hint("hieght", ["age", "height"])
    "; did you mean 'height'?"
    """
    if len(name) > _LONGEST:
        return ""
    return did_you_mean(name, islice((other for other in known if len(other) <= _LONGEST), _COMPARED))
