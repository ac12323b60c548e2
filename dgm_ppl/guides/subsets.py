"""One guide for every subset of the nodes that may be observed."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import Any

from ..graph import Faithful, GraphError, Structure, did_you_mean
from ..network import AnySubset, BayesNet, SubsetRecognition
from .recognition import Recognition, recognition_variable

__all__ = ["subset_recognition"]


def subset_recognition(
    model: BayesNet, subset: AnySubset, structure: Structure, order: Any, *, net: Any, nets: Mapping[str, Any], family: Recognition, families: Mapping[str, Any],
) -> SubsetRecognition:
    """The declaration of the guide; latents and unobserved nodes are drawn in one order for all patterns, children first.

    Raises:
        GraphError: plates or chains, an unknown, deterministic or Given node in the subset, another structure than a faithful one, an order that lacks a node.
    """
    if model.plates or model.chains:
        raise GraphError(f"amortize: AnySubset is for nets without plates and chains; this one has {list(model.plates or model.chains)}; derive a guide for each pattern: observed=[...]")
    for name in subset.nodes:
        if model[name].is_deterministic or model[name].is_given:
            raise GraphError(f"amortize: AnySubset names {name!r}, which is {'deterministic' if model[name].is_deterministic else 'a Given input and always there'}; leave it out")
    for name, share in zip(subset.nodes, subset.shares):
        if share < 1 and model[name].shape and model.dag.children(name):
            raise GraphError(f"amortize: AnySubset hides cells of {name!r}, on which {model.dag.children(name)[0]!r} depends; declare its elements as nodes of their own, or leave it out of cells")
    if structure != Faithful():
        raise GraphError(f"amortize: AnySubset derives a faithful structure for each pattern; got structure={structure!r}; leave it out")
    random = tuple(name for name in reversed(model.order) if not model[name].is_deterministic and not model[name].is_given)
    asked = random if isinstance(order, str) and order == "auto" else tuple(order) if isinstance(order, (list, tuple)) else None
    if asked is None or set(asked) != set(random):
        raise GraphError(f"amortize: with AnySubset, order is a list of all random nodes, in the order in which those that are not observed are drawn; got {order!r}; try {list(random)}")
    for option, given in (("nets", nets), ("families", families)):
        for name in given:
            if name not in random:
                raise GraphError(f"amortize: {option} names {name!r}, which is no random node{did_you_mean(name, random)}")
    variables = {name: recognition_variable(name, model[name], families.get(name), family) for name in random}
    for name, variable in variables.items():
        if variable.expression_parents:
            raise GraphError(
                f"amortize: the guide of {name!r} is anchored to the model's own conditional, whose parents are drawn after it in some patterns; leave the family out, or name one with parameters of its own: families={{{name!r}: dgm.Flow()}}"
            )
    networks = {name: nets.get(name, copy(net)) for name in random}
    return SubsetRecognition(model, subset, variables, networks, asked)
