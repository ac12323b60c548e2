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
