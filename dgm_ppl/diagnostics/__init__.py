"""Whether a guide can be trusted: calibration, importance weights, gaps, reference draws, experiments."""

from .agreement import Agreement, agreement
from .calibration import calibrate
from .choices import GuideChoice, guide_choices
from .comparison import GuideComparison
from .experiment import compare_guides
from .gaps import Gaps, gaps
from .report import Calibration
from .weights import Weights, judge_weights

__all__ = [
    "Agreement", "Calibration", "Gaps", "GuideChoice", "GuideComparison", "Weights", "agreement", "calibrate", "compare_guides", "gaps", "guide_choices",
    "judge_weights",
]
