"""Draws that are asked for otherwise than from the model as it is: parts of events as evidence, transformed elements, other orders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy
from torch import Tensor

from ..conditionals.drawing import Drawing, Partial, Prefix, drawings
from ..families.shapes import whole
from ..graph import GraphError, did_you_mean

if TYPE_CHECKING:
    from ..conditionals import Conditional
    from ..families import Variable
    from ..network import BayesNet
    from .model import Model

__all__ = ["asked_worlds", "in_order", "read_evidence"]


def read_evidence(model: Model, given: Mapping[str, Any], transform: Any) -> tuple[dict[str, Tensor], dict[str, Drawing], tuple[int, ...]]:
    """Whole values of nodes, how other nodes are drawn, and the worlds that evidence has.

    Raises:
        GraphError: evidence on part of a node that is not drawn element by element, a transform of such a node, values that are excluded.
    """
    parts: dict[str, tuple[Tensor, Tensor]] = {}
    complete = dict(given)
    for name, value in given.items():
        if isinstance(value, (Partial, Prefix)):
            if name not in model.net:
                raise GraphError(f"data: no node {name!r}{did_you_mean(name, model.net)}")
            coded = replace(value, value=_coded(name, model.net[name], value.value))
            complete[name], known = coded.of(name, model.net[name].shape, model.net[name].space.example((), model.anchor))
            parts[name] = complete[name], known
    values = model.encode(complete)
    worlds = model.layout.worlds(values)
    aligned = {name: (model.layout.align(name, values.pop(name)), known.to(model.device)) for name, (_, known) in parts.items()}
    stepwise = [node.name for node in model.schedule if node.conditional.stepwise]
    found = drawings(transform, aligned, [name for name in stepwise if name not in values])
    for name in found:
        _check(model, name, found[name], stepwise, values)
    return values, found, worlds


def _coded(name: str, variable: Variable, value: Any) -> Any:
    """Codes for labels of states."""
    array = None if isinstance(value, Tensor) else numpy.asarray(value)
    if array is None or array.dtype.kind not in "US":
        return value
    codes = {label: code for code, label in enumerate(variable.labels or ())}
    for label in numpy.unique(array).tolist():
        if label not in codes:
            raise GraphError(f"node {name!r} has no state {label!r}{did_you_mean(label, codes)}")
    return numpy.vectorize(codes.__getitem__, otypes=[int])(array)


def _check(model: Model, name: str, drawing: Drawing, stepwise: Sequence[str], values: Mapping[str, Tensor]) -> None:
    if name not in model.net:
        raise GraphError(f"sample: no node {name!r}{did_you_mean(name, model.net)}")
    if name in values:
        raise GraphError(f"sample: {drawing} is asked of {name!r}, which is given whole; leave one of the two out")
    if name not in stepwise:
        raise GraphError(f"node {name!r}: {drawing} goes with a node whose elements are drawn one after another, dgm.Autoregressive(...); this one is {model.net[name].summary}")
    if model.net.chains:
        raise GraphError(f"node {name!r}: {drawing} goes with nets without chains; this one has {list(model.net.chains)}; try model.unroll(steps) first")


def in_order(model: Model, orders: Mapping[str, Sequence[int]]) -> tuple[BayesNet, dict[str, Conditional]]:
    """The net and the conditionals of the model with autoregressive nodes in other orders, sharing its parameters."""
    kept = {name: model.conditionals[name] for name in model.conditionals}
    changed = {}
    for name, order in orders.items():
        conditional = model.conditional(name)
        if model.net.chain_of(name) is not None:
            raise GraphError(f"node {name!r}: an order goes with nodes outside chains; this one is in {model.net.chain_of(name).name!r}; say order= in the declaration, or try model.unroll(steps) first")
        if not conditional.stepwise:
            raise GraphError(f"node {name!r}: an order goes with a node whose elements are drawn one after another, dgm.Autoregressive(...); this one is {model.net[name].summary}")
        kept[name] = twin = conditional.in_order(order)
        if twin.order == conditional.order:
            continue
        kind = twin.variable.family
        twin.variable = replace(twin.variable, family=replace(kind, net=kind.net.with_one_order(), orders=(tuple(map(int, order)),)))
        changed[name] = twin.variable
    return model.net.replace(**changed), kept


def asked_worlds(worlds: int | Sequence[int]) -> tuple[int, ...]:
    """The dimensions of the worlds to draw.

    Raises:
        GraphError: what is no whole number from 0, or no row of such.
    """
    one = whole(worlds)
    found = (one,) if one is not None or not isinstance(worlds, (tuple, list)) else tuple(map(whole, worlds))
    if any(number is None or number < 0 for number in found):
        raise GraphError(f"sample: expected a number of worlds, or their dimensions, whole numbers from 0; got {worlds!r}; try sample(16) or sample((100, 8))")
    return found
