"""Expectation maximisation: steps up the likelihood, from the best of some starts."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from ..compile import Model
from ..exact import Cells, watch
from ..graph import GraphError
from .expectation import Expectation, expectation_of
from .integration import IntegratedExpectation
from .learners import Learner, learners
from .priors import TablePrior
from .regressions import Regression
from .samples import Samples
from .sequences import SequenceExpectation
from .statistics import Statistics
from .tables import Tables

__all__ = ["EM", "Ascent", "ascend", "ascend_sequences", "check_learnable"]

Climbed = Expectation | IntegratedExpectation | SequenceExpectation


@dataclass(frozen=True)
class EM:
    """Expectation maximisation (Dempster, Laird and Rubin, 1977), with exact expectations; the likelihood never falls.

    It ends when a step gains less than `tolerance` nats a row, or after `steps`; Ctrl-C ends it after the current step. It starts
    from the model as it is, so that a second call goes on where the first ended. Where nodes are latent in every row, `restarts`
    random starts are tried for a few steps each, and the best is followed (Biernacki, Celeux and Govaert, 2003).

    Args:
        steps: the most steps.
        tolerance: nats a row.
        restarts: random starts beside the model's own parameters; 0 keeps to these.
        seed: of the random starts; the global generator stays as it was.
        smallest_scale: scales of normal nodes stay above this share of their column's standard deviation, as the likelihood
            of a component on a single row has no bound.
        memory: the bytes that eliminating one row may take at most.
    """

    steps: int = 1000
    tolerance: float = 1e-7
    restarts: int = 0
    seed: int = 0
    smallest_scale: float = 1e-3
    memory: int = 2**31

    def __post_init__(self) -> None:
        for name, least in (("steps", 1), ("restarts", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise GraphError(f"EM: expected a whole number from {least} for {name}; got {value!r}")
        for name in ("tolerance", "smallest_scale"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= value < math.inf:
                raise GraphError(f"EM: expected a number that is not negative for {name}; got {value!r}")


@dataclass(frozen=True)
class Ascent:
    """Where it ended: log p of all rows in nats, the objective a row at each step, why it stopped, and the last statistics."""

    statistics: Statistics
    history: tuple[float, ...]
    stopped: str


def check_learnable(model: Model, found: Iterable[str]) -> None:
    """Raises GraphError where a node has nothing to be learned from."""
    found = [name for name in found if name in model.net]
    above = set(model.net.ancestors(*found)) if found else set()
    for name in model.random:
        if name not in found and name not in above and next(model.conditionals[name].parameters(), None) is not None:
            raise GraphError(
                f"estimate: node {name!r} has no data, and nothing that was observed depends on it, so nothing can be learned about it; give a column {name!r}, or leave the "
                f"node out: net.remove({name!r})"
            )


def ascend(model: Model, data: Mapping[str, Any], found: Cells, weights: Tensor | None, prior: TablePrior | Mapping[str, TablePrior] | None, method: EM) -> Ascent:
    """Climbs from the model's own parameters, or from the best of some starts; the model's parameters are changed in place.

    Raises:
        GraphError: hidden nodes that cannot be eliminated exactly.
    """
    work = copy.deepcopy(model).double()
    learning = learners(work, prior, method.smallest_scale)
    expectation = expectation_of(work, data, found, weights, learning, method.memory)
    total = float(expectation.weight.sum())
    _start(work, learning, expectation, method, total)
    reached = _climb(expectation, learning, total, method.steps, method.tolerance)
    _copy(work, model)
    return reached


def ascend_sequences(model: Model, data: Mapping[str, Any], weights: Tensor | None, prior: TablePrior | Mapping[str, TablePrior] | None, method: EM) -> Ascent:
    """The same from sequences; one step is the optimum where nothing is hidden."""
    work = copy.deepcopy(model).double()
    learning = learners(work, prior, method.smallest_scale)
    expectation = SequenceExpectation(work, watch(work, data), weights, learning, method.memory)
    total = float(expectation.weight.sum())
    if expectation.complete:
        maximise(learning, expectation())
        reached = Ascent(expectation(), (), "closed form")
    else:
        _start(work, learning, expectation, method, total)
        reached = _climb(expectation, learning, total, method.steps, method.tolerance)
    _copy(work, model)
    return reached


def _climb(expectation: Climbed, learning: Sequence[Learner], total: float, steps: int, tolerance: float) -> Ascent:
    history: list[float] = []
    stopped = "steps"
    try:
        while True:
            statistics = expectation()
            penalty = sum(one.penalty() for one in learning if isinstance(one, Tables))
            history.append((statistics.log_likelihood + penalty) / total)
            if len(history) > 1 and history[-1] - history[-2] < tolerance:
                stopped = "convergence"
                break
            if len(history) > steps:
                break
            maximise(learning, statistics)
    except KeyboardInterrupt:
        if not history:
            raise
        stopped = "interrupted"
    return Ascent(statistics, tuple(history), stopped)


def maximise(learning: Sequence[Learner], statistics: Statistics) -> None:
    """The maximisation step: every node's own optimum."""
    for one in learning:
        if isinstance(one, Tables):
            one.update(statistics.counts)
        else:
            samples = [case for name in one.names for case in statistics.samples[name]]
            if samples and any(bool((case.weight > 0).any()) for case in samples):
                one.update(samples)


