"""Four tasks of the simulation-based inference benchmark, declared as nets: C2ST of derived guides against reference posteriors, published values beside.

Each guide is trained on a fixed budget of draws of the model (forward KL, a tenth held out for early stopping) and asked for the given
observations. The nets say what a black-box estimator is not told: the ten dimensions of `gaussian_linear` are alike and independent (a plate),
`gaussian_mixture` has a component, the four points of `slcp` are alike and independent given five numbers. C2ST is the benchmark's: a
perceptron of two layers of 10 d on z-scored draws, 10,000 a side, five folds; here with early stopping, which takes a tenth of the time.

    python benchmarks/simulation_tasks.py --data FOLDER [--tasks slcp] [--budgets 1000 10000] [--observations 1 2 3 4 5] [--peer] [--json FILE]

`--peer` trains sbi's own neural posterior estimation (spline flows, its defaults) on as many draws in the same run, where sbi is installed.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from measure import environment, write_json
from torch import Tensor

import dgm_ppl as dgm

SOME = math.sqrt(0.1)                                                       # the task's scales of 0.1 are variances


@dataclass(frozen=True)
class Task:
    """A task: its net, the observation as columns, draws as a table in the order of the reference, and how its guide is declared."""

    net: dgm.BayesNet
    observed: Callable[[Tensor], dict[str, Tensor]]
    table: Callable[[dict[str, Tensor]], Tensor]
    guide: Callable[[dgm.BayesNet], dgm.BayesNet]
    sizes: dict[str, int] | None = None
    simulator: Callable[[dict[str, Tensor]], dict[str, Tensor]] | None = None


def linear() -> Task:
    net = dgm.BayesNet(theta=dgm.Normal(loc=0.0, scale=SOME), x=dgm.Normal(loc="theta", scale=SOME), plates={"dimension": ["theta", "x"]})
    return Task(net, lambda x: {"x": x[None]}, lambda draws: draws["theta"][:, 0], lambda net: dgm.amortize(net, "x", net=dgm.MLP(64)), {"dimension": 10})


def mixture() -> Task:
    c, theta = dgm.refs("c theta")
    net = dgm.BayesNet(
        c=dgm.Bernoulli(probs=0.5), theta=dgm.Uniform(2, low=-10.0, high=10.0), x=dgm.Normal(2, loc=theta, scale=1.0 - 0.9 * c),
    )
    flow = dgm.Flow(dgm.NSF(3, bins=8, hidden=(50, 50)), space=dgm.Interval(-10.0, 10.0))
    return Task(
        net, lambda x: {"x": x[None]}, lambda draws: draws["theta"][:, 0],
        lambda net: dgm.amortize(net, "x", net=dgm.DeepSet(50), families={"theta": flow}, order=["c", "theta"]),
    )


def slcp() -> Task:
    a, b, c, d, e, first = dgm.refs("a b c d e first")
    tanh = 2.0 * dgm.sigmoid(2.0 * e) - 1.0
    net = dgm.BayesNet(
        **{name: dgm.Uniform(low=-3.0, high=3.0) for name in "abcde"},
        first=dgm.Normal(loc=a, scale=c * c),
        second=dgm.Normal(loc=b + tanh * d * d * (first - a) / (c * c), scale=d * d * dgm.exp(0.5 * dgm.log(1.0 - tanh * tanh))),
        plates={"point": ["first", "second"]},
    )
    return Task(
        net, lambda x: {"first": x.view(1, 4, 2)[..., 0], "second": x.view(1, 4, 2)[..., 1]}, lambda draws: torch.cat([draws[name] for name in "abcde"], -1),
        lambda net: dgm.amortize(
            net, ["first", "second"], net=dgm.DeepSet(64), families={name: dgm.Flow(dgm.NSF(2, bins=10, hidden=(50, 50)), space=dgm.Interval(-3.0, 3.0)) for name in "abcde"},
        ),
        {"point": 4},
    )


def moons() -> Task:
    """A crescent by a simulator: the net declares the prior only, and the guide is declared as it is."""

    def simulator(draws: dict[str, Tensor]) -> dict[str, Tensor]:
        theta = draws["theta"]
        angle, radius = (torch.rand(len(theta)) - 0.5) * math.pi, 0.1 + 0.01 * torch.randn(len(theta))
        shift = torch.stack([-(theta[:, 0] + theta[:, 1]).abs(), theta[:, 1] - theta[:, 0]], -1) / math.sqrt(2.0)
        return {"x": torch.stack([radius * angle.cos() + 0.25, radius * angle.sin()], -1) + shift}

    prior = dgm.BayesNet(theta=dgm.Uniform(2, low=-1.0, high=1.0))
    guide = dgm.BayesNet(x=dgm.Given(2), theta=dgm.Flow(2, dgm.NSF(5, bins=10, hidden=(50, 50)), space=dgm.Interval(-1.0, 1.0)).given("x"))
    return Task(prior, lambda x: {"x": x[None]}, lambda draws: draws["theta"], lambda net: guide, simulator=simulator)


def c2st(x: np.ndarray, y: np.ndarray, seed: int) -> float:
    """The benchmark's: accuracy of a perceptron in five folds, on columns with the deviation and mean of x."""
    from sklearn.model_selection import KFold, cross_val_score
    from sklearn.neural_network import MLPClassifier

    mean, deviation = x.mean(0), x.std(0, ddof=1)
    data = np.concatenate([(x - mean) / deviation, (y - mean) / deviation])
    label = np.concatenate([np.zeros(len(x)), np.ones(len(y))])
    classifier = MLPClassifier(activation="relu", hidden_layer_sizes=(10 * x.shape[1],) * 2, max_iter=1000, early_stopping=True, random_state=seed)
    return float(cross_val_score(classifier, data, label, cv=KFold(5, shuffle=True, random_state=seed), scoring="accuracy").mean())


