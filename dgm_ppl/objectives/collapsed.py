"""The likelihood of what is seen, finite nodes summed out and Gaussian ones integrated together."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

from torch import Tensor

from ..compile import Model
from ..compile.reduction import PerWorld, Reduction, Total, added
from ..exact import Cells, Collapse, Given, Obstacle, hinges, kind_of, single, unpacked
from ..graph import GraphError

__all__ = ["CollapsedLikelihood", "hidden_in", "suits"]

LARGEST = 4096                                      # joint states that are summed at once rather than along cliques


def hidden_in(model: Model, observed: Collection[str], partial: Collection[str]) -> tuple[str, ...]:
    """The nodes without data that matter, and those with missing cells on which something depends."""
    above = set(model.net.ancestors(*(name for name in observed if name in model.random)))
    latent = [name for name in model.random if name not in observed and name in above]
    return (*latent, *(name for name in partial if hinges(model, name, observed)))


def suits(model: Model, found: Cells) -> bool:
    """Whether sums and integrals together are the way: what is hidden is not finite alone, or its few states are summed faster at once than along cliques."""
    hidden = hidden_in(model, found, found.holes)
    if not hidden or any(kind_of(model.net, name) is None for name in hidden):
        return False
    if not all(single(model, name) for name in hidden):
        return True
    states = 1
    for name in hidden:
        states *= model.net[name].space.cardinality
    below = [name for name in model.random if name in found and set(model.net.ancestors(name)) & set(hidden)]
    return not found.holes and states <= LARGEST and any(not single(model, name) for name in below)


class CollapsedLikelihood:
    """-log p(what is seen) for batches of some columns.

    Raises:
        GraphError: a hidden node that cannot be eliminated, with the reason.
    """

    def __init__(self, model: Model, observed: Collection[str], partial: Collection[str]):
        self.model, self.partial = model, tuple(partial)
        hidden = hidden_in(model, observed, partial)
        try:
            self.collapse = Collapse(model, hidden, [name for name in observed if name not in hidden], counted=[name for name in partial if name not in hidden])
        except Obstacle as obstacle:
            name, mend = obstacle.name, f"dgm.ELBO(model, dgm.compile(dgm.amortize(net, observed={[n for n in model.random if n in observed and n not in partial]})))"
            missing = "is missing in rows that observe what depends on it; drop these rows" if name in partial else f"has no data; give a column {name!r}"
            raise GraphError(f"MaximumLikelihood: node {name!r} {missing}, or treat it as latent: {mend}; it cannot be eliminated exactly: {obstacle.reason}") from obstacle
        gone = {name for name in model.net if {name, *model.net.ancestors(name)} & set(hidden)}
        touched = set(self.collapse.touched)
        self.nodes = tuple(node for node in model.schedule if node.deterministic and node.name not in gone or node.name in observed and node.name not in touched)
        self._apart = any(not node.deterministic for node in self.nodes)
        self._first = next(name for name in observed if name in model.random)
        self._inner = len(model.layout.members[self._first]) + len(model.layout.events[self._first])

    def losses(self, batch: Mapping[str, Tensor]) -> Tensor:
        """One number a world."""
        return added(self._terms(batch, PerWorld()))

    def mean(self, batch: Mapping[str, Tensor]) -> Tensor:
        """The mean over the worlds."""
        worlds = self._worlds(batch)
        if not self._apart:
            return -self._logs(self._given(batch, worlds)[-1]).sum() / math.prod(worlds)
        total = Total(worlds)
        return total.mean(self._terms(batch, total))

    def _worlds(self, batch: Mapping[str, Tensor]) -> tuple[int, ...]:
        shape = batch[self._first].shape
        return tuple(shape[: len(shape) - self._inner])

    def _given(self, batch: Mapping[str, Tensor], worlds: tuple[int, ...]) -> tuple[dict[str, Tensor], dict[str, int], Given]:
        layout, holes = self.model.layout, {}
        if self.partial:
            batch, holes = unpacked(batch)
        sizes = layout.sizes(batch) if layout.rank else {}
        values = layout.align_all(batch)
        return values, sizes, Given(values, worlds, sizes, layout.align_all(holes))

    def _logs(self, given: Given) -> Tensor:
        return self.collapse.log_evidence(given).to(self.model.anchor.dtype)

    def _terms(self, batch: Mapping[str, Tensor], reduce: Reduction) -> list[Tensor]:
        values, sizes, given = self._given(batch, self._worlds(batch))
        terms = [-self._logs(given)]
        for node in self.nodes if self._apart else ():
            if node.deterministic:
                values[node.name] = self.model.compute(node, values, sizes)
            else:
                value = values[node.name]
                terms.append(reduce(node, node.conditional.surprisals(value, node.prepare(values)), value))
        return terms
