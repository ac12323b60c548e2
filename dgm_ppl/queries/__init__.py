"""Questions to a compiled net: evidence and posteriors."""

from ..exact import Likelihood
from .asking import posterior
from .beams import Beams, beam_search
from .classification import Classification, classify
from .codes import CodeUsage, code_usage, codes_of, restart_codes
from .comparing import compare
from .evidence import Score, log_prob
from .exact import Exact
from .methods import HMC, NUTS, Amortized, Bound, Guided, Importance, IndependenceMetropolis, Langevin, Method, ProbabilityFlow, Refined, Twisted
from .posterior import Posterior
from .psis import Diagnosis
from .refining import refine
from .representation import LinearProbe, interpolate, linear_probe, representations
from .scoring import Bits, Contributions, LikelihoodRatio, OutlierScore, Surprisal, TailShape, Typicality, bits_per_dimension, contributions, outlier_scores

__all__ = [
    "HMC", "NUTS", "Amortized", "Beams", "Bits", "Bound", "Classification", "CodeUsage", "Contributions", "Diagnosis", "Exact", "Guided", "Importance", "IndependenceMetropolis", "Langevin",
    "Likelihood", "LikelihoodRatio", "LinearProbe", "Method", "OutlierScore", "Posterior", "ProbabilityFlow", "Refined", "Score", "Surprisal", "TailShape", "Twisted",
    "Typicality", "beam_search", "bits_per_dimension", "classify", "code_usage", "codes_of", "compare", "contributions", "interpolate", "linear_probe", "log_prob", "outlier_scores",
    "posterior", "refine", "representations", "restart_codes",
]
