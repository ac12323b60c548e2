"""Data of every common kind become columns, once, with errors that say what to change."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from dgm_ppl.data import columns, rows


class Rows(Dataset):
    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


class Endless(IterableDataset):
    def __iter__(self):
        yield {"x": 1.0}


ITEMS = [{"x": torch.tensor([1.0, 2.0]), "y": "low"}, {"x": torch.tensor([3.0, 4.0]), "y": "high"}]
SAME = {
    "tensors": {"x": torch.tensor([[1.0, 2.0], [3.0, 4.0]]), "y": ["low", "high"]},
    "arrays": {"x": np.array([[1.0, 2.0], [3.0, 4.0]], np.float32), "y": np.array(["low", "high"])},
    "transposed array": {"x": np.array([[1.0, 3.0], [2.0, 4.0]], np.float32).T, "y": ("low", "high")},
    "lists": {"x": [[1.0, 2.0], [3.0, 4.0]], "y": pd.Series(["low", "high"], dtype="category")},
    "tensors in a list": {"x": [torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])], "y": pd.Series(["low", "high"])},
    "Dataset": Rows(ITEMS),
    "DataLoader": DataLoader(Rows(ITEMS), batch_size=1),
}


@pytest.mark.parametrize("kind", SAME)
def test_the_same_columns_from(kind):
    found = columns(SAME[kind])
    assert list(found) == ["x", "y"] and rows(found) == 2
    assert torch.equal(found["x"].float(), torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
    assert found["y"].dtype == object and found["y"].tolist() == ["low", "high"]


def test_a_frame_keeps_numbers_labels_and_gaps():
    frame = pd.DataFrame(
        {
            "count": [1, 2],
            "size": [1.5, None],
            "nullable": pd.array([1, None], dtype="Int64"),
            "flag": [True, False],
            "mood": ["low", None],
        }
    )
    found = columns(frame)
    assert torch.equal(found["count"], torch.tensor([1, 2]))
    assert found["size"].isnan().tolist() == [False, True] and found["nullable"].isnan().tolist() == [False, True]
    assert found["flag"].dtype == torch.bool and found["mood"].tolist() == ["low", None]


def test_a_frame_without_gaps_keeps_integers():
    assert columns(pd.DataFrame({"n": pd.array([1, 2], dtype="Int64")}))["n"].dtype == torch.int64


def test_numbers_with_none_are_numbers_with_nan():
    assert columns({"x": [1.0, None]})["x"].isnan().tolist() == [False, True]


def test_read_only_arrays_are_copied():
    array = np.arange(3.0)
    array.flags.writeable = False
    columns({"x": array})["x"][0] = 9.0
    assert array[0] == 0.0


def test_tensors_are_not_copied():
    x = torch.zeros(3)
    assert columns({"x": x})["x"].data_ptr() == x.data_ptr()


REFUSED = [
    ({}, ValueError, r"at least one column; got none"),
    ({"x": torch.zeros(3), "y": torch.zeros(4)}, ValueError, r"one length; got rows: 'x' has 3, 'y' has 4; try .*\[:3\]"),
    ({"x": torch.zeros(0, 2)}, ValueError, r"at least one row; got none in 'x'"),
    (Rows([]), ValueError, "got an empty Dataset"),
    (DataLoader(Rows([])), ValueError, "got an empty DataLoader"),
    ({"x": 3.0}, ValueError, r"column 'x': expected one value a row; got the single value 3.0; try \[3.0\]"),
    ({"x": [[1.0], [1.0, 2.0]]}, ValueError, "column 'x': expected rows of one shape; got list of rows that differ"),
    ({"x": np.array(["2024-01-01"], dtype="datetime64[D]")}, TypeError, "column 'x': expected numbers or labels; got datetime64"),
    ({0: torch.zeros(2)}, TypeError, r"column names that are strings; got 0; try data.rename\(columns=str\)"),
    (pd.DataFrame([[1, 2]], columns=["x", "x"]), ValueError, "one column of each name; got several named 'x'"),
    ([1, 2], TypeError, r"expected a dict of columns, a DataFrame.*; got list; try \{'x': values\}"),
    (torch.zeros(3), TypeError, "got torch.Tensor; try"),
    (TensorDataset(torch.zeros(3)), TypeError, r"a Dataset's items to be dicts; got tuple; try returning \{'x': x, 'y': y\}"),
    (DataLoader(TensorDataset(torch.zeros(3))), TypeError, "a DataLoader's batches to be dicts; got list"),
    (Endless(), TypeError, r"an IterableDataset; try torch.utils.data.DataLoader\(data, batch_size=128\)"),
]


@pytest.mark.parametrize(("data", "error", "message"), REFUSED)
def test_refused(data, error, message):
    with pytest.raises(error, match=message):
        columns(data)
