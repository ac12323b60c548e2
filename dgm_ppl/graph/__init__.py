"""Directed acyclic graphs, what they make independent, and how they are turned round."""

from .certificate import Certificate, Line, certify
from .dag import DAG
from .elimination import Forward, MinFill, Order, Reverse, Step
from .errors import GraphError, did_you_mean
from .independence import Independence, entails
from .inversion import Inversion, invert
from .surgery import contract

__all__ = ["DAG", "Certificate", "Forward", "GraphError", "Independence", "Inversion", "Line", "MinFill", "Order",
           "Reverse", "Step", "certify", "contract", "did_you_mean", "entails", "invert"]
