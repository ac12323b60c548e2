"""Many draws of a finite net at once: inverse cumulative tables, a block of rows at a time that stays in the cache."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING

import numpy
import torch
from torch import Tensor

from .. import exact

if TYPE_CHECKING:
    from .model import Model

__all__ = ["draws_of_tables", "has_tables"]

MANY = 10_000                                           # rows from which the tables pay
BLOCK = 8192


def has_tables(model: Model, rows: int) -> bool:
    """Whether a draw of so many rows is better made from tables: on a CPU, all nodes single finite values, tables smaller than the draw."""
    net, factors = model.net, exact.Factors(model)
    if rows < MANY or model.device.type != "cpu" or net.plates or net.chains or net.inputs or net.deterministic:
        return False
    return all(factors.tabular(name) and model.conditionals[name].finite and factors.count((*net[name].all_parents, name)) <= rows for name in net)


def draws_of_tables(model: Model, values: Mapping[str, Tensor], rows: int) -> dict[str, Tensor]:
    """Every node `(rows)`, parents first; `values` `(rows)` are kept. Torch's generator seeds the one that draws.

    A uniform number u is compared with the cumulative probabilities of the row's parent configuration: the state is how many lie below
    u (Devroye, 1986, chapter III).
    """
    dice = numpy.random.default_rng(int(torch.randint(2**62, ()).item()))
    codes = {name: values[name].long().numpy() if name in values else numpy.empty(rows, numpy.int64) for name in model.net.order}
    factors = exact.Factors(model)
    plans = [(codes[name], *_cumulative(factors, name, codes)) for name in model.net.order if name not in values]
    uniform, found, bound = numpy.empty(BLOCK), numpy.empty(BLOCK, numpy.int64), numpy.empty(BLOCK)
    for start in range(0, rows, BLOCK):
        block = slice(start, min(start + BLOCK, rows))
        size = block.stop - start
        for column, table, parents in plans:
            dice.random(out=uniform[:size])
            _states(column[block], table, [(parent[block], stride) for parent, stride in parents], uniform[:size], found[:size], bound[:size])
    return {name: value if name in values else _valued(model, name, codes[name]) for name, value in ((name, values.get(name)) for name in model.net.order)}


def _states(out: numpy.ndarray, table: numpy.ndarray, parents: Sequence[tuple[numpy.ndarray, int]], uniform: numpy.ndarray, row: numpy.ndarray, bound: numpy.ndarray) -> None:
    """The states of one block: `table` is `(states - 1, parent configurations)`."""
    if not parents:
        numpy.copyto(out, numpy.searchsorted(table[:, 0], uniform, side="right"))
        return
    (first, stride), *others = parents
    numpy.multiply(first, stride, out=row)
    for parent, stride in others:
        row += parent if stride == 1 else parent * stride
    if not len(table):
        out[...] = 0
        return
    for position, below in enumerate(table):
        numpy.take(below, row, out=bound, mode="clip")
        if position:
            out += uniform >= bound
        else:
            numpy.greater_equal(uniform, bound, out=out, casting="unsafe")


def _cumulative(factors: exact.Factors, name: str, codes: Mapping[str, numpy.ndarray]) -> tuple[numpy.ndarray, list[tuple[numpy.ndarray, int]]]:
    """The cumulative probabilities of all states but the last, `(states - 1, parent configurations)`, and each parent's codes with its stride."""
    table, parents = factors.table(name), factors.net[name].all_parents
    probs = table.double().reshape(-1, table.shape[-1]).T.numpy()           # (states, configurations)
    states = numpy.arange(len(probs))[:, None]
    last = numpy.where(probs > 0, states, 0).max(0)
    cumulative = numpy.where(states >= last, numpy.inf, probs.cumsum(0))    # rounding never reaches a state of probability zero
    return numpy.ascontiguousarray(cumulative[:-1]), [(codes[parent], prod(table.shape[place + 1:-1])) for place, parent in enumerate(parents)]


def _valued(model: Model, name: str, codes: numpy.ndarray) -> Tensor:
    value = torch.from_numpy(codes)
    return value if model.net[name].space.integer else value.to(model.anchor.dtype)
