"""A dry run: what every node's shapes, parameters and device will be, or the first error."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..conditionals import Chained, Conditional
from ..data import columns
from ..families.lags import node_of
from ..graph import GraphError
from .building import build_conditionals
from .layout import Layout

if TYPE_CHECKING:
    from .bayes_net import BayesNet

__all__ = ["dry_run", "probe", "unlike"]


def dry_run(net: BayesNet, data: Any = None) -> str:
    """The table that `net.check` prints."""
    layout = Layout(net)
    with torch.random.fork_rng(devices=[]):
        conditionals = build_conditionals(net, {})
    values = {} if data is None else layout.encode(data if isinstance(data, Mapping) else columns(data))
    worlds, sizes = unlike(net, layout.sizes(values))
    values = _first_rows(layout, values, *worlds)
    worlds = layout.worlds(values) if values else worlds
    found = probe(layout, conditionals, layout.align_all(values), worlds, sizes)
    rows = [_row(layout, name, found[name], conditionals.get(name), worlds) for name in net]
    return _table([("node", "worlds", "plates", "event", "parameters", "device"), *rows])


def unlike(net: BayesNet, sizes: Mapping[str, int]) -> tuple[tuple[int], dict[str, int]]:
    """Numbers of rows and of members that no event has, so that no shape passes by coincidence; known plate sizes stay."""
    variables = [variable for variable in net.variables.values() if not variable.is_given]
    lengths = {length for variable in variables for name in variable.signature for length in variable.parameter_shape(name)}
    lengths |= {length for variable in net.variables.values() for length in variable.shape} | set(sizes.values())
    lengths |= set(range(2, 2 + max((lagged.steps for variable in net.variables.values() for lagged in variable.lags), default=0)))   # steps beyond the first ones
    unused = (number for number in itertools.count(2) if number not in lengths)
    return (next(unused),), {plate: sizes[plate] if plate in sizes else next(unused) for plate in net.plates}


def probe(
    layout: Layout, conditionals: Mapping[str, Conditional], values: Mapping[str, Tensor], worlds: Sequence[int], sizes: Mapping[str, int],
) -> dict[str, Tensor]:
    """Runs every conditional once and checks the shapes that come out; aligned values of every node. It leaves no trace in the modules.

    Raises:
        GraphError: the node whose parameters do not fit its declaration.
    """
    net, found, anchor = layout.net, dict(values), torch.empty(0)
    if net.chains:                                                          # a parent some steps back may come later in the order
        found = {name: net[name].space.example((*layout.batch(name, worlds, sizes), *net[name].shape), anchor) for name in net} | found
    with torch.no_grad(), _evaluating(conditionals.values()):
        for name in net.order:
            batch = layout.batch(name, worlds, sizes)
            if name in conditionals:
                _check(name, conditionals[name], found, batch)
            found.setdefault(name, net[name].space.example((*batch, *net[name].shape), anchor))
    return found


@contextmanager
def _evaluating(conditionals: Iterable[Conditional]) -> Iterator[None]:
    flags = [(module, module.training) for conditional in conditionals for module in conditional.modules()]
    for module, _ in flags:
        module.training = False
    try:
        yield
    finally:
        for module, training in flags:
            module.training = training


def _check(name: str, conditional: Conditional, found: Mapping[str, Tensor], batch: tuple[int, ...]) -> None:
    values = [port.receive(found[node_of(port.name)]) for port in conditional.ports]
    if not isinstance(conditional, Chained):
        return _check_one(name, conditional, values, batch)
    for each, seen, start, stop in conditional.spans(values, batch[len(batch) + conditional.axis]):
        shape = list(batch)
        shape[len(batch) + conditional.axis] = stop - start
        _check_one(name, each, seen, tuple(shape))


def _check_one(name: str, conditional: Conditional, values: Sequence[Tensor], batch: tuple[int, ...]) -> None:
    parents = {port.name: value for port, value in zip(conditional.ports, values)}
    shapes = ", ".join(f"{parent} {tuple(value.shape)}" for parent, value in parents.items()) or "none"
    with _computing(name, shapes):
        parameters = conditional.parameters_of(*parents.values())
    for parameter, value in parameters.items():
        _check_parameter(name, conditional, parameter, value, batch, shapes)
    with _computing(name, shapes):
        distribution = conditional(*parents.values(), validate_args=False)
    if tuple(distribution.event_shape) != conditional.variable.shape:
        raise GraphError(f"node {name!r}: expected the event shape {conditional.variable.shape}; got {tuple(distribution.event_shape)} (parents: {shapes})")


@contextmanager
def _computing(name: str, shapes: str) -> Iterator[None]:
    try:
        yield
    except GraphError:
        raise
    except Exception as error:                                              # a net or function of the user's may fail in any way
        raise GraphError(f"node {name!r}: its parameters could not be computed: {error} (parents: {shapes})") from error


def _check_parameter(name: str, conditional: Conditional, parameter: str, value: Tensor, batch: tuple[int, ...], shapes: str) -> None:
    shape = conditional.variable.parameter_shape(parameter)
    if _broadcasts(tuple(value.shape), (*batch, *shape)):
        return
    given = conditional.variable.fixed.get(parameter)
    origin = f" = {given}" if given is not None else " from fn" if conditional.variable.fn is not None else ""
    raise GraphError(
        f"node {name!r}: parameter {parameter!r}{origin}: expected the shape {(*batch, *shape)}, worlds and plates {batch} before {shape or 'a number'}, or one that "
        f"broadcasts to it; got {tuple(value.shape)} (parents: {shapes}); the node's event is {conditional.variable.shape}: check it, the plates, and what is summed"
    )


def _broadcasts(found: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    return len(found) <= len(shape) and all(a in (1, b) for a, b in zip(reversed(found), reversed(shape)))


def _first_rows(layout: Layout, values: Mapping[str, Tensor], rows: int) -> dict[str, Tensor]:
    """Values cut to some rows, those that have rows."""
    inside = {name: len(layout.members[name]) + len(layout.events[name]) for name in values}
    return {name: value[:rows] if value.ndim == inside[name] + 1 else value for name, value in values.items()}


def _row(layout: Layout, name: str, value: Tensor, conditional: Conditional | None, worlds: Sequence[int]) -> tuple[str, ...]:
    event = layout.events[name]
    released = layout.release(name, value)
    plates = tuple(released.shape[released.ndim - len(event) - len(layout.members[name]): released.ndim - len(event)])
    parameters = 0 if conditional is None else sum(parameter.numel() for parameter in conditional.parameters())
    return name, str(tuple(worlds)), str(plates), str(event), f"{parameters:,}", str(value.device)


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows)
