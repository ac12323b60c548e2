"""What one training step of a VAE costs, against the same step hand-written in torch and in Pyro.

    python benchmarks/step.py [--rounds 60] [--threads 1 2] [--device cuda] [--json FILE]

Every contender trains the same VAE (pixels-hidden-latent, one ReLU layer each way, Bernoulli pixels, Gaussian
posterior with a diagonal covariance) with Adam on the negative ELBO of one resident batch. They take turns; the
ratio is the median over rounds of the ratio inside a round. A second copy of the reference shows the noise.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read once, when torch loads OpenMP

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import dgm_ppl as dgm
import pyro
import pyro.distributions as dist
import torch
import torch.nn.functional as F
from pyro.infer import SVI, Trace_ELBO, TraceMeanField_ELBO
from torch import Tensor, nn

from measure import elapsed, environment, interleaved, ratios, table, write_json

Step = Callable[[], object]  # one optimisation step; returns its loss, the mean over the batch


@dataclass(frozen=True)
class Size:
    """A VAE's layer widths and its batch."""

    pixels: int
    hidden: int
    latent: int
    batch: int

    def __str__(self) -> str:
        return f"VAE {self.pixels}-{self.hidden}-{self.latent}, batch {self.batch}"

    def encoder(self) -> nn.Module:
        return perceptron(self.pixels, self.hidden, 2 * self.latent)

    def decoder(self) -> nn.Module:
        return perceptron(self.latent, self.hidden, self.pixels)

    def data(self) -> Tensor:
        return torch.bernoulli(torch.rand(self.pixels).expand(self.batch, -1))


SIZES = [Size(784, 400, 20, 128), Size(64, 64, 4, 32)]
REFERENCE = "torch by hand"


def perceptron(inputs: int, hidden: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))


def torch_step(size: Size, x: Tensor) -> Step:
    """Closed-form KL, fused log-likelihood, fused Adam."""
    encoder, decoder = size.encoder().to(x.device), size.decoder().to(x.device)
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-3, fused=True)

    def step() -> Tensor:
        loc, log_scale = encoder(x).chunk(2, dim=-1)
        scale = log_scale.exp()
        z = loc + scale * torch.randn_like(loc)
        nll = F.binary_cross_entropy_with_logits(decoder(z), x, reduction="sum")
        kl = (0.5 * (loc.square() + scale.square() - 1) - log_scale).sum()
        optimizer.zero_grad()
        loss = (nll + kl) / len(x)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def pyro_step(size: Size, x: Tensor, elbo: Trace_ELBO, fused: bool = False) -> Step:
    """The model, guide and SVI of Pyro's own VAE tutorial."""
    encoder, decoder = size.encoder().to(x.device), size.decoder().to(x.device)
    name = f"{size}, {type(elbo).__name__}, {fused}"  # the parameter store is global

    def model(x: Tensor) -> None:
        pyro.module(f"decoder {name}", decoder)
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(()), x.new_ones(())).expand([size.latent]).to_event(1))
            pyro.sample("x", dist.Bernoulli(logits=decoder(z)).to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        pyro.module(f"encoder {name}", encoder)
        with pyro.plate("data", len(x)):
            loc, log_scale = encoder(x).chunk(2, dim=-1)
            pyro.sample("z", dist.Normal(loc, log_scale.exp()).to_event(1))

    svi = SVI(model, guide, pyro.optim.Adam({"lr": 1e-3, "fused": fused}), elbo)
    return lambda: svi.step(x) / len(x)


def dgm_step(size: Size, x: Tensor) -> Step:
    """The library's objective on its declared net: what one turn of `fit` does."""
    net = dgm.BayesNet(
        z=dgm.Normal(size.latent, loc=0.0, scale=1.0),
        x=dgm.Bernoulli(size.pixels).given("z", net=dgm.MLP(size.hidden)),
    )
    recognition = dgm.amortize(net, observed="x", net=dgm.MLP(size.hidden))
    objective = dgm.ELBO(dgm.compile(net), dgm.compile(recognition)).to(x.device)
    (player,) = objective.players
    optimizer = dgm.Adam(lr=1e-3)(player.parameters)
    batch = objective.prepare({"x": x})

    def step() -> Tensor:
        optimizer.zero_grad()
        loss = player.loss(batch)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


CONTENDERS: dict[str, Callable[[Size, Tensor], Step]] = {
    REFERENCE: torch_step,
    "torch by hand, again": torch_step,
    "Pyro SVI": lambda size, x: pyro_step(size, x, Trace_ELBO()),
    "Pyro SVI, closed-form KL": lambda size, x: pyro_step(size, x, TraceMeanField_ELBO()),
    "Pyro SVI, same, fused Adam": lambda size, x: pyro_step(size, x, TraceMeanField_ELBO(), fused=True),
    "dgm_ppl": dgm_step,
}


def seeded(build: Callable[[Size, Tensor], Step], size: Size, x: Tensor, seed: int) -> Step:
    torch.manual_seed(seed)
    return build(size, x)


def measure(size: Size, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Seconds and ratios of every contender at one size, and its loss a row after the last round."""
    pyro.clear_param_store()
    torch.manual_seed(options.seed)
    x = size.data().to(options.device)
    steps = {name: seeded(build, size, x, options.seed) for name, build in CONTENDERS.items()}
    warm = {name: elapsed(step, 20) for name, step in steps.items()}
    count = max(1, round(options.seconds / warm[REFERENCE]))
    timers = {name: partial(elapsed, step, count) for name, step in steps.items()}
    summary = ratios(interleaved(timers, options.rounds), REFERENCE)
    return {name: row | {"loss": float(steps[name]())} for name, row in summary.items()}


def losses(summary: dict[str, dict[str, float]]) -> str:
    """The losses as one line: contenders that train the same model end near one another."""
    return "loss a row at the end: " + ", ".join(f"{row['loss']:.1f}" for row in summary.values())


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=60, help="turns of every contender (default 60)")
    parser.add_argument("--seconds", type=float, default=0.05, help="length of one turn of the reference (default 0.05)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="torch threads (default 1 2)")
    parser.add_argument("--device", default="cpu", help="where the steps run")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", metavar="FILE", help="write the figures here too")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    pyro.enable_validation(False)  # every contender in its fast setting
    about = environment(seed=options.seed, rounds=options.rounds, seconds=options.seconds)
    print("\n".join(f"{key}: {value}" for key, value in about.items()))
    results = []
    for threads in options.threads:
        torch.set_num_threads(threads)
        for size in SIZES:
            summary = measure(size, options)
            print(f"\n{size}, threads {threads}\n{table(summary)}\n{losses(summary)}", flush=True)
            results.append({"size": str(size), "threads": threads, "contenders": summary})
    write_json(options.json, {"environment": about, "results": results})


if __name__ == "__main__":
    main()
