"""Whether two runs of a program have the same structure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..graph import GraphError
from .program_net import support_of
from .tracing import Site, base_of

__all__ = ["check_alike"]


def check_alike(known: Mapping[str, Site], found: Mapping[str, Site], before: str, now: str) -> None:
    """Raises where two runs differ in their sites, what is observed, shapes, plates or supports; says which site and which run."""
    for name in (*known, *found):
        if name not in found or name not in known:
            here, there = (before, now) if name in known else (now, before)
            raise GraphError(
                f"site {name!r}: the program's structure changes from run to run: the site is there in {here} and not in {there}; a guide needs the same sites in every run: "
                f"draw {name!r} always and ignore it where it does not matter"
            )
    for name, a in known.items():
        b = found[name]
        for what, one, other in (
            ("is observed", a.observed, b.observed), ("has the event shape", a.event, b.event),
            ("is in the plates", _placed(a), _placed(b)), ("has the distribution", type(base_of(a.fn)).__name__, type(base_of(b.fn)).__name__),
            ("has the support", support_of(name, a.fn), support_of(name, b.fn)),
        ):
            if one != other:
                raise GraphError(f"site {name!r}: the program's structure changes from run to run: it {what} {_word(other)} in {now}, {_word(one)} in {before}")
    if tuple(known) != tuple(found):
        name = next(a for a, b in zip(known, found) if a != b)
        raise GraphError(f"site {name!r}: the program's structure changes from run to run: the sites come in another order in {now} than in {before}")


def _placed(site: Site) -> list[tuple[str, int]]:
    return [(frame.name, frame.dim) for frame in site.frames]


def _word(value: Any) -> str:
    return "no plate" if value == [] else str(value)
