"""Discretized logistics, one-hot states with straight-through gradients, relaxed states."""

import math

import pyro.distributions as dist
import pytest
import torch

import dgm_ppl as dgm


def conditional(variable, seed=0):
    return dgm.compile(dgm.BayesNet(x=variable), seed=seed).conditionals["x"]


@pytest.mark.parametrize("loc, scale", [(0.0, 0.3), (-0.9, 0.05), (5.0, 0.1), (0.2, 20.0)])
def test_masses_are_differences_of_the_distribution_function(loc, scale):
    levels, found = 16, conditional(dgm.DiscretizedLogistic(loc=loc, scale=scale, levels=16))
    states = torch.arange(16.0)
    probabilities = found.double().log_density(states.double(), found.prepare()).exp()
    edges = (2 * torch.arange(15.0, dtype=torch.double) + 1) / 15 - 1
    below = torch.sigmoid((edges - loc) / scale)
    expected = torch.cat([below, torch.ones(1)]) - torch.cat([torch.zeros(1), below])
    assert probabilities.sum().item() == pytest.approx(1) and levels == 16
    torch.testing.assert_close(probabilities, expected, rtol=1e-4, atol=1e-12)
    assert found.log_density(torch.tensor(0.0, dtype=torch.double), found.prepare()).isfinite()       # far in the tail too


def test_draws_of_levels():
    torch.manual_seed(0)
    for variable in (
        dgm.DiscretizedLogistic(loc=0.1, scale=0.2, levels=8),
        dgm.DiscretizedLogisticMixture(components=2, weight_logits=[0.0, 1.0], loc=[-0.6, 0.5], scale=[0.1, 0.2], levels=8),
        dgm.Mixture(dgm.DiscretizedLogistic(loc=[-0.6, 0.5], scale=[0.1, 0.2], levels=8), components=2, weights=torch.tensor([0.0, 1.0]).softmax(0)),
    ):
        found = conditional(variable)
        expected = found.log_density(torch.arange(8.0), found.prepare()).exp()
        counts = torch.bincount(found().sample((40_000,)).long(), minlength=8)
        common = expected > 1e-3
        assert expected.sum().item() == pytest.approx(1) and ((counts - 40_000 * expected)[common].square() / (40_000 * expected[common])).sum() < 30


def test_two_ways_to_mix_are_one_density():
    torch.manual_seed(0)
    weights, loc, scale = torch.randn(2, 3), torch.randn(2, 3), torch.rand(2, 3) + 0.1
    family = conditional(dgm.DiscretizedLogisticMixture(2, components=3, weight_logits=weights, loc=loc, scale=scale, levels=8))
    mixture = conditional(dgm.Mixture(dgm.DiscretizedLogistic(2, loc=loc.T, scale=scale.T, levels=8), components=3, elementwise=True, weights=weights.softmax(-1)))
    value = torch.randint(8, (20, 2)).float()
    torch.testing.assert_close(family.log_density(value, family.prepare()), mixture.log_density(value, mixture.prepare()))


def test_pixels_of_an_autoregressive_node():
    """A mixture of discretized logistics as the element of an autoregressive image: bits per dimension by the chain rule."""
    net = dgm.BayesNet(x=dgm.Autoregressive(dgm.DiscretizedLogisticMixture(3, 4, 4, components=2, levels=16), net=dgm.MADE(32)))
    model = dgm.compile(net, seed=0)
    drawn = model.sample(6)["x"]
    assert drawn.shape == (6, 3, 4, 4) and drawn.min() >= 0 and drawn.max() <= 15
    found = dgm.bits_per_dimension(model, {"x": drawn})
    assert found.kind == "exact" and found.dimensions == 48 and 0 < found.mean() < 8


def test_one_hot_states_are_categorical_ones():
    logits = [0.3, -1.0, 0.5]
    hot, plain = conditional(dgm.OneHotCategorical(3, logits=logits)), conditional(dgm.Categorical(3, logits=logits))
    torch.testing.assert_close(hot.log_density(torch.eye(3), hot.prepare()), plain.log_density(torch.arange(3), plain.prepare()))
    sharp = conditional(dgm.OneHotCategorical(2, probs=[1.0, 0.0]))
    assert sharp.log_density(torch.eye(2), sharp.prepare()).tolist() == [0, -math.inf]
    with pytest.raises(dgm.GraphError, match="states as a one among zeros along the last dimension; got 0.5"):
        dgm.log_prob(dgm.compile(dgm.BayesNet(x=dgm.OneHotCategorical(2))), {"x": torch.tensor([[0.5, 0.5]])})


