"""The likeliest values of an autoregressive node, by a search that keeps the best beginnings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .elements import AfterToken, Walk, state_log_probs

if TYPE_CHECKING:
    from .chain import AutoregressiveConditional

__all__ = ["search"]


def search(conditional: AutoregressiveConditional, batch: Sequence[int], prepared: Any, width: int) -> tuple[Tensor, Tensor]:
    """The `width` likeliest values that were kept, `(*batch, width, *event)`, best first, and their log-probabilities `(*batch, width)`.

    Beginnings that ended with the end token wait among the others, and nothing is added to them.
    """
    context, lead, parents = prepared
    rows, like = math.prod(batch), conditional.anchor
    wide = (*tuple(part.unsqueeze(len(lead)) for part in context),), (*lead, 1), [parent.unsqueeze(parent.ndim - port.rank) for parent, port in zip(parents, conditional.ports)]
    walk = Walk(conditional, (*batch, width), wide, conditional.order)
    scores = like.new_full((rows, width), -math.inf)
    scores[:, 0] = 0.0                                                      # one beginning, the empty one
    kept: Tensor = torch.zeros(rows * width, 0, dtype=torch.long, device=like.device)
    ends = conditional.endings(batch, prepared)
    for turn, cells in enumerate(walk.schedule):
        log_probs = state_log_probs(conditional, walk.params(turn), (*batch, width, len(cells))).reshape(rows * width, len(cells), -1)
        for place, cell in enumerate(cells):
            step = _counted(conditional, ends, log_probs[:, place], kept, cell, rows, width)
            every = (scores[:, :, None] + step.reshape(rows, width, -1)).flatten(1)
            scores, best = every.topk(width, 1)
            states = step.shape[-1]
            origin = (best // states + torch.arange(rows, device=like.device)[:, None] * width).flatten()
            kept = torch.cat([kept[origin], (best % states).reshape(-1, 1)], 1)
            log_probs = log_probs[origin]
            walk.stepper.take(origin)
        value = kept[:, -len(cells):].reshape(*batch, width, len(cells))
        walk.go_on(value if conditional.variable.space.integer else value.to(like.dtype))
    order = [cell for group in walk.schedule for cell in group]
    values = kept[:, sorted(range(len(order)), key=order.__getitem__)].reshape(*batch, width, *conditional.variable.shape)
    return values if conditional.variable.space.integer else values.to(like.dtype), scores.reshape(*batch, width)


def _counted(conditional: AutoregressiveConditional, ends: Any, step: Tensor, kept: Tensor, cell: int, rows: int, width: int) -> Tensor:
    """The log-probabilities of the next state, where a sequence that ended goes on with its filling alone, for free."""
    ended, filling = None, 0
    if isinstance(ends, AfterToken):
        ended, filling = (kept == ends.token).any(1), ends.token
    elif conditional.length is not None:
        ended = (ends.lengths.reshape(rows, 1) <= cell // ends.inner).expand(rows, width).reshape(-1)
    if ended is None:
        return step
    rest = torch.full_like(step, -math.inf)
    rest[:, filling] = 0.0
    return torch.where(ended[:, None], rest, step)
