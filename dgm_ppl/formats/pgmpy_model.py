"""pgmpy models, and back. This is the only place that imports pgmpy, and only `to_pgmpy` does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy

from ..network import BayesNet
from .contents import Flat
from .document import Document
from .draft import Draft, Node, assemble, drafted
from .errors import FormatError
from .source import Source

if TYPE_CHECKING:
    from pgmpy.models import DiscreteBayesianNetwork

__all__ = ["from_pgmpy", "to_pgmpy"]


def to_pgmpy(net: BayesNet) -> DiscreteBayesianNetwork:
    """Return a pgmpy `DiscreteBayesianNetwork` with a `TabularCPD` for each node and the net's state names.

    Raises:
        FormatError: a node has no fixed table.
        ImportError: pgmpy is not installed.
    """
    from pgmpy.factors.discrete import TabularCPD
    from pgmpy.models import DiscreteBayesianNetwork

    draft, model = drafted(Document(net)), DiscreteBayesianNetwork()
    model.add_nodes_from(net)
    model.add_edges_from((parent, node.name) for node in draft.nodes for parent in node.parents)
    states = {name: list(labels) for name, labels in draft.states.items()}
    for node in draft.nodes:
        model.add_cpds(TabularCPD(
            node.name, len(node.states), numpy.array(node.rows).T.tolist(), evidence=list(node.parents) or None,
            evidence_card=[len(states[parent]) for parent in node.parents] or None,
            state_names={name: states[name] for name in (node.name, *node.parents)},
        ))
    return model


def from_pgmpy(model: DiscreteBayesianNetwork, *, normalise: bool = False) -> BayesNet:
    """Return the net of a pgmpy model all of whose nodes have a `TabularCPD`.

    Raises:
        FormatError: a node without a table, or whose table does not fit.
    """
    nodes = [_node(name, model.get_cpds(name)) for name in model.nodes()]
    return assemble(Source("pgmpy model", b""), Draft(nodes), normalise).net


def _node(name: str, cpd: object) -> Node:
    if cpd is None:
        raise FormatError(f"node {name!r}: expected a TabularCPD; got none; try model.add_cpds(...)", path="pgmpy model")
    parents = tuple(cpd.variables[1:])
    states = tuple(str(state) for state in cpd.state_names[name])
    return Node(str(name), states, tuple(map(str, parents)), Flat(numpy.asarray(cpd.values, dtype=numpy.float64).reshape(-1), own_first=True))
