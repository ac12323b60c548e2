"""Bayesian networks: variables on a DAG, plates, and data held against them."""

from .bayes_net import BayesNet
from .building import build_conditionals
from .dry_run import probe, unlike
from .layout import Layout
from .plates import Chain, Plate
from .recognition import RecognitionNet, given_as, inverted
from .sequence_recognition import OBSERVED, SEEN, SequenceGuide, random_templates, with_seen
from .subsets import AnySubset, SubsetRecognition

__all__ = ["OBSERVED", "SEEN", "AnySubset", "BayesNet", "Chain", "Layout", "Plate", "RecognitionNet", "SequenceGuide", "SubsetRecognition", "build_conditionals", "given_as", "inverted", "probe", "random_templates", "unlike", "with_seen"]
