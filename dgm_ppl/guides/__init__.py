"""Guides derived from a model's graph."""

from ..graph.structures import Faithful, Forward, Full, MeanField
from .amortize import amortize
from .coupling import Apart, Coupling, Jointly, InTurn
from .recognition import LowRank, Recognition, Usual

__all__ = ["Apart", "Coupling", "Faithful", "Forward", "Full", "Jointly", "LowRank", "MeanField", "Recognition", "InTurn", "Usual", "amortize"]
