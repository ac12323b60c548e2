"""Amortized, then importance-corrected posteriors beside the reference draws of posteriordb (10,000 each).

Eight schools: the guide that the graph implies is trained on draws of the model alone (forward KL), so that the schools' results are new to it. Regressions
with nearly flat priors: it is trained by the ELBO on bootstrap resamples of the table (a draw of the prior looks like no table), and then asked for the
table itself. Both are then corrected by importance weights. A mean or deviation agrees where the difference, over the Monte Carlo
error of both (effective draws), is below 3; C2ST is 0.5 where a classifier cannot tell the two sets of draws apart.

    python benchmarks/reference_posteriors.py --data FOLDER [--draws 20000] [--seed 0] [--json FILE]
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from measure import environment, write_json
from torch import Tensor, nn

import dgm_ppl as dgm


@dataclass(frozen=True)
class Task:
    """A posterior: its net (of the deviation by which y is divided), what is observed of which data, the latents' names in the reference, and whether draws of the model look like data."""

    file: str
    net: Callable[[float], dgm.BayesNet]
    observed: dict[str, Callable[[dict[str, list[float]]], np.ndarray]]
    latents: dict[str, list[str]]
    simulated: bool


SCHOOLS = dgm.BayesNet(
    mu=dgm.Normal(loc=0.0, scale=5.0), tau=dgm.HalfCauchy(scale=5.0), theta=dgm.Normal(loc="mu", scale="tau"), sigma=dgm.Given(),
    y=dgm.Normal(loc="theta", scale="sigma"), plates={"school": ["theta", "sigma", "y"]},
)


def regression(scale: float) -> dgm.BayesNet:
    """y ~ Normal(a + b x, sigma); the reference's flat priors are Normal(0, 1000), and `scale` is large where that of sigma is flat too."""
    a, b, x = dgm.refs("a b x")
    return dgm.BayesNet(
        a=dgm.Normal(loc=0.0, scale=1000.0), b=dgm.Normal(loc=0.0, scale=1000.0), sigma=dgm.HalfCauchy(scale=scale), x=dgm.Given(),
        y=dgm.Normal(loc=a + b * x, scale="sigma"), plates={"row": ["x", "y"]},
    )


class Lags(nn.Module):
    """a + b . x, x the last five values."""

    def forward(self, a: Tensor, b: Tensor, x: Tensor) -> Tensor:
        return a + (b * x).sum(-1)


AUTOREGRESSION = dgm.BayesNet(
    a=dgm.Normal(loc=0.0, scale=10.0), b=dgm.Normal(5, loc=0.0, scale=10.0), sigma=dgm.HalfCauchy(scale=2.5), x=dgm.Given(5),
    y=dgm.Normal(scale="sigma").given("a", "b", "x", net=Lags()), plates={"time": ["x", "y"]},
)


def lagged(series: list[float], lags: int = 5) -> np.ndarray:
    """`(time, lags)`: the values before each, the last first."""
    return np.stack([series[lags - lag - 1:len(series) - lag - 1] for lag in range(lags)], -1)


LINE = {"a": ["beta[1]"], "b": ["beta[2]"], "sigma": ["sigma"]}
TASKS = {
    "eight schools": Task(
        "eight_schools-eight_schools_noncentered", lambda unit: SCHOOLS, {"sigma": lambda data: np.array(data["sigma"]), "y": lambda data: np.array(data["y"])},
        {"mu": ["mu"], "tau": ["tau"], "theta": [f"theta[{school}]" for school in range(1, 9)]}, True,
    ),
    "mesquite, log volume": Task(
        "mesquite-logmesquite_logvolume", lambda unit: regression(1000.0),
        {
            "x": lambda data: np.log(np.array(data["diam1"]) * np.array(data["diam2"]) * np.array(data["canopy_height"])),
            "y": lambda data: np.log(data["weight"]),
        },
        LINE, False,
    ),
    "kidiq, mother's score": Task(
        "kidiq-kidscore_momiq", lambda unit: regression(2.5 / unit), {"x": lambda data: np.array(data["mom_iq"]), "y": lambda data: np.array(data["kid_score"])}, LINE, False,
    ),
    "earnings, log on height": Task(
        "earnings-logearn_height", lambda unit: regression(1000.0), {"x": lambda data: np.array(data["height"]), "y": lambda data: np.log(data["earn"])}, LINE, False,
    ),
    "autoregression of order 5": Task(
        "arK-arK", lambda unit: AUTOREGRESSION, {"x": lambda data: lagged(data["y"]), "y": lambda data: np.array(data["y"][5:])},
        {"a": ["alpha"], "b": [f"beta[{lag}]" for lag in range(1, 6)], "sigma": ["sigma"]}, False,
    ),
}


