"""Evidence that differs from row to row: which nodes may be observed, and the recognition net that serves every pattern of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ..families import Variable
from ..graph import Certificate, Faithful, GraphError, Inversion, did_you_mean
from .bayes_net import BayesNet
from .recognition import RecognitionNet, inverted

__all__ = ["AnySubset", "SubsetRecognition"]


class AnySubset:
    """Nodes of which any subset may be observed, and how often which is, for `amortize(net, observed=AnySubset(...))`.

    Args:
        nodes: their names, `"a b c"` or a list.
        prob: the probability that a node is observed in training, one for all or a dict by node; each node by itself.
        cells: the probability that an element of a vector (or array) that is observed is there in training, one for all or a dict by node; 1 by default.
        patterns: instead, the subsets that occur, all as often, or a dict from subset to weight; a subset is `"a b"` or a list of names.

    Raises:
        GraphError: no node, a probability outside [0, 1], a pattern with a node that is not among the nodes.

    Example:
        >>> AnySubset("a b c", prob=0.8)
        AnySubset('a b c', prob=0.8)
        >>> AnySubset("a b", patterns=["a", "a b"]).allows({"b"})
        False
    """

    def __init__(
        self, nodes: str | Iterable[str], *, prob: float | Mapping[str, float] = 0.5, cells: float | Mapping[str, float] = 1.0,
        patterns: Iterable[Any] | Mapping[Any, float] | None = None,
    ):
        self.nodes = _names(nodes)
        if not self.nodes:
            raise GraphError("AnySubset: expected names of nodes; got none; try dgm.AnySubset('a b c')")
        if patterns is not None and prob != 0.5:
            raise GraphError("AnySubset: prob and patterns each say how often which nodes are observed; give one of them")
        self.prob, self.cells = prob, cells
        self.chances, self.shares = self._by_node("prob", prob, 0.5), self._by_node("cells", cells, 1.0)
        weighted = patterns if isinstance(patterns, Mapping) else None if patterns is None else dict.fromkeys(map(_key, patterns), 1.0)
        self.patterns = None if weighted is None else {frozenset(_names(key)): float(weight) for key, weight in weighted.items()}
        for pattern in self.patterns or ():
            for name in pattern:
                if name not in self.nodes:
                    raise GraphError(f"AnySubset: a pattern names {name!r}, which is not among the nodes{did_you_mean(name, self.nodes)}")

    def _by_node(self, option: str, given: float | Mapping[str, float], usual: float) -> tuple[float, ...]:
        for name in given if isinstance(given, Mapping) else ():
            if name not in self.nodes:
                raise GraphError(f"AnySubset: {option} names {name!r}, which is not among the nodes{did_you_mean(name, self.nodes)}")
        found = tuple(float(given.get(name, usual) if isinstance(given, Mapping) else given) for name in self.nodes)
        for name, chance in zip(self.nodes, found):
            if not 0 <= chance <= 1:
                raise GraphError(f"AnySubset: {option}: expected a probability between 0 and 1 for {name!r}; got {chance!r}")
        return found

    def allows(self, present: Collection[str]) -> bool:
        """Whether a pattern occurs in training."""
        if self.patterns is not None:
            return self.patterns.get(frozenset(present), 0.0) > 0
        return all(chance > 0 if name in present else chance < 1 for name, chance in zip(self.nodes, self.chances))

    def draw(self, rows: int) -> Tensor:
        """Patterns at random, `(rows, nodes)`: True where a node is observed."""
        if self.patterns is None:
            return torch.rand(rows, len(self.nodes), device="cpu") < torch.tensor(self.chances, device="cpu")
        table = torch.tensor([[name in pattern for name in self.nodes] for pattern in self.patterns], device="cpu")
        return table[torch.multinomial(torch.tensor(list(self.patterns.values()), device="cpu"), rows, replacement=True)]

    def __repr__(self) -> str:
        told = f", prob={self.prob!r}" if self.patterns is None and self.prob != 0.5 else ""
        told += f", cells={self.cells!r}" if self.cells != 1 else ""
        told += "" if self.patterns is None else f", patterns={[' '.join(name for name in self.nodes if name in pattern) for pattern in self.patterns]!r}"
        return f"AnySubset({' '.join(self.nodes)!r}{told})"


class SubsetRecognition:
    """A guide's declaration for every pattern of evidence; what each latent reads is derived for each pattern.

    `at("a b")` is the recognition net where these are observed: print it, draw it, read its certificate. One recognition network a latent serves all patterns; it
    is given the values that the latent reads, zero in place of the others, and which they are. `compile` makes the guide.
    """

    def __init__(
        self, model: BayesNet, subset: AnySubset, variables: Mapping[str, Variable], nets: Mapping[str, Any], order: Sequence[str],
        derive: Callable[[tuple[str, ...]], RecognitionNet],
    ):
        self.model, self.subset, self.variables, self.nets, self.order, self._derive = model, subset, dict(variables), dict(nets), tuple(order), derive
        self._inversions: dict[frozenset[str], Inversion | None] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_inversions": {}}

    def inversion(self, present: Collection[str]) -> Inversion | None:
        """The graph turned round for a pattern, in the one order of all; None where nothing at all is observed."""
        key = frozenset(present)
        if key not in self._inversions:
            known = (*self.model.inputs, *(name for name in self.order if name in key))
            rest = [name for name in self.order if name not in key]
            self._inversions[key] = inverted(self.model, known, Faithful(rest)) if key and rest else None
        return self._inversions[key]

    def reads(self, present: Collection[str]) -> dict[str, tuple[str, ...]]:
        """What each latent that needs the guide reads, in the order in which they are drawn; the others take the model's own conditional."""
        inversion = self.inversion(present)
        return {} if inversion is None else {name: tuple(inversion.parents[name]) for name in inversion.order if name not in inversion.barren}

    def at(self, observed: str | Iterable[str]) -> RecognitionNet:
        """The recognition net of one pattern.

        Raises:
            GraphError: a pattern that the guide is not trained for.
        """
        names = _names(observed)
        self.check(names)
        return self._derive(names)

    def check(self, present: Collection[str]) -> None:
        """Raises for a pattern that does not occur in training."""
        for name in present:
            if name not in self.subset.nodes:
                raise GraphError(f"guide: {name!r} is not among the nodes that may be observed{did_you_mean(name, self.subset.nodes)}; derive one for it: dgm.AnySubset({' '.join((*self.subset.nodes, name))!r})")
        if not self.subset.allows(present):
            shown = " ".join(name for name in self.subset.nodes if name in present)
            raise GraphError(f"guide: it is not trained for the pattern {shown!r}; got {self.subset!r}; widen it and train again, with patterns=[..., {shown!r}] or prob between 0 and 1")

    def certificate(self, observed: str | Iterable[str]) -> Certificate:
        """For each latent of a pattern: the parents it keeps, and the separation that justifies dropping the others."""
        return self.at(observed).certificate()

    def __repr__(self) -> str:
        reads = self.reads(self.subset.nodes)
        return "\n".join([f"observed: {self.subset!r}", *(f"{name} ~ {self.variables[name].summary}, {self.nets[name]!r}" for name in self.order if name in self.variables and (name in reads or name in self.subset.nodes))])


def _names(nodes: str | Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(nodes.split() if isinstance(nodes, str) else nodes))


def _key(pattern: Any) -> str:
    return " ".join(_names(pattern))
