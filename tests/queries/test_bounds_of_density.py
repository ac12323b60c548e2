"""Scores of nodes whose density is a bound, exact by an equation, or none."""

from __future__ import annotations

import pytest
import torch

import dgm_ppl as dgm
from dgm_ppl.conditionals.probability_flow import flow_log_density

torch.set_num_threads(1)


def diffusion():
    return dgm.compile(dgm.BayesNet(y=dgm.Bernoulli(probs=0.3), x=dgm.Diffusion(2, net=dgm.MLP(16, activation=torch.nn.SiLU)).given("y")), seed=0)


def test_the_score_says_that_it_is_a_bound_and_the_flow_is_exact():
    model, data = diffusion(), {"y": torch.tensor([0.0, 1.0, 1.0]), "x": torch.randn(3, 2)}
    torch.manual_seed(0)
    bound, exact = dgm.log_prob(model, data), dgm.log_prob(model, data, method=dgm.ProbabilityFlow())
    assert bound.kind == "bound" and bound.stderr.shape == (3,) and exact.kind == "exact" and exact.stderr is None
    estimated = dgm.log_prob(model, data, method=dgm.ProbabilityFlow(probes=2, repeats=6))
    assert estimated.kind == "estimate"
    assert bool(((estimated.value - exact.value).abs() < 6 * estimated.stderr + 0.1).all())
    rest = torch.tensor([0.7, 0.3, 0.3]).log()
    alone = dgm.log_prob(model, data, method=dgm.ProbabilityFlow(tolerance=1e-6)).value
    torch.testing.assert_close(alone, exact.value, atol=5e-3, rtol=0)
    flow = dgm.compile(dgm.BayesNet(x=dgm.FlowMatching(2, net=dgm.MLP(8, activation=torch.nn.SiLU))), seed=0)
    torch.testing.assert_close(dgm.log_prob(flow, {"x": data["x"]}).value, dgm.log_prob(flow, {"x": data["x"]}, method=dgm.ProbabilityFlow()).value)
    conditional = model.conditional("x")
    with torch.no_grad():
        density = flow_log_density(conditional.denoiser(conditional.prepare(data["y"]), (3,)), data["x"])
    torch.testing.assert_close(exact.value, density + rest, atol=1e-3, rtol=0)


def test_a_latent_with_a_bound_is_bounded_and_not_weighed():
    net = dgm.BayesNet(z=dgm.Diffusion(2, net=dgm.MLP(8)), x=dgm.Normal(3).given("z"))
    model, guide = dgm.compile(net), dgm.compile(dgm.amortize(net, "x", net=dgm.MLP(8)))
    assert dgm.log_prob(model, {"x": torch.zeros(4, 3)}, method=dgm.Bound(guide, samples=5)).kind == "bound"
    for method in (dgm.Importance(guide, 10), dgm.Bound(guide, particles=3)):
        with pytest.raises(dgm.GraphError, match=r"density of 'z' ~ Diffusion.* is a stochastic bound.*dgm.Bound\(guide, samples=100\)"):
            dgm.log_prob(model, {"x": torch.zeros(4, 3)}, method=method)


@pytest.mark.parametrize("call", [
    lambda m, g: dgm.log_prob(m, {"x": torch.zeros(3, 2)}), lambda m, g: dgm.log_prob(m, {"x": torch.zeros(3, 2)}, method=dgm.Importance(g, 5)),
    lambda m, g: dgm.posterior(m, {"x": torch.zeros(3, 2)}), lambda m, g: dgm.posterior(m, {"x": torch.zeros(3, 2)}, method=dgm.NUTS(samples=2, warmup=2)),
    lambda m, g: dgm.posterior(m, {"x": torch.zeros(3, 2)}, method=dgm.Importance(g, 5)),
], ids=["log_prob", "importance", "posterior", "nuts", "weighted posterior"])
def test_implicit_nodes_are_refused_with_what_fits(call):
    net = dgm.BayesNet(z=dgm.Normal(2, loc=0.0, scale=1.0), x=dgm.Generator(2).given("z", net=dgm.MLP(4)))
    model, guide = dgm.compile(net), dgm.compile(dgm.amortize(net, "x", net=dgm.MLP(4)))
    with pytest.raises(dgm.GraphError, match=r"node 'x' ~ Generator\(2\) only samples and has no density.*objectives that fit.*queries: model.sample"):
        call(model, guide)


def test_a_guide_answers_for_an_implicit_node():
    net = dgm.BayesNet(z=dgm.Normal(2, loc=0.0, scale=1.0), x=dgm.Generator(2).given("z", net=dgm.MLP(4)))
    post = dgm.posterior(dgm.compile(net), {"x": torch.zeros(3, 2)}, method=dgm.Amortized(dgm.compile(dgm.amortize(net, "x", net=dgm.MLP(4)))))
    assert post.mean()["z"].shape == (3, 2) and post.sample(5)["z"].shape == (5, 3, 2)


