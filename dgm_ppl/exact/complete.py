"""log p of rows that lack nothing: entries of tables, gathered and added up."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from .factors import Factors

__all__ = ["complete_log_prob"]

BLOCK = 16_384                                          # rows whose codes stay in the cache


def complete_log_prob(factors: Factors, values: Mapping[str, Tensor], rows: int) -> tuple[Tensor, set[str]]:
    """The sum of log p(node | parents) over the nodes whose tables are no larger than the data, `(rows)`, from aligned values; and their names.

    Minus infinity where an entry is zero.
    """
    net, anchor = factors.net, factors.model.anchor
    random = [name for name in net.order if name in factors.conditionals and not net[name].is_deterministic]
    tabular = [name for name in random if values.keys() >= {name, *net[name].all_parents} and factors.tabular(name) and factors.count((*net[name].all_parents, name)) <= rows]
    needed = {one for name in tabular for one in (name, *net[name].all_parents)}
    codes = {name: values[name].reshape(-1).long() for name in needed}
    tables = [(*_flat(factors, name), name) for name in tabular]
    total = torch.zeros(rows, dtype=anchor.dtype, device=anchor.device)
    for start in range(0, rows if tables else 0, BLOCK):
        block = slice(start, start + BLOCK)
        part = {name: value[block] for name, value in codes.items()}
        for logs, strides, name in tables:
            code = part[name]
            for parent, stride in strides:
                code = torch.add(code, part[parent], alpha=stride)
            total[block] += logs.index_select(0, code)
    return total, set(tabular)


def _flat(factors: Factors, name: str) -> tuple[Tensor, list[tuple[str, int]]]:
    """The logarithms of a table, flat, and how far a parent's next state lies."""
    table, parents, strides = factors.log_table(name), factors.net[name].all_parents, []
    stride = table.shape[-1]
    for axis in reversed(range(len(parents))):
        strides.append((parents[axis], stride))
        stride *= table.shape[axis]
    return table.reshape(-1), strides
