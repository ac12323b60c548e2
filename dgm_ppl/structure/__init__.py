"""Structure held against data: statements of independence tested, graphs learned and compared."""

from .citest import ConditionalTest, Outcome
from .correction import benjamini_hochberg, holm
from .correlation import PartialCorrelation
from .kernel import KernelTest
from .statements import testable
from .tables import TableTest
from .testing import test_independences
from .verdicts import Line, Verdicts

__all__ = [
    "ConditionalTest", "KernelTest", "Line", "Outcome", "PartialCorrelation", "TableTest", "Verdicts", "benjamini_hochberg",
    "holm", "test_independences", "testable",
]
