"""JSON read strictly: no numbers that JSON lacks, no key twice, and errors with the line."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from .numbers import LONGEST
from .source import Source

__all__ = ["parsed"]


def parsed(source: Source, check: Callable[[dict], None] = lambda mapping: None) -> Any:
    """Return the value of a JSON file; `check` sees each object and may raise `ValueError`."""
    def whole(pairs: list[tuple[str, Any]]) -> dict:
        mapping = dict(pairs)
        if len(mapping) < len(pairs):
            raise ValueError("expected each key once; got one twice")
        check(mapping)
        return mapping

    try:
        return json.loads(source.text, object_pairs_hook=whole, parse_constant=_refuse, parse_float=_float, parse_int=_int)
    except json.JSONDecodeError as error:
        raise source.error(f"expected JSON; got {error.msg}", error.lineno) from None
    except RecursionError:
        raise source.error("expected values less deep") from None
    except ValueError as error:
        raise source.error(str(error)) from None


def _refuse(word: str) -> Any:
    raise ValueError(f"expected JSON; got the number {word}, which JSON lacks")


def _float(word: str) -> float:
    return float(_short(word))


def _int(word: str) -> int:
    return int(_short(word))


def _short(word: str) -> str:
    if len(word) > 2 * LONGEST:
        raise ValueError(f"expected shorter numbers; got one of {len(word):,} characters")
    return word