def test_straight_through_draws_are_categorical_with_the_gradient_of_the_relaxation():
    torch.manual_seed(0)
    logits = torch.tensor([0.5, -0.5, 0.0], requires_grad=True)
    found = dgm.families.discrete_catalogue.StraightThroughDistribution(torch.tensor(0.7), logits=logits)
    torch.manual_seed(1)
    hard = found.rsample((20_000,))
    torch.testing.assert_close(hard.detach().sum(-1), torch.ones(20_000))
    torch.testing.assert_close(hard.detach().mean(0), logits.detach().softmax(0), atol=0.015, rtol=0)
    weights = torch.tensor([1.0, 2.0, -1.0])
    (gradient,) = torch.autograd.grad((hard * weights).sum(-1).mean(), logits)
    torch.manual_seed(1)
    u = torch.rand(20_000, 3).clamp_min(torch.finfo(torch.float32).tiny)
    soft = ((logits - (-u.log()).log()) / 0.7).softmax(-1)
    torch.testing.assert_close(gradient, torch.autograd.grad((soft * weights).sum(-1).mean(), logits)[0])


def test_a_discrete_latent_learned_by_straight_through():
    """Four clusters, a one-hot latent: the bound with straight-through gradients approaches the exact likelihood of the mixture."""
    torch.manual_seed(0)
    centres = torch.tensor([[-3.0, 0.0], [3.0, 0.0], [0.0, 3.0], [0.0, -3.0]])
    x = centres[torch.randint(4, (1500,))] + 0.3 * torch.randn(1500, 2)
    net = dgm.BayesNet(k=dgm.OneHotCategorical(4, logits=0.0), x=dgm.Normal(2, scale=dgm.free(1.0)).given("k", net=dgm.MLP()))
    recognition = dgm.amortize(net, observed="x", net=dgm.MLP(32), families={"k": dgm.StraightThroughCategorical(4, temperature=0.7)})
    model, guide = dgm.compile(net, seed=0), dgm.compile(recognition, seed=10)
    objective = dgm.ELBO(model, guide, kl_weight=lambda step: min(1.0, step / 400))
    dgm.fit(objective, {"x": x}, epochs=40, batch_size=100, optimizer=dgm.Adam(0.01), device="cpu", progress=False)
    exact = -(math.log(4) + math.log(2 * math.pi * math.e * 0.09))          # the negative entropy of the mixture
    assert -dgm.ELBO(model, guide)({"x": x}).item() == pytest.approx(exact, abs=0.1)
    assert dgm.ELBO(model, dgm.compile(dgm.amortize(net, observed="x"), seed=0))({"x": x}).isfinite()


def test_relaxed_states():
    hot, theirs = conditional(dgm.RelaxedCategorical(3, temperature=0.8, logits=[0.3, -1.0, 0.5])), dist.RelaxedOneHotCategorical(torch.tensor(0.8), logits=torch.tensor([0.3, -1.0, 0.5]))
    value = torch.tensor([[0.2, 0.3, 0.5], [0.9, 0.05, 0.05]])
    torch.testing.assert_close(hot.log_density(value, hot.prepare()), theirs.log_prob(value))
    grid = torch.linspace(0.0005, 0.9995, 1000)
    gate = conditional(dgm.RelaxedBernoulli(temperature=0.8, probs=0.3))
    assert gate.log_density(grid, gate.prepare()).exp().mean().item() == pytest.approx(1, abs=0.01)
    net = dgm.BayesNet(k=dgm.RelaxedCategorical(3, temperature=0.5, logits=0.0), x=dgm.Normal(2).given("k"))
    guide = dgm.compile(dgm.amortize(net, observed="x", families={"k": dgm.RelaxedCategorical(3, temperature=0.7)}), seed=0)
    assert dgm.IWAE(dgm.compile(net, seed=0), guide, particles=4)({"x": torch.randn(5, 2)}).isfinite()


WRONG = {
    "levels": (lambda: dgm.BayesNet(x=dgm.DiscretizedLogistic(2)), r"node 'x': .*expected the number of levels|parameter 'levels' cannot be learned"),
    "one level": (lambda: dgm.BayesNet(x=dgm.DiscretizedLogistic(2, levels=1)), r"node 'x': DiscretizedLogistic: expected a whole number of levels from 2; got 1"),
    "components": (lambda: dgm.DiscretizedLogisticMixture(2, levels=8), r"DiscretizedLogisticMixture: expected a positive whole number of components; got None"),
    "temperature": (lambda: dgm.BayesNet(x=dgm.RelaxedCategorical(3)), r"node 'x': RelaxedCategorical's parameter 'temperature' cannot be learned; give it"),
    "beyond": (lambda: dgm.compile(dgm.BayesNet(x=dgm.DiscretizedLogistic(levels=4))).log_prob({"x": [4.0]}), r"has values in the levels 0 to 3; got 4"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_is_said(wrong):
    act, message = WRONG[wrong]
    with pytest.raises(dgm.GraphError, match=message):
        act()
