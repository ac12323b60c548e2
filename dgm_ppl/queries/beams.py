"""The likeliest sequences of an autoregressive node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..compile import Model
from ..conditionals.beams import search
from ..graph import GraphError

__all__ = ["Beams", "beam_search"]


@dataclass(frozen=True, eq=False)
class Beams:
    """Values of a node, best first, `(*worlds, *plates, count, *event)`, and their log-probabilities given its parents, `(*worlds, *plates, count)`."""

    values: Tensor
    log_prob: Tensor

    @property
    def best(self) -> Tensor:
        """The best value, `(*worlds, *plates, *event)`."""
        axis = self.log_prob.ndim - 1
        return self.values.select(axis, 0)


def beam_search(model: Model, node: str, *, width: int = 8, given: Mapping[str, Any] | None = None) -> Beams:
    """The likeliest values of an autoregressive node given its parents, among those whose beginnings stayed among the `width` likeliest.

    A search as wide as there are values finds the most probable one; a narrow one a probable one (Lowerre, 1976). Sequences with an end
    token or a length are scored to their end.

    Arguments:
        given: a value for every parent, one row or many.

    Raises:
        GraphError: a node that is not autoregressive, or mixes orders, or whose elements have no states; a parent without a value.

    Example:
        >>> import dgm_ppl as dgm
        >>> model = dgm.compile(dgm.BayesNet(x=dgm.Autoregressive(dgm.Categorical(5, 3), net=dgm.MADE(8))), seed=0)
        >>> found = beam_search(model, "x", width=4)
        >>> found.best.shape, found.log_prob.shape
        (torch.Size([3]), torch.Size([4]))
    """
    conditional = model.conditional(node)
    if not conditional.stepwise:
        raise GraphError(f"beam_search: node {node!r} ~ {model.net[node].summary} is not drawn element by element; declare it with dgm.Autoregressive(...), or ask dgm.posterior")
    if conditional.order is None:
        raise GraphError(f"beam_search: node {node!r} mixes several orders; search in one of them: dgm.beam_search(model.in_order({node}=...), {node!r})")
    if not isinstance(width, int) or isinstance(width, bool) or width < 1:
        raise GraphError(f"beam_search: expected width to be a positive whole number; got {width!r}; try width=8")
    values = model.encode(given or {})
    step = model.nodes[node]
    for parent in step.parents:
        if parent not in values and parent not in model.net.deterministic:
            raise GraphError(f"beam_search: node {node!r} depends on {parent!r}, which has no value; try given={{{parent!r}: ...}}")
    with torch.no_grad():
        known = {name: value for name, value in values.items() if name != node}
        sizes = model.layout.sizes(known)
        aligned = model.determined(model.layout.align_all(known), sizes) if model.net.deterministic else model.layout.align_all(known)
        batch = model.layout.batch(node, model.layout.worlds(known), sizes)
        found, scores = search(conditional, batch, step.prepare(aligned), width)
    return Beams(_released(model, node, found, 1 + len(model.net[node].shape)), _released(model, node, scores, 1))


def _released(model: Model, node: str, value: Tensor, rank: int) -> Tensor:
    """Without the singletons of plates that the node is not in; `rank` counts the dimensions after the plates."""
    first = value.ndim - rank - model.layout.rank
    for position in reversed(range(model.layout.rank)):
        if position not in model.layout.members[node]:
            value = value.squeeze(first + position)
    return value
