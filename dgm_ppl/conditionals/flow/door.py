"""The way to zuko, which is loaded when a flow is compiled."""

from __future__ import annotations

from types import ModuleType

from torch.distributions import Distribution

__all__ = ["zuko"]


def zuko() -> ModuleType:
    """The library of flows (Rozet et al., https://github.com/probabilists/zuko).

    Its import switches argument validation off for every torch and Pyro distribution of the process; that is put back here.

    >>> from torch.distributions import Distribution
    >>> before = Distribution._validate_args
    >>> zuko().flows.MAF(2).transform is not None and Distribution._validate_args is before
    True
    """
    before = Distribution._validate_args
    import zuko as library

    Distribution.set_default_validate_args(before)
    return library
