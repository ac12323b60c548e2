"""What a training step of a density declared as a node costs, against the same density written by hand in torch.

    python benchmarks/density_steps.py [--rounds 40] [--json FILE]

Batches of 128 rows, one thread, Adam (fused); contenders take turns, process time, median over rounds of the ratio in a round.
"""

from __future__ import annotations

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read once, when torch loads OpenMP

import argparse
import math
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

import dgm_ppl as dgm
from measure import environment, interleaved, ratios, table, write_json

BATCH, WIDTH = 128, 256


def network(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs, WIDTH), nn.ReLU(), nn.Linear(WIDTH, outputs))


def mixture(components: int = 10, size: int = 8) -> tuple[nn.Module, Callable, dgm.BayesNet, dict[str, Tensor]]:
    """A mixture density network."""
    hand = network(8, components * (2 * size + 1))

    def loss(data: dict[str, Tensor]) -> Tensor:
        weights, loc, log_scale = hand(data["z"]).split([components, components * size, components * size], -1)
        loc, log_scale = loc.unflatten(-1, (components, size)), log_scale.unflatten(-1, (components, size))
        z = (data["x"].unsqueeze(-2) - loc) / log_scale.exp()
        terms = (0.5 * z * z + log_scale + 0.5 * math.log(2 * math.pi)).sum(-1)
        return -torch.logsumexp(weights.log_softmax(-1) - terms, -1).mean()

    net = dgm.BayesNet(z=dgm.Given(8), x=dgm.Mixture(dgm.Normal(size), components=components).given("z", net=dgm.MLP(WIDTH)))
    return hand, loss, net, {"z": torch.randn(BATCH, 8), "x": torch.randn(BATCH, size)}


def pixels(components: int = 5, size: int = 64) -> tuple[nn.Module, Callable, dgm.BayesNet, dict[str, Tensor]]:
    """Mixtures of discretized logistics."""
    hand = network(8, 3 * components * size)

    def loss(data: dict[str, Tensor]) -> Tensor:
        weights, loc, scale = (part.unflatten(-1, (size, components)) for part in hand(data["z"]).chunk(3, -1))
        x, scale = data["x"].unsqueeze(-1), scale.exp()
        centre = 2 * x / 255 - 1 - loc
        upper, lower = (centre + 1 / 255) / scale, (centre - 1 / 255) / scale
        below, above = functional.logsigmoid(upper), functional.logsigmoid(-lower)
        inside = below + above + torch.log(-torch.expm1(lower - upper))
        mass = torch.where(x == 0, below, torch.where(x == 255, above, inside))
        return -(weights.log_softmax(-1) + mass).logsumexp(-1).sum(-1).mean()

    net = dgm.BayesNet(z=dgm.Given(8), x=dgm.DiscretizedLogisticMixture(size, components=components, levels=256).given("z", net=dgm.MLP(WIDTH)))
    return hand, loss, net, {"z": torch.randn(BATCH, 8), "x": torch.randint(256, (BATCH, size)).float()}


def inflated(size: int = 8) -> tuple[nn.Module, Callable, dgm.BayesNet, dict[str, Tensor]]:
    """Zero-inflated Poisson counts."""
    hand = network(8, 2 * size)

    def loss(data: dict[str, Tensor]) -> Tensor:
        gate, log_rate = hand(data["z"]).chunk(2, -1)
        x = data["x"]
        counted = functional.logsigmoid(-gate) + x * log_rate - log_rate.exp() - torch.lgamma(x + 1)
        return -torch.where(x == 0, torch.logaddexp(functional.logsigmoid(gate), counted), counted).sum(-1).mean()

    net = dgm.BayesNet(z=dgm.Given(8), x=dgm.ZeroInflated(dgm.Poisson(size)).given("z", net=dgm.MLP(WIDTH)))
    return hand, loss, net, {"z": torch.randn(BATCH, 8), "x": torch.poisson(torch.full((BATCH, size), 1.5))}


CASES = {"mixture of 10 normals, MLP(256)": mixture, "64 pixels, 5 logistics, MLP(256)": pixels, "zero-inflated Poisson, MLP(256)": inflated}


def step(loss: Callable[[], Tensor], parameters: list[nn.Parameter]) -> Callable[[], float]:
    optimizer = torch.optim.Adam(parameters, 1e-3, fused=True)

    def timed() -> float:
        start = time.process_time()
        for _ in range(10):
            optimizer.zero_grad()
            loss().backward()
            optimizer.step()
        return (time.process_time() - start) / 10
    return timed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = {}
    for name, case in CASES.items():
        torch.manual_seed(0)
        hand, loss, net, data = case()
        objective = dgm.MaximumLikelihood(dgm.compile(net, seed=0))
        (player,), batch = objective.players, objective.prepare(data)       # what `fit` calls
        timers = {"by hand": step(lambda: loss(data), list(hand.parameters())), "dgm_ppl": step(lambda: player.loss(batch), list(player.parameters))}
        interleaved(timers, 3)
        found[name] = ratios(interleaved(timers, options.rounds), "by hand")
        print(f"{name}\n{table(found[name])}\n", flush=True)
    write_json(options.json, {"environment": environment(rounds=options.rounds, threads=1, batch=BATCH), "steps": found})


if __name__ == "__main__":
    main()
