"""What one training step of a mixture costs, against the log-sum-exp written by hand in torch and Pyro's TraceEnum_ELBO.

    python benchmarks/mixtures.py [--rounds 40] [--json FILE]

Every contender takes steps of fused Adam on -log p(x) of one resident batch, its finite latent summed out: a Gaussian mixture, and a mixture whose
components are Bernoulli images computed by a network from the component. Process time, one thread; contenders take turns; the ratio is the median over rounds of the
ratio inside a round, and a second copy of the reference shows the noise. Pyro's validation is switched off.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read once, when torch loads OpenMP

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import dgm_ppl as dgm
import pyro
import pyro.distributions as dist
import torch
import torch.nn.functional as F
from pyro.infer import TraceEnum_ELBO
from torch import Tensor, nn

from measure import environment, interleaved, ratios, table, write_json

Step = Callable[[], Tensor]
REFERENCE = "torch by hand"
HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


@dataclass(frozen=True)
class Gaussians:
    """k ~ Categorical, x | k ~ diagonal Gaussian."""

    states: int
    size: int
    rows: int

    def __str__(self) -> str:
        return f"Gaussian mixture, {self.states} states, {self.size} dimensions, {self.rows} rows"

    def data(self) -> Tensor:
        return torch.randn(self.rows, self.size) + 2 * torch.randint(3, (self.rows, 1))

    def net(self) -> dgm.BayesNet:
        return dgm.BayesNet(k=dgm.Categorical(self.states), x=dgm.Normal(self.size).given("k"))

    def parameters(self) -> dict[str, nn.Parameter]:
        shape = self.states, self.size
        return {"logits": nn.Parameter(torch.zeros(self.states)), "loc": nn.Parameter(0.1 * torch.randn(shape)), "log_scale": nn.Parameter(0.1 * torch.randn(shape))}

    def loss(self, p: dict[str, nn.Parameter], x: Tensor) -> Tensor:
        z = (x - p["loc"].unsqueeze(1)) * (-p["log_scale"]).exp().unsqueeze(1)
        logs = -0.5 * (z * z).sum(-1) - (p["log_scale"].sum(-1, keepdim=True) + self.size * HALF_LOG_TWO_PI)
        return -(p["logits"].log_softmax(0).unsqueeze(1) + logs).logsumexp(0).mean()

    def program(self, p: dict[str, nn.Parameter], x: Tensor) -> None:
        with pyro.plate("rows", len(x)):
            k = pyro.sample("k", dist.Categorical(logits=p["logits"]), infer={"enumerate": "parallel"})
            pyro.sample("x", dist.Normal(p["loc"][k], p["log_scale"][k].exp()).to_event(1), obs=x)


@dataclass(frozen=True)
class Images:
    """k ~ Categorical, x | k ~ Bernoulli pixels, a table of logits."""

    states: int
    size: int
    rows: int

    def __str__(self) -> str:
        return f"Bernoulli mixture, {self.states} states, {self.size} pixels, {self.rows} rows"

    def data(self) -> Tensor:
        return torch.bernoulli(torch.rand(self.size).expand(self.rows, -1))

    def net(self) -> dgm.BayesNet:
        return dgm.BayesNet(k=dgm.Categorical(self.states), x=dgm.Bernoulli(self.size).given("k"))

    def parameters(self) -> dict[str, nn.Parameter]:
        return {"logits": nn.Parameter(torch.zeros(self.states)), "pixels": nn.Parameter(0.1 * torch.randn(self.states, self.size))}

    def loss(self, p: dict[str, nn.Parameter], x: Tensor) -> Tensor:
        pixels, values = torch.broadcast_tensors(p["pixels"].unsqueeze(1), x)
        logs = -F.binary_cross_entropy_with_logits(pixels, values, reduction="none").sum(-1)
        return -(p["logits"].log_softmax(0).unsqueeze(1) + logs).logsumexp(0).mean()

    def program(self, p: dict[str, nn.Parameter], x: Tensor) -> None:
        with pyro.plate("rows", len(x)):
            k = pyro.sample("k", dist.Categorical(logits=p["logits"]), infer={"enumerate": "parallel"})
            pyro.sample("x", dist.Bernoulli(logits=p["pixels"][k]).to_event(1), obs=x)


SIZES = [Gaussians(10, 8, 1024), Gaussians(20, 32, 512), Images(10, 784, 128)]


def stepping(loss: Callable[[], Tensor], parameters: list[nn.Parameter]) -> Step:
    optimizer = torch.optim.Adam(parameters, lr=1e-3, fused=True)

    def step() -> Tensor:
        optimizer.zero_grad()
        found = loss()
        found.backward()
        optimizer.step()
        return found.detach()

    return step


def by_hand(kind: Gaussians | Images, x: Tensor) -> Step:
    p = kind.parameters()
    return stepping(lambda: kind.loss(p, x), list(p.values()))


def by_pyro(kind: Gaussians | Images, x: Tensor) -> Step:
    p, elbo = kind.parameters(), TraceEnum_ELBO(max_plate_nesting=1)
    return stepping(lambda: elbo.differentiable_loss(partial(kind.program, p), lambda x: None, x) / len(x), list(p.values()))


def by_dgm(kind: Gaussians | Images, x: Tensor) -> Step:
    """The library's maximum likelihood on the declared net: what one turn of `fit` does."""
    objective = dgm.MaximumLikelihood(dgm.compile(kind.net()))
    (player,) = objective.players
    batch = objective.prepare({"x": x})
    return stepping(lambda: player.loss(batch), list(player.parameters))


CONTENDERS = {REFERENCE: by_hand, "torch by hand, again": by_hand, "dgm_ppl": by_dgm, "Pyro TraceEnum_ELBO": by_pyro}


def elapsed(step: Step, count: int) -> float:
    start = time.process_time()
    for _ in range(count):
        step()
    return (time.process_time() - start) / count


def measure(kind: Gaussians | Images, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    pyro.clear_param_store()
    torch.manual_seed(options.seed)
    x, steps = kind.data(), {}
    for name, build in CONTENDERS.items():
        torch.manual_seed(options.seed)
        steps[name] = build(kind, x)
    for step in steps.values():
        elapsed(step, 5)
    count = max(1, round(options.seconds / elapsed(steps[REFERENCE], 5)))
    return ratios(interleaved({name: partial(elapsed, step, count) for name, step in steps.items()}, options.rounds), REFERENCE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=0.04, help="of each contender in a round")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    pyro.enable_validation(False)
    report = environment(seed=options.seed, rounds=options.rounds, threads=1, clock="process time")
    print(report)
    for kind in SIZES:
        report[str(kind)] = measure(kind, options)
        print(f"\n{kind}\n{table(report[str(kind)])}")
    write_json(options.json, report)


if __name__ == "__main__":
    main()
