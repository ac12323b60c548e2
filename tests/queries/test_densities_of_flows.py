"""What is exact of a flow's density and what is an estimate, held against closed forms; and what may be weighed by it."""

from __future__ import annotations

import math

import pytest
import torch
from denoisers import MEAN, SCALE, Known
from torch import nn

import dgm_ppl as dgm

torch.set_num_threads(1)


def known(**options):
    schedule = dgm.Cosine()
    return dgm.Diffusion(2, net=dgm.Flat(Known(schedule)), schedule=schedule, prediction=dgm.Clean(), **options)


def wide(numel):
    return dgm.compile(dgm.BayesNet(x=dgm.FlowMatching(numel, net=dgm.MLP(8))), seed=0)


@pytest.mark.parametrize("method, numel, kind", [(None, 3, "exact"), (None, 65, "estimate"), (dgm.ProbabilityFlow(1e-3), 3, "exact"), (dgm.ProbabilityFlow(1e-3), 65, "estimate")])
def test_large_events_have_estimates_with_their_error(method, numel, kind):
    score = dgm.log_prob(wide(numel), {"x": torch.randn(2, numel)}, method=method)
    assert score.kind == kind and (score.stderr is None) == (kind == "exact")


def test_noisy_densities_weigh_nothing():
    net = dgm.BayesNet(z=dgm.Normal(65, loc=0.0, scale=1.0), x=dgm.Normal(65, loc="z", scale=1.0))
    guide = dgm.compile(dgm.amortize(net, "x", family=dgm.FlowMatching(net=dgm.MLP(8))), seed=0)
    with pytest.raises(dgm.GraphError, match=r"'z'.*stochastic estimate, by which draws can be neither weighed"):
        dgm.posterior(dgm.compile(net), {"x": torch.zeros(1, 65)}, method=dgm.Importance(guide, 10))
    with pytest.raises(dgm.GraphError, match=r"log_prob: the density of 'z'.*stochastic estimate, whose exponential"):
        dgm.log_prob(dgm.compile(net), {"x": torch.zeros(1, 65)}, method=dgm.Importance(guide, 10))
    noisy = dgm.compile(dgm.BayesNet(x=known(), y=dgm.MaskedDiffusion(2, 4, net=dgm.MLP(8)).given("x")))
    with pytest.raises(dgm.GraphError, match=r"Twisted: the density of 'y'.*stochastic bound"):
        dgm.posterior(noisy, {"y": torch.zeros(1, 4).long()}, method=dgm.Twisted(10, 5))


class Swinging(nn.Module):
    """v = 8 x cos(12 t), whose log-density at zero is log N(0) + 8 / 12 sin 12."""

    def __init__(self):
        super().__init__()
        self.own = nn.Parameter(torch.zeros(()))

    def forward(self, read):
        return 8 * read[..., :1] * torch.cos(12 * torch.atan2(read[..., 1:2], read[..., 17:18])) + 0 * self.own


@pytest.mark.parametrize("rows", [[[0.0]], [[1e-6]], [[0.0], [1.0]]], ids=str)
def test_divergences_count_where_values_hardly_move(rows):
    model = dgm.compile(dgm.BayesNet(x=dgm.FlowMatching(1, net=dgm.Flat(Swinging()))))
    found = dgm.log_prob(model, {"x": torch.tensor(rows)}).value[0]
    assert float(found) == pytest.approx(-0.5 * math.log(2 * math.pi) + 8 / 12 * math.sin(12), abs=0.01)


def test_structures_of_flows_are_verified():
    for node in (dgm.FlowMatching(3, net=dgm.MLP(8)), dgm.Diffusion(3, net=dgm.MLP(8), sampler=dgm.Heun(5), flow=True)):
        assert dgm.compile(dgm.BayesNet(x=node), seed=0).eval().verify_structure().ok


def test_densities_leave_out_what_nothing_observed_depends_on():
    model = dgm.compile(dgm.BayesNet(x=known(), y=dgm.Normal(2, loc="x", scale=0.5)))
    found = dgm.log_prob(model, {"x": MEAN.expand(1, 2)}, method=dgm.ProbabilityFlow())
    assert float(found.value) == pytest.approx(float(torch.distributions.Normal(MEAN, SCALE).log_prob(MEAN).sum()), abs=0.02)


