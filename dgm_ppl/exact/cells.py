"""Data in which any cell may be missing: values with something legal in the holes, and where the holes are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy
import torch
from torch import Tensor

from ..data import columns
from ..graph import GraphError
from ..network.padding import filled
from .factors import Compiled
from .soft import take_soft
from .structure import kind_of

__all__ = ["Cells", "cells", "hole_name", "missing_cells", "packed", "unpacked"]

MARK = "missing("                                   # before a node's name, a column of a batch that says where cells are missing


class Cells(dict):
    """Encoded columns in the user's layout.

    `holes` says where cells are missing, by the columns that have any; `empty` names columns of nothing else; `soft` are likelihoods `(*worlds, states)`.
    """

    def __init__(self, values: Mapping[str, Tensor], holes: Mapping[str, Tensor], empty: Sequence[str] = (), soft: Mapping[str, Tensor] = {}):
        super().__init__(values)
        self.holes, self.empty, self.soft = dict(holes), tuple(empty), dict(soft)


def cells(model: Compiled, data: Any) -> Cells:
    """Data checked and encoded; a missing cell is NaN or None, and a column of nothing else is no data.

    Raises:
        GraphError: what `encode` of the model raises, a missing cell of a Given input.
    """
    data, soft = take_soft(model, data if isinstance(data, Mapping) else columns(data))
    kept, holes, empty = {}, {}, []
    lengths = {chain: torch.as_tensor(data[chain]) for chain in model.net.chains if chain in data}
    for name, value in data.items():
        if lengths and name in model.net and isinstance(value, (Tensor, numpy.ndarray)):
            value = filled(model.layout, name, torch.as_tensor(value), lengths)
        missing = missing_cells(value) if name in model.net else None
        if missing is not None and model.net[name].is_given:
            raise GraphError(f"node {name!r} is a Given input and has missing cells (NaN or None); nothing says how they come about: fill them in, or declare a distribution")
        if missing is not None and missing.all():
            empty.append(name)
            continue
        kept[name] = value if missing is None else _filled(value, missing)
        if missing is not None:
            holes[name] = torch.as_tensor(missing, device=model.anchor.device)
    found = Cells(model.encode(kept), holes, empty, soft)
    for name, hole in holes.items():
        _check_whole(model, name, hole)
    return found


def _check_whole(model: Compiled, name: str, hole: Tensor) -> None:
    """Elements that hang together are missing together, but for Gaussians, where any may be."""
    joint = len(model.net[name].shape) - model.conditionals[name].elements
    if joint and kind_of(model.net, name) != "gaussian" and not bool((hole.any(tuple(range(-joint, 0))) == hole.all(tuple(range(-joint, 0)))).all()):
        raise GraphError(
            f"node {name!r} ~ {model.net[name].summary} has missing cells within a value, whose elements hang together; expected values that are there or missing as a "
            f"whole; drop these rows, or declare the elements as nodes of their own"
        )


def packed(found: Cells, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Values, with rows in front, and holes as columns of one batch."""
    return {**values, **{f"{MARK}{name})": hole.reshape(values[name].shape) for name, hole in found.holes.items()}}


def hole_name(column: str) -> str | None:
    """The node whose missing cells a column of a batch marks; None for a column of values."""
    return column[len(MARK): -1] if column.startswith(MARK) else None


def unpacked(batch: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The values and the holes of a batch."""
    values = {name: value for name, value in batch.items() if hole_name(name) is None}
    return values, {hole_name(name): hole for name, hole in batch.items() if hole_name(name) is not None}


def missing_cells(value: Any) -> numpy.ndarray | None:
    """Which cells are missing; None where none is."""
    if isinstance(value, Tensor):
        if not value.is_floating_point() or not bool(value.isnan().any()):
            return None
        return value.isnan().cpu().numpy()
    try:
        array = numpy.asarray(value)
    except ValueError:                                                      # rows that differ, which are refused when they are encoded
        return None
    if array.dtype.kind == "O":
        missing = numpy.fromiter(map(_absent, array.ravel()), bool, array.size).reshape(array.shape)
    else:
        missing = numpy.isnan(array) if array.dtype.kind == "f" else numpy.zeros(1, bool)
    return missing if missing.any() else None


def _absent(cell: Any) -> bool:
    return cell is None or (isinstance(cell, float) and cell != cell) or type(cell).__name__ in ("NAType", "NaTType")


def _filled(value: Any, missing: numpy.ndarray) -> Any:
    """The column with a legal value in its holes: one of its own."""
    if isinstance(value, Tensor):
        held = torch.as_tensor(missing, device=value.device)
        return torch.where(held, value[~held][0], value)
    array = numpy.asarray(value)
    return numpy.where(missing, array[~missing][0], array)
