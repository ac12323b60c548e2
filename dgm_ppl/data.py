"""Columns: data of any common kind as a dict of tensors and labels, one entry of each column a world."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from numbers import Number
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, default_collate

__all__ = ["Column", "batch_columns", "columns", "row_labels", "rows"]

Column: TypeAlias = "Tensor | np.ndarray"  # numbers are tensors, labels are arrays of objects


def columns(data: Any, *, ragged: bool = False) -> dict[str, Column]:
    """The columns of a data set by name: numbers as tensors `(rows, ...)`, labels as object arrays `(rows,)`.

    Takes a dict of tensors, arrays or lists, a pandas DataFrame (or Series in a dict), a map-style `Dataset` whose items
    are dicts, or a `DataLoader` of dicts; the last two are read once, from beginning to end. Dtypes stay as they are, a
    missing number is NaN, a missing label is None. Sequences of several lengths, where `ragged` allows them, are the objects of an array.

    Raises `TypeError` for data of another kind and `ValueError` for no rows, no columns or columns of several lengths
    (`ragged` allows these: a single world has plates of several sizes).

    >>> columns({"x": [1.5, 2.5], "y": ["low", "high"]})
    {'x': tensor([1.5000, 2.5000], dtype=torch.float64), 'y': array(['low', 'high'], dtype=object)}
    """
    found = {_name(name): _column(name, values, ragged) for name, values in _named(data).items()}
    if not ragged:
        rows(found)
    return found


def batch_columns(batch: Any) -> dict[str, Column]:
    """The columns of a `DataLoader`'s batch, as of any other data."""
    return columns(_dict(batch, "a DataLoader's batches"))


def row_labels(data: Any) -> Any:
    """The index of a DataFrame; None of other data."""
    return data.index if _is_pandas(data, "DataFrame") else None


def rows(data: Mapping[str, Column]) -> int:
    """The common number of rows of some columns.

    >>> rows({"x": torch.zeros(5, 2), "y": torch.ones(5)})
    5
    """
    if not data:
        raise ValueError("data: expected at least one column; got none; try {'x': values}")
    lengths = {name: len(column) for name, column in data.items()}
    if len(set(lengths.values())) > 1:
        shown = ", ".join(f"'{name}' has {length}" for name, length in lengths.items())
        raise ValueError(
            f"data: expected columns of one length; got rows: {shown}; "
            f"try {{name: column[:{min(lengths.values())}] for name, column in data.items()}}, or fill the gaps with NaN"
        )
    length = next(iter(lengths.values()))
    if length == 0:
        names = ", ".join(f"'{name}'" for name in lengths)
        raise ValueError(f"data: expected at least one row; got none in {names}; try a data set that is not empty")
    return length


def _named(data: Any) -> Mapping[Any, Any]:
    if isinstance(data, Mapping):
        return data
    if _is_pandas(data, "DataFrame"):
        return {name: data[name] for name in _unique(data.columns)}
    if isinstance(data, DataLoader):
        return _joined([batch_columns(batch) for batch in data])
    if isinstance(data, IterableDataset):
        raise TypeError(
            f"data: expected rows that can be counted; got {_kind(data)}, an IterableDataset; "
            "try torch.utils.data.DataLoader(data, batch_size=128)"
        )
    if isinstance(data, Dataset):
        return _collated([_dict(data[row], "a Dataset's items") for row in range(len(data))])
    raise TypeError(
        f"data: expected a dict of columns, a DataFrame, or a Dataset or DataLoader of dicts; got {_kind(data)}; "
        "try {'x': values}"
    )


def _dict(item: Any, place: str) -> Mapping[str, Any]:
    if isinstance(item, Mapping):
        return item
    raise TypeError(
        f"data: expected {place} to be dicts; got {_kind(item)}; try returning {{'x': x, 'y': y}} in place of (x, y)"
    )


