"""A dry run: what every node's shapes, parameters and device will be, or the first error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..conditionals import Conditional
from ..graph import GraphError
from .building import build_conditionals
from .layout import Layout

if TYPE_CHECKING:
    from .bayes_net import BayesNet

__all__ = ["dry_run", "probe"]

ROWS, MEMBERS = 2, 3


def dry_run(net: BayesNet, data: Mapping[str, Any] | None = None) -> str:
    """The table that `net.check` prints."""
    layout = Layout(net)
    with torch.random.fork_rng(devices=[]):
        conditionals = build_conditionals(net, {})
    values = layout.encode(data) if data else {}
    values = _first_rows(values, len(layout.worlds(values)))
    worlds = layout.worlds(values) if values else (ROWS,)
    sizes = {plate: MEMBERS for plate in net.plates} | layout.sizes(values)
    found = probe(layout, conditionals, layout.align_all(values), worlds, sizes)
    rows = [_row(layout, name, found[name], conditionals.get(name), worlds) for name in net]
    return _table([("node", "worlds", "plates", "event", "parameters", "device"), *rows])


def probe(
    layout: Layout, conditionals: Mapping[str, Conditional], values: Mapping[str, Tensor], worlds: Sequence[int], sizes: Mapping[str, int],
) -> dict[str, Tensor]:
    """Runs every conditional once and checks the shapes that come out; aligned values of every node.

    Raises:
        GraphError: the node whose parameters do not fit its declaration.
    """
    net, found = layout.net, dict(values)
    anchor = torch.empty(0)
    with torch.no_grad():
        for name in net.order:
            batch = layout.batch(name, worlds, sizes)
            if name in conditionals:
                _check(name, conditionals[name], found, batch)
            found.setdefault(name, net[name].space.example((*batch, *net[name].shape), anchor))
    return found


def _check(name: str, conditional: Conditional, found: Mapping[str, Tensor], batch: tuple[int, ...]) -> None:
    event = conditional.variable.shape
    parents = [port.receive(found[port.name]) for port in conditional.ports]
    try:
        distribution = conditional(*parents, validate_args=False)
    except GraphError:
        raise
    except Exception as error:
        shapes = ", ".join(f"{port.name} {tuple(parent.shape)}" for port, parent in zip(conditional.ports, parents)) or "none"
        raise GraphError(f"node {name!r}: its parameters could not be computed: {error} (parents: {shapes})") from error
    if tuple(distribution.event_shape) != event:
        raise GraphError(f"node {name!r}: expected parameters for the event shape {event}; got {tuple(distribution.event_shape)}; declare {conditional.variable.family_name}{tuple(distribution.event_shape)}")
    try:
        fits = torch.broadcast_shapes(distribution.batch_shape, batch) == batch
    except RuntimeError:
        fits = False
    if not fits:
        raise GraphError(
            f"node {name!r}: its parameters have the batch shape {tuple(distribution.batch_shape)}, which does not fit worlds and plates {batch}; a "
            f"parent's event or plate reaches further than the node's: check the event shape and the plates"
        )


def _first_rows(values: Mapping[str, Tensor], worlds: int) -> dict[str, Tensor]:
    return {name: value[:ROWS] if worlds == 1 and value.ndim else value for name, value in values.items()}


def _row(layout: Layout, name: str, value: Tensor, conditional: Conditional | None, worlds: Sequence[int]) -> tuple[str, ...]:
    event = layout.events[name]
    plates = layout.release(name, value).shape[len(worlds):] if conditional else layout.release(name, value).shape
    own = tuple(plates[: len(plates) - len(event)])[-len(layout.members[name]):] if layout.members[name] else ()
    parameters = 0 if conditional is None else sum(parameter.numel() for parameter in conditional.parameters())
    return name, str(tuple(worlds)), str(own), str(event), f"{parameters:,}", str(value.device)


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows)
