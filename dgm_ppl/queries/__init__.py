"""Questions to a compiled net: evidence and posteriors."""

from ..exact import Likelihood
from .asking import posterior
from .beams import Beams, beam_search
from .evidence import Score, log_prob
from .exact import Exact
from .methods import NUTS, Amortized, Bound, Importance, Method, ProbabilityFlow
from .posterior import Posterior
from .psis import Diagnosis

__all__ = ["NUTS", "Amortized", "Beams", "Bound", "Diagnosis", "Exact", "Importance", "Likelihood", "Method", "Posterior", "ProbabilityFlow", "Score", "beam_search", "log_prob", "posterior"]
