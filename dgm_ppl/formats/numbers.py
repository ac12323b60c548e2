"""Numbers in text: read as float64 correctly rounded, written with the fewest digits that read back the same."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy

from .errors import clipped
from .source import Source

__all__ = ["LONGEST", "RUN", "array_of", "floats", "spelt"]

LONGEST = 400
"""How many digits a number may have before and after its point: reading a number takes the square of them."""

_NUMBER = rf"[-+]?(?:[0-9]{{1,{LONGEST}}}(?:\.[0-9]{{0,{LONGEST}}})?|\.[0-9]{{1,{LONGEST}}})(?:[eE][-+]?[0-9]{{1,9}})?(?![0-9])"

RUN = rf"{_NUMBER}(?:[\s,]+{_NUMBER})*"
"""The pattern of a run of numbers, separated by blanks or commas."""

_WORD = re.compile(r"[^\s,]+")
_ONE = re.compile(_NUMBER)


def floats(text: str) -> list[float]:
    """Return the numbers of a run.

    >>> floats("0.1, 1e-05 .5")
    [0.1, 1e-05, 0.5]
    """
    return [float(word) for word in text.replace(",", " ").split()]


def array_of(source: Source, text: str, line: int) -> numpy.ndarray:
    """Return the numbers of a text that starts at a line, or raise `FormatError` at the first word that is none."""
    for match in _WORD.finditer(text):
        if not _ONE.fullmatch(match.group()):
            at = line + text.count("\n", 0, match.start())
            raise source.error(f"expected a number; got {clipped(match.group())!r}", at, match.group())
    return numpy.array(floats(text), dtype=numpy.float64)


def spelt(numbers: Iterable[float], separator: str = " ") -> str:
    """Return numbers as text from which `floats` reads the same bits.

    >>> spelt([0.1, 1 / 3, 1.0])
    '0.1 0.3333333333333333 1.0'
    """
    return separator.join(map(repr, numpy.asarray(numbers, dtype=numpy.float64).tolist()))
