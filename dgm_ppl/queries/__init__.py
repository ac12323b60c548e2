"""Questions to a compiled net: evidence and posteriors."""

from ..exact import Likelihood
from .asking import posterior
from .beams import Beams, beam_search
from .comparing import compare
from .evidence import Score, log_prob
from .exact import Exact
from .methods import HMC, NUTS, Amortized, Bound, Guided, Importance, IndependenceMetropolis, Langevin, Method, ProbabilityFlow, Refined, Twisted
from .posterior import Posterior
from .psis import Diagnosis

from .classification import Classification, classify
from .representation import LinearProbe, interpolate, linear_probe, representations
from .scoring import Bits, Contributions, LikelihoodRatio, OutlierScore, Surprisal, TailShape, Typicality
from .scoring import bits_per_dimension, contributions, outlier_scores

__all__ = ["IndependenceMetropolis", "Refined", "Guided", "HMC", "Langevin", "Twisted", "compare", "NUTS", "Amortized", "Beams", "Bound", "Diagnosis", "Exact", "Importance", "Likelihood", "Method", "Posterior", "ProbabilityFlow", "Score", "beam_search", "log_prob", "posterior"]

__all__ = [
    *__all__, "Bits", "Classification", "Contributions", "LikelihoodRatio", "LinearProbe", "OutlierScore", "Surprisal", "TailShape", "Typicality",
    "bits_per_dimension", "classify", "contributions", "interpolate", "linear_probe", "outlier_scores", "representations",
]
