"""The tree of cliques that an elimination order makes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from .order import Order

__all__ = ["Clique", "clique_tree"]


@dataclass(eq=False)
class Clique:
    """Nodes that are summed out together: `residual` here, `separator` in the cliques above; `factors` are the places of its own."""

    residual: list[str]
    separator: frozenset[str]
    above: Clique | None = None
    below: list[Clique] = field(default_factory=list)
    factors: list[int] = field(default_factory=list)

    @property
    def scope(self) -> frozenset[str]:
        """Every node of the clique."""
        return self.separator | set(self.residual)


def clique_tree(order: Order, scopes: Sequence[Sequence[str]], apart: Collection[str] = ()) -> tuple[list[Clique], dict[str, Clique]]:
    """The cliques, those below first, and for each node the clique in which it is summed out; one root for each separated part.

    A cluster that is contained in one eliminated earlier is merged into it (Lauritzen and Spiegelhalter, 1988). Every factor goes
    to the first clique that sums out one of its nodes. Nodes in `apart` are in no clique with others' turns.
    """
    place = {name: position for position, (name, _) in enumerate(order.steps)}
    around = dict(order.steps)
    home: dict[str, Clique] = {}
    cliques: list[Clique] = []
    for name, separator in order.steps:
        clique = home.get(name)
        if clique is None:
            clique = home[name] = Clique([name], separator)
            cliques.append(clique)
        else:
            clique.residual.append(name)
            clique.separator = separator
        following = min(separator, key=place.__getitem__, default=None)
        alike = (name in apart) == (following in apart)
        if alike and following is not None and following not in home and len(around[following]) == len(separator) - 1:
            home[following] = clique
    for clique in cliques:
        if clique.separator:
            clique.above = home[min(clique.separator, key=place.__getitem__)]
            clique.above.below.append(clique)
    for position, scope in enumerate(scopes):
        if scope:
            home[min(scope, key=place.__getitem__)].factors.append(position)
    return _upwards(cliques), home


def _upwards(cliques: Sequence[Clique]) -> list[Clique]:
    """Parents after their children."""
    ordered, waiting = [], [clique for clique in cliques if clique.above is None]
    while waiting:
        clique = waiting.pop()
        ordered.append(clique)
        waiting += clique.below
    return ordered[::-1]