# ---- starts


def _start(model: Model, learning: Sequence[Learner], expectation: Climbed, method: EM, total: float, short: int = 10) -> None:
    """The model with the best of the starts, each climbed for a few steps."""
    if not method.restarts:
        return
    generator = torch.Generator().manual_seed(method.seed)
    best, kept = -math.inf, None
    for start in range(method.restarts + 1):
        if start:
            scatter(learning, expectation, generator)
        reached = _climb(expectation, learning, total, short, 0.0).history[-1]
        if kept is None or reached > best:
            best, kept = reached, copy.deepcopy(model.state_dict())
    model.load_state_dict(kept)


def scatter(learning: Sequence[Learner], expectation: Climbed, generator: torch.Generator) -> None:
    """Random parameters: rows of tables drawn from a Dirichlet, other nodes fitted to a few cases for each hidden state, far from those of the others."""
    statistics = expectation()
    for one in learning:
        if isinstance(one, Tables):
            draws = torch.empty(3, *one.shape, dtype=torch.float64, device="cpu").exponential_(generator=generator).sum(0)
            one.fill((draws / draws.sum(-1, keepdim=True)).to(expectation.model.device))
            continue
        wide = replace(one, smallest=1.0) if isinstance(one, Regression) else one
        samples = _scattered([case for name in one.names for case in statistics.samples[name]], wide.needed if isinstance(wide, Regression) else 4, generator)
        if samples:
            wide.update(samples)


def _scattered(cases: Sequence[Samples], needed: int, generator: torch.Generator) -> list[Samples]:
    """As few of each state's cases as tell coefficients, the first drawn by the squared distance to those before (k-means++, Arthur and Vassilvitskii, 2007)."""
    found, centres = [], []
    for case in cases:
        value = case.value.reshape(len(case.value), -1).double().cpu()
        nearest = torch.stack([(value - centre).square().sum(1) for centre in centres]).amin(0) if centres else torch.ones(len(value))
        first = torch.multinomial(nearest.clamp_min(1e-12 * (1 + nearest.max())), 1, generator=generator)
        centres.append(value[first])
        chosen = torch.cat([first, torch.randperm(len(value), generator=generator, device="cpu")[: needed - 1]]).to(case.value.device)
        there = None if case.there is None else case.there[chosen]
        found.append(Samples([parent[chosen] for parent in case.parents], case.value[chosen], torch.ones(len(chosen), dtype=torch.float64, device=case.value.device), there))
    return found


def _copy(work: Model, model: Model) -> None:
    with torch.no_grad():
        for own, found in zip(model.parameters(), work.parameters()):
            own.copy_(found)
