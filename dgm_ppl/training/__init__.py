"""Training: one loop for every objective, with checkpoints, validation, devices and history."""

from .checkpoint import Checkpoint
from .fitting import fit
from .optimizers import SGD, Adam, AdamW
from .plan import Moment
from .run import Run
from .stopping import Best, EarlyStopping

__all__ = ["SGD", "Adam", "AdamW", "Best", "Checkpoint", "EarlyStopping", "Moment", "Run", "fit"]
