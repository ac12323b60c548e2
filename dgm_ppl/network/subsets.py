"""Evidence that differs from row to row: which nodes may be observed, and the recognition net that serves every pattern of them."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cached_property
from itertools import product
from typing import Any

import torch
from torch import Tensor

from ..families import Given, Variable
from ..graph import Certificate, Faithful, GraphError, did_you_mean
from .bayes_net import BayesNet
from .boundaries import Boundaries
from .plates import Plate
from .recognition import RecognitionNet, given_as, inverted

__all__ = ["AnySubset", "SubsetRecognition"]

Chance = float | tuple[float, float]
PATTERNS = 256                                                              # that are gone through one by one, where the structure over plates asks for it


class AnySubset:
    """Nodes of which any subset may be observed, and how often which is, for `amortize(net, observed=AnySubset(...))`.

    Args:
        nodes: their names, `"a b c"` or a list.
        prob: the probability that a node is observed in training, one for all or a dict by node; each node by itself. A range, `(0.0, 1.0)`: each row has a
            probability of its own, uniform in it, so that few nodes are as common as many.
        cells: the same for an element of a vector (or array) that is observed, and a member of a plate; 1 by default.
        patterns: instead, the subsets that occur, all as often, or a dict from subset to weight; a subset is `"a b"` or a list of names.

    Raises:
        GraphError: no node, a probability outside [0, 1], no pattern or a weight that is not positive, a pattern with a node that is not among the nodes.

    Example:
        >>> AnySubset("a b c", prob=0.8)
        AnySubset('a b c', prob=0.8)
        >>> AnySubset("a b", patterns=["a", "a b"]).allows({"b"})
        False
    """

    def __init__(
        self, nodes: str | Iterable[str], *, prob: Chance | Mapping[str, Chance] = 0.5, cells: Chance | Mapping[str, Chance] = 1.0,
        patterns: Iterable[Any] | Mapping[Any, float] | None = None,
    ):
        self.nodes = _names(nodes)
        if not self.nodes:
            raise GraphError("AnySubset: expected names of nodes; got none; try dgm.AnySubset('a b c')")
        if patterns is not None and prob != 0.5:
            raise GraphError("AnySubset: prob and patterns each say how often which nodes are observed; give one of them")
        self.prob, self.cells = _declared(prob), _declared(cells)
        self.chances, self.shares = self._by_node("prob", prob, 0.5), self._by_node("cells", cells, 1.0)
        weighted = patterns if isinstance(patterns, Mapping) else None if patterns is None else dict.fromkeys(map(_key, patterns), 1.0)
        self.patterns = None if weighted is None else {frozenset(_names(key)): float(weight) for key, weight in weighted.items()}
        if self.patterns is not None and not self.patterns:
            raise GraphError(f"AnySubset: expected at least one pattern; got none; try patterns=[{self.nodes[0]!r}]")
        for pattern, weight in (self.patterns or {}).items():
            if not 0 < weight < math.inf:
                raise GraphError(f"AnySubset: patterns: expected positive weights; got {weight!r} for {' '.join(sorted(pattern))!r}; leave out what does not occur")
            for name in pattern:
                if name not in self.nodes:
                    raise GraphError(f"AnySubset: a pattern names {name!r}, which is not among the nodes{did_you_mean(name, self.nodes)}")

    def to_dict(self) -> dict[str, Any]:
        """What was declared, as JSON data; `of` reads it."""
        patterns = None if self.patterns is None else [[[name for name in self.nodes if name in pattern], weight] for pattern, weight in self.patterns.items()]
        return {"nodes": list(self.nodes), "prob": self.prob, "cells": self.cells, "patterns": patterns}

    @classmethod
    def of(cls, written: Mapping[str, Any]) -> AnySubset:
        patterns = None if written["patterns"] is None else {tuple(pattern): weight for pattern, weight in written["patterns"]}
        return cls(written["nodes"], prob=written["prob"], cells=written["cells"], patterns=patterns)

    def _by_node(self, option: str, given: Chance | Mapping[str, Chance], usual: float) -> tuple[tuple[float, float], ...]:
        """The range of each node's probability."""
        for name in given if isinstance(given, Mapping) else ():
            if name not in self.nodes:
                raise GraphError(f"AnySubset: {option} names {name!r}, which is not among the nodes{did_you_mean(name, self.nodes)}")
        found = []
        for name in self.nodes:
            asked = given.get(name, usual) if isinstance(given, Mapping) else given
            ends = tuple(asked) if isinstance(asked, (tuple, list)) else (asked, asked)
            if len(ends) != 2 or not all(isinstance(end, (int, float)) for end in ends) or not 0 <= ends[0] <= ends[1] <= 1:
                raise GraphError(f"AnySubset: {option}: expected a probability between 0 and 1 for {name!r}, or a range such as (0.0, 1.0); got {asked!r}")
            found.append((float(ends[0]), float(ends[1])))
        return tuple(found)

    def allows(self, present: Collection[str]) -> bool:
        """Whether a pattern occurs in training."""
        return bool(self.occurring(torch.tensor([[name in present for name in self.nodes]], device="cpu")))

    def check(self, present: Collection[str]) -> None:
        """Raises for a pattern of its nodes that does not occur in training."""
        if not self.allows(present):
            shown = " ".join(name for name in self.nodes if name in present)
            raise GraphError(f"guide: it is not trained for the pattern {shown!r}; got {self!r}; widen it and train again, with patterns=[..., {shown!r}] or prob between 0 and 1")

    def occurring(self, table: Tensor) -> Tensor:
        """Which of some patterns `(patterns, nodes)` occur in training."""
        if self.patterns is None:
            low, high = torch.tensor(self.chances, device="cpu").unbind(1)
            return torch.where(table, high > 0, low < 1).all(1)
        return (table.unsqueeze(1) == self._table(self.patterns)).all(2).any(1)

    def every(self) -> Tensor:
        """The patterns that occur, `(patterns, nodes)`.

        Raises:
            GraphError: too many of them.
        """
        if self.patterns is not None:
            return self._table(self.patterns)
        each = [[there for there, occurs in ((False, low < 1), (True, high > 0)) if occurs] for low, high in self.chances]
        if math.prod(map(len, each)) > PATTERNS:
            varied = sum(len(one) == 2 for one in each)
            raise GraphError(f"AnySubset: over plates, expected up to {PATTERNS.bit_length() - 1} nodes that come and go; got {varied}; name the subsets that occur: patterns=[...]")
        return torch.tensor([*product(*each)], device="cpu")

    def _table(self, patterns: Iterable[Collection[str]]) -> Tensor:
        return torch.tensor([[name in pattern for name in self.nodes] for pattern in patterns], device="cpu")

    def draw(self, rows: int, device: torch.device | str = "cpu") -> Tensor:
        """Patterns at random, `(rows, nodes)`: True where a node is observed."""
        if self.patterns is None:
            share = torch.rand(rows, device=device)
            return torch.stack([torch.rand(rows, device=device) < low + (high - low) * share for low, high in self.chances], 1)
        return self._table(self.patterns).to(device)[torch.multinomial(torch.tensor(list(self.patterns.values()), device=device), rows, replacement=True)]

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

    def __init__(self, model: BayesNet, subset: AnySubset, variables: Mapping[str, Variable], nets: Mapping[str, Any], order: Sequence[str]):
        self.model, self.subset, self.variables, self.nets, self.order = model, subset, dict(variables), dict(nets), tuple(order)

    @classmethod
    def of(cls, networks: BayesNet, model: BayesNet, subset: AnySubset, order: Sequence[str]) -> SubsetRecognition:
        """The declaration from its networks, as a file holds them."""
        return cls(model, subset, {name: networks[name].given() for name in order}, {name: networks[name].net for name in order}, order)

    @property
    def example(self) -> str:
        """A pattern that occurs and leaves something to infer, for messages."""
        patterns = [[*pattern] for pattern in self.subset.patterns or ()] or [self.subset.nodes, *([other for other in self.subset.nodes if other != name] for name in self.subset.nodes)]
        found = next((pattern for pattern in patterns if self.subset.allows(pattern) and self.reads(pattern)), self.subset.nodes)
        return " ".join(name for name in self.subset.nodes if name in found)

    @cached_property
    def groups(self) -> dict[str, tuple[str, ...]]:
        """What every network reads, by name: the numbers of the nodes that are in the same plates, and a mask of them."""
        found: dict[tuple[str, ...], list[str]] = {}
        for name in self.slots:
            found.setdefault(self.model.plates_of(name), []).append(name)
        return {f"what is known, and where{', in ' if plates else ''}{' and '.join(plates)}": tuple(names) for plates, names in found.items()}

    @property
    def networks(self) -> BayesNet:
        """Each latent with its recognition network, given what may be known of it, and masks."""
        widths = {name: math.prod(self.model[name].space.encoded_shape(self.model[name].shape)) for name in self.slots}
        variables = {group: Given(2 * sum(widths[name] for name in names)) for group, names in self.groups.items()}
        variables |= {name: self.variables[name].given(*self.reading(name), net=self.nets[name]) for name in self.order}
        inside = {plate: [*(group for group, names in self.groups.items() if names[0] in declared.nodes), *(name for name in self.order if name in declared.nodes)] for plate, declared in self.model.plates.items()}
        return BayesNet(variables, plates={plate: Plate(nodes, self.model.plates[plate].size) for plate, nodes in inside.items()})

    def reading(self, name: str) -> tuple[str, ...]:
        """The groups of which a latent reads something in some pattern."""
        if not self.model.plates:
            return tuple(self.groups)
        return tuple(group for group, names in self.groups.items() if set(names) & self._ever[name]) or tuple(self.groups)[:1]

    @cached_property
    def _ever(self) -> dict[str, set[str]]:
        """What each latent reads in some pattern."""
        found, _ = self.boundaries(self.table(self.subset.every()))
        return {name: {slot for slot, read in zip(self.slots, found.any(0)[self.slots.index(name)].tolist()) if read} for name in self.order}

    def table(self, patterns: Tensor) -> Tensor:
        """Patterns over the subset's nodes as patterns over `slots`, inputs known."""
        columns, known, unknown = patterns.unbind(1), patterns.new_ones(len(patterns)), patterns.new_zeros(len(patterns))
        places = {name: at for at, name in enumerate(self.subset.nodes)}
        return torch.stack([columns[places[name]] if name in places else known if self.model[name].is_given else unknown for name in self.slots], 1)

    @cached_property
    def slots(self) -> tuple[str, ...]:
        """What can be read: the model's random nodes and inputs."""
        return tuple(name for name in self.model.order if not self.model[name].is_deterministic)

    @cached_property
    def boundaries(self) -> Boundaries:
        """What each latent reads, by pattern, on tables over `slots`."""
        return Boundaries(self.model.dag, self.slots, self.order)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("slots", "boundaries", "groups", "_ever")}

    def reads(self, present: Collection[str]) -> dict[str, tuple[str, ...]]:
        """What each latent that needs the guide reads, in the order in which they are drawn; the others take the model's own conditional."""
        found, drawn = self.boundaries(torch.tensor([[name in present or name in self.model.inputs for name in self.slots]], device="cpu"))
        rows = {name: [slot for slot, read in zip(self.slots, row) if read] for name, row, there in zip(self.slots, found[0].tolist(), drawn[0].tolist()) if there}
        return {name: tuple(rows[name]) for name in self.order if name in rows}

    def at(self, observed: str | Iterable[str]) -> RecognitionNet:
        """The recognition net of one pattern.

        Raises:
            GraphError: a pattern that the guide is not trained for, one that leaves nothing to infer.
        """
        names = _names(observed)
        self.check(names)
        reads = self.reads(names)
        if not reads:
            raise GraphError(f"guide: with {' and '.join(map(repr, names)) or 'nothing'} observed no latent needs a guide; ask the model: model.sample(given={{...}})")
        known = (*self.model.inputs, *(name for name in self.order if name in names))
        inversion = inverted(self.model, known, Faithful([name for name in self.order if name not in names]))
        variables = {name: given_as(self.model[name]) for name in inversion.observed}
        variables |= {name: self.variables[name].given(*inversion.parents[name], net=self.nets[name]) for name in inversion.order if name in reads}
        above = {each for name in inversion.barren for each in (name, *self.model.dag.ancestors(name))}
        variables |= {name: self.model[name] for name in self.model.order if name in inversion.barren or name in above and self.model[name].is_deterministic}
        inside = {plate: [name for name in variables if name in declared.nodes] for plate, declared in self.model.plates.items()}
        return RecognitionNet(variables, model=self.model, inversion=inversion, plates={plate: Plate(nodes, self.model.plates[plate].size) for plate, nodes in inside.items() if nodes})

    def check(self, present: Collection[str]) -> None:
        """Raises for a pattern that does not occur in training."""
        for name in present:
            if name not in self.subset.nodes:
                raise GraphError(f"guide: {name!r} is not among the nodes that may be observed{did_you_mean(name, self.subset.nodes)}; derive one for it: dgm.AnySubset({' '.join((*self.subset.nodes, name))!r})")
        self.subset.check(present)

    def certificate(self, observed: str | Iterable[str]) -> Certificate:
        """For each latent of a pattern: the parents it keeps, and the separation that justifies dropping the others."""
        return self.at(observed).certificate()

    def __repr__(self) -> str:
        reads = self.reads(self.subset.nodes)
        return "\n".join([f"observed: {self.subset!r}", *(f"{name} ~ {self.variables[name].summary}, {self.nets[name]!r}" for name in self.order if name in self.variables and (name in reads or name in self.subset.nodes))])


def _declared(given: Any) -> Any:
    """A probability, a range or a dict of them, ranges as tuples whatever they came as."""
    return {name: _declared(value) for name, value in given.items()} if isinstance(given, Mapping) else tuple(given) if isinstance(given, list) else given


def _names(nodes: str | Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(nodes.split() if isinstance(nodes, str) else nodes))


def _key(pattern: Any) -> str:
    return " ".join(_names(pattern))
