"""The tensors among a call's arguments, in lists and dicts too: by name, and replaced."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from inspect import BoundArguments, signature
from typing import Any

import torch
from torch import Tensor

from ..graph import GraphError

__all__ = ["alternatives", "node_name", "tensors_of", "with_tensors"]


def tensors_of(function: Callable, args: tuple, kwargs: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors of a call by name: `x`, `data['x']`, `rows[0]`.

    Raises:
        GraphError: arguments that the function cannot be called with.
    """
    bound = _bound(function, args, kwargs)
    return {label: value for name, held in bound.arguments.items() for label, value in _walk(held, name, _is_kwargs(bound, name))}


def with_tensors(function: Callable, args: tuple, kwargs: Mapping[str, Any], replaced: Mapping[str, Tensor]) -> tuple[tuple, dict[str, Any]]:
    """The call with other tensors for some names."""
    bound = _bound(function, args, kwargs)
    for name, held in bound.arguments.items():
        bound.arguments[name] = _replaced(held, name, _is_kwargs(bound, name), replaced)
    return bound.args, bound.kwargs


def node_name(label: str, taken: set[str]) -> str:
    """What an argument is called as a node: its last key, where no site or plate is called so."""
    last = label.rsplit("[", 1)[-1].strip("]'\"")
    short = last if last and not last.isdigit() else label
    return next(name for name in (short, label, f"{label} (argument)") if name not in taken and name != "rows")


def alternatives(value: Tensor) -> list[Tensor]:
    """Other values of an argument: of its range and dtype, so that what it stands for may still work."""
    generator = torch.Generator().manual_seed(0)
    if value.is_floating_point():
        noise = torch.randn(value.shape, generator=generator, device="cpu").to(value)
        return [value * (0.3 * noise).exp(), value + 0.5 * noise, value * 1.5 + 0.1]
    if value.dtype == torch.bool:
        return [~value]
    low, high = int(value.min()), int(value.max())
    return [torch.randint(low, high + 1, value.shape, generator=generator, device="cpu").to(value), high - value + low]


def _bound(function: Callable, args: tuple, kwargs: Mapping[str, Any]) -> BoundArguments:
    try:
        return signature(function).bind(*args, **kwargs)
    except (TypeError, ValueError) as error:
        raise GraphError(f"amortize: the program cannot be called with these arguments: {error}; try amortize(program, observed=..., args=(...), kwargs={{...}})") from error


def _is_kwargs(bound: BoundArguments, name: str) -> bool:
    return bound.signature.parameters[name].kind is bound.signature.parameters[name].VAR_KEYWORD


def _walk(value: Any, label: str, keywords: bool = False) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield label, value
    elif isinstance(value, dict):
        for key, each in value.items():
            yield from _walk(each, key if keywords else f"{label}[{key!r}]")
    elif type(value) in (list, tuple):
        for place, each in enumerate(value):
            yield from _walk(each, f"{label}[{place}]")


def _replaced(value: Any, label: str, keywords: bool, replaced: Mapping[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        return replaced.get(label, value)
    if type(value) is dict:
        return {key: _replaced(each, key if keywords else f"{label}[{key!r}]", False, replaced) for key, each in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_replaced(each, f"{label}[{place}]", False, replaced) for place, each in enumerate(value))
    return value
