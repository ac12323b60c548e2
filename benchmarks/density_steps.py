"""What a training step of a density declared as a node costs, against the same density written by hand in torch.

    python benchmarks/density_steps.py [--rounds 40] [--only WORD] [--json FILE]

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
Case = tuple[nn.Module, Callable, dgm.Objective, dict[str, Tensor]]          # networks and loss by hand, the library's objective, a batch


def network(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs, WIDTH), nn.ReLU(), nn.Linear(WIDTH, outputs))


def supervised(net: dgm.BayesNet) -> dgm.Objective:
    return dgm.MaximumLikelihood(dgm.compile(net, seed=0))


def mixture(components: int = 10, size: int = 8) -> Case:
    """A mixture density network."""
    hand = network(8, components * (2 * size + 1))

    def loss(data: dict[str, Tensor]) -> Tensor:
        weights, loc, log_scale = hand(data["z"]).split([components, components * size, components * size], -1)
        loc, log_scale = loc.unflatten(-1, (components, size)), log_scale.unflatten(-1, (components, size))
        z = (data["x"].unsqueeze(-2) - loc) / log_scale.exp()
        terms = (0.5 * z * z + log_scale + 0.5 * math.log(2 * math.pi)).sum(-1)
        return -torch.logsumexp(weights.log_softmax(-1) - terms, -1).mean()

    net = dgm.BayesNet(z=dgm.Given(8), x=dgm.Mixture(dgm.Normal(size), components=components).given("z", net=dgm.MLP(WIDTH)))
    return hand, loss, supervised(net), {"z": torch.randn(BATCH, 8), "x": torch.randn(BATCH, size)}


def pixels(components: int = 5, size: int = 64) -> Case:
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
    return hand, loss, supervised(net), {"z": torch.randn(BATCH, 8), "x": torch.randint(256, (BATCH, size)).float()}


def inflated(size: int = 8) -> Case:
    """Zero-inflated Poisson counts."""
    hand = network(8, 2 * size)

    def loss(data: dict[str, Tensor]) -> Tensor:
        gate, log_rate = hand(data["z"]).chunk(2, -1)
        x = data["x"]
        counted = functional.logsigmoid(-gate) + x * log_rate - log_rate.exp() - torch.lgamma(x + 1)
        return -torch.where(x == 0, torch.logaddexp(functional.logsigmoid(gate), counted), counted).sum(-1).mean()

    net = dgm.BayesNet(z=dgm.Given(8), x=dgm.ZeroInflated(dgm.Poisson(size)).given("z", net=dgm.MLP(WIDTH)))
    return hand, loss, supervised(net), {"z": torch.randn(BATCH, 8), "x": torch.poisson(torch.full((BATCH, size), 1.5))}


def ordinal(size: int = 25, states: int = 5) -> Case:
    """Ordered states by cutpoints: P(x <= k) = sigmoid(c_k - predictor)."""
    hand = network(8, size * states)

    def loss(data: dict[str, Tensor]) -> Tensor:
        predictor, steps = hand(data["z"]).split([size, size * (states - 1)], -1)
        steps = steps.unflatten(-1, (size, states - 1))
        cutpoints = torch.cat([steps[..., :1], steps[..., :1] + steps[..., 1:].exp().cumsum(-1)], -1)
        below = functional.pad(torch.sigmoid(cutpoints - predictor.unsqueeze(-1)), (1, 0), value=0.0)
        probs = functional.pad(below, (0, 1), value=1.0).diff(dim=-1)
        return -probs.gather(-1, data["x"].unsqueeze(-1)).log().sum((-1, -2)).mean()

    net = dgm.BayesNet(z=dgm.Given(8), x=dgm.OrderedLogistic(states, size).given("z", net=dgm.MLP(WIDTH)))
    return hand, loss, supervised(net), {"z": torch.randn(BATCH, 8), "x": torch.randint(states, (BATCH, size))}


def low_rank(size: int = 16, rank: int = 3) -> Case:
    """Gaussians whose covariance is a diagonal and a factor of few columns."""
    hand = network(8, size * (2 + rank))

    def loss(data: dict[str, Tensor]) -> Tensor:
        loc, factor, diagonal = hand(data["z"]).split([size, size * rank, size], -1)
        found = torch.distributions.LowRankMultivariateNormal(loc, factor.unflatten(-1, (size, rank)), diagonal.exp(), validate_args=False)
        return -found.log_prob(data["x"]).mean()

    net = dgm.BayesNet(z=dgm.Given(8), x=dgm.LowRankMultivariateNormal(size, rank=rank).given("z", net=dgm.MLP(WIDTH)))
    return hand, loss, supervised(net), {"z": torch.randn(BATCH, 8), "x": torch.randn(BATCH, size)}


def quantized(pixels: int = 784, grid: int = 49, size: int = 64, dim: int = 8) -> Case:
    """A vector-quantized autoencoder, straight through."""
    hand = nn.ModuleDict({"encoder": network(pixels, dim * grid), "decoder": network(dim * grid, pixels)})
    hand.register_parameter("codes", nn.Parameter(torch.randn(size, dim)))

    def loss(data: dict[str, Tensor]) -> Tensor:
        found = hand["encoder"](data["x"]).unflatten(-1, (dim, grid))
        flat = found.movedim(-2, -1)
        with torch.no_grad():
            nearest = (hand.codes.square().sum(-1) - 2 * flat @ hand.codes.T).argmin(-1)
        vectors = hand.codes[nearest].movedim(-1, -2)
        through = found + (vectors - found).detach()
        fit = functional.binary_cross_entropy_with_logits(hand["decoder"](through.flatten(-2)), data["x"], reduction="sum")
        apart = functional.mse_loss(vectors, found.detach(), reduction="sum") + 0.25 * functional.mse_loss(found, vectors.detach(), reduction="sum")
        return (fit + apart) / BATCH + grid * math.log(size)

    net = dgm.BayesNet(z=dgm.Codes(grid, size=size, dim=dim), x=dgm.Bernoulli(pixels).given("z", net=dgm.MLP(WIDTH)))
    model = dgm.compile(net, seed=0)
    guide = dgm.compile(dgm.amortize(net, observed="x", net=dgm.MLP(WIDTH)), share=model)
    return hand, loss, dgm.ELBO(model, guide), {"x": torch.bernoulli(torch.full((BATCH, pixels), 0.3))}


class DeepMarkov(nn.Module):
    """z_t | z_(t-1), x_t | z_t, and a guide whose z_t reads z_(t-1) and a recurrent state of what is still to come."""

    def __init__(self, notes: int, latent: int, width: int):
        super().__init__()

        def perceptron(inputs: int, outputs: int) -> nn.Module:
            return nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, outputs))

        self.moves, self.emits = perceptron(latent, 2 * latent), perceptron(latent, notes)
        self.reads, self.first, self.next = nn.GRU(notes, width, batch_first=True), perceptron(width, 2 * latent), perceptron(latent + width, 2 * latent)
        self.start, self.before = nn.Parameter(torch.zeros(2 * latent)), nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """-ELBO, the divergence of two normals at each step in closed form given the draw before."""
        after = self.reads(x.flip(1), self.before.expand(1, len(x), -1).contiguous())[0].flip(1)
        draws, told = [], []
        for t in range(x.shape[1]):
            found = self.next(torch.cat([draws[-1], after[:, t]], -1)) if t else self.first(after[:, 0])
            loc, log_scale = found.chunk(2, -1)
            draws.append(loc + log_scale.exp() * torch.randn_like(loc))
            told.append(found)
        z, (loc, log_scale) = torch.stack(draws, 1), torch.stack(told, 1).chunk(2, -1)
        prior_loc, prior_log_scale = torch.cat([self.start.expand(len(x), 1, -1), self.moves(z[:, :-1])], 1).chunk(2, -1)
        off = (loc - prior_loc) / prior_log_scale.exp()
        kl = (prior_log_scale - log_scale + 0.5 * ((2 * (log_scale - prior_log_scale)).exp() + off * off - 1)).sum()
        return (functional.binary_cross_entropy_with_logits(self.emits(z), x, reduction="sum") + kl) / len(x)


def deep_markov(notes: int = 88, latent: int = 32, steps: int = 32, width: int = 128) -> Case:
    hand = DeepMarkov(notes, latent, width)
    net = dgm.BayesNet(
        z=dgm.Normal(latent).given(dgm.lag("z"), net=dgm.MLP(width)), x=dgm.Bernoulli(notes).given("z", net=dgm.MLP(width)),
        plates={"time": dgm.Chain(["z", "x"])},
    )
    guide = dgm.amortize(net, observed="x", net=dgm.MLP(width), encoder=dgm.RecurrentState(width))
    return hand, lambda data: hand(data["x"]), dgm.ELBO(dgm.compile(net, seed=0), dgm.compile(guide, seed=0)), {"x": torch.bernoulli(torch.full((BATCH, steps, notes), 0.3))}


CASES = {
    "mixture of 10 normals, MLP(256)": mixture, "64 pixels, 5 logistics, MLP(256)": pixels, "zero-inflated Poisson, MLP(256)": inflated,
    "25 ordinal values of 5 states, MLP(256)": ordinal, "16 numbers, covariance of rank 3, MLP(256)": low_rank,
    "VQ autoencoder, 784 pixels, 49 of 64 codes, MLP(256)": quantized, "deep Markov model, 32 steps of 88 notes, MLP(128), GRU(128)": deep_markov,
}


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
    parser.add_argument("--only", default="", help="cases whose name has this word")
    parser.add_argument("--json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = {}
    for name, case in CASES.items():
        if options.only not in name:
            continue
        torch.manual_seed(0)
        hand, loss, objective, data = case()
        (player,), batch = objective.players, objective.prepare(data)       # what `fit` calls
        assert sum(p.numel() for p in hand.parameters()) == sum(p.numel() for p in player.parameters), name
        timers = {"by hand": step(lambda: loss(data), list(hand.parameters())), "dgm_ppl": step(lambda: player.loss(batch), list(player.parameters))}
        interleaved(timers, 3)
        found[name] = ratios(interleaved(timers, options.rounds), "by hand")
        print(f"{name}\n{table(found[name])}\n", flush=True)
    write_json(options.json, {"environment": environment(rounds=options.rounds, threads=1, batch=BATCH), "steps": found})


if __name__ == "__main__":
    main()
