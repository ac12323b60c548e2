"""Guides derived from a model's graph."""

from ..graph.structures import Faithful, Forward, Full, MeanField
from .amortize import amortize
from .block import BlockFlow
from .coupling import Apart, Coupling, InTurn, Jointly
from .recognition import LowRank, PriorAnchored, Recognition, Usual

__all__ = ["Apart", "BlockFlow", "Coupling", "Faithful", "Forward", "Full", "Jointly", "LowRank", "MeanField", "PriorAnchored", "Recognition", "InTurn", "Usual", "amortize"]