@pytest.mark.parametrize("call, message", [
    (lambda: dgm.ProbabilityFlow(tolerance=0.0), "expected tolerance between 0 and 1"),
    (lambda: dgm.ProbabilityFlow(probes=0), "positive whole number for probes"),
    (lambda: dgm.log_prob(dgm.compile(dgm.BayesNet(x=dgm.Normal(2))), {"x": torch.zeros(3, 2)}, method=dgm.ProbabilityFlow()), "no node is a Diffusion or FlowMatching"),
    (lambda: dgm.log_prob(diffusion(), {"x": torch.zeros(3, 2)}, method=dgm.ProbabilityFlow()), "node 'y' has no value"),
])
def test_refused(call, message):
    with pytest.raises(dgm.GraphError, match=message):
        call()


def plated():
    net = dgm.BayesNet(m=dgm.Normal(2, loc=0.0, scale=1.0), x=dgm.Diffusion(2, net=dgm.MLP(4), sampler=dgm.DDIM(3)).given("m"), plates={"i": ["x"]})
    return dgm.compile(net, seed=0), dgm.compile(dgm.amortize(net, "x"), seed=1), {"x": torch.rand(4, 3, 2)}


WEIGHED = {
    "NUTS": lambda guide: dgm.NUTS(samples=2, warmup=2), "HMC": lambda guide: dgm.HMC(samples=2, warmup=2), "Langevin": lambda guide: dgm.Langevin(samples=2, warmup=2),
    "Importance": lambda guide: dgm.Importance(guide, 5), "IndependenceMetropolis": lambda guide: dgm.IndependenceMetropolis(guide, samples=5),
    "Refined": lambda guide: dgm.Refined(guide, steps=2, weighted=True),
}


@pytest.mark.parametrize("method", WEIGHED.values(), ids=WEIGHED)
def test_draws_are_not_weighed_or_accepted_by_a_noisy_bound(method):
    model, guide, data = plated()
    with pytest.raises(dgm.GraphError, match=r"posterior by \w+: the density of 'x' ~ Diffusion.* is a stochastic bound.*dgm.Amortized\(guide\).*dgm.Bound\(guide, samples=100\)"):
        dgm.posterior(model, data, method=method(guide))


def test_a_guide_answers_above_a_bound_and_says_that_nothing_weighs_it():
    model, guide, data = plated()
    post = dgm.posterior(model, data, method=dgm.Amortized(guide, samples=10))
    assert post.mean()["m"].shape == (4, 2)
    for ask in (post.diagnose, lambda: post.log_evidence):
        with pytest.raises(dgm.GraphError, match="is a stochastic bound"):
            ask()
    with pytest.raises(dgm.GraphError, match=r"method=dgm.Bound\(guide, samples=100\)"):
        dgm.log_prob(model, data)
    with pytest.raises(dgm.GraphError, match=r"observed=\['x'\]\)\)$"):      # no offer of NUTS
        dgm.posterior(model, data)


def test_a_diffused_latent_is_moved_by_the_noise_of_its_draws_alone():
    """Its flow is a function of noise, so Hamiltonian Monte Carlo needs no density of it; chains that move the value do."""
    net = dgm.BayesNet(z=dgm.Diffusion(2, net=dgm.MLP(4), sampler=dgm.DDIM(3)), x=dgm.Normal(3).given("z"))
    model, data = dgm.compile(net, seed=0), {"x": torch.zeros(2, 3)}
    assert dgm.posterior(model, data, method=dgm.HMC(samples=3, warmup=3, chains=2, seed=0)).mean()["z"].shape == (2, 2)
    with pytest.raises(dgm.GraphError, match="posterior by NUTS: the density of 'z'.*stochastic bound"):
        dgm.posterior(model, data, method=dgm.NUTS(samples=2, warmup=2))


@pytest.mark.parametrize("method", [lambda g: dgm.NUTS(samples=2, warmup=2), lambda g: dgm.Importance(g, 5)], ids=["NUTS", "Importance"])
def test_a_hidden_implicit_node_has_no_density_either(method):
    net = dgm.BayesNet(z=dgm.Normal(2, loc=0.0, scale=1.0), x=dgm.Generator(2).given("z", net=dgm.MLP(4)), m=dgm.Normal(2, scale=0.1).given("x"))
    model, guide = dgm.compile(net), dgm.compile(dgm.amortize(net, "m"))
    with pytest.raises(dgm.GraphError, match=r"^node 'x' ~ Generator\(2\) only samples and has no density, which posterior by \w+ needs"):
        dgm.posterior(model, {"m": torch.zeros(2, 2)}, method=method(guide))
