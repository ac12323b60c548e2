"""What `fit` minimises: likelihoods and bounds."""

from ..graph.lazy import later
from .base import Objective, Player
from .bounds import ELBO, IWAE
from .likelihood import MaximumLikelihood
from .subsets import SubsetELBO, SubsetIWAE

LATER = {                                                                   # what comparing samples needs
    "adversarial": ["Adversarial"],
    "critics": ["Critic"],
    "denoising": ["Denoising"],
    "forward_kl": ["ForwardKL", "SymmetricKL"],
    "free_bits": ["FreeBits"],
    "games": [
        "FDivergence", "Game", "Hinge", "JensenShannon", "KullbackLeibler", "LeastSquares", "Pearson", "ReverseKullbackLeibler", "SquaredHellinger",
        "TotalVariation", "Wasserstein",
    ],
    "gradients": ["VIMCO", "DoublyReparameterized", "Estimator", "StickingTheLanding"],
    "matched_prior": ["InfoVAE", "WassersteinAutoencoder"],
    "matching": ["Matching"],
    "missing": ["MIWAE"],
    "penalties": ["R1", "R2", "Consistency", "GradientPenalty", "MutualInformation"],
    "renyi": ["Renyi"],
    "simulations": ["OnlineSimulations", "Simulations", "simulate"],
    "total_correlation": ["BetaTCVAE"],
    "wake_sleep": ["CUBO", "ReweightedWakeSleep"],
}

__all__ = ["ELBO", "IWAE", "MaximumLikelihood", "Objective", "Player", "SubsetELBO", "SubsetIWAE", *(name for names in LATER.values() for name in names)]
__getattr__ = later(__name__, LATER)
