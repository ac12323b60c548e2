"""Directed acyclic graphs, what they make independent, and how they are turned round."""

from .adjustment import adjustment_sets, backdoor_sets, frontdoor_sets, is_adjustment, is_backdoor, is_frontdoor
from .bayes_ball import Requisite, connected, requisite
from .certificate import Certificate, Line, certify
from .dag import DAG
from .elimination import Forward, MinFill, Order, Reverse, Step
from .equivalence import cpdag, equivalent, members, orient, skeleton, v_structures
from .errors import GraphError, did_you_mean
from .estimand import Expression, Fraction, Probability, Product, Sum
from .identification import Effect, identify
from .independence import Independence, entails
from .inversion import Inversion, invert
from .markov import basis_set, elementary_statements, markov_boundary, pairwise_statements
from .mixed import MixedGraph, latent_projection
from .separation import Explanation, Path, explain, open_path
from .separators import minimal_separator, minimal_separators
from .contraction import contract

__all__ = [
    "DAG", "Certificate", "Effect", "Explanation", "Expression", "Forward", "Fraction", "GraphError", "Independence",
    "Inversion", "Line", "MinFill", "MixedGraph", "Order", "Path", "Probability", "Product", "Requisite", "Reverse",
    "Step", "Sum", "adjustment_sets", "backdoor_sets", "basis_set", "certify", "connected", "contract", "cpdag",
    "did_you_mean", "elementary_statements", "entails", "equivalent", "explain", "frontdoor_sets", "identify",
    "invert", "is_adjustment", "is_backdoor", "is_frontdoor", "latent_projection", "markov_boundary", "members",
    "minimal_separator", "minimal_separators", "open_path", "orient", "pairwise_statements", "requisite", "skeleton",
    "v_structures"]
