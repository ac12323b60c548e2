"""Questions to a compiled net: evidence and posteriors."""

from ..exact import Likelihood
from .asking import posterior
from .evidence import Score, log_prob
from .exact import Exact
from .methods import NUTS, Amortized, Bound, Importance, Method
from .posterior import Posterior
from .psis import Diagnosis

__all__ = ["NUTS", "Amortized", "Bound", "Diagnosis", "Exact", "Importance", "Likelihood", "Method", "Posterior", "Score", "log_prob", "posterior"]
