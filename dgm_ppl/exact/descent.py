"""Values chosen from the top of the tree down, each clique given the ones above: exact samples and most probable states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from .plan import Plan
from .tape import Slot
from .tree import Clique

__all__ = ["descend"]


def draw(weights: Tensor) -> Tensor:
    """A random state, in proportion to its weight."""
    return torch.multinomial(weights, 1).squeeze(1)


def largest(weights: Tensor) -> Tensor:
    """The state of the largest weight."""
    return weights.argmax(1)


def descend(plan: Plan, values: Sequence[Tensor], rows: Tensor) -> dict[str, Tensor]:
    """A code for each entry of `rows` `(n)`, which says whose evidence it has: of the nodes that the plan maximizes the most probable
    states, or where it maximizes none a draw of every hidden node.

    Args:
        values: every value of the way up.
    """
    found: dict[str, Tensor] = {}
    choice = largest if plan.maximized else draw
    for clique in (clique for clique in reversed(plan.cliques) if plan.maximal(clique) or not plan.maximized):
        weights = _weights(plan, clique, values, rows, found)
        state = choice(torch.where((weights > 0).any(1, keepdim=True), weights, 1.0))
        for name in reversed(clique.residual):
            found[name] = state % plan.cards[name]
            state = state // plan.cards[name]
    return found


def _weights(plan: Plan, clique: Clique, values: Sequence[Tensor], rows: Tensor, found: Mapping[str, Tensor]) -> Tensor:
    """What is proportional to p(residual | what was chosen above), `(n, states)`."""
    product = torch.ones(1, *(plan.cards[name] for name in clique.residual), dtype=values[plan.inputs[0].index].dtype, device=rows.device)
    for slot in plan.conditional(clique):
        product = product * _restricted(plan, clique, slot, values[slot.index], rows, found)
    return product.reshape(len(product), -1).expand(len(rows), -1)


def _restricted(plan: Plan, clique: Clique, slot: Slot, value: Tensor, rows: Tensor, found: Mapping[str, Tensor]) -> Tensor:
    """A factor where the nodes above have their chosen states, `(n, *states of the residual)`."""
    above = [name for name in slot.scope if name in found]
    here = [name for name in clique.residual if name in slot.scope]
    flat = value.permute(*(slot.scope.index(name) for name in (*above, *here)), -1)
    flat = flat.reshape(plan.tape.size(above), plan.tape.size(here), -1)
    code = torch.zeros_like(rows)
    for name in above:
        code = code * plan.cards[name] + found[name]
    picked = flat[code, :, rows if slot.batched else torch.zeros_like(rows)]                          # (n, states here)
    return picked.reshape(-1, *(plan.cards[name] if name in here else 1 for name in clique.residual))
