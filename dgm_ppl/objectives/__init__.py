"""What `fit` minimises: likelihoods and bounds."""

from ..graph.lazy import later
from .base import Objective, Player
from .bounds import ELBO, IWAE
from .likelihood import MaximumLikelihood

LATER = {                                                                   # what comparing samples needs
    "adversarial": ["Adversarial"],
    "critics": ["Critic"],
    "denoising": ["Denoising"],
    "games": [
        "FDivergence", "Game", "Hinge", "JensenShannon", "KullbackLeibler", "LeastSquares", "Pearson", "ReverseKullbackLeibler", "SquaredHellinger",
        "TotalVariation", "Wasserstein",
    ],
    "matching": ["Matching"],
    "penalties": ["R1", "R2", "Consistency", "GradientPenalty", "MutualInformation"],
}

__all__ = ["ELBO", "IWAE", "MaximumLikelihood", "Objective", "Player", *(name for names in LATER.values() for name in names)]
__getattr__ = later(__name__, LATER)
