"""Directed acyclic graphs, what they make independent, and how they are turned round."""

from typing import TYPE_CHECKING

from .certificate import Certificate, Line, certify
from .contraction import contract
from .dag import DAG
from .display import Displayed
from .elimination import MinFill, Order, Reverse, Step, Topological
from .errors import GraphError, did_you_mean
from .independence import Independence, closure, entails
from .inversion import Inversion, invert
from .lazy import later
from .separation import Explanation, Path, explain, open_path
from .structures import Faithful, Full, MeanField, Structure
from .templates import Factor, Read, Templates, templates
from .twin import LinearGaussian

if TYPE_CHECKING:
    from .adjustment import adjustment_sets, backdoor_sets, frontdoor_sets, is_adjustment, is_backdoor, is_frontdoor
    from .bayes_ball import Requisite, connected, requisite
    from .equivalence import cpdag, equivalent, members, orient, skeleton, v_structures
    from .estimand import Expression, Fraction, Probability, Product, Sum
    from .identification import Effect, identify
    from .markov import basis_set, elementary_statements, markov_boundary, pairwise_statements
    from .mixed import MixedGraph, latent_projection
    from .separators import minimal_separator, minimal_separators

LATER = {                                                                   # what compiling a net does not need
    "adjustment": ["adjustment_sets", "backdoor_sets", "frontdoor_sets", "is_adjustment", "is_backdoor", "is_frontdoor"],
    "bayes_ball": ["Requisite", "connected", "requisite"],
    "equivalence": ["cpdag", "equivalent", "members", "orient", "skeleton", "v_structures"],
    "estimand": ["Expression", "Fraction", "Probability", "Product", "Sum"],
    "identification": ["Effect", "identify"],
    "markov": ["basis_set", "elementary_statements", "markov_boundary", "pairwise_statements"],
    "mixed": ["MixedGraph", "latent_projection"],
    "separators": ["minimal_separator", "minimal_separators"],
}

__all__ = [
    "Certificate", "DAG", "Displayed", "Explanation", "Factor", "Faithful", "Full", "GraphError", "Independence", "Inversion", "Line", "LinearGaussian", "MeanField", "MinFill", "Order", "Path", "Read",
    "Reverse", "Step", "Structure", "Templates", "Topological", "certify", "closure", "contract", "did_you_mean", "entails", "explain", "invert", "open_path", "templates",
    *(name for names in LATER.values() for name in names),
]
__getattr__ = later(__name__, LATER)
