"""Random number generators of the process: seeding them for a while, and putting the caller's state back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from types import ModuleType

import torch
from torch import Tensor

__all__ = ["generator_states", "seeded", "set_generator_states"]


def generator_states(device: torch.device) -> dict[str, Tensor]:
    """The states of the global generators that a run on `device` draws from."""
    states = {"cpu": torch.get_rng_state()}
    if device.type != "cpu":
        states[device.type] = _module(device).get_rng_state(*_place(device))
    return states


def set_generator_states(states: dict[str, Tensor], device: torch.device) -> None:
    """Puts the global generators back; a state of another kind of device is left out."""
    torch.set_rng_state(states["cpu"])
    if device.type in states and device.type != "cpu":
        _module(device).set_rng_state(states[device.type], *_place(device))


@contextmanager
def seeded(seed: int | None, device: torch.device) -> Iterator[None]:
    """Seeds the global generators for a while and puts them back after it; does nothing for None."""
    if seed is None:
        yield
        return
    before = generator_states(device)
    try:
        _seed(seed, device)
        yield
    finally:
        set_generator_states(before, device)


def _seed(seed: int, device: torch.device) -> None:
    torch.default_generator.manual_seed(seed)
    if device.type != "cpu":
        with nullcontext() if device.type == "mps" else _module(device).device(device):
            _module(device).manual_seed(seed)


def _module(device: torch.device) -> ModuleType:
    return torch.get_device_module(device)


def _place(device: torch.device) -> tuple[torch.device, ...]:
    return () if device.type == "mps" else (device,)
