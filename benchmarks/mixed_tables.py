"""Mixed tables with half of the cells missing: what one guide for any subset imputes and diagnoses, beside scikit-learn's IterativeImputer, the mean or mode, and logistic regression.

    python benchmarks/mixed_tables.py [--tables made diabetes wine digits] [--steps 4000] [--seeds 0 1 2] [--json FILE]

Real columns are one Student t vector `x` (standardised), each finite column is a Categorical; all depend on 10 latents by MLP(64, 64). Cells other than the label's go missing
completely at random, in training and test rows alike; the label is there in training rows and hidden in test rows. One guide is trained with the net by `IWAE` (20 particles,
the doubly reparameterized gradient), by the best bound of a sixth of the training rows held out, and `posterior` answers by 1,000 weighted draws: RMSE of missing real cells, share of missing finite cells whose
most probable state is right, and for the label (`diagnosis`) that share and minus the log of its probability.

IterativeImputer fills in the same table, finite columns as indicators of their states but the first (the label too, which is how it diagnoses); logistic regression is trained on
the same rows with missing cells (indicators too) at their mean, its penalty chosen by cross-validation. `made` is drawn from a net of six hidden groups and two hidden factors, whose exact answers are the last row.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read once, when torch loads OpenMP

import argparse
import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import dgm_ppl as dgm
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from measure import environment, write_json

LATENT, PARTICLES, DRAWS, MISSING = 10, 20, 1000, 0.5
Columns = dict[str, Tensor]


@dataclass
class Table:
    """Training and test rows with holes, the test rows whole; `states` by finite column, the label last; `truth` where the table is made."""

    train: Columns
    test: Columns
    whole: Columns
    states: dict[str, int]
    truth: dgm.Model | None = None

    @property
    def label(self) -> str:
        return [*self.states][-1]


@dataclass
class Guess:
    """What a method says of a test row: the real columns and the probabilities of the states of each finite one."""

    x: Tensor | None
    probs: dict[str, Tensor]


def truth() -> dgm.Model:
    chance = np.random.default_rng(0)
    tables = {name: chance.dirichlet(np.full(count, 0.4), 6) for name, count in {"a": 2, "b": 3, "c": 4, "d": 5, "label": 3}.items()}
    net = dgm.BayesNet(
        {
            "k": dgm.Categorical(6, probs=[1 / 6] * 6), "f": dgm.Normal(2, loc=0.0, scale=1.0),
            "x": dgm.Normal(8, loc=dgm.Constant(chance.normal(size=(6, 8)))[dgm.Ref("k")] + dgm.matmul(dgm.Ref("f"), dgm.Constant(0.7 * chance.normal(size=(2, 8)))), scale=0.4),
        } | {name: dgm.Categorical(probs.shape[1], probs=probs).given("k") for name, probs in tables.items()}
    )
    return dgm.compile(net)


def columns_of(name: str, seed: int) -> tuple[Columns, dict[str, int], dgm.Model | None]:
    """Whole rows and how many states each finite column has."""
    if name == "made":
        torch.manual_seed(seed)
        model = truth()
        rows = model.sample(2000)
        states = {each: model.net[each].space.cardinality for each in ("a", "b", "c", "d", "label")}
        return {each: rows[each] for each in ("x", *states)}, states, model
    from sklearn import datasets

    found = getattr(datasets, f"load_{name}")()
    x, y = torch.as_tensor(found.data, dtype=torch.float), torch.as_tensor(found.target)
    if name == "diabetes":                                                  # a column of two states among real ones; diagnosed is whether the disease went on more than in half of the rows
        return {"x": torch.cat([x[:, :1], x[:, 2:]], 1), "sex": (x[:, 1] > 0).long(), "label": (y > y.median()).long()}, {"sex": 2, "label": 2}, None
    return {"x": x[:, x.std(0) > (2 if name == "digits" else 0)], "label": y}, {"label": int(y.max()) + 1}, None


def table(name: str, seed: int) -> Table:
    columns, states, model = columns_of(name, seed)
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(columns["x"]), generator=generator)
    cut = len(order) * 3 // 4
    train, whole = ({each: column[rows].float() for each, column in columns.items()} for rows in (order[:cut], order[cut:]))
    train = {each: column if each == "label" else holed(column, generator) for each, column in train.items()}
    test = {each: holed(column, generator) for each, column in whole.items() if each != "label"}
    if model is None:
        loc, scale = train["x"].nanmean(0), (train["x"] - train["x"].nanmean(0)).square().nanmean(0).sqrt()
        for rows in (train, test, whole):
            rows["x"] = (rows["x"] - loc) / scale
    return Table(train, test, whole, states, model)


def holed(column: Tensor, generator: torch.Generator) -> Tensor:
    return torch.where(torch.rand(column.shape, generator=generator) < MISSING, torch.nan, column)


def guided(data: Table, steps: int, seed: int) -> Guess:
    names = ["x", *data.states]
    net = dgm.BayesNet(
        {"z": dgm.Normal(LATENT, loc=0.0, scale=1.0), "x": dgm.StudentT(data.train["x"].shape[1], df=5.0).given("z", net=dgm.MLP(64, 64))}
        | {name: dgm.Categorical(count).given("z", net=dgm.MLP(64, 64)) for name, count in data.states.items()}
    )
    model, guide = dgm.compile(net, seed=seed), dgm.compile(dgm.amortize(net, observed=dgm.AnySubset(names), net=dgm.MLP(64, 64)), seed=seed + 1)
    objective = dgm.IWAE(model, guide, particles=PARTICLES, gradient=dgm.DoublyReparameterized())
    cut = len(data.train["x"]) * 5 // 6
    fitted, kept = ({name: column[part] for name, column in data.train.items()} for part in (slice(cut), slice(cut, None)))
    dgm.fit(objective, fitted, validation=kept, stopping=dgm.EarlyStopping(40), steps=steps, batch_size=64, optimizer=dgm.Adam(1e-3), seed=seed, device="cpu", progress=False)
    return asked(data, lambda rows: expected(model, dgm.posterior(model, rows, method=dgm.Importance(guide, DRAWS)), names))


@torch.no_grad()
def expected(model: dgm.Model, answer: dgm.Posterior, names: list[str]) -> Columns:
    """Each column's mean or probabilities given the draws of z, weighted: less noisy than the mean of its draws."""
    weights = answer.log_weights.softmax(0).unsqueeze(-1)
    given = {name: model.conditional(name)(answer.draws["z"]) for name in names}
    return {name: (weights * (p.probs if hasattr(p, "probs") else p.mean)).sum(0) for name, p in given.items()}


