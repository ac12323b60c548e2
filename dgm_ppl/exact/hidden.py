"""Which nodes of a net with chains are hidden, and what is observed of the others."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from torch import Tensor

from ..graph import GraphError
from ..network import Chain
from .factors import Compiled

__all__ = ["Observed", "hidden_chain"]


@dataclass(frozen=True, eq=False)
class Observed:
    """Aligned values with one dimension of rows, the lengths of sequences under the chain's name among them; which cells are missing, of the shape
    of the value; and the number of rows and of steps."""

    values: Mapping[str, Tensor]
    holes: Mapping[str, Tensor]
    rows: int
    steps: int


def hidden_chain(model: Compiled, observed: Collection[str], partial: Collection[str] = ()) -> tuple[list[str], Chain]:
    """The random nodes that have to be eliminated, parents first, and their chain: those without a value on which something observed depends, those
    of which cells are missing that others depend on, and the finite nodes on which their own later steps depend.

    Raises:
        GraphError: hidden nodes in more than one chain.
    """
    net = model.net
    hidden = []
    for name in (name for name in net.order if name in model.conditionals and not net[name].is_deterministic):
        below = set(net.descendants(name))
        if name in observed:
            needed = name in partial and bool(below)                        # the cells that are seen hold it to one state
        else:
            needed = bool(below & set(observed)) or name in below and net[name].space.cardinality is not None
        if needed:
            hidden.append(name)
    found = list(dict.fromkeys(chain.name for name in hidden if (chain := net.chain_of(name)) is not None))
    if len(found) > 1:
        raise GraphError(f"exact chains: hidden nodes are in the chains {found}; expected one; observe the nodes of the others")
    return hidden, net.plates[found[0] if found else net.chains[0]]
