"""Normal vectors of sparse precision: a missing edge is an independence given all other elements."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from pyro.distributions import constraints
from torch import Tensor

from ..families import Architecture, Forms, Noise, Parameter, Real, Space, Variable
from ..families.family import given_parameter
from ..families.shapes import broadcast
from ..families.variable import checked_shape
from ..graph import GraphError
from .base import Conditional
from .distribution import ConditionalDistribution, leading
from .parametric import Parametric

__all__ = ["GaussianMRF", "MarkovField", "MarkovFieldConditional", "elimination_order"]

HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


def GaussianMRF(size: int, *, edges: Iterable[Sequence[int]], loc: Any = None, diagonal: Any = None, entries: Any = None) -> Variable:
    """A normal vector whose precision is zero wherever the graph over its elements has no edge (a Gaussian Markov random field; Rue and Held, 2005).

    The precision is A'A with one row of A an element: its `diagonal` (positive) and an entry for each neighbour that comes after it in a perfect
    elimination order, so that nothing fills in. Hence the graph must be chordal.

    Args:
        size: the number of elements of the event `(*worlds, *plates, size)`.
        edges: pairs of element numbers.
        loc, diagonal, entries: parameters `(size,)`, `(size,)` and `(edges,)`; what is left out is learned, or computed from parents.

    Raises:
        GraphError: an edge between elements that are not there, a graph that is not chordal.

    Example:
        >>> import dgm_ppl as dgm
        >>> dgm.GaussianMRF(4, edges=[(0, 1), (1, 2), (2, 3)], loc=0.0)
        GaussianMRF(4, edges=((0, 1), (1, 2), (2, 3)), loc=0.0)
    """
    (size,) = checked_shape((size,), "GaussianMRF")
    pairs = tuple(sorted({_edge(edge, size) for edge in edges}))
    elimination_order(size, pairs)
    named = {name: given_parameter("GaussianMRF", name, value) for name, value in (("loc", loc), ("diagonal", diagonal), ("entries", entries)) if value is not None}
    return Variable(MarkovField(pairs), (size,), tuple(named.items()))


def _edge(edge: Any, size: int) -> tuple[int, int]:
    pair = tuple(edge) if isinstance(edge, (tuple, list)) else ()
    if len(pair) != 2 or any(isinstance(end, bool) or not isinstance(end, int) or not 0 <= end < size for end in pair) or pair[0] == pair[1]:
        raise GraphError(f"GaussianMRF: expected pairs of different elements from 0 to {size - 1}; got {edge!r}; try edges=[(0, 1)]")
    return min(pair), max(pair)


def elimination_order(size: int, edges: Collection[tuple[int, int]]) -> list[int]:
    """A perfect elimination order: the later neighbours of every element are neighbours of each other.

    >>> elimination_order(3, [(0, 1), (1, 2)])
    [0, 1, 2]
    """
    neighbours = {node: {b if a == node else a for a, b in edges if node in (a, b)} for node in range(size)}
    order, left = [], set(range(size))
    while left:
        simplicial = next((node for node in sorted(left) if not _missing(node, left, neighbours)), None)
        if simplicial is None:
            chord = min((_missing(node, left, neighbours) for node in left), key=len)
            raise GraphError(f"GaussianMRF: expected a chordal graph, whose precision can be factored without filling in; got a cycle without chords; try adding the edges {sorted(chord)}")
        order.append(simplicial)
        left.remove(simplicial)
    return order


def _missing(node: int, left: set[int], neighbours: Mapping[int, set[int]]) -> list[tuple[int, int]]:
    around = sorted(neighbours[node] & left)
    return [(a, b) for place, a in enumerate(around) for b in around[place + 1:] if b not in neighbours[a]]


@dataclass(frozen=True, repr=False)
class MarkovField(Architecture):
    """The distribution of a node that `GaussianMRF` declares."""

    edges: tuple[tuple[int, int], ...] = ()

    parameters: ClassVar = {
        "loc": Parameter(constraints.real_vector), "diagonal": Parameter(constraints.independent(constraints.positive, 1)), "entries": Parameter(constraints.real_vector),
    }
    linear: ClassVar = ("loc",)

    def space(self, variable: Variable) -> Space:
        return Real()

    def signature(self, names: Collection[str]) -> tuple[str, ...]:
        return tuple(self.parameters) if self.edges else ("loc", "diagonal")

    def parameter_shape(self, name: str, variable: Variable) -> tuple[int, ...]:
        return (len(self.edges),) if name == "entries" else variable.shape

    def forms_of(self, signature: tuple[str, ...]) -> Forms:
        return Forms(ConditionalDistribution, signature, 1, True)

    def summary(self, variable: Variable) -> str:
        return f"GaussianMRF({', '.join([str(variable.shape[0]), f'edges={self.edges}', *(f'{name}={value}' for name, value in variable.parameters)])})"

    def caption(self, variable: Variable) -> str:
        return f"GaussianMRF({variable.shape[0]}), {len(self.edges)} edges"

    def build(self, name: str, variable: Variable, ports: Any, *, plates: Any, all_plates: int, shared: Any) -> MarkovFieldConditional:
        return MarkovFieldConditional(name, variable, ports, plates=plates, all_plates=all_plates, shared=shared)


class MarkovFieldConditional(Parametric):
    """-log p(x) = |A (x - loc)|^2 / 2 - sum log diag A + d log(2 pi) / 2."""

    functional = True
    reparameterized = True

    def __init__(self, name: str, variable: Variable, ports: Any, **options: Any):
        super().__init__(name, variable, ports, plates=options["plates"], all_plates=options["all_plates"], shared=options["shared"])
        size, edges = variable.shape[0], variable.family.edges
        order = elimination_order(size, edges)
        place = {node: position for position, node in enumerate(order)}
        pairs = [(a, b) if place[a] < place[b] else (b, a) for a, b in edges]                        # (the row of A, the later element)
        self.register_buffer("row", torch.tensor([a for a, _ in pairs], dtype=torch.long), persistent=False)
        self.register_buffer("column", torch.tensor([b for _, b in pairs], dtype=torch.long), persistent=False)
        self.register_buffer("order", torch.tensor(order), persistent=False)
        self.register_buffer("place", torch.tensor(order).argsort(), persistent=False)
        flat = [size * place[a] + place[b] for a, b in pairs]
        self.register_buffer("cell", torch.tensor(flat, dtype=torch.long), persistent=False)

    def _parts(self, prepared: Sequence[Any]) -> tuple[Any, Tensor, Tensor | None]:
        loc, diagonal = prepared[:2]
        return loc, self._tensor(diagonal), self._tensor(prepared[2]) if len(self.row) else None

    def surprisals(self, value: Tensor, prepared: Sequence[Any]) -> Tensor:
        loc, diagonal, entries = self._parts(prepared)
        z = value - loc
        white = diagonal * z
        if entries is not None:
            crossed = entries * z.index_select(-1, self.column)
            batch = broadcast(white.shape[:-1], crossed.shape[:-1])
            white = white.expand(*batch, white.shape[-1]).index_add(-1, self.row, crossed.expand(*batch, crossed.shape[-1]))
        return 0.5 * white.square().sum(-1) - diagonal.log().expand(diagonal.shape[:-1] + z.shape[-1:]).sum(-1) + z.shape[-1] * HALF_LOG_TWO_PI

    def log_density(self, value: Tensor, prepared: Sequence[Any]) -> Tensor:
        return -self.surprisals(value, prepared)

    def draw(self, batch: Sequence[int], prepared: Sequence[Any], noise: Noise) -> Tensor:
        loc, diagonal, entries = self._parts(prepared)
        size = self.event[0]
        white = noise.normal((*batch, size), self._buffers["anchor"]).index_select(-1, self.order)
        root = torch.diag_embed(diagonal.expand(*diagonal.shape[:-1], size).index_select(-1, self.order))
        if entries is not None:
            outer = broadcast(root.shape[:-2], entries.shape[:-1])
            root = root.expand(*outer, size, size).flatten(-2).index_add(-1, self.cell, entries.expand(*outer, entries.shape[-1])).unflatten(-1, (size, size))
        ordered = torch.linalg.solve_triangular(root, white.unsqueeze(-1), upper=True).squeeze(-1)
        return loc + ordered.index_select(-1, self.place)

    def precision(self, *parents: Tensor) -> Tensor:
        """The precision matrix A'A, `(*batch, size, size)`."""
        _, diagonal, entries = self._parts(self.prepare(*parents))
        root = torch.diag_embed(diagonal.expand(*diagonal.shape[:-1], self.event[0]))
        if entries is not None:
            root = root.clone()
            root[..., self.row, self.column] = entries
        return root.mT @ root

    def divergences(self, prepared: Any, other: Conditional, other_prepared: Any) -> Tensor | None:
        return None

    def forward(self, *parents: Tensor, validate_args: bool | None = None) -> ConditionalDistribution:
        return ConditionalDistribution(self, self.prepare(*parents), leading(self.ports, parents), validate_args)