def asked(data: Table, answer: Callable[[Columns], Columns]) -> Guess:
    """The answers of 50 test rows at a time: means of `x`, probabilities of the finite columns."""
    means = [answer({name: column[start: start + 50] for name, column in data.test.items()}) for start in range(0, len(data.whole["x"]), 50)]
    return Guess(torch.cat([each["x"] for each in means]), {name: torch.cat([spread(each[name]) for each in means]) for name in data.states})


def spread(mean: Tensor) -> Tensor:
    """Probabilities of all states, `(rows, states)`, of a column of two states too."""
    return mean if mean.ndim == 2 else torch.stack([1 - mean, mean], 1)


def indicators(rows: Columns, data: Table, label: bool = True) -> np.ndarray:
    """The table as numbers, an indicator for each state but the first: with all of them, regressions of one on the others have no one solution."""
    parts = [rows["x"]]
    for name, count in data.states.items():
        if name != data.label or label:
            column = rows.get(name, torch.full((len(rows["x"]),), torch.nan))
            parts.append(torch.where(column.isnan().unsqueeze(1), torch.nan, functional.one_hot(column.nan_to_num().long(), count)[:, 1:].float()))
    return torch.cat(parts, 1).numpy()


def read(filled: np.ndarray, data: Table) -> Guess:
    found, at = torch.as_tensor(filled, dtype=torch.float), data.whole["x"].shape[1]
    probs = {}
    for name, count in data.states.items():
        others = found[:, at: at + count - 1]
        share = torch.cat([1 - others.sum(1, keepdim=True), others], 1).clamp(1e-3)
        probs[name], at = share / share.sum(1, keepdim=True), at + count - 1
    return Guess(found[:, : data.whole["x"].shape[1]], probs)


