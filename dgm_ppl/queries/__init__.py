"""Questions to a compiled net: evidence and posteriors."""

from ..exact import Likelihood
from .asking import posterior
from .beams import Beams, beam_search
from .classification import Classification, classify
from .evidence import Score, log_prob
from .exact import Exact
from .methods import NUTS, Amortized, Bound, Importance, Method, ProbabilityFlow
from .posterior import Posterior
from .psis import Diagnosis
from .representation import LinearProbe, interpolate, linear_probe, representations
from .scoring import Bits, Contributions, LikelihoodRatio, OutlierScore, Surprisal, TailShape, Typicality
from .scoring import bits_per_dimension, contributions, outlier_scores

__all__ = [
    "NUTS", "Amortized", "Beams", "Bound", "Diagnosis", "Exact", "Importance", "Likelihood", "Method", "Posterior", "ProbabilityFlow", "Score", "beam_search", "log_prob", "posterior",
    "Bits", "Classification", "Contributions", "LikelihoodRatio", "LinearProbe", "OutlierScore", "Surprisal", "TailShape", "Typicality",
    "bits_per_dimension", "classify", "contributions", "interpolate", "linear_probe", "outlier_scores", "representations",
]
