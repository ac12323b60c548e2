"""States go to JSON and tensors and back."""

import json
from collections import Counter

import numpy as np
import pytest
import torch

from dgm_ppl.training.trees import clone, difference, pack, unpack

TREE = {
    "plain": [1, 2.5, "text", None, True, float("inf")],
    "tensor": torch.arange(3),
    3: {"nested": (torch.zeros(()), [torch.ones(2), "x"])},
    "counter": Counter({4: 1, 9: 2}),
    "$": "a key that looks like a mark",
    "empty": {},
}


def test_there_and_back():
    skeleton, tensors = pack(TREE)
    back = unpack(json.loads(json.dumps(skeleton)), tensors)
    assert list(back) == list(TREE) and back["plain"] == TREE["plain"] and back["$"] == TREE["$"]
    assert isinstance(back[3]["nested"], tuple) and back[3]["nested"][1][0].tolist() == [1.0, 1.0]
    assert back["counter"] == TREE["counter"] and isinstance(back["counter"], Counter) and back["empty"] == {}
    assert set(tensors) == {"tensor", "3/nested/0", "3/nested/1/0"}


def test_scalars_of_numpy_become_numbers():
    assert pack({"x": np.int64(3), "y": np.float32(0.5)})[0] == {"x": 3, "y": 0.5}


def test_clones_share_nothing():
    copy = clone(TREE)
    copy["tensor"][0] = 7
    copy[3]["nested"][1].append(1)
    assert TREE["tensor"][0] == 0 and len(TREE[3]["nested"][1]) == 2 and isinstance(copy["counter"], Counter)


def test_what_is_no_data_is_refused_with_its_place():
    with pytest.raises(TypeError, match=r"at 'a/0/b'; got function, which cannot be stored without running code"):
        pack({"a": [{"b": lambda: 0}]})


@pytest.mark.parametrize(
    ("saved", "now", "found"),
    [
        ({"a": 1}, {"a": 1}, None),
        ({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}]}, "a[1].b was 2, is 3"),
        ({"a": 1, "b": 2}, {"a": 1}, "b was 2, is missing"),
        ({"a": 1}, {"a": 1, "c": 2}, "c was missing, is 2"),
        ({"a": [1]}, {"a": [1, 2]}, "a was [1], is [1, 2]"),
        (1, "x", "it was 1, is 'x'"),
    ],
)
def test_the_first_difference(saved, now, found):
    assert difference(saved, now) == found