def test_optimal_transport_keeps_noise_apart_from_parents():
    """Two components told by y: the noise that goes with each is N(0, 1) all the same."""
    torch.manual_seed(0)
    y = torch.arange(400) % 2
    x = (2.0 * y - 1).unsqueeze(1) * 1.5 + 0.5 * torch.randn(400, 1)
    net = dgm.BayesNet(y=dgm.Given(states=2), x=dgm.FlowMatching(1, net=dgm.MLP(8), coupling=dgm.OptimalTransport()).given("y"))
    model = dgm.compile(net, seed=0)
    (node,) = (node for node in model.schedule if node.name == "x")
    noise = node.conditional._coupled(x, torch.randn(400, 1), node.prepare({"y": y})[0], (400,))
    for label in (0, 1):
        of, own = noise[y == label].squeeze(1), x[y == label].squeeze(1)
        assert abs(float(of.mean())) < 0.2 and float(of.std()) == pytest.approx(1, abs=0.15)
        assert bool((of[own.argsort()].diff() > -1e-2).all())               # in order, but for ties that rounding decides


def test_chains_in_noise_space_have_gradients_through_a_sampler():
    """y = x + noise under a known prior: Hamiltonian Monte Carlo through the sampler's steps meets the closed form."""
    model = dgm.compile(dgm.BayesNet(x=known(sampler=dgm.DDIM(12)), y=dgm.Normal(2, loc="x", scale=0.5)))
    found = dgm.posterior(model, {"y": torch.tensor([[1.0, -1.0]])}, method=dgm.HMC(samples=150, warmup=80, leapfrog=5, seed=0))
    gain = SCALE**2 / (SCALE**2 + 0.25)
    torch.testing.assert_close(found.mean()["x"], MEAN + gain * (torch.tensor([[1.0, -1.0]]) - MEAN), atol=0.12, rtol=0)


@pytest.mark.parametrize("method", [dgm.Guided(40, 10, seed=0), dgm.Twisted(40, 10, seed=0)], ids=repr)
def test_numbers_and_scales_are_measured(method):
    total = dgm.compile(dgm.BayesNet(x=known(), y=dgm.Normal(scale=0.5).given("x", fn=lambda x: x.sum(-1))))
    assert dgm.posterior(total, {"y": torch.zeros(3)}, method=method).mean()["x"].shape == (3, 2)
    spread = dgm.compile(dgm.BayesNet(x=known(), y=dgm.Normal(2, loc=0.0, scale=dgm.exp(dgm.Ref("x")))))
    assert bool(dgm.posterior(spread, {"y": torch.zeros(3, 2)}, method=method).mean()["x"].isfinite().all())


def test_answers_under_a_learned_schedule_have_no_gradient():
    model = dgm.compile(dgm.BayesNet(x=dgm.Diffusion(2, net=dgm.MLP(4), schedule=dgm.Learned(10, -5)), y=dgm.Normal(2, loc="x", scale=0.5)))
    for method in (dgm.Guided(4, 5), dgm.Twisted(4, 5)):
        assert not dgm.posterior(model, {"y": torch.zeros(1, 2)}, method=method).sample(3)["x"].requires_grad


def test_a_learned_schedule_is_trained_by_the_bound():
    model = dgm.compile(dgm.BayesNet(x=dgm.Diffusion(2, net=dgm.MLP(8), schedule=dgm.Learned())), seed=0)
    with pytest.raises(dgm.GraphError, match=r"schedule of 'x' is learned by the bound, and SimpleWeighting\(\) is none; try dgm.Denoising\(model, dgm.LikelihoodWeighting\(\)\)"):
        dgm.Denoising(model)
    objective, data = dgm.Denoising(model, dgm.LikelihoodWeighting()), {"x": torch.randn(8, 2)}
    torch.manual_seed(0)
    loss = objective(objective.prepare(data))
    torch.manual_seed(0)
    torch.testing.assert_close(loss, -model.log_prob(data).mean())


def test_levels_are_measured_as_numbers():
    for measure, shape, expected in ((dgm.Grey(), (1, 2, 2), 9.0), (dgm.Coarsen(2), (3, 1, 1), 9.0), (dgm.Blur(1.0), (3, 2, 2), 9.0)):
        model = dgm.compile(dgm.BayesNet(x=dgm.Diffusion(3, 2, 2, levels=16, net=dgm.MLP(8), sampler=dgm.DDIM(2)), y=dgm.Normal(*shape, scale=1e-4).given("x", fn=measure)))
        torch.testing.assert_close(model.sample(1, given={"x": torch.full((1, 3, 2, 2), 9)})["y"], torch.full((1, *shape), expected), atol=1e-2, rtol=0)
    assert dgm.Coarsen(2)(torch.tensor([0, 1, 0, 1]), rank=1).tolist() == [0.5, 0.5]


def test_a_diffusion_along_a_chain_is_drawn_by_another_sampler():
    chain = dgm.compile(dgm.BayesNet(x=dgm.Diffusion(1, net=dgm.MLP(8)), y=dgm.Normal(1, loc="x", scale=0.5), plates={"t": dgm.Chain(["x", "y"])}), seed=0)
    fast = chain.sampling(x=dgm.DDIM(2))
    assert fast.sample(2, sizes={"t": 3})["x"].shape == (2, 3, 1) and fast.conditional("x").main.sampler == dgm.DDIM(2)
    assert chain.conditional("x").main.sampler == dgm.Ancestral(250)


