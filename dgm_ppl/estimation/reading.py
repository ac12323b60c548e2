"""Data for estimation: checked once, finite columns as narrow codes, so that a million rows cost no more than counting them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy
import torch
from torch import Tensor

from ..compile import Model
from ..data import columns
from ..exact import Cells, cells
from ..graph import GraphError

__all__ = ["Complete", "checked_weights", "read"]


@dataclass(frozen=True, eq=False)
class Complete:
    """Columns without holes: `codes` of single finite values, on the CPU in numpy, and the others encoded, in the user's layout."""

    model: Model
    codes: Mapping[str, Any]
    encoded: Mapping[str, Tensor]
    rows: int

    @cached_property
    def sizes(self) -> dict[str, int]:
        """The sizes of the plates."""
        return self.model.layout.sizes(self.encoded)

    @cached_property
    def values(self) -> dict[str, Tensor]:
        """Every value, aligned, deterministic nodes computed; real numbers in double precision."""
        model, layout = self.model, self.model.layout
        found = {name: torch.as_tensor(code, device=model.device) for name, code in self.codes.items()}
        found = {name: code.long() if model.net[name].space.integer else code.to(model.anchor.dtype) for name, code in found.items()}
        aligned = layout.align_all({**found, **self.encoded})
        for node in model.schedule:
            if node.deterministic and all(parent in aligned for parent in node.parents):
                aligned[node.name] = model.compute(node, aligned, self.sizes)
        return aligned


def read(model: Model, data: Any) -> Complete | Cells:
    """The data, complete or with holes and latent nodes.

    Raises:
        GraphError: what the declaration excludes, a column of missing cells alone.
    """
    given = data if isinstance(data, Mapping) else columns(data)
    codes = {name: code for name, column in given.items() if (code := _codes(model, name, column)) is not None}
    rest = {name: column for name, column in given.items() if name not in codes}
    lengths = {len(code) for code in codes.values()}
    needed = {*model.random, *model.net.inputs}
    if not rest and needed <= codes.keys() and len(lengths) == 1:
        return Complete(model, {name: _placed(model, code) for name, code in codes.items()}, {}, lengths.pop())
    found = cells(model, given)
    if found.empty:
        name = found.empty[0]
        raise GraphError(
            f"estimate: node {name!r}: every cell of its column is missing; give some values, or leave the column out, which makes {name!r} latent: "
            f"{{name: column for name, column in data.items() if name != {name!r}}}"
        )
    if found.holes or not needed <= found.keys():
        return found
    encoded = model.layout.rowed(found)
    rows = len(next(iter(encoded.values())))
    single = [name for name in encoded if _is_single(model, name)]
    narrow = {name: codes.get(name, _narrow(encoded[name], model.net[name].space.cardinality)) for name in single}
    return Complete(model, {name: _placed(model, code) for name, code in narrow.items()}, {name: value for name, value in encoded.items() if name not in narrow}, rows)


def checked_weights(weights: Any, rows: int) -> Tensor | None:
    """The weight of each row, double precision.

    Raises:
        GraphError: of another length, negative, or all zero.
    """
    if weights is None:
        return None
    try:
        found = torch.from_numpy(numpy.array(weights.detach().cpu().numpy() if isinstance(weights, Tensor) else weights, dtype=float))
    except (TypeError, ValueError) as error:
        raise GraphError(f"estimate: weights: expected one number a row; got {type(weights).__name__}; try weights=torch.ones({rows})") from error
    if found.shape != (rows,):
        raise GraphError(f"estimate: weights: expected the shape ({rows},), one a row; got {tuple(found.shape)}")
    if not bool(found.isfinite().all()) or bool((found < 0).any()):
        broken = found[~(found.isfinite() & (found >= 0))]
        raise GraphError(f"estimate: weights: expected finite numbers that are not negative; got {broken[0]:g}")
    if not bool((found > 0).any()):
        raise GraphError("estimate: weights: expected some above zero; got zeros alone")
    return found


def _is_single(model: Model, name: str) -> bool:
    """Whether a node has one finite value a row."""
    return name in model.net and model.net[name].space.cardinality is not None and not model.net[name].shape and not model.net.plates_of(name)


def _codes(model: Model, name: str, column: Any) -> numpy.ndarray | None:
    """A column of whole numbers in the range of a single finite node, narrow; None for any other, which `encode` judges."""
    if not _is_single(model, name) or model.net[name].is_deterministic:
        return None
    array = column.detach().cpu().numpy() if isinstance(column, Tensor) else column if isinstance(column, numpy.ndarray) else None
    if array is None or array.dtype.kind not in "bui" or array.ndim != 1 or not len(array):
        return None
    states = model.net[name].space.cardinality
    return _narrow(array, states) if array.min() >= 0 and array.max() < states else None


def _narrow(column: Any, states: int) -> numpy.ndarray:
    array = column.detach().cpu().numpy() if isinstance(column, Tensor) else column
    kind = numpy.uint8 if states <= 2**8 else numpy.int16 if states <= 2**15 else numpy.int32
    return array if array.dtype == kind else array.astype(kind)


def _placed(model: Model, code: numpy.ndarray) -> Any:
    return code if model.device.type == "cpu" else torch.as_tensor(code, device=model.device)

