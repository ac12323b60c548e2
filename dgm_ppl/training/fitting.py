"""fit: train an objective on data."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from .checkpoint import Checkpoint
from .devices import find_device
from .feed import Transform
from .optimizers import Adam, OptimizerBuilder, ScheduleBuilder
from .plan import Moment, Plan
from .run import Run
from .sitting import Outcome, sit
from .stopping import EarlyStopping
from .team import Alone

__all__ = ["fit"]

Callback = Callable[[Moment], object]


def fit(
    objective: nn.Module,
    data: Any,
    *,
    validation: Any = None,
    epochs: int | None = None,
    steps: int | None = None,
    batch_size: int | None = None,
    optimizer: OptimizerBuilder | Mapping[str, OptimizerBuilder] = Adam(),
    schedule: ScheduleBuilder | Mapping[str, ScheduleBuilder] | None = None,
    clip: float | None = None,
    average: float | None = None,
    stopping: EarlyStopping | None = None,
    validate_every: int | None = None,
    transform: Transform | None = None,
    device: str | torch.device = "auto",
    devices: int = 1,
    precision: torch.dtype | None = None,
    compile: bool | Callable[..., Any] = False,
    checkpoint: str | os.PathLike[str] | Checkpoint | None = None,
    resume: bool = True,
    seed: int | None = None,
    progress: bool | None = None,
    callbacks: Callback | Sequence[Callback] = (),
) -> Run:
    """Trains an objective on data and returns the run; the objective's parameters are changed in place.

    Data (and validation data) are a dict of tensors, arrays or lists `(rows, ...)`, a DataFrame, a `Dataset` or a
    `DataLoader` of dicts. All but a `DataLoader` are prepared once, stay on the device and are shuffled each epoch.

    - `epochs`, `steps`: where to end, whichever comes first; `stopping` ends when the validation no longer improves. Without
      any of them it ends when the training loss has settled.
    - `batch_size`: the most rows of a minibatch, all rows by default; an epoch's rows are dealt out evenly. A `DataLoader` makes its own batches.
    - `optimizer`, `schedule`: builders, `parameters -> torch optimizer` and `optimizer -> torch schedule` (stepped after
      every training step; a `ReduceLROnPlateau` after every validation), or a dict of them by player. `clip` bounds the
      norm of each player's gradient.
    - `average`: keeps an exponential moving average of the parameters with this decay, 0.999 say: `run.averaged` is a copy of the
      objective (and so of model and guide) that holds it; the run itself goes on with the last parameters.
    - `validate_every`: steps between validations, an epoch by default.
    - `transform`: a function of a minibatch (a dict of tensors on the device) that returns the columns it changes, drawn
      anew each time, for example `lambda batch: {"x": torch.bernoulli(batch["x"])}`. Validation batches go through it too.
    - `device`: "auto" takes an accelerator if there is one. `devices` above 1 starts as many processes, each with its
      share of the rows of every batch (needs Lightning Fabric).
    - `precision`: `torch.bfloat16` computes losses under autocast; `torch.float32` and `torch.float64` cast parameters
      and data. `compile`: True for `torch.compile` over each loss with its gradient, or a function that does it.
    - `checkpoint`: a folder (or `Checkpoint`); with `resume` a run that is stored there goes on, and gives on the same
      device the same parameters, bit for bit, as one that was never interrupted. A finished one returns at once.
    - `seed`: makes the run reproducible and leaves the global generators as they were; without it they are drawn from.
    - `progress`: a progress bar; None shows one in a terminal only. `callbacks` are called with a `Moment` after each
      step, by the first process if there are several.

    Ctrl-C ends after the current step: the checkpoint is written and the run returned, `stopped="interrupted"`; a second
    Ctrl-C raises at once. A loss that is not finite raises `FloatingPointError`; the parameters are then those before
    the bad step, which is looked for when losses are read, every 50 steps, so that no step waits for the device.
    Raises `ValueError` or `TypeError` for arguments, data or a checkpoint that do not fit, before any work.

    >>> import dgm_ppl as dgm
    >>> coin = dgm.compile(dgm.BayesNet(x=dgm.Bernoulli()))
    >>> tosses = {"x": torch.tensor([1.0, 1.0, 1.0, 0.0])}
    >>> run = dgm.fit(dgm.MaximumLikelihood(coin), tosses, steps=200, optimizer=dgm.Adam(lr=0.1))
    >>> print(run.stopped, round(run.history["loss"].iloc[-1], 3))          # the entropy of 3/4 and 1/4
    steps 0.562
    """
    if not {"players", "prepare"} <= {*dir(objective)}:
        raise TypeError(f"fit: expected an objective; got {type(objective).__name__}; try dgm.fit(dgm.MaximumLikelihood(model), data), or dgm.ELBO(model, guide) where something is latent")
    plan = Plan(
        epochs=epochs,
        steps=steps,
        batch_size=batch_size,
        optimizer=optimizer,
        schedule=schedule,
        clip=clip,
        average=average,
        stopping=stopping,
        validate_every=validate_every,
        validated=validation is not None,
        device=find_device(device),
        precision=precision,
        compile=compile,
        checkpoint=_checkpoint(checkpoint),
        resume=resume,
        seed=seed,
        transform=transform,
        progress=progress,
        devices=devices,
        callbacks=(callbacks,) if callable(callbacks) else tuple(callbacks),
    )
    return _run(objective, _outcome(plan, objective, data, validation))


def _outcome(plan: Plan, objective: nn.Module, data: Any, validation: Any) -> Outcome:
    if plan.devices == 1:
        return sit(plan, objective, data, validation, Alone())
    from .distributed import sit_together  # Lightning Fabric is loaded only when asked for

    return sit_together(plan, objective, data, validation)


def _checkpoint(given: str | os.PathLike[str] | Checkpoint | None) -> Checkpoint | None:
    return given if given is None or isinstance(given, Checkpoint) else Checkpoint(given)


def _run(objective: nn.Module, outcome: Outcome) -> Run:
    step, epoch = outcome.position.step, outcome.position.begun
    journal = outcome.journal
    return Run(objective, outcome.stopped, step, epoch, outcome.seconds, journal.best, journal.history, outcome.averaged)
