"""Eliminating latents one by one from the moral graph, and the rules that choose which comes next."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import combinations

from .dag import DAG

__all__ = ["Forward", "MinFill", "Order", "Reverse", "Step", "eliminate"]


@dataclass(frozen=True)
class MinFill:
    """Eliminate the latent that adds the fewest arrows, whichever it is."""

    def allowed(self, dag: DAG, waiting: Collection[str]) -> Collection[str]:
        """Return the latents that may be eliminated now, out of those still `waiting`."""
        return waiting


@dataclass(frozen=True)
class Forward:
    """Eliminate latents after their parents: the guide samples those nearest the data first."""

    def allowed(self, dag: DAG, waiting: Collection[str]) -> Collection[str]:
        """Return the latents that may be eliminated now, out of those still `waiting`."""
        return [node for node in waiting if not any(one in waiting for one in dag.parents(node))]


@dataclass(frozen=True)
class Reverse:
    """Eliminate latents after their children: the guide samples roots first, from the global to the local."""

    def allowed(self, dag: DAG, waiting: Collection[str]) -> Collection[str]:
        """Return the latents that may be eliminated now, out of those still `waiting`."""
        return [node for node in waiting if not any(one in waiting for one in dag.children(node))]


@dataclass(frozen=True)
class Explicit:
    """Eliminate latents in the order given."""

    nodes: tuple[str, ...]

    def allowed(self, dag: DAG, waiting: Collection[str]) -> Collection[str]:
        """Return the latents that may be eliminated now, out of those still `waiting`."""
        return [next(node for node in self.nodes if node in waiting)]


Order = MinFill | Forward | Reverse | Explicit
"""A rule that says which latents may be eliminated next; the one with the least fill-in is taken."""


@dataclass(frozen=True)
class Step:
    """One elimination: the node, the neighbours that become its parents, and the pairs of them that it joined."""

    node: str
    neighbours: tuple[str, ...]
    fill: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        joined = ", ".join(f"{a} -- {b}" for a, b in self.fill) or "nothing"
        return f"eliminate {self.node}: neighbours {', '.join(self.neighbours) or 'none'}; joins {joined}"


def eliminate(dag: DAG, latents: Collection[str], order: Order) -> tuple[Step, ...]:
    """Eliminate `latents` from the moral graph of `dag` by a rule, ties going to the node nearer the roots.

    Pairs of nodes that stay to the end are not joined, since no latent ever looks at them.
    """
    moral = dag.moral()
    neighbours = {node: set(moral[node]) for node in dag}
    waiting = dict.fromkeys(node for node in dag.order if node in set(latents))
    place = {node: index for index, node in enumerate(dag.nodes)}
    fills: dict[str, list[tuple[str, str]]] = {}

    def fill(node: str) -> list[tuple[str, str]]:
        if node not in fills:
            fills[node] = _missing(neighbours, sorted(neighbours[node], key=place.__getitem__), waiting)
        return fills[node]

    steps = []
    while waiting:
        node = min(order.allowed(dag, waiting), key=lambda one: len(fill(one)))
        around = sorted(neighbours[node], key=place.__getitem__)
        steps.append(Step(node, tuple(around), tuple(fill(node))))
        _remove(neighbours, steps[-1])
        del waiting[node]
        for one in {node, *around, *(near for one in around for near in neighbours[one])}:
            fills.pop(one, None)
    return tuple(steps)


def _missing(neighbours: dict[str, set[str]], around: Iterable[str], waiting: Collection[str]) -> list[tuple[str, str]]:
    return [(a, b) for a, b in combinations(around, 2)
            if b not in neighbours[a] and (a in waiting or b in waiting)]


def _remove(neighbours: dict[str, set[str]], step: Step) -> None:
    for a, b in step.fill:
        neighbours[a].add(b)
        neighbours[b].add(a)
    for one in neighbours.pop(step.node):
        neighbours[one].discard(step.node)
