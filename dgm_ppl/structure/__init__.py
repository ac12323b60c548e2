"""Structure held against data: statements of independence tested, graphs learned and compared."""

from .citest import ConditionalTest, Outcome
from .comparison import Comparison, compare
from .correction import benjamini_hochberg, holm
from .correlation import PartialCorrelation
from .kernel import KernelTest
from .learning import GES, PC, StructureMethod, learn_structure
from .oracle import DataOracle
from .statements import testable
from .tables import TableTest
from .testing import test_independences
from .verdicts import Line, Verdicts

__all__ = [
    "Comparison", "ConditionalTest", "DataOracle", "GES", "KernelTest", "Line", "Outcome", "PC", "PartialCorrelation", "StructureMethod",
    "TableTest", "Verdicts", "benjamini_hochberg", "compare", "holm", "learn_structure", "test_independences", "testable",
]