def imputed(data: Table, which: str) -> Guess:
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.impute import IterativeImputer, SimpleImputer

    imputer = IterativeImputer(max_iter=10, random_state=0) if which == "iterative" else SimpleImputer()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return read(imputer.fit(indicators(data.train, data)).transform(indicators(data.test, data)), data)


def regressed(data: Table) -> Guess:
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegressionCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegressionCV(max_iter=2000))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(indicators(data.train, data, label=False), data.train[data.label].long().numpy())
    return Guess(None, {data.label: torch.as_tensor(model.predict_proba(indicators(data.test, data, label=False)), dtype=torch.float)})


def judged(guess: Guess, data: Table) -> list[float]:
    """RMSE of missing real cells, share right of missing finite ones, share right and NLL of the label."""
    label, scale = data.whole[data.label].long(), data.whole["x"].std(0)
    if guess.x is None:
        error, right = math.nan, math.nan
    else:
        error = ((guess.x - data.whole["x"]) / scale)[data.test["x"].isnan()].square().mean().sqrt().item()
        hits = [(guess.probs[name].argmax(1) == data.whole[name].long())[data.test[name].isnan()] for name in data.states if name != data.label]
        right = torch.cat(hits).float().mean().item() if hits else math.nan
    probs = guess.probs[data.label]
    return [error, right, (probs.argmax(1) == label).float().mean().item(), -probs.gather(1, label.unsqueeze(1)).clamp(1e-6).log().mean().item()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", nargs="+", default=["made", "diabetes", "wine", "digits"], help="made, or of scikit-learn, by name")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = {}
    for name in options.tables:
        rows: dict[str, list[list[float]]] = {}
        for seed in options.seeds:
            data = table(name, seed)
            torch.manual_seed(seed)
            methods = {
                "any-subset guide": lambda: guided(data, options.steps, seed), "IterativeImputer": lambda: imputed(data, "iterative"), "mean or mode": lambda: imputed(data, "mean"),
                "logistic regression": lambda: regressed(data), **({} if data.truth is None else {"the truth, exactly": lambda: asked(data, lambda rows: dgm.posterior(data.truth, rows).mean())}),
            }
            for label, method in methods.items():
                start = time.process_time()
                rows.setdefault(label, []).append([*judged(method(), data), time.process_time() - start])
        shape = f"{len(data.train['x'])} training rows, {len(data.whole['x'])} test rows, {data.whole['x'].shape[1]} real columns, finite ones of {[*data.states.values()]} states"
        print(f"\n{name}: {shape}\n{'':20}{'RMSE':>15}{'finite cells':>16}{'diagnosis':>16}{'its NLL':>16}{'s':>6}")
        for label, each in rows.items():
            mean, deviation = np.mean(each, 0), np.std(each, 0)
            print(f"{label:20}" + "".join(f"{mean[at]:8.3f} ± {deviation[at]:.3f}" if at else f"{mean[at]:7.3f} ± {deviation[at]:.3f}" for at in range(4)) + f"{mean[4]:6.0f}", flush=True)
        found[name] = rows
    write_json(options.json, {"environment": environment(steps=options.steps, seeds=options.seeds), "found": found})


if __name__ == "__main__":
    main()
