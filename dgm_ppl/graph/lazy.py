"""Libraries that are loaded when first used, so that importing the package costs little more than importing Pyro."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["Lazy", "networkx"]


class Lazy:
    """A module that is imported when one of its names is asked for.

    >>> Lazy("math").sqrt(9)
    3.0
    """

    def __init__(self, name: str):
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(import_module(self._name), attribute)


networkx = Lazy("networkx")
