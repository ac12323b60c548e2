"""Numbers in text: read as float64 correctly rounded, written with the fewest digits that read back the same."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy

from .errors import FormatError, clipped
from .source import Source

__all__ = ["LONGEST", "RUN", "array_of", "floats", "spelt"]

LONGEST = 400
"""How many characters a number may have: reading one takes the square of them."""

RUN = r"[-+.0-9][-+.0-9eE\s,]*"
"""The pattern of a run of numbers, which `floats` takes apart: one token for a whole row makes large tables fast."""

_CHARACTERS = re.compile(r"[-+.0-9eE\s,]*")
_WORD = re.compile(r"[^\s,]+")
_NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")


def floats(text: str, line: int = 1) -> list[float]:
    """Return the numbers of a text that starts at a line, separated by blanks or commas.

    >>> floats("0.1, 1e-05 .5")
    [0.1, 1e-05, 0.5]
    >>> floats("0.1 nan")
    Traceback (most recent call last):
    ...
    dgm_ppl.formats.errors.FormatError: line 1, at 'nan': expected a number; got 'nan'
    """
    words = text.replace(",", " ").split()
    if not _CHARACTERS.fullmatch(text) or max(map(len, words), default=0) > LONGEST:
        raise _odd(text, line)
    try:
        return [float(word) for word in words]
    except ValueError:
        raise _odd(text, line) from None


def _odd(text: str, line: int) -> FormatError:
    odd = next(match for match in _WORD.finditer(text) if len(match.group()) > LONGEST or not _NUMBER.fullmatch(match.group()))
    line += text.count("\n", 0, odd.start())
    return FormatError(f"expected a number; got {clipped(odd.group())!r}", line=line, token=odd.group())


def array_of(source: Source, text: str, line: int) -> numpy.ndarray:
    """Return the numbers of a text that starts at a line of a file, or raise `FormatError` at the first word that is none."""
    try:
        return numpy.array(floats(text, line), dtype=numpy.float64)
    except FormatError as error:
        raise source.error(error.problem, error.line, error.token) from None


def spelt(numbers: Iterable[float], separator: str = " ") -> str:
    """Return numbers as text from which `floats` reads the same bits.

    >>> spelt([0.1, 1 / 3, 1.0])
    '0.1 0.3333333333333333 1.0'
    """
    return separator.join(map(repr, numpy.asarray(numbers, dtype=numpy.float64).tolist()))