def _collated(items: list[Mapping[str, Any]]) -> Mapping[str, Any]:
    if not items:
        raise ValueError("data: expected at least one row; got an empty Dataset; try a data set that is not empty")
    return default_collate(items)


def _joined(batches: list[dict[str, Column]]) -> dict[str, Column]:
    if not batches:
        raise ValueError("data: expected at least one row; got an empty DataLoader; try a data set that is not empty")
    return {name: _concatenate([batch[name] for batch in batches]) for name in batches[0]}


def _concatenate(parts: list[Column]) -> Column:
    return torch.cat(parts) if isinstance(parts[0], Tensor) else np.concatenate(parts)


def _name(name: Any) -> str:
    if isinstance(name, str):
        return name
    raise TypeError(f"data: expected column names that are strings; got {name!r}; try data.rename(columns=str)")


def _unique(names: Iterable[Any]) -> list[Any]:
    names = list(names)
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"data: expected one column of each name; got several named {twice!r}; try renaming them")
    return names


def _column(name: str, values: Any, ragged: bool) -> Column:
    if ragged and _are_sequences(values):
        return _boxed(values)
    try:
        column = _convert(values)
    except (TypeError, ValueError) as error:
        raise type(error)(f"column {name!r}: {error}") from None
    if column.ndim == 0 and not ragged:
        raise ValueError(f"column {name!r}: expected one value a row; got the single value {values!r}; try [{values!r}]")
    return column


def _are_sequences(values: Any) -> bool:
    """Whether values are tensors, arrays or lists of several lengths."""
    if not isinstance(values, (list, tuple)) or not values:
        return False
    if all(isinstance(one, (Tensor, np.ndarray)) for one in values):
        return len({one.shape for one in values}) > 1
    return all(isinstance(one, (list, tuple)) for one in values) and len(set(map(len, values))) > 1


def _boxed(values: list) -> np.ndarray:
    """Sequences as the objects of an array, one a row."""
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


def _convert(values: Any) -> Column:
    if isinstance(values, Tensor):
        return values.detach()
    if _is_pandas(values, "Series"):
        return _from_array(_series_array(values))
    if isinstance(values, (list, tuple)) and any(isinstance(value, Tensor) for value in values):
        return torch.stack([torch.as_tensor(value) for value in values])
    return _from_array(_array(values))


def _array(values: Any) -> np.ndarray:
    try:
        return np.asarray(values)
    except ValueError:
        raise ValueError(
            f"expected rows of one shape; got {_kind(values)} of rows that differ; try padding them to one shape"
        ) from None


def _series_array(series: Any) -> np.ndarray:
    import pandas

    if pandas.api.types.is_numeric_dtype(series.dtype):
        missing = bool(series.isna().any())
        return series.to_numpy(dtype=float, na_value=np.nan) if missing else series.to_numpy()
    if pandas.api.types.is_datetime64_any_dtype(series.dtype):
        return series.to_numpy()
    return series.astype(object).where(series.notna(), None).to_numpy(dtype=object)


def _from_array(array: np.ndarray) -> Column:
    if array.dtype.kind in "OUST":
        return _from_objects(array.astype(object))
    if array.dtype.kind not in "biufc":
        raise TypeError(f"expected numbers or labels; got {array.dtype}; try a number such as days since the first row")
    return torch.from_numpy(np.require(array, dtype=array.dtype.newbyteorder("="), requirements=["C", "W"]))


def _from_objects(array: np.ndarray) -> Column:
    values = array.ravel().tolist()
    if not all(value is None or isinstance(value, (Number, np.generic)) for value in values) or all(
        value is None for value in values
    ):
        return array
    numbers = np.array([np.nan if value is None else value for value in values]).reshape(array.shape)
    return _from_array(numbers)


def _is_pandas(value: Any, kind: str) -> bool:
    pandas = sys.modules.get("pandas")  # a frame exists only where pandas is loaded: no import for those who have none
    return pandas is not None and isinstance(value, getattr(pandas, kind))


def _kind(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
