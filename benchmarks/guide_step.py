"""What one training step with a derived guide costs, against the same networks wired by hand in torch.

    python benchmarks/guide_step.py [--rounds 20] [--json FILE]

Two nets, and the guides that they imply: a VAE of two layers (784 pixels, latents of 20 and 20, batch 128), whose guide is q(z1 | x) q(z2 | z1); and a
hierarchical model, mu -> z[n] -> x[n] (16 numbers a member, 20 members, batch 32 and 128), whose guide is q(mu | x[all]) q(z[n] | mu, x[n]) with a set encoder.
By hand: the set encoder's own blocks, with the divergences in closed form where there are such, reparameterized draws, fused log-likelihoods and fused Adam.
Contenders take turns; the ratio is the median over rounds of the ratio inside a round. A second copy of the reference shows the noise.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read once, when torch loads OpenMP

import argparse
import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from measure import elapsed, environment, interleaved, ratios, table, write_json
from torch import Tensor, nn

import dgm_ppl as dgm
from dgm_ppl.nets.sets import Skip, Tempered

Step = Callable[[], Tensor]
REFERENCE = "torch by hand"


def perceptron(inputs: int, hidden: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))


def drawn(parameters: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Location, log scale and a reparameterized draw."""
    loc, log_scale = parameters.chunk(2, -1)
    return loc, log_scale, loc + log_scale.exp() * torch.randn_like(loc)


def divergence(loc: Tensor, log_scale: Tensor) -> Tensor:
    """KL(Normal(loc, scale) || Normal(0, 1)), summed."""
    return (0.5 * (loc.square() + (2 * log_scale).exp() - 1) - log_scale).sum()


def between(loc: Tensor, log_scale: Tensor, prior_loc: Tensor, prior_log_scale: Tensor) -> Tensor:
    """KL of two Gaussians, summed."""
    return (prior_log_scale - log_scale + 0.5 * ((2 * (log_scale - prior_log_scale)).exp() + (loc - prior_loc).square() * (-2 * prior_log_scale).exp()) - 0.5).sum()


def stepping(modules: nn.Module, loss: Callable[[], Tensor]) -> Step:
    optimizer = torch.optim.Adam(modules.parameters(), lr=1e-3, fused=True)

    def step() -> Tensor:
        optimizer.zero_grad()
        value = loss()
        value.backward()
        optimizer.step()
        return value.detach()

    return step


def two_layers_by_hand(x: Tensor) -> Step:
    parts = nn.ModuleDict({
        "z1": perceptron(784, 400, 40), "z2": perceptron(20, 400, 40), "p1": perceptron(20, 200, 40), "px": perceptron(20, 400, 784),
    })

    def loss() -> Tensor:
        loc1, log1, z1 = drawn(parts["z1"](x))
        loc2, log2, z2 = drawn(parts["z2"](z1))
        nll = F.binary_cross_entropy_with_logits(parts["px"](z1), x, reduction="sum")
        return (nll + divergence(loc2, log2) + between(loc1, log1, *parts["p1"](z2).chunk(2, -1))) / len(x)

    return stepping(parts.to(x.device), loss)


def hierarchy_by_hand(x: Tensor) -> Step:
    members = x.shape[1]
    skip = partial(Skip, hidden=(64,), activation=nn.SiLU)
    parts = nn.ModuleDict({"member": skip(16, outputs=32), "mu": skip(33, outputs=16), "tells": skip(33, outputs=16), "z": skip(24, outputs=16), "px": perceptron(8, 64, 16)})
    temper = Tempered()
    size = x.new_tensor([10 / (10 + members)])

    def loss() -> Tensor:
        pooled = torch.cat([parts["member"](temper(x)).mean(1), size.expand(len(x), 1)], -1)
        (loc, log_scale), (told, narrows) = parts["mu"](pooled).chunk(2, -1), (members * F.softplus(parts["tells"](pooled))).chunk(2, -1)
        loc, log_scale, mu = drawn(torch.cat([loc * told / (1 + told), log_scale - 0.5 * narrows.log1p()], -1))
        local, local_log, z = drawn(parts["z"](torch.cat([temper(mu).unsqueeze(1).expand(-1, members, -1), temper(x)], -1)))
        nll = 0.5 * (x - parts["px"](z)).square().sum() + 0.5 * math.log(2 * math.pi) * x.numel()
        return (nll + divergence(loc, log_scale) + divergence(local - mu.unsqueeze(1), local_log)) / len(x)

    return stepping(parts.to(x.device), loss)


def derived(net: dgm.BayesNet, builder: object, x: Tensor) -> Step:
    """What one turn of `fit` does."""
    objective = dgm.ELBO(dgm.compile(net), dgm.compile(dgm.amortize(net, "x", net=builder, collapse=False))).to(x.device)
    (player,) = objective.players
    optimizer, batch = dgm.Adam(lr=1e-3)(player.parameters), objective.prepare({"x": x})

    def step() -> Tensor:
        optimizer.zero_grad()
        value = player.loss(batch)
        value.backward()
        optimizer.step()
        return value.detach()

    return step


def two_layers(x: Tensor) -> Step:
    return derived(
        dgm.BayesNet(
            z2=dgm.Normal(20, loc=0.0, scale=1.0), z1=dgm.Normal(20).given("z2", net=dgm.MLP(200)), x=dgm.Bernoulli(784).given("z1", net=dgm.MLP(400)),
        ),
        dgm.MLP(400), x,
    )


def hierarchy(x: Tensor) -> Step:
    return derived(
        dgm.BayesNet(
            mu=dgm.Normal(8, loc=0.0, scale=1.0), z=dgm.Normal(8, loc="mu", scale=1.0), x=dgm.Normal(16, scale=1.0).given("z", net=dgm.MLP(64)),
            plates={"n": ["z", "x"]},
        ),
        dgm.DeepSet(64), x,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=0.1, help="length of one turn of the reference")
    parser.add_argument("--device", default="cpu", help="where the steps run")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(options.seed)
    cases = {
        "two-layer VAE 784-20-20, batch 128": (torch.bernoulli(torch.rand(128, 784)), two_layers_by_hand, two_layers),
        **{f"mu -> z[20] -> x[20], batch {rows}": (torch.randn(rows, 20, 16), hierarchy_by_hand, hierarchy) for rows in (32, 128)},
    }
    results = {}
    for name, (x, by_hand, library) in cases.items():
        x = x.to(options.device)
        steps = {REFERENCE: by_hand(x), "torch by hand, again": by_hand(x), "dgm_ppl": library(x)}
        count = max(1, round(options.seconds / max(elapsed(step, 20) for step in steps.values())))
        summary = ratios(interleaved({label: partial(elapsed, step, count) for label, step in steps.items()}, options.rounds), REFERENCE)
        losses = ", ".join(f"{float(step()):.1f}" for step in steps.values())
        print(f"\n{name}\n{table(summary)}\nloss a row at the end: {losses}", flush=True)
        results[name] = summary
    write_json(options.json, {"environment": environment(seed=options.seed, rounds=options.rounds), "results": results})


if __name__ == "__main__":
    main()
