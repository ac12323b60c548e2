"""Names of nodes, alone or several: one reading and one check for every function that takes them."""

import json
import re
from collections.abc import Collection, Iterable

from .errors import GraphError, did_you_mean

__all__ = ["NAME", "Names", "braced", "chosen", "disjoint", "named", "quoted", "several", "unquoted"]

Names = str | Iterable[str]
"""One name, or several."""

NAME = r'"(?:[^"\\]|\\.)*"|[^\s,;{}"<>|→←↔⊥⫫-](?:[^\s,;{}"<>|→←↔⊥⫫-]|-(?![->]))*'
"""The regular expression of a name in text; a hyphen may stand inside it, odd characters want double quotes."""

_PLAIN = re.compile(NAME)


def several(names: Names, place: str) -> tuple[str, ...]:
    """Return `names` as a tuple without repeats, a lone string being one name.

    >>> several("age", "here"), several(["b", "a", "b"], "here")
    (('age',), ('b', 'a'))
    """
    if isinstance(names, str):
        return (named(names, place),)
    if not isinstance(names, Iterable):
        raise GraphError(f"{place}: expected a name or several names; got {names!r}; try \"x\" or [\"x\", \"y\"]")
    return tuple(dict.fromkeys(named(name, place) for name in names))


def named(name: object, place: str, mend: str = "") -> str:
    """Return `name`, which must be a string with something in it; `mend` replaces the usual advice."""
    if not isinstance(name, str):
        advice = mend or f'"{name}"'
        raise GraphError(f"{place}: expected a name (str); got {name!r} ({type(name).__name__}); try {advice}")
    if not name.strip():
        raise GraphError(f'{place}: expected a name; got {name!r}; try a name such as "x"')
    return name


def chosen(names: Names, known: Collection[str], place: str) -> tuple[str, ...]:
    """Return `names` as a tuple of which every one is `known`.

    >>> chosen("hieght", ["age", "height"], "given")
    Traceback (most recent call last):
    ...
    dgm_ppl.graph.errors.GraphError: given: expected a node of the graph; got 'hieght'; did you mean 'height'?
    """
    names = several(names, place)
    for name in names:
        if name not in known:
            raise GraphError(f"{place}: expected a node of the graph; got {name!r}{did_you_mean(name, known)}")
    return names


def disjoint(place: str, **groups: Collection[str]) -> None:
    """Raise where two of the named groups share a node."""
    seen: dict[str, str] = {}
    for label, names in groups.items():
        for name in names:
            if name in seen:
                raise GraphError(f"{place}: expected sets without a common node; got {name!r} in both "
                                 f"{seen[name]} and {label}; try leaving it out of one of them")
            seen[name] = label


def quoted(name: str) -> str:
    """Return `name` as text that reads back, in double quotes where it has odd characters.

    >>> quoted("age"), quoted("odd name")
    ('age', '"odd name"')
    """
    plain = _PLAIN.fullmatch(name) and not name.startswith('"')
    return name if plain else json.dumps(name, ensure_ascii=False)


def unquoted(text: str, place: str) -> str:
    """Return the name that `text`, as `quoted` writes it, stands for."""
    if not text.startswith('"'):
        return text
    try:
        return named(json.loads(text), place)
    except json.JSONDecodeError as error:
        raise GraphError(f"{place}: expected a quoted name; got {text}; "
                         'try doubling each backslash, or "a plain name"') from error


def braced(names: Collection[str]) -> str:
    """Return one name as it is, and several in braces.

    >>> braced(["z"]), braced(["x", "y"])
    ('z', '{x, y}')
    """
    words = [quoted(name) for name in names]
    return words[0] if len(words) == 1 else "{" + ", ".join(words) + "}"
