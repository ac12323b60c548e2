"""Expressions evaluated: every operand is a value and its number of event dimensions; batch dimensions line up from the left of the event."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from .expressions import Constant, Expression, Ref
from .shapes import broadcast

__all__ = ["ELEMENTWISE", "UNARY", "elementwise", "evaluator", "index_by", "matrix_product", "pad_event"]


def evaluator(expression: Expression, constants: Callable[[Constant], Callable[[], Any]]) -> Callable:
    """A function from `{name: (value, event rank)}` to `(value, event rank)`; `constants` places arrays on a device."""
    if isinstance(expression, Ref):
        name = expression.name
        return lambda values: values[name]
    if isinstance(expression, Constant):
        read, rank = constants(expression), expression.array.ndim
        return lambda values: (read(), rank)
    parts = tuple(evaluator(operand, constants) for operand in expression.operands)
    if expression.operator == "[]":
        return lambda values: index_by(*(part(values) for part in parts))
    if expression.operator == "@":
        return lambda values: matrix_product(*(part(values) for part in parts))
    if expression.operator in UNARY:
        functions = UNARY[expression.operator]
        return lambda values: _unary(functions, *parts[0](values))
    function, (left, right) = ELEMENTWISE[expression.operator], parts
    return lambda values: elementwise(function, left(values), right(values))


UNARY: Mapping[str, tuple[Callable, Callable]] = {                          # on tensors, on plain numbers
    "neg": (operator.neg, operator.neg),
    "exp": (torch.exp, math.exp),
    "log": (torch.log, math.log),
    "softplus": (torch.nn.functional.softplus, lambda x: max(x, 0) + math.log1p(math.exp(-abs(x)))),
    "sigmoid": (torch.sigmoid, lambda x: (1 + math.tanh(x / 2)) / 2),
}
ELEMENTWISE: Mapping[str, Callable] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "**": operator.pow,
}


def _unary(functions: tuple[Callable, Callable], value: Any, rank: int) -> tuple:
    on_tensors, on_numbers = functions
    return (on_tensors if isinstance(value, Tensor) else on_numbers)(value), rank


def elementwise(function: Callable, left: tuple, right: tuple) -> tuple:
    """An operator on two values with their event dimensions, padded to as many."""
    (a, rank_a), (b, rank_b) = left, right
    rank = max(rank_a, rank_b)
    return function(pad_event(a, rank_a, rank), pad_event(b, rank_b, rank)), rank


def pad_event(value: Any, rank: int, wanted: int) -> Any:
    """Inserts singleton dimensions between batch and event, so that events broadcast and batches stay in line."""
    if rank == wanted or not isinstance(value, Tensor) or value.ndim == rank:
        return value
    batch = value.ndim - rank
    return value.reshape(*value.shape[:batch], *(1,) * (wanted - rank), *value.shape[batch:])


def matrix_product(left: tuple, right: tuple) -> tuple:
    """The matrix product over the event dimensions."""
    (a, rank_a), (b, rank_b) = left, right
    if not (rank_a and rank_b):
        raise ValueError(f"matmul needs operands with at least one event dimension; got {rank_a} and {rank_b}")
    if rank_a == 1 and rank_b == 1:
        if a.shape[-1] != b.shape[-1]:
            raise ValueError(f"matmul of vectors of {a.shape[-1]} and {b.shape[-1]} numbers")
        return (a * b).sum(-1), 0
    if rank_b == 1:
        product, rank = matrix_product(left, (b.unsqueeze(-1), 2))
        return product.squeeze(-1), rank - 1
    if rank_a == 1:
        product, rank = matrix_product((a.unsqueeze(-2), 2), right)
        return product.squeeze(-2), rank - 1
    rank = max(rank_a, rank_b)
    return pad_event(a, rank_a, rank) @ pad_event(b, rank_b, rank), rank


def index_by(base: tuple, *indices: tuple) -> tuple:
    """The value at some indices, from the first event dimension on."""
    value, rank = base
    for index, index_rank in indices:
        if rank == 0:
            raise ValueError("too many indices: the indexed value has no event dimension left")
        value, rank = _take(value, rank, index, index_rank)
    return value, rank


def _take(value: Tensor, rank: int, index: Any, index_rank: int) -> tuple:
    """Picks along the first event dimension: a number drops it, a node's value replaces it by the node's own event."""
    axis = value.ndim - rank
    if not isinstance(index, Tensor):
        return value.select(axis, int(index)), rank - 1
    event, rest = index.shape[index.ndim - index_rank:], value.shape[axis + 1:]
    batch = broadcast(value.shape[:axis], index.shape[: index.ndim - index_rank])
    flat = index.long().expand((*batch, *event)).reshape(*batch, -1, *(1,) * len(rest))
    taken = value.expand((*batch, *value.shape[axis:])).gather(len(batch), flat.expand((*batch, flat.shape[len(batch)], *rest)))
    return taken.reshape((*batch, *event, *rest)), index_rank + len(rest)
