"""Whether a guide can be trusted: calibration over simulated worlds."""

from .calibration import calibrate
from .report import Calibration

__all__ = ["Calibration", "calibrate"]
