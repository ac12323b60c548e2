"""Eliminating latents one by one from the moral graph, and the rules that choose which comes next.

With plates, all copies of a latent go at once, and what joins two nodes is written as the sets of plates on which
their copies agree: copies of `u` and `w` that agree with one copy of the eliminated node on A and on B are joined where
they agree with each other on `A & B`. The work does not depend on the sizes of plates.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import combinations_with_replacement

from .dag import DAG
from .templates import Aligned, Read, Templates, join, templates

__all__ = ["Explicit", "MinFill", "Order", "Reverse", "Step", "Topological", "eliminate"]


@dataclass(frozen=True)
class MinFill:
    """Eliminate the latent that costs least, whichever it is.

    Least is: fewest latents whose copies become coupled; then the most plates, inner ones first; then the fewest arrows added.
    """

    def allowed(self, dag: DAG, waiting: Collection[str]) -> Collection[str]:
        """Return the latents that may be eliminated now, out of those still `waiting`."""
        return waiting


@dataclass(frozen=True)
class Topological:
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


Order = MinFill | Topological | Reverse | Explicit
"""A rule that says which latents may be eliminated next; the one that costs least is taken."""


@dataclass(frozen=True)
class Step:
    """One elimination: the node, what becomes its parents, over which plates its copies are coupled, and the pairs joined."""

    node: str
    reads: tuple[Read, ...]
    coupled: tuple[str, ...]
    fill: tuple[tuple[str, str], ...]
    links: tuple[str, ...] = ()
    """The nodes whose copies are joined to each other."""

    @property
    def neighbours(self) -> tuple[str, ...]:
        """The names of the nodes that become its parents."""
        return tuple(dict.fromkeys(read.node for read in self.reads))

    def __str__(self) -> str:
        joined = ", ".join(f"{a} -- {b}" for a, b in self.fill) or "nothing"
        coupled = f"; its copies are coupled over {', '.join(self.coupled)}" if self.coupled else ""
        joined += f", copies of {', '.join(self.links)}" if self.links else ""
        return f"eliminate {self.node}: neighbours {', '.join(map(str, self.reads)) or 'none'}{coupled}; joins {joined}"


def eliminate(model: Templates | DAG, latents: Collection[str], order: Order) -> tuple[Step, ...]:
    """Eliminate `latents` from the moral graph of `model` by a rule, ties going to the node nearer the roots.

    Pairs of nodes that stay to the end are not joined, since no latent ever looks at them.
    """
    model = model if isinstance(model, Templates) else templates(model)
    waiting = dict.fromkeys(node for node in model.dag.order if node in set(latents))
    graph = Moral(model, waiting)
    costs: dict[str, tuple[int, int, int]] = {}

    def cost(node: str) -> tuple[int, int, int]:
        if node not in costs:
            costs[node] = graph.cost(node)
        return costs[node]

    steps = []
    while waiting:
        node = min(order.allowed(model.dag, waiting), key=cost)
        step, around = graph.remove(node)
        steps.append(step)
        for one in {node, *around, *(near for one in around for near in graph.joined[one])}:
            costs.pop(one, None)
    return tuple(steps)


class Moral:
    """A moral graph with plates from which nodes are taken; `joined[a][b]` are the sets of plates on which copies agree."""

    def __init__(self, model: Templates, waiting: dict[str, None]):
        self.model, self.waiting = model, waiting
        self.place = {node: index for index, node in enumerate(model.dag.nodes)}
        self.whole = {node: frozenset(model.plates[node]) for node in model.dag}
        self.joined: dict[str, dict[str, frozenset[Aligned]]] = {node: {} for node in model.dag}
        for child in model.dag:
            above = {parent: model.aligned[parent, child] for parent in model.dag.parents(child)}
            for parent, sets in above.items():
                for agree in sets:
                    self._add(parent, child, agree)
            for a, b, agree in self._pairs(tuple(above), above, frozenset({self.whole[child]})):
                self._add(a, b, agree)

    def _add(self, a: str, b: str, agree: Aligned) -> None:
        self.joined[a][b] = self.joined[b][a] = join(self.joined[a].get(b, ()), agree)

    def _pairs(self, around: tuple[str, ...], sets: dict[str, frozenset[Aligned]], through: Collection[Aligned]) -> Iterator[tuple[str, str, Aligned]]:
        """Yield what is joined by having a copy in common, where it is new."""
        for a, b in combinations_with_replacement(around, 2):
            if a not in self.waiting and b not in self.waiting:
                continue
            known, new = self.joined[a].get(b, frozenset()), frozenset()
            for agree in {x & y & z for x in sets[a] for y in sets[b] for z in through}:
                if not (a == b and agree == self.whole[a]) and not any(one <= agree for one in known):
                    new = join(new, agree)
            yield from ((a, b, agree) for agree in new)

    def fill(self, node: str) -> tuple[tuple[str, str, Aligned], ...]:
        """What eliminating a node would join."""
        around = self.around(node)
        return tuple(self._pairs(around, self.joined[node], self._linked(node)))

    def cost(self, node: str) -> tuple[int, int, int]:
        """How many latents have coupled copies if it goes now, how few plates it is in, and how much is joined."""
        fill = self.fill(node)
        newly = {a for a, b, _ in fill if a == b and a in self.waiting and a not in self.joined[a]}
        return len(newly) + (node in self.joined[node]), -len(self.whole[node]), len(fill)

    def around(self, node: str) -> tuple[str, ...]:
        """The other nodes that it is joined to."""
        return tuple(sorted(self.joined[node].keys() - {node}, key=self.place.__getitem__))

    def _linked(self, node: str) -> frozenset[Aligned]:
        """The sets on which two copies of a node agree that are linked by any number of its copies."""
        found = {self.whole[node], *self.joined[node].get(node, ())}
        while new := {a & b for a in found for b in found} - found:
            found |= new
        return frozenset(found)

    def remove(self, node: str) -> tuple[Step, tuple[str, ...]]:
        """Take a node out; what it was joined to is joined."""
        around, fill, model = self.around(node), self.fill(node), self.model
        block = frozenset.intersection(*self._linked(node))                 # copies that agree on these are drawn together
        reads = []
        for one in around:
            sets = frozenset()
            for agree in self.joined[node][one]:
                sets = join(sets, agree & block)
            reads += [model.read(one, node, agree) for agree in sorted(sets, key=sorted)]
        coupled = tuple(plate for plate in model.plates[node] if plate not in block)
        for a, b, agree in fill:
            self._add(a, b, agree)
        for one in around:
            del self.joined[one][node]
        del self.joined[node], self.waiting[node]
        pairs = dict.fromkeys((a, b) for a, b, _ in fill)
        return Step(node, tuple(reads), coupled, tuple(pair for pair in pairs if pair[0] != pair[1]), tuple(a for a, b in pairs if a == b)), around
