"""Learning tables where cells are missing: expectation maximisation and gradient ascent, against complete rows alone, complete data and the truth.

    python benchmarks/missing_cells.py --networks FOLDER --samples FOLDER [--names asia alarm] [--peer asia] [--json out.json]

`FOLDER/name.bif.gz` are the true networks, `FOLDER/name.npz` their samples (`train`, `test`, `columns`). Cells of `train` are removed at
random. Both searches maximise the likelihood of the cells that are left, from the same start; the last lines hold the training
optima side by side; for the networks after `--peer` pyAgrum's expectation maximisation (tolerance 1e-5) is among them. Held-out scores are of complete test rows, in nats a row; there every table, the peers' too, has a count
of one added to each cell, as a single impossible row would make a score infinite.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import measure
import numpy
import torch

import dgm_ppl as dgm

PRIOR = dgm.PseudoCounts(1.0)


def read(networks: str, samples: str, name: str) -> tuple[dgm.BayesNet, dict[str, numpy.ndarray], dict[str, numpy.ndarray]]:
    file = numpy.load(Path(samples) / f"{name}.npz", allow_pickle=False)
    columns = [str(column) for column in file["columns"]]
    train, test = ({column: file[part][:, place].astype(float) for place, column in enumerate(columns)} for part in ("train", "test"))
    return dgm.read(Path(networks) / f"{name}.bif.gz"), train, test


def with_holes(data: dict[str, numpy.ndarray], share: float, seed: int) -> dict[str, numpy.ndarray]:
    generator = numpy.random.default_rng(seed)
    return {name: numpy.where(generator.random(len(column)) < share, numpy.nan, column) for name, column in data.items()}


def held_out(model: dgm.Model, test: dict[str, numpy.ndarray]) -> float:
    return dgm.log_prob(model, test).mean()


def by_family(net: dgm.BayesNet, data: dict[str, numpy.ndarray]) -> dgm.Model:
    """Each table from the rows that lack no cell of its family: available cases."""
    model = dgm.compile(net, seed=0).double()
    for name in net:
        family = [*net[name].all_parents, name]
        there = ~numpy.isnan(numpy.stack([data[one] for one in family])).any(0)
        part = dgm.BayesNet({one: net[one] if one == name else dgm.Given(states=list(net[one].labels)) for one in family})
        found = dgm.compile(part, seed=0).double()
        dgm.estimate(found, {one: data[one][there].astype(int) for one in family}, prior=PRIOR)
        model.conditionals[name].load_state_dict(found.conditionals[name].state_dict())
    return model


def gradient(net: dgm.BayesNet, data: dict[str, numpy.ndarray], steps: int) -> tuple[dgm.Model, float]:
    model = dgm.compile(net, seed=0).double()
    start = time.process_time()
    dgm.fit(
        dgm.MaximumLikelihood(model), data, steps=steps, seed=0, device="cpu", progress=False,
        optimizer=lambda parameters: torch.optim.LBFGS(parameters, max_iter=20, history_size=20, line_search_fn="strong_wolfe", tolerance_grad=1e-9, tolerance_change=1e-12),
    )
    return model, time.process_time() - start


def agrum(name: str, net: dgm.BayesNet, data: dict[str, numpy.ndarray]) -> tuple[float, float]:
    """The training optimum of pyAgrum's expectation maximisation, scored here, and its processor seconds."""
    import pandas
    import pyagrum

    frame = pandas.DataFrame({
        one: numpy.where(numpy.isnan(column), "?", numpy.asarray(net[one].labels)[numpy.nan_to_num(column).astype(int)]) for one, column in data.items()
    })
    with tempfile.TemporaryDirectory() as folder:
        dgm.write(net, Path(folder) / "net.bif")
        template = pyagrum.loadBN(str(Path(folder) / "net.bif"))
        learner = pyagrum.BNLearner(frame, template, ["?"])
        learner.useEM(1e-5)
        learner.useSmoothingPrior(1e-9)
        start = time.process_time()
        found = learner.learnParameters(template.dag())
        seconds = time.process_time() - start
        pyagrum.saveBN(found, str(Path(folder) / "found.bif"))
        return dgm.log_prob(dgm.compile(dgm.read(Path(folder) / "found.bif", normalise=True)).double(), data).mean(), seconds


def study(name: str, arguments: argparse.Namespace) -> dict[str, float]:
    truth, train, test = read(arguments.networks, arguments.samples, name)
    net, holes = truth.opened(), with_holes(train, arguments.share, arguments.seed)
    complete = ~numpy.isnan(numpy.stack(list(holes.values()))).any(0)
    found: dict[str, float] = {"complete rows": int(complete.sum())}

    def estimated(data: dict[str, numpy.ndarray], **settings: object) -> dgm.Model:
        return dgm.estimate(dgm.compile(net, seed=0).double(), data, prior=PRIOR, **settings).model

    found["truth"] = held_out(dgm.compile(truth).double(), test)
    found["complete data"] = held_out(estimated(train), test)
    start = time.process_time()
    with_prior = dgm.estimate(dgm.compile(net, seed=0).double(), holes, prior=PRIOR, method=dgm.EM())
    found |= {"EM": held_out(with_prior.model, test), "EM seconds": time.process_time() - start, "EM steps": len(with_prior.history) - 1}
    found["available cases"] = held_out(by_family(net, holes), test)
    found["complete rows alone"] = held_out(estimated({one: column[complete] for one, column in holes.items()}), test) if complete.any() else float("nan")
    start = time.process_time()
    ascent = dgm.estimate(dgm.compile(net, seed=0).double(), holes, method=dgm.EM(tolerance=1e-8, steps=3000))
    found["EM without prior, seconds"] = time.process_time() - start
    climbed, seconds = gradient(net, holes, arguments.steps)
    found |= {
        "training optimum, EM": ascent.log_likelihood / ascent.rows, "training optimum, gradient": dgm.log_prob(climbed, holes).mean(),
        "gradient seconds": seconds, "held out, gradient without prior": held_out(climbed, test),
    }
    if name in arguments.peer:
        found["training optimum, pyAgrum's EM"], found["pyAgrum seconds"] = agrum(name, truth, holes)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", required=True)
    parser.add_argument("--samples", required=True)
    parser.add_argument("--names", nargs="*", default=["asia", "alarm"])
    parser.add_argument("--peer", nargs="*", default=[])
    parser.add_argument("--share", type=float, default=0.3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    report = {}
    for name in arguments.names:
        report[name] = study(name, arguments)
        print(f"{name}, {arguments.share:.0%} of the cells missing")
        print("\n".join(f"  {key:36}{value:12.4f}" for key, value in report[name].items()), flush=True)
    measure.write_json(arguments.json, {"environment": measure.environment(threads=1, **vars(arguments)), "found": report})


if __name__ == "__main__":
    main()
