"""Identifiers for names, in formats whose names must be plain words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

__all__ = ["identifiers"]

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


def identifiers(names: Iterable[str], taken: Iterable[str] = ()) -> dict[str, str]:
    """Return an identifier for each name: itself where it is one and not `taken`, else a like word that no other has.

    >>> identifiers(["lung", "<5", "Asy/Patch", "x_5"])
    {'lung': 'lung', '<5': 'x_5_2', 'Asy/Patch': 'Asy_Patch', 'x_5': 'x_5'}
    """
    names, taken = list(names), set(taken)
    plain = {name for name in names if _PLAIN.fullmatch(name) and name not in taken}
    used, tries = taken | plain, Counter()
    return {name: name if name in plain else _free(_like(name), used, tries) for name in names}


def _like(name: str) -> str:
    word = re.sub(r"[^A-Za-z0-9_]", "_", name)
    return word if _PLAIN.fullmatch(word) else f"x{'' if word.startswith('_') else '_'}{word}"


def _free(word: str, used: set[str], tries: Counter[str]) -> str:
    candidate = word
    while candidate in used:
        tries[word] += 1
        candidate = f"{word}_{tries[word] + 1}"
    used.add(candidate)
    return candidate
