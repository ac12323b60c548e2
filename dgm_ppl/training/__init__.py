"""Training: one loop for every objective, with checkpoints, validation, devices and history."""

from dgm_ppl.training.checkpoint import Checkpoint
from dgm_ppl.training.fitting import fit
from dgm_ppl.training.optimizers import SGD, Adam, AdamW
from dgm_ppl.training.plan import Moment
from dgm_ppl.training.run import Run
from dgm_ppl.training.stopping import Best, EarlyStopping

__all__ = ["SGD", "Adam", "AdamW", "Best", "Checkpoint", "EarlyStopping", "Moment", "Run", "fit"]
