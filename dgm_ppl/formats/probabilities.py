"""The states and the full table of a net's node, for formats that hold nothing else."""

from __future__ import annotations

import numpy

from ..families import Constant, Variable
from ..network import BayesNet
from .errors import FormatError

__all__ = ["table_of"]


def table_of(net: BayesNet, name: str) -> tuple[tuple[str, ...], numpy.ndarray]:
    """Return a node's states and its probabilities as float64 of shape `(*parents' states, states)`.

    States without labels are numbered; a Bernoulli's are 0 and 1.

    Raises:
        FormatError: the node is not finite, or its table is not fixed.

    >>> from dgm_ppl.families import Bernoulli
    >>> table_of(BayesNet(rain=Bernoulli(probs=0.25)), "rain")
    (('0', '1'), array([0.75, 0.25]))
    """
    variable = net[name]
    if variable.family_name not in ("Categorical", "Bernoulli") or variable.shape or not variable.classical:
        raise _refused(name, "a finite node with a fixed table", variable.summary)
    if net.plates_of(name):
        raise _refused(name, "a node outside plates", f"the plate {net.plates_of(name)[0]!r}")
    probabilities = variable.fixed.get("probs")
    if not isinstance(probabilities, Constant):
        raise _refused(name, "a fixed table, probs=[...]", variable.summary)
    if variable.labels and not all(variable.labels):
        raise _refused(name, "states with names", "one without")
    table = _expanded(net, variable, probabilities.array)
    return labels_of(variable), numpy.stack([1 - table, table], -1) if variable.family_name == "Bernoulli" else table


def labels_of(variable: Variable) -> tuple[str, ...]:
    """Return the labels of a finite variable, or its codes."""
    return variable.labels or tuple(map(str, range(variable.space.cardinality)))


def _expanded(net: BayesNet, variable: Variable, array: numpy.ndarray) -> numpy.ndarray:
    sizes = [net[parent].space.cardinality for parent in variable.parents]
    own = variable.parameter_shape("probs")
    return numpy.broadcast_to(array, (*sizes, *own)).astype(numpy.float64)


def _refused(name: str, expected: str, got: str) -> FormatError:
    return FormatError(f"node {name!r}: expected {expected}; got {got}; try the suffix .json, which holds every declaration")
