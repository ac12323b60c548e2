"""How far a model is from the data: distances of its samples with tests and standard errors, and the bits of its density where it has one."""

from ..queries.scoring import Bits, bits_per_dimension
from .features import Features, train_features
from .image import density_coverage, frechet_distance, kernel_distance, memorisation, precision_recall
from .measured import Measured
from .two_sample import classifier_two_sample, energy_distance, mmd, sliced_wasserstein

__all__ = [
    "Bits", "Features", "Measured", "bits_per_dimension", "classifier_two_sample", "density_coverage", "energy_distance", "frechet_distance", "kernel_distance", "memorisation", "mmd",
    "precision_recall", "sliced_wasserstein", "train_features",
]
