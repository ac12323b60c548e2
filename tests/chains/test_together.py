"""Chains whose steps are had together: the same values as one step after the other."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import dgm_ppl as dgm
from dgm_ppl.compile.stepping import run_chains
from dgm_ppl.families import noise


def reading(step, cell=nn.GRUCell, initial=0.5):
    return dgm.BayesNet(
        x=dgm.Given(3), g=dgm.Given(2), h=dgm.Delta(4).given(step("h", initial=dgm.free(initial)), "x", "g", net=dgm.RecurrentState(4, cell=cell)),
        plates={"time": dgm.Chain(["x", "h"])},
    )


@pytest.mark.parametrize("cell", [nn.GRUCell, nn.RNNCell])
@pytest.mark.parametrize("step", [dgm.lag, dgm.lead])
@pytest.mark.parametrize("lengths", [(5, 5, 5), (5, 2, 4)])
def test_a_recurrent_state_in_one_call_is_its_cell_step_by_step(step, cell, lengths):
    torch.manual_seed(0)
    model = dgm.compile(reading(step, cell), seed=0).double()
    xs, g = [torch.randn(length, 3, dtype=torch.double) for length in lengths], torch.randn(3, 2, dtype=torch.double)
    found, network = model.sample(given={"x": xs, "g": g})["h"], model.conditional("h").main.predictor.network
    assert model.conditional("h").scans
    for row, (x, told) in enumerate(zip(xs, g)):
        state = torch.full((4,), 0.5, dtype=torch.double)
        for t in range(len(x)) if step is dgm.lag else reversed(range(len(x))):
            state = network(torch.cat([state, x[t], told]))
            torch.testing.assert_close(found[row, t], state)


def test_a_state_that_starts_otherwise_or_reads_another_step_is_not_had_in_one_call():
    net = dgm.BayesNet(
        x=dgm.Given(3), h=dgm.Delta(4).given(dgm.lag("h", initial=0.0), dgm.lag("x", initial=0.0), net=dgm.RecurrentState(4)), plates={"time": dgm.Chain(["x", "h"])},
    )
    assert not dgm.compile(net).conditional("h").scans


NETS = {
    "loc and scale by a network": dgm.Normal(2).given(dgm.lag("z"), net=dgm.MLP(5)),
    "a scale for all steps": dgm.Normal(2, scale=dgm.free()).given(dgm.lag("z"), net=dgm.MLP(5)),
    "linear": dgm.Normal().given(dgm.lag("z")),
}


@pytest.mark.parametrize("z", NETS.values(), ids=NETS.keys())
@pytest.mark.parametrize("lengths", [(6, 6), (6, 3)])
def test_what_a_draw_was_prepared_with_is_what_the_steps_are_prepared_with_together(z, lengths):
    net = dgm.BayesNet(z=z, x=dgm.Bernoulli(3).given("z", net=dgm.MLP(4)), plates={"time": dgm.Chain(["z", "x"])})
    model = dgm.compile(net, seed=0).double()
    guide = dgm.compile(dgm.amortize(net, observed="x", net=dgm.MLP(5), encoder=dgm.RecurrentState(4)), seed=0).double()
    data = model.layout.align_all(model.encode({"x": [torch.bernoulli(torch.full((length, 3), 0.5, dtype=torch.double)) for length in lengths]}))
    worlds, sizes = (2,), model.layout.sizes(model.encode({"x": [torch.zeros(length, 3) for length in lengths]}))
    torch.manual_seed(0)
    kept = {}
    values = run_chains(guide, {name: value for name, value in data.items() if name in guide.layout.members}, worlds, sizes, noise, kept)
    whole = guide.nodes["z"].prepare(values)
    assert [(piece.start, piece.stop) for piece in kept["z"].pieces] == [(piece.start, piece.stop) for piece in whole.pieces]
    for ours, theirs in zip(kept["z"].pieces, whole.pieces):
        for a, b in zip(ours.prepared, theirs.prepared):
            torch.testing.assert_close(a.expand(b.shape), b)
    gradients = [
        torch.autograd.grad(guide.conditional("z").surprisals(values["z"], told).sum(), list(guide.conditional("z").parameters()), retain_graph=True, allow_unused=True, materialize_grads=True)
        for told in (kept["z"], whole)
    ]
    for a, b in zip(*gradients):
        torch.testing.assert_close(a, b)


def test_a_step_of_training_computes_the_guide_once_for_each_step():
    net = dgm.BayesNet(z=NETS["loc and scale by a network"], x=dgm.Bernoulli(3).given("z", net=dgm.MLP(4)), plates={"time": dgm.Chain(["z", "x"])})
    objective = dgm.ELBO(dgm.compile(net), dgm.compile(dgm.amortize(net, observed="x", net=dgm.MLP(5), encoder=dgm.RecurrentState(4))))
    calls, (player,) = [], objective.players
    objective.guide.conditional("z").main.predictor.network.register_forward_hook(lambda *_: calls.append(1))
    player.loss(objective.prepare({"x": torch.zeros(2, 7, 3)}))
    assert len(calls) == 6                                                  # the first step has a network of its own
