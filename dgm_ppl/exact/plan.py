"""What to compute for one pattern of evidence: cliques, messages up, messages down, one steps' list for all of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from .order import Order, best_order
from .tape import MAX, SUM, Slot, Step, Tape
from .tree import Clique, clique_tree

__all__ = ["Leaf", "Plan"]


@dataclass(frozen=True)
class Leaf:
    """A factor before it has numbers: whose it is, its hidden nodes, and whether it differs from row to row.

    `kind` is "table", "slice" (the entries of a table that the rows select), "rows" (p(hidden node | parents), other for each row),
    "likelihood" (p(observed nodes | hidden parents)) or "soft". `own` marks p(node | parents) with the node hidden, which sums
    to one over the node.
    """

    nodes: tuple[str, ...]
    scope: tuple[str, ...]
    batched: bool
    kind: str
    own: bool = False

    @property
    def node(self) -> str:
        return self.nodes[0]


class Plan:
    """Messages between cliques, written to a tape as answers ask for them.

    Messages up are products of a clique's factors and the messages from below, summed down to the separator; messages down leave
    one message out (Shafer and Shenoy, 1990), so nothing is divided and zeros do no harm. Messages that are one everywhere, from
    parts without evidence, are left out; those that no row's evidence touches are constants.

    Args:
        leaves: the factors.
        cards: the number of states of each hidden node.
        joint: sets of nodes that must be found together in one clique.
        depth: how many factors may be multiplied before rows are rescaled; fewer in single precision.
        runs: how many orders with random ties are tried.
        maximized: nodes of which the largest entry is kept in place of the sum, when all others were summed out.
    """

    def __init__(self, leaves: Sequence[Leaf], cards: Mapping[str, int], joint: Iterable[Collection[str]] = (), depth: int = 8, runs: int = 10, maximized: Collection[str] = ()):
        self.leaves, self.cards, self.maximized = tuple(leaves), dict(cards), frozenset(maximized)
        scopes = [leaf.scope for leaf in leaves]
        self.order: Order = best_order([*scopes, *map(tuple, joint)], cards, runs, last=self.maximized)
        self.cliques, self.home = clique_tree(self.order, scopes, self.maximized)
        self.tape = Tape(self.cards, depth)
        self.inputs = [self.tape.leaf(leaf.scope, leaf.batched) for leaf in leaves]
        self._up: dict[Clique, Slot | None] = {}
        self._down: dict[Clique, Slot | None] = {}
        for clique in self.cliques:
            self._up[clique] = self._message_up(clique)
        self.roots = [slot for clique in self.cliques if clique.above is None if (slot := self._up[clique]) is not None]
        self.roots += [slot for slot in self.inputs if not slot.scope]
        self.upward, self.tape.recording, self.tape.ring = len(self.tape.steps), False, SUM

    # ---- messages

    def _message_up(self, clique: Clique) -> Slot | None:
        """None where it is one everywhere."""
        received = [self._up[below] for below in clique.below if self._up[below] is not None]
        maximal = self.maximal(clique)
        if not maximal and not received and self._sums_to_one(clique):
            return None
        self.tape.ring = MAX if maximal else SUM
        return self.tape.contract([*self._own(clique), *received], clique.separator)

    def maximal(self, clique: Clique) -> bool:
        """Whether the clique's own nodes are maximized."""
        return clique.residual[0] in self.maximized

    def _sums_to_one(self, clique: Clique) -> bool:
        """Whether the clique holds just p(node | parents) of each node that it sums out."""
        leaves = [self.leaves[position] for position in clique.factors]
        return all(leaf.own for leaf in leaves) and sorted(leaf.node for leaf in leaves) == sorted(clique.residual)

    def _own(self, clique: Clique) -> list[Slot]:
        return [self.inputs[position] for position in clique.factors]

    def _around(self, clique: Clique, without: Clique | None = None) -> list[Slot]:
        """Everything that a clique holds and receives, but for one neighbour."""
        below = [self._up[one] for one in clique.below if one is not without]
        above = self.down(clique) if clique.above is not None else None
        return [*self._own(clique), *(slot for slot in (*below, above) if slot is not None)]

    def down(self, clique: Clique) -> Slot | None:
        """The message that a clique receives from above."""
        if clique not in self._down:
            for one in reversed(self._path(clique)):                        # from the top, or recursion would go as deep as the tree
                self._down[one] = self.tape.contract(self._around(one.above, without=one), one.separator)
        return self._down[clique]

    def _path(self, clique: Clique) -> list[Clique]:
        path = []
        while clique.above is not None and clique not in self._down:
            path.append(clique)
            clique = clique.above
        return path

    # ---- answers

    def marginal(self, names: Collection[str]) -> Slot:
        """The value that is proportional to the joint marginal of nodes that share a clique, read where it is cheapest."""
        inside = [clique for clique in self.cliques if clique.scope >= set(names)]
        edges = [clique for clique in inside if clique.above is not None and clique.separator >= set(names)]
        if edges:
            edge = min(edges, key=lambda clique: self.tape.size(clique.separator))
            around = [slot for slot in (self._up[edge], self.down(edge)) if slot is not None]
        else:
            around = self._around(min(inside, key=lambda clique: self.tape.size(clique.scope)))
        return self.tape.contract(around, names)

    def conditional(self, clique: Clique) -> list[Slot]:
        """The factors whose product is proportional to p(residual | separator, evidence): what samples and maxima are read from."""
        return [*self._own(clique), *(slot for below in clique.below if (slot := self._up[below]) is not None)]

    # ---- cost

    @property
    def largest(self) -> tuple[str, ...]:
        """The nodes of the largest clique."""
        return tuple(sorted(max(self.cliques, key=lambda clique: self.tape.size(clique.scope)).scope)) if self.cliques else ()

    def split(self, steps: Sequence[Step]) -> tuple[list[Step], list[Step]]:
        """The steps that are the same for every row, and the others."""
        return [step for step in steps if not step.out.batched], [step for step in steps if step.out.batched]

    def spent(self, steps: Sequence[Step], kept: Collection[Slot]) -> dict[int, list[int]]:
        """After which step each value is read for the last time; those in `kept`, and constants while rows are run, stay."""
        staying, rows = {slot.index for slot in kept}, bool(steps) and steps[0].out.batched
        last = {slot.index: position for position, step in enumerate(steps) for slot in step.reads if slot.batched is rows and slot.index not in staying}
        found: dict[int, list[int]] = {}
        for index, position in last.items():
            found.setdefault(position, []).append(index)
        return found

    def cells(self, steps: Sequence[Step], spent: Mapping[int, Sequence[int]], *, batched: bool) -> int:
        """The most numbers that one row, or the constants, hold at any time."""
        held = peak = sum(self.tape.size(slot.scope) for slot in self.inputs if slot.batched is batched)
        for position, step in enumerate(steps):
            held += step.cells(self.tape)
            peak = max(peak, held)
            held -= sum(self.tape.size(self.tape.slots[index].scope) for index in spent.get(position, ()))
        return peak
