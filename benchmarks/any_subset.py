"""Half of the cells missing: imputation and likelihood of a guide for any subset, beside MIWAE written by hand, scikit-learn's IterativeImputer and the mean.

    python benchmarks/any_subset.py [--tables digits breast_cancer] [--steps 2000] [--seeds 0 1 2] [--json FILE]

Columns are standardised, cells go missing completely at random, in training and test rows alike. Model: 10 latents, two layers of 128 units each
way, a Student t for each column, as in Mattei and Frellsen (2019, https://arxiv.org/abs/1812.02633), whose scales and degrees of freedom are softplus of the decoder's
outputs. The hand-written MIWAE reads the row with zeros in its holes, 20 particles; the declared one is the same net, its decoder given as `fn`, with
`amortize(net, observed=AnySubset("x"))` and `IWAE`, whose guide also reads where the holes are; once with the bound's own gradient and the last
parameters, as by hand, once with the doubly reparameterized gradient and a moving average of the parameters (0.995), which the hand-written loop is given too.
RMSE is of missing cells of the test rows, by 1,000 weighted draws; NLL is that of their observed cells, by the same draws.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read once, when torch loads OpenMP

import argparse
import math
import time
import warnings

import dgm_ppl as dgm
import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal, StudentT
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from measure import environment, write_json

LATENT, WIDTH, PARTICLES, DRAWS, DECAY = 10, 128, 20, 1000, 0.995
DECLARED = {"any-subset guide": (None, None), "DReG, averaged": (dgm.DoublyReparameterized(), DECAY)}   # gradient and moving average


class MIWAE(nn.Module):
    """As published: zeros in the holes, the importance-weighted bound of the cells that are there."""

    def __init__(self, columns: int):
        super().__init__()
        self.encoder, self.decoder = perceptron(columns, 2 * LATENT), perceptron(LATENT, 3 * columns)
        self.prior = Independent(Normal(torch.zeros(LATENT), torch.ones(LATENT)), 1)

    def weigh(self, x: Tensor, there: Tensor, particles: int) -> tuple[Tensor, Tensor]:
        loc, scale = self.encoder(torch.where(there, x, 0.0)).chunk(2, -1)
        q = Independent(Normal(loc, nn.functional.softplus(scale)), 1)
        z = q.rsample((particles,))
        location, spread, freedom = self.decoder(z).chunk(3, -1)
        p = StudentT(3 + nn.functional.softplus(freedom), location, 1e-3 + nn.functional.softplus(spread))
        return torch.where(there, p.log_prob(torch.where(there, x, 0.0)), 0.0).sum(-1) + self.prior.log_prob(z) - q.log_prob(z), location

    def train_on(self, x: Tensor, steps: int) -> MIWAE:
        """The moving average of what is trained here."""
        optimizer, average = torch.optim.Adam(self.parameters(), 1e-3, fused=True), AveragedModel(self, multi_avg_fn=get_ema_multi_avg_fn(DECAY))
        there = ~x.isnan()
        for _ in range(steps):
            rows = torch.randint(len(x), (64,))
            weights, _ = self.weigh(x[rows], there[rows], PARTICLES)
            optimizer.zero_grad()
            (math.log(PARTICLES) - weights.logsumexp(0).mean()).backward()
            optimizer.step()
            average.update_parameters(self)
        return average.module

    @torch.no_grad()
    def judge(self, x: Tensor) -> tuple[Tensor, float]:
        there, guesses, logs = ~x.isnan(), [], []
        for rows, seen in zip(x.split(50), there.split(50)):
            weights, location = self.weigh(rows, seen, DRAWS)
            guesses.append((weights.softmax(0).unsqueeze(-1) * location).sum(0))
            logs.append(weights.logsumexp(0) - math.log(DRAWS))
        return torch.cat(guesses), -torch.cat(logs).mean().item()


def perceptron(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, outputs))


class Decoder(nn.Module):
    """The published decoder: the parameters of a Student t for each column."""

    def __init__(self, columns: int):
        super().__init__()
        self.network = perceptron(LATENT, 3 * columns)

    def forward(self, z: Tensor) -> dict[str, Tensor]:
        location, spread, freedom = self.network(z).chunk(3, -1)
        return {"df": 3 + nn.functional.softplus(freedom), "loc": location, "scale": 1e-3 + nn.functional.softplus(spread)}


def declared(x: Tensor, test: Tensor, steps: int, seed: int, gradient: dgm.Estimator | None = None, average: float | None = None) -> tuple[Tensor, float]:
    columns = x.shape[1]
    net = dgm.BayesNet(z=dgm.Normal(LATENT, loc=0.0, scale=1.0), x=dgm.StudentT(columns).given("z", fn=Decoder(columns)))
    model, guide = dgm.compile(net), dgm.compile(dgm.amortize(net, observed=dgm.AnySubset("x", prob=1.0), net=dgm.MLP(WIDTH, WIDTH)), seed=seed + 1)
    objective = dgm.IWAE(model, guide, particles=PARTICLES, gradient=gradient)
    run = dgm.fit(objective, {"x": x}, steps=steps, batch_size=64, optimizer=dgm.Adam(1e-3), average=average, seed=seed, device="cpu", progress=False)
    model, guide = (run.averaged or objective).model, (run.averaged or objective).guide
    guesses, logs = [], []
    for rows in test.split(50):
        post = dgm.posterior(model, {"x": rows}, method=dgm.Importance(guide, DRAWS))
        weights = post.log_weights.softmax(0)
        with torch.no_grad():
            location = model.conditional("x")(post.draws["z"]).base_dist.loc
        guesses.append((weights.unsqueeze(-1) * location).sum(0))
        logs.append(post.log_evidence)
    return torch.cat(guesses), -torch.cat(logs).mean().item()


def table(name: str, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Training rows with holes, test rows, and the same with holes."""
    from sklearn import datasets

    x = getattr(datasets, f"load_{name}")().data
    generator = torch.Generator().manual_seed(seed)
    whole = torch.as_tensor(x, dtype=torch.float)[:, np.asarray(x).std(0) > (2 if name == "digits" else 0)]     # not pixels that are hardly ever on: their density has no end
    order = torch.randperm(len(whole), generator=generator)
    train, test = whole[order[: len(whole) * 3 // 4]], whole[order[len(whole) * 3 // 4:]]
    holed = torch.where(torch.rand(train.shape, generator=generator) < 0.5, torch.nan, train)
    loc, scale = holed.nanmean(0), ((holed - holed.nanmean(0)).square().nanmean(0)).sqrt()
    test = (test - loc) / scale
    return (holed - loc) / scale, test, torch.where(torch.rand(test.shape, generator=generator) < 0.5, torch.nan, test)


def rmse(guess: Tensor, test: Tensor, holed: Tensor) -> float:
    return (guess - test)[holed.isnan()].square().mean().sqrt().item()


def iterative(train: Tensor, holed: Tensor) -> Tensor:
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.impute import IterativeImputer

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        imputer = IterativeImputer(max_iter=10, random_state=0, keep_empty_features=True).fit(train.numpy())
        return torch.as_tensor(imputer.transform(holed.numpy()), dtype=torch.float)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", nargs="+", default=["digits", "breast_cancer"], help="of scikit-learn, by name")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = {}
    for name in options.tables:
        rows: dict[str, list[tuple[float, float, float]]] = {}
        for seed in options.seeds:
            train, test, holed = table(name, seed)
            for label, settings in DECLARED.items():
                torch.manual_seed(seed)
                start = time.process_time()
                guess, nll = declared(train, holed, options.steps, seed, *settings)
                rows.setdefault(label, []).append((rmse(guess, test, holed), nll, time.process_time() - start))
            torch.manual_seed(seed)
            start, plain = time.process_time(), MIWAE(train.shape[1])
            averaged, trained = plain.train_on(train, options.steps), time.process_time() - start
            for label, each in (("MIWAE by hand", plain), ("the same, averaged", averaged)):
                start = time.process_time()
                guess, nll = each.judge(holed)
                rows.setdefault(label, []).append((rmse(guess, test, holed), nll, trained + time.process_time() - start))
            start = time.process_time()
            rows.setdefault("IterativeImputer", []).append((rmse(iterative(train, holed), test, holed), math.nan, time.process_time() - start))
            rows.setdefault("mean", []).append((rmse(torch.zeros_like(test), test, holed), math.nan, 0.0))
        print(f"\n{name}: {len(train)} training rows, {len(test)} test rows, {train.shape[1]} columns\n{'':20}{'RMSE':>16}{'NLL of seen cells':>20}{'s':>6}")
        for label, each in rows.items():
            error, nll, seconds = np.array(each).T
            print(f"{label:20}{error.mean():9.4f} ± {error.std():.3f}{nll.mean():12.3f} ± {nll.std():.2f}{seconds.mean():7.0f}", flush=True)
        found[name] = rows
    write_json(options.json, {"environment": environment(steps=options.steps, seeds=options.seeds), "found": found})


if __name__ == "__main__":
    main()
