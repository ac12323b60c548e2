"""Devices: choose one that is there, and put modules and columns on it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = ["available_devices", "find_device", "place"]


def find_device(wanted: str | torch.device) -> torch.device:
    """The device of a name, or the accelerator if there is one for `"auto"`.

    Raises `ValueError`, naming the devices that are there, for one that is not.

    >>> find_device("cpu")
    device(type='cpu')
    """
    names = available_devices()
    if wanted == "auto":
        return torch.device(names[1] if len(names) > 1 else "cpu")
    device = _parsed(wanted, names)
    if str(device) in names or (device.index is None and f"{device.type}:0" in names):
        return device
    raise ValueError(_refusal(wanted, names))


def available_devices() -> list[str]:
    """The devices of this machine, the CPU first.

    >>> available_devices()[0]
    'cpu'
    """
    accelerator = torch.accelerator.current_accelerator()
    if accelerator is None or not torch.accelerator.is_available():
        return ["cpu"]
    return ["cpu", *(f"{accelerator.type}:{index}" for index in range(torch.accelerator.device_count()))]


def place(columns: Mapping[str, Tensor], device: torch.device, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
    """Columns on a device, real ones cast to `dtype` where it is given."""
    return {
        name: column.to(device, dtype if column.is_floating_point() else None) for name, column in columns.items()
    }


def _parsed(wanted: str | torch.device, names: list[str]) -> torch.device:
    try:
        return torch.device(wanted)
    except (RuntimeError, TypeError):
        raise ValueError(_refusal(wanted, names)) from None


def _refusal(wanted: object, names: list[str]) -> str:
    return f"device: expected one of {', '.join(names)}; got {str(wanted)!r}; try device='auto'"