def published(folder: Path, task: str, budget: int) -> float | None:
    """The mean over ten observations of neural posterior estimation in one round."""
    with open(folder / "c2st_by_task_algorithm_budget.csv", encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["task"] == task and row["algorithm"] == "NPE" and row["num_simulations"] == f"10{'³⁴⁵'[round(math.log10(budget)) - 3]}"]
    return float(rows[0]["mean"]) if rows else None


def run(task: Task, budget: int, observations: list[Tensor], epochs: int, seed: int) -> tuple[list[np.ndarray], float]:
    """Draws of the trained guide for each observation, and the processor seconds of training."""
    started = time.process_time()
    model = dgm.compile(task.net, seed=seed)
    guide = dgm.compile(task.guide(task.net), seed=seed + 1)
    torch.manual_seed(seed)
    held_out = max(budget // 10, 50)
    budgeted = [dgm.simulate(model, rows, sizes=task.sizes, simulator=task.simulator) for rows in (budget - held_out, held_out)]
    dgm.fit(
        dgm.ForwardKL(model, guide), budgeted[0], validation=budgeted[1], epochs=epochs, batch_size=min(100, budget // 20), optimizer=dgm.Adam(1e-3), clip=5.0,
        stopping=dgm.EarlyStopping(20), seed=seed,
    )
    seconds, draws = time.process_time() - started, []
    for x in observations:
        if task.simulator is None:
            found = dgm.posterior(model, task.observed(x), method=dgm.Amortized(guide, samples=10000)).sample(10000)
        else:
            found = guide.sample(10000, given={name: column.expand(10000, *column.shape[1:]) for name, column in task.observed(x).items()})
        draws.append(task.table(found).double().numpy())
    return draws, seconds


def peer(name: str, task: Task, budget: int, observations: list[Tensor], seed: int) -> tuple[list[np.ndarray], float]:
    """The same of sbi's neural posterior estimation with spline flows and its other defaults."""
    from sbi.inference import NPE
    from sbi.utils import BoxUniform

    started = time.process_time()
    torch.manual_seed(seed)
    simulated = dgm.simulate(dgm.compile(task.net, seed=seed), budget, sizes=task.sizes, simulator=task.simulator)
    theta = task.table({key: value.unsqueeze(1) for key, value in simulated.items()}).flatten(1)
    x = torch.stack([simulated[column] for column in task.observed(observations[0])], -1).flatten(1)
    size, bound = theta.shape[1], {"gaussian_mixture": 10.0, "slcp": 3.0, "two_moons": 1.0}.get(name)
    prior = torch.distributions.MultivariateNormal(torch.zeros(size), 0.1 * torch.eye(size)) if bound is None else BoxUniform(torch.full((size,), -bound), torch.full((size,), bound))
    inference = NPE(prior=prior, density_estimator="nsf", show_progress_bars=False)
    inference.append_simulations(theta, x).train(training_batch_size=min(100, budget // 20))
    posterior, seconds = inference.build_posterior(), time.process_time() - started
    return [posterior.sample((10000,), x=seen[None], show_progress_bars=False).double().numpy() for seen in observations], seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder with reference_obs1-5.npz")
    parser.add_argument("--tasks", nargs="+", default=["gaussian_linear", "gaussian_mixture", "two_moons", "slcp"])
    parser.add_argument("--budgets", nargs="+", type=int, default=[1000, 10000])
    parser.add_argument("--observations", nargs="+", type=int, default=[1, 2, 3, 4, 5])
    parser.add_argument("--epochs", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--peer", action="store_true", help="sbi's own NPE beside it")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.peer and importlib.util.find_spec("sbi") is None:
        parser.error("--peer needs sbi, which is not installed: pip install sbi, or leave --peer out")
    tasks = {"gaussian_linear": linear, "gaussian_mixture": mixture, "two_moons": moons, "slcp": slcp}
    reference, results = np.load(options.data / "reference_obs1-5.npz"), []
    print(f"{'task':24s} {'budget':>7s} {'C2ST':>7s} {'lowest':>7s} {'highest':>7s} {'published':>9s} {'seconds':>8s}")
    for name in options.tasks:
        for budget in options.budgets:
            observations = [torch.as_tensor(reference[f"{name}__{place}__obs"]).float().flatten() for place in options.observations]
            ways = {"": lambda: run(tasks[name](), budget, observations, options.epochs, options.seed)}
            if options.peer:
                ways[" (sbi)"] = lambda: peer(name, tasks[name](), budget, observations, options.seed)
            for way, drawn_by in ways.items():
                draws, seconds = drawn_by()
                scores = [c2st(reference[f"{name}__{place}__ref"].astype(float), drawn, options.seed) for place, drawn in zip(options.observations, draws, strict=True)]
                known = published(options.data, name, budget)
                results.append({"task": name + way, "budget": budget, "c2st": scores, "published": known, "seconds": seconds})
                print(f"{name + way:24s} {budget:7d} {np.mean(scores):7.3f} {min(scores):7.3f} {max(scores):7.3f} {known or math.nan:9.3f} {seconds:8.0f}", flush=True)
    if options.json:
        write_json(options.json, {"environment": environment(**{key: str(value) for key, value in vars(options).items()}), "results": results})


if __name__ == "__main__":
    main()
