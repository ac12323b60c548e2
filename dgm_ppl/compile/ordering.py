"""Declared order is actual order: which elements of one event depend on which, held against what the conditional says.

A conditional whose elements are not independent given the parents (autoregressive, a flow) says in `event_adjacency` which elements
may depend on which. What it makes of each element, its `residuals`, must have a zero Jacobian elsewhere; where values are not
real, no residual may move when such an element is changed. The density itself must have no term in which two elements meet
that nothing lets meet: its mixed differences are zero there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .probing import Probe

if TYPE_CHECKING:
    from .schedule import Node

__all__ = ["MOST", "disorder", "is_acyclic"]

MOST = 64
"""So many elements, and so many pairs of them, are tried of a larger event."""

TOLERANCE = 1e-5


def disorder(probe: Probe, node: Node) -> Iterator[str]:
    """What contradicts the order that a conditional says its event has, in words."""
    adjacency = node.conditional.event_adjacency
    if adjacency is None:
        return
    size = torch.Size(node.conditional.variable.shape).numel()
    if adjacency.shape != (size, size) or adjacency.dtype is not torch.bool:
        yield (f"says which of its {size} elements depend on which in a matrix of shape {tuple(adjacency.shape)} and type {adjacency.dtype}; "
               f"expected ({size}, {size}) and torch.bool")
        return
    adjacency = adjacency.cpu() | torch.eye(size, dtype=torch.bool)
    if not is_acyclic(adjacency):
        yield "has elements that depend on each other in a cycle: there is no order in which it could be drawn; try a lower triangle"
    yield from _odd_influences(probe, node, adjacency)
    yield from _odd_meetings(probe, node, adjacency)


def is_acyclic(adjacency: Tensor) -> bool:
    """Whether elements can be put in an order in which each depends on earlier ones and itself alone.

    >>> is_acyclic(torch.ones(3, 3).tril().bool()), is_acyclic(torch.ones(2, 2).bool())
    (True, False)
    """
    reads = adjacency & ~torch.eye(len(adjacency), dtype=torch.bool)
    left = torch.ones(len(reads), dtype=torch.bool)
    while left.any():
        ready = left & ~reads[:, left].any(1)
        if not ready.any():
            return False
        left &= ~ready
    return True


def _odd_influences(probe: Probe, node: Node, adjacency: Tensor) -> Iterator[str]:
    """Elements that others depend on against the order, each with the first one that does."""
    real = probe.values[node.name].is_floating_point() and node.conditional.variable.space.cardinality is None
    moved = _jacobian(probe, node, _chosen(len(adjacency))) if real else _changes(probe, node, _chosen(len(adjacency)))
    for i, j in (moved & ~adjacency).nonzero()[:3].tolist():
        yield f"has an element {_place(node, i)} that depends on element {_place(node, j)}, which its order does not allow"


def _jacobian(probe: Probe, node: Node, rows: Sequence[int]) -> Tensor:
    """Where the derivative of a residual (row) by an element (column) is not zero in some world; rows that were not asked for are empty."""
    with torch.enable_grad():
        value = probe.values[node.name].detach().clone().requires_grad_()
        residuals = _flat(probe, node, node.conditional.residuals(value, node.prepare(probe.values)))
        found = torch.zeros(residuals.shape[-1], residuals.shape[-1], dtype=torch.bool)
        for i in rows:
            (gradient,) = torch.autograd.grad(residuals[..., i].sum(), value, retain_graph=True, allow_unused=True, materialize_grads=True)
            found[i] = (_flat(probe, node, gradient).abs() > TOLERANCE).flatten(0, -2).any(0).cpu()
    return found


def _changes(probe: Probe, node: Node, columns: Sequence[int]) -> Tensor:
    """Where a residual (row) moves in some world when an element (column) is changed; columns that were not asked for are empty."""
    prepared = node.prepare(probe.values)
    value, other = (_flat(probe, node, one) for one in (probe.values[node.name], probe.others[node.name][0]))
    base = _flat(probe, node, node.conditional.residuals(probe.values[node.name], prepared))
    found = torch.zeros(base.shape[-1], base.shape[-1], dtype=torch.bool)
    for j in columns:
        changed = value.clone()
        changed[..., j] = other[..., j]
        residuals = _flat(probe, node, node.conditional.residuals(changed.reshape(probe.values[node.name].shape), prepared))
        found[:, j] = (~torch.isclose(residuals, base, rtol=TOLERANCE, atol=TOLERANCE)).flatten(0, -2).any(0).cpu()
    return found


def _odd_meetings(probe: Probe, node: Node, adjacency: Tensor) -> Iterator[str]:
    """Pairs of elements whose joint effect on the log-density is not the sum of their single effects, though no element reads both."""
    reads = adjacency.double()
    apart = [(i, j) for i, j in combinations(range(len(adjacency)), 2) if not bool((reads[:, i] * reads[:, j]).any())] if len(adjacency) <= MOST else []
    picked = [apart[i] for i in torch.randperm(len(apart))[:MOST].tolist()]
    for i, j in picked:
        if _meet(probe, node, i, j):
            yield f"has a density in which elements {_place(node, i)} and {_place(node, j)} meet, though its order lets no element read both"
            return


def _meet(probe: Probe, node: Node, i: int, j: int) -> bool:
    terms = [_density(probe, node, elements) for elements in ((), (i,), (j,), (i, j))]
    size = torch.stack(terms).abs().amax(0).clamp_min(1)
    mixed = (terms[0] - terms[1] - terms[2] + terms[3]).abs()
    return bool((mixed > 10 * TOLERANCE * size)[torch.stack(terms).isfinite().all(0)].any())


def _density(probe: Probe, node: Node, elements: Sequence[int]) -> Tensor:
    """The log-density once these elements have other values."""
    held = probe.values[node.name]
    value, other = _flat(probe, node, held).clone(), _flat(probe, node, probe.others[node.name][0])
    value[..., list(elements)] = other[..., list(elements)]
    changed: Mapping[str, Tensor] = {**probe.values, node.name: value.reshape(held.shape)}
    return probe.term(node, changed)[..., 0]


def _flat(probe: Probe, node: Node, value: Tensor) -> Tensor:
    """Values `(*batch, *event)` as `(*batch, elements)`."""
    event = node.conditional.variable.shape
    return value.expand(*probe.batch(node.name), *event).reshape(*probe.batch(node.name), -1)


def _chosen(size: int) -> list[int]:
    return list(range(size)) if size <= MOST else torch.randperm(size)[:MOST].sort().values.tolist()


def _place(node: Node, index: int) -> tuple[int, ...]:
    """Where an element stands in the event."""
    return tuple(int(one) for one in torch.unravel_index(torch.tensor(index), node.conditional.variable.shape))
