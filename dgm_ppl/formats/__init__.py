"""Declarations as data."""

from .declaration import describe, restore

__all__ = ["describe", "restore"]