def hidden(**nodes):
    return dgm.compile(dgm.BayesNet(x=dgm.Diffusion(2, net=dgm.MLP(8)).given(*nodes), y=dgm.Normal(2, loc="x", scale=0.5), **nodes))


def chained():
    return dgm.compile(dgm.BayesNet(x=dgm.Diffusion(1, net=dgm.MLP(8)), y=dgm.Normal(1, loc="x", scale=0.5), plates={"t": dgm.Chain(["x", "y"])}))


def guided_by(sampler):
    return dgm.amortize(dgm.BayesNet(z=dgm.Normal(2), x=dgm.Normal(2, loc="z", scale=1.0)), "x", family=dgm.Diffusion(net=dgm.MLP(4), sampler=sampler))


REFUSED = {
    "a flow with fresh noise": (lambda: dgm.FlowMatching(2, net=dgm.MLP(4), sampler=dgm.Ancestral(5)), r"FlowMatching: expected a sampler without fresh noise.*Ancestral.*try sampler=dgm.Heun\(20\)"),
    "fresh noise later": (lambda: wide(2).sampling(x=dgm.DDIM(5, eta=1.0)), r"density is that of draws along the flow.*try dgm.Heun\(20\)"),
    "a guide with fresh noise": (lambda: guided_by(dgm.Ancestral(20)), r"amortize: a guide draws along the probability flow.*try sampler=dgm.Heun\(20\)"),
    "a guide with a clip": (lambda: guided_by(dgm.Heun(20, clip=0.5)), r"amortize: .*clipped sampler does not draw from.*leave clip out"),
    "a diffusion in a chain, denoised": (lambda: dgm.Denoising(chained()), r"'x' ~ Diffusion\(1\) is diffused at every step of a chain.*dgm.MaximumLikelihood\(model\)"),
    "a diffusion in a chain, guided": (lambda: dgm.posterior(chained(), {"y": torch.zeros(1, 3, 1)}, method=dgm.Guided(5, 5)), r"'x' is drawn at every step of a chain.*dgm.Amortized"),
    "another hidden node": (lambda: dgm.posterior(hidden(c=dgm.Normal(1)), {"y": torch.zeros(1, 2)}), r"method=dgm.Amortized\(guide\)[^G]*$"),
    "a scale of three for two": (
        lambda: dgm.compile(dgm.BayesNet(x=dgm.FlowMatching(2, net=dgm.MLP(4), preprocess=dgm.Affine([0.0, 1.0, 2.0], 1.0)))), r"node 'x': expected preprocess to have one number for loc, or 2.*got 3",
    ),
    "one method alone": (lambda: dgm.compare(hidden(), {"y": torch.zeros(1, 2)}, dgm.Guided(2, 2)), r"compare: expected methods by name.*got Guided"),
    "a level by name": (lambda: dgm.compare(hidden(), {"y": torch.zeros(1, 2)}, [dgm.Guided(2, 2)], level="a"), r"expected level between 0 and 1"),
    "a lead without end": (lambda: dgm.Guided(scale=math.inf), r"expected scale to be a finite number"),
    "a seed of chains by name": (lambda: dgm.HMC(seed="a"), r"HMC: expected seed to be a whole number"),
    "a flow along a chain": (lambda: dgm.log_prob(chained(), {"x": torch.zeros(1, 3, 1), "y": torch.zeros(1, 3, 1)}, method=dgm.ProbabilityFlow()), r"no node is a Diffusion or FlowMatching outside a chain"),
    "a seed by name": (lambda: dgm.Twisted(seed="a"), r"Twisted: expected seed to be a whole number"),
    "a tolerance by name": (lambda: dgm.ProbabilityFlow(tolerance="a"), r"expected tolerance between 0 and 1"),
    "a mask beyond the event": (lambda: dgm.Mask(kept=(5,), shape=(2,)), r"counted from 0 to 1; got \(5,\)"),
    "a mask by name": (lambda: dgm.Mask("abc"), r"Mask: expected ones where"),
    "weights by name": (lambda: dgm.Grey("a"), r"Grey: expected weights as a tuple"),
    "a width that is no number": (lambda: dgm.Blur(True), r"Blur: expected width"),
    "a weighting by name": (lambda: dgm.MinSNR("a"), r"MinSNR: expected most above 0"),
}


@pytest.mark.parametrize("call, message", REFUSED.values(), ids=REFUSED)
def test_refused(call, message):
    with pytest.raises(dgm.GraphError, match=message):
        call()
