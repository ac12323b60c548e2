"""How answers move with the entries of the tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..exact import Engine, Evidence

__all__ = ["sensitivities"]


def sensitivities(engine: Engine, evidence: Evidence, codes: Mapping[str, int] | None) -> dict[str, Tensor]:
    """The derivative of p(states | evidence), or of log p(evidence), with respect to every entry of every table, `(rows, *parents' states, states)`.

    An entry moves and the others of its row make room in proportion, so that it still sums to one (Laskey, 1995): with g the derivative
    with all entries free, d_k = g_k - sum_{j != k} g_j theta_j / (1 - theta_k); where theta_k is one, the others grow alike.
    """
    factors = engine.factors
    names = [name for name in engine.model.net.order if name in engine.model.conditionals and not engine.model.net[name].is_deterministic and factors.tabular(name)]
    with torch.enable_grad():
        tables = {name: factors.table(name).detach().clone().requires_grad_() for name in names}
        rows = [_row(engine, evidence.part(torch.tensor([row], device=engine.model.anchor.device)), codes, tables) for row in range(evidence.rows)]
    found = {}
    for name, gradients in zip(names, zip(*rows)):
        table = tables[name].detach()
        found[name] = torch.stack([table.new_zeros(table.shape) if gradient is None else _within_row(table, gradient) for gradient in gradients])
    return found


def _row(engine: Engine, evidence: Evidence, codes: Mapping[str, int] | None, tables: Mapping[str, Tensor]) -> Sequence[Tensor | None]:
    if codes is None:
        asked = engine.answer(evidence, (), tables=tables).log_evidence[0]
    else:
        left = tuple(name for name in codes if name not in evidence.values)
        if not left or any(int(evidence.values[name].reshape(-1)[0]) != code for name, code in codes.items() if name not in left):
            return [None] * len(tables)                                     # one or zero, whatever the tables
        asked = engine.marginal(evidence, left, tables=tables)[(0, *(codes[name] for name in left))]
    if not asked.requires_grad:
        return [None] * len(tables)
    return torch.autograd.grad(asked, list(tables.values()), allow_unused=True)


def _within_row(table: Tensor, gradient: Tensor) -> Tensor:
    """The derivative along rows that sum to one."""
    states = table.shape[-1]
    if states == 1:
        return torch.zeros_like(gradient)
    weighted, sure = (gradient * table).sum(-1, keepdim=True) - gradient * table, table >= 1
    alike = (gradient.sum(-1, keepdim=True) - gradient) / (states - 1)
    return gradient - torch.where(sure, alike, weighted / torch.where(sure, 1.0, 1 - table))
