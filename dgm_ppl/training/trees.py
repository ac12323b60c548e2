"""Trees: nested states of optimizers, schedules and generators, as JSON data beside a flat dict of tensors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

__all__ = ["clone", "difference", "pack", "unpack"]

MARK = "$"  # the key that tells a marked node of the JSON data from a plain dict


def pack(tree: Any) -> tuple[Any, dict[str, Tensor]]:
    """Splits a tree into JSON data and tensors; `unpack` is its inverse.

    Raises `TypeError`, naming the place, for a leaf that is neither a tensor nor JSON data.

    >>> import torch
    >>> pack({"step": 3, "weight": torch.zeros(2)})
    ({'step': 3, 'weight': {'$': 'tensor', 'name': 'weight'}}, {'weight': tensor([0., 0.])})
    """
    tensors: dict[str, Tensor] = {}
    return _pack(tree, "", tensors), tensors


def unpack(skeleton: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The tree of some JSON data and tensors.

    >>> unpack(*pack({1: (True, None)}))
    {1: (True, None)}
    """
    if isinstance(skeleton, list):
        return [unpack(item, tensors) for item in skeleton]
    if not isinstance(skeleton, dict):
        return skeleton
    kind = skeleton.get(MARK)
    if kind is None:
        return {key: unpack(item, tensors) for key, item in skeleton.items()}
    if kind == "tensor":
        return tensors[skeleton["name"]]
    items = unpack(skeleton["items"], tensors)
    return {"tuple": tuple, "dict": dict, "counter": lambda pairs: Counter(dict(pairs))}[kind](items)


def clone(tree: Any) -> Any:
    """A copy whose tensors share no memory with the tree's."""
    if isinstance(tree, Tensor):
        return tree.detach().clone()
    if isinstance(tree, Mapping):
        copy = {key: clone(item) for key, item in tree.items()}
        return Counter(copy) if isinstance(tree, Counter) else copy
    if isinstance(tree, (list, tuple)):
        return type(tree)([clone(item) for item in tree])
    return tree


def difference(saved: Any, now: Any, place: str = "") -> str | None:
    """The first place where two JSON trees differ, in words, or None.

    >>> difference({"x": {"family": "Normal"}}, {"x": {"family": "Laplace"}})
    "x.family was 'Normal', is 'Laplace'"
    """
    if isinstance(saved, dict) and isinstance(now, dict):
        pairs = [(key, key in saved, key in now) for key in dict.fromkeys([*saved, *now])]
        return next(filter(None, (_entry_difference(saved, now, place, *pair) for pair in pairs)), None)
    if isinstance(saved, list) and isinstance(now, list) and len(saved) == len(now):
        both = enumerate(zip(saved, now))
        return next(filter(None, (difference(*pair, f"{place}[{index}]") for index, pair in both)), None)
    return None if saved == now else f"{place or 'it'} was {saved!r}, is {now!r}"


def _entry_difference(saved: dict, now: dict, place: str, key: str, was: bool, is_: bool) -> str | None:
    path = f"{place}.{key}" if place else str(key)
    if was and is_:
        return difference(saved[key], now[key], path)
    return f"{path} was {saved[key]!r}, is missing" if was else f"{path} was missing, is {now[key]!r}"


def _pack(tree: Any, place: str, tensors: dict[str, Tensor]) -> Any:
    if tree is None or isinstance(tree, (bool, int, float, str)):
        return tree
    if isinstance(tree, Tensor):
        tensors[place] = tree
        return {MARK: "tensor", "name": place}
    if isinstance(tree, np.generic):
        return tree.item()
    if isinstance(tree, Mapping):
        return _pack_mapping(tree, place, tensors)
    if isinstance(tree, (list, tuple)):
        items = [_pack(item, f"{place}/{index}".lstrip("/"), tensors) for index, item in enumerate(tree)]
        return items if isinstance(tree, list) else {MARK: "tuple", "items": items}
    raise TypeError(
        f"checkpoint: expected tensors, numbers, strings, lists and dicts at '{place}'; got {type(tree).__qualname__}, "
        "which cannot be stored without running code; try an optimizer or schedule whose state_dict() is plain data"
    )


def _pack_mapping(tree: Mapping, place: str, tensors: dict[str, Tensor]) -> Any:
    items = {key: _pack(item, f"{place}/{key}".lstrip("/"), tensors) for key, item in tree.items()}
    if isinstance(tree, Counter):
        return {MARK: "counter", "items": [list(pair) for pair in items.items()]}
    if all(isinstance(key, str) for key in items) and MARK not in items:
        return items
    return {MARK: "dict", "items": [list(pair) for pair in items.items()]}
