"""Whether a guide can be trusted: calibration, importance weights, gaps, reference draws."""

from .agreement import Agreement, agreement
from .calibration import calibrate
from .gaps import Gaps, gaps
from .report import Calibration
from .weights import Weights, judge_weights

__all__ = ["Agreement", "Calibration", "Gaps", "Weights", "agreement", "calibrate", "gaps", "judge_weights"]
