"""Elimination of finite and Gaussian nodes together, against one big Gaussian for each configuration."""

from __future__ import annotations

import random

import pytest
import torch
from exact.mixed import Joint, random_net
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dgm_ppl as dgm
from dgm_ppl.exact import Collapse, Given, Obstacle

torch.set_num_threads(1)
RELAXED = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


def example(seed: int, rows: int = 3):
    """A model, what is hidden, and rows of evidence."""
    net, dice = random_net(seed), random.Random(seed + 1)
    model = dgm.compile(net, seed=seed).double()
    observed = dice.sample(model.random, dice.randint(1, max(1, len(model.random) - 1)))
    torch.manual_seed(seed)
    drawn = model.sample(rows)
    return model, [name for name in model.random if name not in observed], {name: drawn[name] for name in observed}


@RELAXED
@given(st.integers(0, 10**6))
def test_evidence_gradients_and_moments(seed):
    model, hidden, data = example(seed)
    if not hidden:
        return
    collapse, rows = Collapse(model, hidden, data, counted=data), 3
    at = Given(data, (rows,), {}, {})
    joints = [Joint(model, {name: value[row] for name, value in data.items()}) for row in range(rows)]
    found, wanted = collapse.log_evidence(at), torch.stack([joint.log_evidence for joint in joints])
    assert (found - wanted).abs().max() < 1e-8 * (1 + wanted.abs().max())
    parameters = list(model.parameters())
    one, other = (torch.autograd.grad(total.sum(), parameters, allow_unused=True) for total in (found, wanted))
    for a, b in zip(one, other):
        a, b = (torch.zeros(()) if value is None else value for value in (a, b))
        assert (a - b).abs().max() < 1e-7 * (1 + b.abs().max())
    _, finite, mixtures = collapse.probabilities(at)
    for name, probs in finite.items():
        assert (probs - torch.stack([joint.probabilities(name, probs.shape[-1]) for joint in joints])).abs().max() < 1e-9
    for block, mixture in mixtures.items():
        start, means = 0, (mixture.probs.unsqueeze(-1) * mixture.means).sum(-2).expand(rows, -1)
        for name in block.nodes:
            count = model.net[name].numel
            assert (means[:, start: start + count] - torch.stack([joint.mean(name) for joint in joints])).abs().max() < 1e-7
            start += count


def test_draws_have_the_posterior_moments():
    torch.manual_seed(0)
    model = dgm.compile(dgm.BayesNet(
        k=dgm.Categorical(3), j=dgm.Bernoulli().given("k"), z=dgm.Normal(2).given("k"), w=dgm.Normal().given("z", "j"), x=dgm.MultivariateNormal(2).given("z", "k"),
        y=dgm.Normal().given("w"),
    ), seed=1).double()
    data = {name: model.sample(2)[name] for name in ("x", "y")}
    drawn = Collapse(model, ["k", "j", "z", "w"], data).sample(Given(data, (2,), {}, {}), 40_000)
    for row in range(2):
        joint = Joint(model, {name: value[row] for name, value in data.items()})
        for name, states in (("k", 3), ("j", 2)):
            shares = torch.nn.functional.one_hot(drawn[name][:, row].long(), states).double().mean(0)
            assert (shares - joint.probabilities(name, states)).abs().max() < 0.012
        for name in ("z", "w"):
            values = drawn[name][:, row].reshape(40_000, -1)
            deviation = joint.covariance(name).diagonal().sqrt()
            assert ((values.mean(0) - joint.mean(name)) / deviation).abs().max() < 0.025
            assert (values.T.cov().reshape(len(deviation), -1) - joint.covariance(name)).abs().max() < 0.04 * deviation.max() ** 2
