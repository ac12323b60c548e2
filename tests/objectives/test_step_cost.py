"""What a training step costs, counted and not timed: operators, Python and C calls, Distribution objects."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import contextmanager

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

import dgm_ppl as dgm

torch.set_num_threads(1)


class Operators(TorchDispatchMode):
    """Counts what reaches the kernels, forward, backward and optimizer."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += 1
        return func(*args, **(kwargs or {}))


def operators(step: Callable[[], object]) -> int:
    with Operators() as mode:
        step()
    return mode.count


def calls(step: Callable[[], object]) -> int:
    """Calls of Python and of C functions."""
    found = []
    sys.setprofile(lambda frame, event, argument: found.append(event) if event in ("call", "c_call") else None)
    try:
        step()
    finally:
        sys.setprofile(None)
    return len(found)


@contextmanager
def no_distributions(monkeypatch):
    made = []
    with monkeypatch.context() as patch:
        patch.setattr(torch.distributions.Distribution, "__init__", lambda self, *arguments, **options: made.append(type(self).__name__))
        yield
    assert not made


def step_of(objective: dgm.Objective, data: dict) -> Callable[[], object]:
    """What one turn of `fit` does."""
    (player,) = objective.players
    batch, optimizer = objective.prepare(data), dgm.Adam(lr=1e-3)(player.parameters)

    def step():
        optimizer.zero_grad()
        player.loss(batch).backward()
        optimizer.step()

    for _ in range(3):
        step()
    return step


def vae(pixels=64, hidden=64, latent=4) -> dgm.ELBO:
    net = dgm.BayesNet(z=dgm.Normal(latent, loc=0.0, scale=1.0), x=dgm.Bernoulli(pixels).given("z", net=dgm.MLP(hidden)))
    return dgm.ELBO(dgm.compile(net), dgm.compile(dgm.amortize(net, "x", net=dgm.MLP(hidden))))


def by_hand(x: torch.Tensor, hidden=64, latent=4) -> Callable[[], object]:
    """The same VAE in torch alone: closed-form KL, fused log-likelihood, fused Adam."""
    encoder = nn.Sequential(nn.Linear(x.shape[1], hidden), nn.ReLU(), nn.Linear(hidden, 2 * latent))
    decoder = nn.Sequential(nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, x.shape[1]))
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-3, fused=True)

    def step():
        optimizer.zero_grad()
        loc, log_scale = encoder(x).chunk(2, -1)
        scale = log_scale.exp()
        z = loc + scale * torch.randn_like(loc)
        kl = (0.5 * (loc.square() + scale.square() - 1) - log_scale).sum()
        loss = (functional.binary_cross_entropy_with_logits(decoder(z), x, reduction="sum") + kl) / len(x)
        loss.backward()
        optimizer.step()

    for _ in range(3):
        step()
    return step


def test_a_vae_costs_what_it_costs_by_hand(monkeypatch):
    x = torch.bernoulli(torch.full((32, 64), 0.3))
    ours, hand = step_of(vae(), {"x": x}), by_hand(x)
    assert operators(ours) <= operators(hand) + 5
    assert calls(ours) <= 1.25 * calls(hand)
    with no_distributions(monkeypatch):
        ours()


def chain(length: int) -> dgm.BayesNet:
    """Layers of Gaussians, each computed by a network from the one before."""
    layers = {f"z{i}": dgm.Normal(3).given(f"z{i - 1}", net=dgm.MLP(4)) if i else dgm.Normal(3, loc=0.0, scale=1.0) for i in range(length)}
    return dgm.BayesNet(layers, x=dgm.Bernoulli(5).given(f"z{length - 1}", net=dgm.MLP(4)))


def tables(length: int) -> dgm.BayesNet:
    return dgm.BayesNet({f"t{i}": dgm.Categorical(3).given(f"t{i - 1}") if i else dgm.Categorical(3) for i in range(length)})


def mixed(length: int) -> dgm.BayesNet:
    """One node of each of many families on a common parent, over and over."""
    kinds = [dgm.Normal, dgm.Laplace, dgm.Gamma, dgm.Beta, dgm.Poisson, dgm.Bernoulli, dgm.Exponential, dgm.HalfNormal, dgm.LogNormal, dgm.InverseGamma]
    return dgm.BayesNet({"u": dgm.Normal(2)} | {f"{kinds[i % 10].name}{i}": kinds[i % 10]().given("u", net=dgm.MLP(3)) for i in range(length)})


def likelihood(net: dgm.BayesNet) -> Callable[[], object]:
    model = dgm.compile(net, seed=0)
    return step_of(dgm.MaximumLikelihood(model), model.sample(6))


def bound(net: dgm.BayesNet) -> Callable[[], object]:
    objective = dgm.ELBO(dgm.compile(net, seed=0), dgm.compile(dgm.amortize(net, "x", net=dgm.MLP(4), order=[name for name in reversed(net.order) if name != "x"]), seed=1))
    return step_of(objective, {"x": objective.model.sample(6)["x"]})


@pytest.mark.parametrize(("build", "net", "most_operators", "most_calls"), [
    (bound, chain, 124, 225),                       # of these the two networks take 58 operators
    (likelihood, tables, 12, 33),
    (likelihood, mixed, 53, 104),                   # of these the network takes 29 operators
])
def test_the_price_of_one_more_node(build, net, most_operators, most_calls, monkeypatch):
    torch.manual_seed(0)
    small, large = build(net(5)), build(net(15))
    assert (operators(large) - operators(small)) / 10 <= most_operators
    assert (calls(large) - calls(small)) / 10 <= most_calls
    with no_distributions(monkeypatch):
        large()


def test_plates_and_particles_add_no_loops(monkeypatch):
    """The number of members, rows and particles changes nothing but the sizes of tensors."""
    net = dgm.BayesNet(
        mu=dgm.Normal(loc=0.0, scale=5.0), tau=dgm.HalfCauchy(scale=5.0), theta=dgm.Normal(loc="mu", scale="tau"), y=dgm.Normal(loc="theta", scale=1.0),
        plates={"school": ["theta", "y"]},
    )
    guide = dgm.BayesNet(y=dgm.Given(), mu=dgm.Normal(), tau=dgm.LogNormal(), theta=dgm.Normal().given("y", "mu", net=dgm.MLP(4)), plates={"school": ["theta", "y"]})
    costs = set()
    for members, rows, particles in ((3, 2, 2), (30, 7, 9)):
        step = step_of(dgm.ELBO(dgm.compile(net), dgm.compile(guide), particles=particles), {"y": torch.zeros(rows, members)})
        costs.add((operators(step), calls(step)))
        with no_distributions(monkeypatch):
            step()
    (found,) = costs
    assert found[0] <= 220 and found[1] <= 550
