"""Plates: repetition inside one world."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ..families.variable import whole
from ..graph import GraphError, did_you_mean

__all__ = ["Chain", "Plate", "plates_of"]


@dataclass(frozen=True)
class Plate:
    """The nodes that repeat together, and how often: `Plate(["theta", "y"], size=8)`.

    A plate without a size takes the one that its data have. Plates that share nodes cross, or nest where one's nodes are
    among the other's.
    """

    nodes: tuple[str, ...]
    size: int | None = None
    name: str = ""

    word: ClassVar[str] = "plate"

    def __init__(self, nodes: Iterable[str], size: int | None = None, name: str = ""):
        place = f"{self.word} {name!r}" if name else type(self).__name__
        if isinstance(nodes, str) or not isinstance(nodes, Iterable):
            raise GraphError(f"{place}: expected a list of node names; got {nodes!r}; try {[nodes] if isinstance(nodes, str) else ['theta', 'y']}")
        if size is not None and (whole(size) or 0) < 1:
            raise GraphError(f"{place}: expected a positive whole number for size; got {size!r}; try size=8")
        object.__setattr__(self, "nodes", tuple(nodes))
        object.__setattr__(self, "size", whole(size))
        object.__setattr__(self, "name", name)

    def like(self, nodes: Iterable[str], size: int | None = None) -> Plate:
        """A plate of the same kind and name around other nodes."""
        return type(self)(nodes, size, self.name)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self.nodes)}" + (f", size={self.size})" if self.size is not None else ")")


@dataclass(frozen=True, init=False, repr=False)
class Chain(Plate):
    """A plate whose members are steps in order: a node may have parents some steps back, `dgm.lag("z")`.

    Values have the steps where other plates have their members, `(*worlds, steps, *event)`. Sequences of several lengths share a batch:
    data hold the number of steps of every world under the chain's own name (of every world and member, where a plate holds the chain whole), or a
    list of sequences; what stands in the steps behind the end of a sequence counts for nothing.

    Example:
        >>> from dgm_ppl import BayesNet, Categorical, Chain, Normal, lag
        >>> BayesNet(
        ...     z=Categorical(3).given(lag("z")),
        ...     x=Normal(2).given("z"),
        ...     plates={"time": Chain(["z", "x"])})
        z | z[-1] ~ Categorical(3)
        x | z ~ Normal(2)
        chain time: z, x
    """

    word: ClassVar[str] = "chain"


def plates_of(declared: Mapping[str, Any] | None, nodes: Iterable[str]) -> dict[str, Plate]:
    """The plates by name, checked against the nodes."""
    nodes, plates = list(nodes), {}
    if declared is not None and not isinstance(declared, Mapping):
        raise GraphError(f"plates: expected a dict of plate names to node names; got {declared!r}; try plates={{'school': ['theta', 'y']}}")
    for name, value in (declared or {}).items():
        if not isinstance(name, str) or not name:
            raise GraphError(f"plates: a plate is named by a non-empty string; got {name!r}")
        if name in nodes:
            raise GraphError(f"plates: {name!r} is the name of a node already; name the plate otherwise")
        if name == "rows" or name.startswith("rows_"):
            raise GraphError(f"plates: {name!r} is kept for the rows of a batch; name the plate otherwise")
        plate = type(value)(value.nodes, value.size, name) if isinstance(value, Plate) else Plate(value, name=name)
        for node in plate.nodes:
            if node not in nodes:
                raise GraphError(f"plate {name!r}: no node {node!r}{did_you_mean(node, nodes)}")
        if not plate.nodes or len(set(plate.nodes)) < len(plate.nodes):
            raise GraphError(f"plate {name!r}: expected one or more nodes, each once; got {list(plate.nodes)}")
        plates[name] = plate
    return plates
