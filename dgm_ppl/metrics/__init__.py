"""How far a model's samples are from the data: distances with tests and standard errors, for models with a density or without."""

from .features import Features, train_features
from .image import density_coverage, frechet_distance, kernel_distance, memorisation, precision_recall
from .measured import Measured
from .two_sample import classifier_two_sample, energy_distance, mmd, sliced_wasserstein

__all__ = [
    "Features", "Measured", "classifier_two_sample", "density_coverage", "energy_distance", "frechet_distance", "kernel_distance", "memorisation", "mmd",
    "precision_recall", "sliced_wasserstein", "train_features",
]