def resamples(data: dict[str, Tensor], worlds: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Tables of as many rows, drawn from the rows with replacement."""
    rows = next(iter(data.values())).shape[1]
    chosen = torch.randint(rows, (worlds, rows), generator=generator)
    return {name: column[0][chosen] for name, column in data.items()}


def run(task: Task, folder: Path, draws: int, steps: int, seed: int) -> dict[str, object]:
    """Trains, corrects and compares one posterior."""
    with gzip.open(folder / f"{task.file}.data.json.gz", "rt") as file:
        raw = json.load(file)
    reference = np.load(folder / f"{task.file}.draws.npz")
    columns = {str(name): reference["draws"][:, place] for place, name in enumerate(reference["names"])}
    data = {name: torch.as_tensor(np.asarray(make(raw), dtype=np.float32))[None] for name, make in task.observed.items()}
    shifts: dict[str, tuple[float, float]] = {}
    if task.latents is LINE:                                                # centred and scaled, so that a and b are not all but collinear; undone below
        shifts = {name: (float(column.mean()), float(column.std())) for name, column in data.items()}
        data = {name: (column - shifts[name][0]) / shifts[name][1] for name, column in data.items()}

    started = time.process_time()
    net = task.net(shifts["y"][1] if shifts else 1.0)
    model = dgm.compile(net, seed=seed)
    observed = [name for name in task.observed if name != "sigma"]
    guide = dgm.compile(dgm.amortize(net, observed[-1], net=dgm.DeepSet(64), family=dgm.LowRank(4)), seed=seed + 1)
    optimizer, schedule = dgm.Adam(2e-3), partial(torch.optim.lr_scheduler.CosineAnnealingLR, T_max=steps)
    if task.simulated:
        simulations = dgm.OnlineSimulations(model, rows=256, given={"sigma": data["sigma"]})
        dgm.fit(dgm.ForwardKL(model, guide), simulations, steps=steps, optimizer=optimizer, schedule=schedule, clip=5.0, seed=seed)
    else:
        tables = resamples(data, 512, torch.Generator().manual_seed(seed))
        dgm.fit(dgm.ELBO(model, guide, particles=4), tables, steps=steps, batch_size=16, optimizer=optimizer, schedule=schedule, clip=5.0, seed=seed)
    seconds = time.process_time() - started
    return {"seconds": seconds, **compare(task, model, guide, data, columns, shifts, draws, seed)}


def standardised(columns: dict[str, np.ndarray], shifts: dict[str, tuple[float, float]]) -> dict[str, np.ndarray]:
    """The reference draws of a regression in the units of the centred and scaled table."""
    if not shifts:
        return columns
    (mx, sx), (my, sy) = shifts["x"], shifts["y"]
    a, b, sigma = columns["beta[1]"], columns["beta[2]"], columns["sigma"]
    return {"beta[1]": (a + b * mx - my) / sy, "beta[2]": b * sx / sy, "sigma": sigma / sy}


def compare(
    task: Task, model: dgm.Model, guide: dgm.Model, data: dict[str, Tensor], columns: dict[str, np.ndarray], shifts: dict[str, tuple[float, float]], draws: int, seed: int,
) -> dict[str, object]:
    """Means, deviations and C2ST of the guide alone and with weights, against the reference."""
    columns = standardised(columns, shifts)
    reference = {}
    for name, entries in task.latents.items():
        stacked = torch.as_tensor(np.stack([columns[entry] for entry in entries], -1)).float()
        reference[name] = (stacked if len(entries) > 1 else stacked[:, 0]).unsqueeze(1)
    torch.manual_seed(seed)
    weighed = dgm.posterior(model, data, method=dgm.Importance(guide, draws))
    plain = dgm.posterior(model, data, method=dgm.Amortized(guide, samples=draws))
    effective = float(weighed.diagnose().effective.min())
    found: dict[str, object] = {"effective": effective, "k_hat": float(weighed.diagnose().khat.max())}
    for label, post, count in (("guide", plain, draws), ("corrected", weighed, effective)):
        means, deviations, moments = [], [], (post.mean(), post.std())
        for name, theirs in reference.items():
            sd, error = theirs.std(0), math.sqrt(1 / len(theirs) + 1 / count)
            tails = ((theirs - theirs.mean(0)) ** 4).mean(0) / sd**4 - 1       # the variance's own Monte Carlo variance
            means.append(((moments[0][name] - theirs.mean(0)) / sd / error).abs().flatten())
            deviations.append(((moments[1][name] - sd) / sd / error / (0.5 * tails.sqrt())).abs().flatten())
        answer = dgm.Amortized(guide, samples=draws) if label == "guide" else dgm.Importance(guide, draws)
        agreed = dgm.agreement(model, answer, data, reference, samples=min(2000, len(theirs)), seed=seed)
        found[label] = {
            "mean": float(torch.cat(means).max()), "deviation": float(torch.cat(deviations).max()), "c2st": agreed.pairs[0].accuracy.value,
            "stderr": agreed.pairs[0].accuracy.stderr,
        }
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder of the reference posteriors: *.data.json.gz and *.draws.npz")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--draws", type=int, default=20000)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    results = {}
    print("largest difference of a mean and of a deviation, in Monte Carlo errors; C2ST")
    for name in options.tasks:
        results[name] = found = run(TASKS[name], options.data, options.draws, options.steps, options.seed)
        print(f"{name:26s} {found['seconds']:6.0f} s  k-hat {found['k_hat']:.2f}  effective {found['effective']:.0f} of {options.draws}")
        for label in ("guide", "corrected"):
            judged = found[label]
            print(f"  {label:10s} mean {judged['mean']:6.2f}  deviation {judged['deviation']:6.2f}  C2ST {judged['c2st']:.3f} +- {judged['stderr']:.3f}", flush=True)
    if options.json:
        write_json(options.json, {"environment": environment(**{key: str(value) for key, value in vars(options).items()}), "results": results})


if __name__ == "__main__":
    main()
