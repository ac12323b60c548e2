"""An experiment: guides of several kinds, trained and judged on the same data."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import pickle
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..compile import Model, compile
from ..data import columns
from ..families.randomness import seeded
from ..formats import describe
from ..graph import GraphError
from ..guides import amortize
from ..network import BayesNet
from ..objectives import ForwardKL, Objective, OnlineSimulations
from ..queries import Bound, Importance, Score, log_prob
from ..training import Adam, fit
from .choices import GuideChoice
from .comparison import GuideComparison
from .weights import judge_weights

__all__ = ["compare_guides"]


@dataclass(frozen=True)
class Job:
    """One run: everything that decides its outcome."""

    net: BayesNet
    observed: tuple[str, ...]
    choice: GuideChoice
    seed: int
    train: Mapping[str, Tensor]
    test: Mapping[str, Tensor]
    steps: int
    batch_size: int | None
    optimizer: Any
    samples: int
    folder: str | None

    @property
    def key(self) -> str:
        """A name for the run that is the same for the same net, data and choices."""
        told = [describe(self.net), self.observed, self.choice.label, self.seed, self.steps, self.batch_size, repr(self.optimizer), self.samples]
        digest = hashlib.sha256(json.dumps(told, sort_keys=True, default=repr).encode())
        for part in (self.train, self.test):
            for name in sorted(part):
                digest.update(name.encode() + part[name].detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]


def compare_guides(
    net: BayesNet,
    data: Any,
    choices: Sequence[GuideChoice],
    *,
    observed: str | Iterable[str] | None = None,
    seeds: int | Iterable[int] = 3,
    test: Any = None,
    steps: int = 1000,
    batch_size: int | None = 128,
    optimizer: Any = Adam(lr=1e-3),
    samples: int = 500,
    folder: str | os.PathLike[str] | None = None,
    processes: int = 1,
) -> GuideComparison:
    """Trains every choice of guide with every seed, and judges it on rows that it was not trained on.

    In each run the model is compiled anew and trained with the guide (a model without parameters stays as it is). On the test rows it reports the ELBO, the
    evidence (exact, or by importance sampling), the gap between them, and k-hat.

    Args:
        net: a net.
        data: rows, a dict or a DataFrame. `ForwardKL` takes the latents' columns where they are there (a fixed budget of simulations), else it simulates anew at each step.
        observed: the nodes that a guide is given; by default the columns of `data`.
        choices: `GuideChoice(...)`, or all combinations: `guide_choices(structures, families, objectives)`.
        seeds: how many, or which; of parameters, batches and noise.
        test: rows to judge by; by default a fifth of the rows, drawn at random, the same for all.
        steps, batch_size, optimizer: of the training, as in `fit`.
        samples: draws for each test row.
        folder: where finished runs and checkpoints are kept; a run that is there is not done again, one that was interrupted goes on.
        processes: how many runs at once, each in a process with one thread. A script then needs `if __name__ == "__main__":`.

    Raises:
        GraphError: no choice, two of one name, one that does not fit the net, too few rows; with several processes, what cannot be sent to another.

    Example:
        >>> import torch, dgm_ppl as dgm
        >>> net = dgm.BayesNet(z=dgm.Normal(loc=0.0, scale=1.0), x=dgm.Normal(loc="z", scale=1.0))
        >>> found = dgm.compare_guides(net, {"x": torch.linspace(-3, 3, 50)}, dgm.guide_choices(nets=[dgm.MLP(4)]), seeds=1, steps=5)
        >>> list(found.frame["choice"]), len(found.frame)
        (["Faithful(order='auto'), Usual(), ELBO, MLP(4)"], 1)
    """
    jobs = _jobs(net, data, choices, observed, seeds, test, steps, batch_size, optimizer, samples, None if folder is None else os.fspath(folder))
    waiting = [job for job in jobs if _stored(job) is None]
    if processes > 1 and len(waiting) > 1:
        fresh = _in_processes(waiting, processes)
    else:
        fresh = {job.key: _run(job) for job in waiting}
    return GuideComparison(tuple({**(fresh.get(job.key) or _stored(job))} for job in jobs))


def _jobs(
    net: BayesNet, data: Any, choices: Sequence[GuideChoice], asked: str | Iterable[str] | None, seeds: int | Iterable[int], test: Any, steps: int, batch_size: int | None,
    optimizer: Any, samples: int, folder: str | None,
) -> list[Job]:
    if not choices or not all(isinstance(choice, GuideChoice) for choice in choices):
        raise GraphError(f"compare_guides: expected a list of choices; got {choices!r}; try dgm.guide_choices([dgm.Faithful(), dgm.MeanField()])")
    for name, value in (("steps", steps), ("samples", samples)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise GraphError(f"compare_guides: expected a positive whole number for {name}; got {value!r}")
    labels = [choice.label for choice in choices]
    if len(set(labels)) < len(labels):
        raise GraphError(f"compare_guides: two choices are called {next(label for label in labels if labels.count(label) > 1)!r}; give them names: GuideChoice(..., name='a')")
    model = compile(net, seed=0)
    values = model.encode(data if isinstance(data, Mapping) else columns(data))
    observed = tuple(values) if asked is None else (asked,) if isinstance(asked, str) else tuple(asked)
    for name in observed:
        if name not in values:
            raise GraphError(f"compare_guides: {name!r} is observed and has no column; the data have {list(values)}")
    for choice in choices:
        choice.check()
        objective = choice.objective(model, _guide(net, observed, choice, model, 0))
        if isinstance(objective, ForwardKL) and net.inputs and not _told(objective, values):
            raise GraphError(f"compare_guides: {choice.label!r} simulates, and the model has the inputs {list(net.inputs)}; give simulated columns: dgm.simulate(model, 10_000, given=...)")
    train, held = _split(model, values) if test is None else (values, model.encode(test if isinstance(test, Mapping) else columns(test)))
    which = range(seeds) if isinstance(seeds, int) else tuple(seeds)
    if not which:
        raise GraphError(f"compare_guides: expected one seed or more; got {seeds!r}; try seeds=3")
    return [Job(net, observed, choice, seed, train, held, steps, batch_size, optimizer, samples, folder) for choice in choices for seed in which]


def _guide(net: BayesNet, observed: Sequence[str], choice: GuideChoice, model: Model, seed: int) -> Model:
    return compile(amortize(net, observed, structure=choice.structure, family=choice.family, net=choice.net, collapse=False), share=model, seed=seed)


def _split(model: Model, values: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    rows = model.layout.worlds(values)
    if len(rows) != 1 or rows[0] < 10:
        raise GraphError(f"compare_guides: expected 10 rows or more, to keep some for the test; got {rows[0] if rows else 'a single world'}; give test rows: test=...")
    order, held = torch.randperm(rows[0], generator=torch.Generator().manual_seed(0), device="cpu"), rows[0] // 5
    rowed = model.layout.rowed(values)
    return tuple({name: value[part.to(value.device)] for name, value in rowed.items()} for part in (order[held:], order[:held]))


def _run(job: Job) -> dict[str, Any]:
    model = compile(job.net, seed=job.seed)
    guide = _guide(job.net, job.observed, job.choice, model, job.seed)
    objective = job.choice.objective(model, guide)
    checkpoint = None if job.folder is None else Path(job.folder) / f"{job.key}.run"
    row = {"choice": job.choice.label, "seed": job.seed}
    data, batch = _training(job, model, objective)
    try:
        run = fit(objective, data, steps=job.steps, batch_size=batch, optimizer=job.optimizer, seed=job.seed, checkpoint=checkpoint, progress=False)
    except FloatingPointError as failure:
        return _store(job, {**row, "failed": str(failure)})
    if run.stopped == "interrupted":
        raise KeyboardInterrupt
    test = {name: job.test[name] for name in job.observed}
    with seeded(job.seed, model.device):
        bound = log_prob(model, test, method=Bound(guide, samples=job.samples)).value
        evidence = _evidence(model, guide, test, job.samples)
        weights = judge_weights(model, guide, test, samples=max(job.samples, 100), seed=None)
    own = {id(parameter) for parameter in model.parameters()}
    return _store(job, {
        **row, "bound": float(bound.mean()), "evidence": float(evidence.value.mean()), "evidence_kind": evidence.kind, "gap": float(evidence.value.mean() - bound.mean()),
        "khat": float(weights.khat.median()), "bad": float((weights.khat >= weights.threshold).double().mean()), "seconds": run.seconds,
        "parameters": sum(parameter.numel() for parameter in guide.parameters() if id(parameter) not in own), "failed": "",
    })


def _training(job: Job, model: Model, objective: Objective) -> tuple[Any, int | None]:
    """What the objective is fitted to, and the rows of a batch: simulations for one that learns from them, else what is observed."""
    rows = len(next(iter(job.train.values())))
    batch = None if job.batch_size is None else min(job.batch_size, rows)
    if not isinstance(objective, ForwardKL):
        return {name: job.train[name] for name in job.observed}, batch
    if _told(objective, job.train):
        return job.train, batch
    return OnlineSimulations(model, rows=job.batch_size or rows, sizes=model.layout.sizes(job.train)), None


def _told(objective: ForwardKL, data: Mapping[str, Tensor]) -> bool:
    return all(name in data for name in objective.latents)


def _evidence(model: Model, guide: Model, test: Mapping[str, Tensor], samples: int) -> Score:
    try:
        return log_prob(model, test)
    except GraphError:                                                      # some latent cannot be eliminated exactly
        return log_prob(model, test, method=Importance(guide, samples=samples))


def _path(job: Job) -> Path:
    return Path(job.folder) / f"{job.key}.json"


def _stored(job: Job) -> dict[str, Any] | None:
    """The outcome of a run that is in the folder."""
    if job.folder is None or not _path(job).exists():
        return None
    return json.loads(_path(job).read_text())


def _store(job: Job, row: dict[str, Any]) -> dict[str, Any]:
    if job.folder is not None:
        os.makedirs(job.folder, exist_ok=True)
        handle, beside = tempfile.mkstemp(dir=job.folder, suffix=".part")
        with os.fdopen(handle, "w") as file:
            json.dump(row, file)
        os.replace(beside, _path(job))                                      # whole or not at all
    return row


def _in_processes(jobs: Sequence[Job], processes: int) -> dict[str, dict[str, Any]]:
    for job in jobs:
        try:
            pickle.dumps(job)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise GraphError(f"compare_guides: {job.choice.label!r} cannot be sent to another process ({error}); use functions of a module, not lambdas, or processes=1") from error
    with ProcessPoolExecutor(min(processes, len(jobs)), mp_context=multiprocessing.get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)) as pool:
        return dict(zip((job.key for job in jobs), pool.map(_run, jobs)))
