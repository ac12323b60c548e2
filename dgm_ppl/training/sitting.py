"""Sitting: one process's part in a run, from the objective on its device to the outcome."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ..families.randomness import seeded
from .checkpoint import check_same, read
from .feed import Feed
from .intake import Intake
from .journal import Journal
from .learner import Learner, Position
from .loop import Loop
from .plan import Plan
from .progress import Display, Quiet, say, watch_progress
from .randomness import draw_seed, mix
from .step import Step, Turn, set_up_turns
from .team import Team
from .validation import Validation

__all__ = ["Outcome", "sit"]


@dataclass(frozen=True)
class Outcome:
    """How a run ended: why, where, and what it wrote down."""

    stopped: str
    position: Position
    seconds: float
    journal: Journal
    averaged: nn.Module | None


def sit(plan: Plan, objective: nn.Module, data: Any, validation: Any, team: Team) -> Outcome:
    """Runs the plan, from its checkpoint if there is one, until it is fulfilled or interrupted."""
    objective.to(plan.device, plan.dtype)
    modes = [(module, module.training) for module in objective.modules()]
    objective.train()
    try:
        with seeded(plan.seed, plan.device):
            return _sit(plan, objective, data, validation, team)
    finally:
        for module, mode in modes:
            module.training = mode


def _sit(plan: Plan, objective: nn.Module, data: Any, validation: Any, team: Team) -> Outcome:
    stored = _stored(plan, objective)
    seed = stored["seed"] if stored else plan.seed if plan.seed is not None else draw_seed()
    turns = set_up_turns(objective, plan)
    if plan.endless and len(turns) > 1:
        raise ValueError("fit: expected epochs, steps or stopping, since the losses of several players do not settle; got none; try epochs=20")
    intake = Intake(objective.prepare, plan.device, plan.dtype, plan.transform, mix(seed, 0))
    feed = intake.open(data, plan.batch_size, shuffle=True)
    loop = _loop(plan, objective, turns, feed, _validation(plan, objective, intake, validation, team), team, seed)
    if stored:
        check_same(plan.checkpoint.last, "settings", stored["settings"], loop.identity["settings"], _OTHER_SETTINGS)
        loop.resume(stored)
    with team.interrupt as interrupt, _bar(plan, feed, loop.position, team) as bar:
        stopped = loop.run(interrupt, bar)
    _say_interrupted(stopped, plan, loop.position, team)
    if plan.stopping is not None and loop.journal.best_state is not None:
        objective.load_state_dict(loop.journal.best_state)
    average = loop.learner.average
    return Outcome(stopped, loop.position, loop.journal.seconds, loop.journal, average and average.module)


_OTHER_SETTINGS = "try the arguments of the first call, another folder, or fit(..., resume=False) to start afresh"
_OTHER_NET = "try the net and objective that it was made with, another folder, or fit(..., resume=False) to replace it"


def _stored(plan: Plan, objective: nn.Module) -> dict[str, Any] | None:
    if plan.checkpoint is None or not plan.resume or not plan.checkpoint.last.exists():
        return None
    stored = read(plan.checkpoint.last)
    check_same(plan.checkpoint.last, "net and objective", stored["declaration"], objective.declaration(), _OTHER_NET)
    return stored


def _loop(
    plan: Plan, objective: nn.Module, turns: list[Turn], feed: Feed, validate: Validation | None, team: Team, seed: int
) -> Loop:
    autocast = plan.device if plan.precision == torch.bfloat16 else None
    return Loop(
        Learner(objective, turns, plan.device, plan.average),
        Step(turns, clip=plan.clip, autocast=autocast, team=team),
        feed,
        validate,
        Journal(tuple(turn.name for turn in turns), plan.stopping),
        plan=plan,
        team=team,
        identity=_identity(plan, objective, turns, feed, seed) if plan.checkpoint else {},
    )


def _identity(plan: Plan, objective: nn.Module, turns: list[Turn], feed: Feed, seed: int) -> dict[str, Any]:
    """Who a stored run is."""
    return {"declaration": objective.declaration(), "settings": _settings(plan, turns, feed), "seed": seed}


def _settings(plan: Plan, turns: list[Turn], feed: Feed) -> dict[str, Any]:
    """What must stay the same for a stored state to go on."""
    return {
        "rows": feed.rows,
        "batch_size": plan.batch_size,
        "seed": plan.seed,
        "precision": str(plan.precision),
        "average": plan.average,
        "optimizer": {turn.name: turn.settings for turn in turns},
    }


def _validation(plan: Plan, objective: nn.Module, intake: Intake, data: Any, team: Team) -> Validation | None:
    if data is None:
        return None
    if not objective.has_score:
        raise ValueError(
            f"fit: expected no validation data, as the losses of {type(objective).__name__} do not say how good the model is; got some; judge samples in a "
            "callback, by dgm.metrics, or after the run"
        )
    feed = intake.open(data, plan.batch_size, shuffle=False)
    return Validation(objective, feed, team, intake.seed, plan.device, plan.precision == torch.bfloat16)


def _bar(plan: Plan, feed: Feed, position: Position, team: Team) -> Display:
    if team.rank != 0:
        return Quiet()
    ends = [plan.steps, plan.epochs * feed.batches if plan.epochs and feed.batches else None]
    return watch_progress(plan.progress, position.step, min(filter(None, ends), default=None))


def _say_interrupted(stopped: str, plan: Plan, position: Position, team: Team) -> None:
    if stopped == "interrupted" and team.rank == 0:
        kept = f"the same call resumes from '{plan.checkpoint.folder}'" if plan.checkpoint else "nothing was stored"
        say(f"fit: interrupted after step {position.step:,}; {kept}")
