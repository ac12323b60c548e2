"""Guides derived from a model's graph."""

from .amortize import amortize

__all__ = ["amortize"]
