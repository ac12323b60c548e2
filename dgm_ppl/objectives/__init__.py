"""What `fit` minimises: likelihoods and bounds."""

from .base import Objective, Player
from .bounds import ELBO, IWAE
from .likelihood import MaximumLikelihood

__all__ = ["ELBO", "IWAE", "MaximumLikelihood", "Objective", "Player"]
