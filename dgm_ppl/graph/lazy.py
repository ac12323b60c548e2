"""Libraries that are loaded when first used, so that importing the package costs little more than importing Pyro."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

__all__ = ["Lazy", "later", "networkx"]


class Lazy:
    """A module that is imported when one of its names is asked for.

    >>> Lazy("math").sqrt(9)
    3.0
    """

    def __init__(self, name: str):
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(import_module(self._name), attribute)


def later(package: str, modules: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """The `__getattr__` of a package (PEP 562) whose `modules` are imported when one of their names is first asked for.

    >>> later("xml", {"dom": ["Node"]})("Node").__module__
    'xml.dom'
    """
    home = {name: module for module, names in modules.items() for name in names}

    def find(name: str) -> Any:
        if name in modules:
            return import_module(f"{package}.{name}")
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(f"{package}.{home[name]}"), name)
        setattr(sys.modules[package], name, value)                          # found at once the next time
        return value
    return find


networkx = Lazy("networkx")
