"""Whether the evidence can be had by elimination, and if not, why."""

from __future__ import annotations

from collections.abc import Iterable

from .factors import Compiled
from .holes import Seen

__all__ = ["obstacle", "single"]


def obstacle(model: Compiled, seen: Seen) -> str | None:
    """Why the evidence cannot be had by elimination: a hidden node above it that is not a single finite value."""
    known = (*seen.columns, *seen.soft)
    above = set(model.net.ancestors(*known)) if known else set()
    for name in _random(model):
        observed = name in seen.complete or name in seen.leaves
        if observed and model.conditionals[name].density != "exact":
            return f"node {name!r} has no exact density"
        if observed or single(model, name):
            continue
        if name in seen.partial and _matters_where_missing(model, seen, name):
            return f"node {name!r} ~ {model.net[name].summary} is missing in rows that observe what depends on it, and not a single finite value"
        if name in above and name not in seen.partial:
            return f"node {name!r} ~ {model.net[name].summary} is not observed and {'in a plate' if model.net.plates_of(name) else 'not a single finite value'}"
    return None


def single(model: Compiled, name: str) -> bool:
    """Whether a node has one finite value a world."""
    return model.conditionals[name].finite and not model.net.plates_of(name)


def _matters_where_missing(model: Compiled, seen: Seen, name: str) -> bool:
    """Whether a row that lacks the node has a value for one of its descendants."""
    for below in model.net.descendants(name):
        if below in seen.complete:
            return True
        if below in seen.leaves and bool((seen.holes[name] & ~seen.gaps[below].reshape(seen.rows, -1).all(-1)).any()):
            return True
        if below in seen.partial and bool((seen.holes[name] & ~seen.holes[below]).any()):
            return True
    return False


def _random(model: Compiled) -> Iterable[str]:
    return (name for name in model.net.order if name in model.conditionals and not model.net[name].is_deterministic)
