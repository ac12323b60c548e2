"""Questions to a compiled net: evidence and posteriors."""

from .evidence import Score, log_prob
from .methods import NUTS, Amortized, Bound, Importance, Method
from .posterior import Posterior, posterior
from .psis import Diagnosis

__all__ = ["NUTS", "Amortized", "Bound", "Diagnosis", "Importance", "Method", "Posterior", "Score", "log_prob", "posterior"]
