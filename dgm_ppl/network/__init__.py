"""Bayesian networks: variables on a DAG, plates, and data held against them."""

from .bayes_net import BayesNet
from .building import build_conditionals
from .dry_run import probe, unlike
from .layout import Layout
from .plates import Chain, Plate
from .recognition import RecognitionNet, inverted
from .sequence_recognition import SequenceGuide, random_dag

__all__ = ["BayesNet", "Chain", "Layout", "Plate", "RecognitionNet", "SequenceGuide", "build_conditionals", "inverted", "probe", "random_dag", "unlike"]
