"""Mixtures, zero-inflated and hurdle counts: against torch's mixture and by summation, their draws by frequency."""

import math

import pyro.distributions as dist
import pytest
import torch

import dgm_ppl as dgm

LOC, SCALE, WEIGHTS = torch.tensor([[-2.0, 0.0], [1.0, 1.0], [3.0, -1.0]]), torch.tensor([[0.5, 1.0], [1.0, 0.3], [0.2, 2.0]]), torch.tensor([0.2, 0.5, 0.3])


def conditional(variable, seed=0):
    return dgm.compile(dgm.BayesNet(x=variable), seed=seed).conditionals["x"]


def test_one_component_for_the_event_is_torchs_mixture():
    base = dgm.Normal(2, loc=LOC, scale=SCALE)
    assert repr(dgm.Mixture(dgm.Normal(2, scale=0.5), components=3, weights=[0.2, 0.5, 0.3])) == "Mixture(Normal(2, scale=0.5), components=3, weights=[0.2, 0.5, 0.3])"
    found = conditional(dgm.Mixture(base, components=3, weights=WEIGHTS))()
    reference = dist.MixtureSameFamily(dist.Categorical(WEIGHTS), dist.Normal(LOC, SCALE).to_event(1))
    value = torch.randn(50, 2) * 2
    torch.testing.assert_close(found.log_prob(value), reference.log_prob(value))
    torch.manual_seed(0)
    drawn = found.sample((20_000,))
    assert found.event_shape == (2,) and found.batch_shape == ()
    torch.testing.assert_close(drawn.mean(0), reference.mean, atol=0.08, rtol=0)
    torch.testing.assert_close(torch.cov(drawn.T), (WEIGHTS[:, None, None] * (torch.diag_embed(SCALE**2) + (LOC - reference.mean)[:, :, None] * (LOC - reference.mean)[:, None])).sum(0), atol=0.2, rtol=0)


def test_a_component_for_each_element_is_a_product_of_mixtures():
    weights = torch.stack([WEIGHTS, WEIGHTS.flip(0)])                       # (elements, components)
    found = conditional(dgm.Mixture(dgm.Normal(2, loc=LOC, scale=SCALE), components=3, elementwise=True, weights=weights))()
    reference = dist.MixtureSameFamily(dist.Categorical(weights), dist.Normal(LOC.T, SCALE.T)).to_event(1)
    value = torch.randn(50, 2) * 2
    torch.testing.assert_close(found.log_prob(value), reference.log_prob(value))
    torch.manual_seed(0)
    torch.testing.assert_close(found.sample((20_000,)).mean(0), reference.mean, atol=0.08, rtol=0)


def test_weights_of_zero_are_exact():
    found = conditional(dgm.Mixture(dgm.Bernoulli(probs=[0.0, 1.0]), components=2, weights=[0.25, 0.75]))
    assert found.log_density(torch.tensor([0.0, 1.0]), found.prepare()).exp().tolist() == pytest.approx([0.25, 0.75])
    pure = conditional(dgm.Mixture(dgm.Bernoulli(probs=[0.0, 1.0]), components=2, weights=[0.0, 1.0]))
    assert pure.log_density(torch.tensor(0.0), pure.prepare()) == -math.inf


def test_a_density_network_learns_two_branches():
    """y = +-x: a mixture density network finds both, where a normal finds neither; the entropy is the noise's and one bit."""
    torch.manual_seed(0)
    x = torch.rand(2000, 1) + 0.5
    sign = 2 * torch.randint(2, (2000, 1)) - 1
    y = sign * x + 0.1 * torch.randn(2000, 1)
    net = dgm.BayesNet(x=dgm.Given(1), y=dgm.Mixture(dgm.Normal(1), components=2).given("x", net=dgm.MLP(16)))
    model = dgm.compile(net, seed=0)
    dgm.fit(dgm.MaximumLikelihood(model), {"x": x, "y": y}, epochs=60, batch_size=200, optimizer=dgm.Adam(0.01), progress=False)
    entropy = 0.5 * math.log(2 * math.pi * math.e * 0.01) + math.log(2)
    assert -dgm.log_prob(model, {"x": x, "y": y}).mean() == pytest.approx(entropy, abs=0.06)


def test_learned_components_start_apart():
    found = conditional(dgm.Mixture(dgm.Normal(2), components=3))
    assert found.parameters_of()["loc"].std(0).min() > 0.1 and found.parameters_of()["weight_logits"].tolist() == [0, 0, 0]


def test_a_mixture_in_a_guide_and_as_a_prior():
    net = dgm.BayesNet(z=dgm.Mixture(dgm.Normal(2), components=3), x=dgm.Normal(3, scale=0.5).given("z", net=dgm.MLP(8)))
    recognition = dgm.amortize(net, observed="x", net=dgm.MLP(8), families={"z": dgm.Mixture(dgm.Normal(2), components=2)})
    model, guide = dgm.compile(net, seed=0), dgm.compile(recognition, seed=1)
    x = model.sample(20)["x"]
    assert dgm.ELBO(model, guide)({"x": x}).isfinite()
    normal = dgm.compile(dgm.amortize(net, observed="x", net=dgm.MLP(8)), seed=1)
    first, second = (dgm.log_prob(model, {"x": x}, method=dgm.Importance(each, 3000)).mean() for each in (guide, normal))
    assert first == pytest.approx(second, abs=0.3)
    with pytest.raises(dgm.GraphError, match=r"IWAE: node 'z' ~ Mixture\(Normal\(2\), components=2\) is not reparameterized"):
        dgm.IWAE(model, guide, particles=3)


COUNTS = {
    "zero-inflated poisson": (dgm.ZeroInflated(dgm.Poisson(rate=1.7), gate=0.3), dist.Poisson(1.7), 0.3, False),
    "zero-inflated binomial": (dgm.ZeroInflated(dgm.Binomial(total_count=6, probs=0.4), gate_logits=-1.0), dist.Binomial(6, 0.4), 1 / (1 + math.e), False),
    "hurdle poisson": (dgm.Hurdle(dgm.Poisson(rate=0.8), gate=0.4), dist.Poisson(0.8), 0.4, True),
    "hurdle negative binomial": (dgm.Hurdle(dgm.NegativeBinomial(total_count=1.5, logits=0.3), gate=0.25), dist.NegativeBinomial(1.5, logits=torch.tensor(0.3)), 0.25, True),
    "hurdle binomial": (dgm.Hurdle(dgm.Binomial(total_count=5, probs=0.3), gate=0.25), dist.Binomial(5, 0.3), 0.25, True),
}


@pytest.mark.parametrize("name", COUNTS)
def test_counts(name):
    variable, base, gate, hurdle = COUNTS[name]
    largest = 6 if "zero-inflated b" in name else 5 if "hurdle b" in name else 60
    states, found = torch.arange(largest + 1.0), conditional(variable)
    probabilities = found.log_density(states, found.prepare()).exp()
    plain = base.log_prob(states).exp()
    above = (1 - gate) * plain / (1 - plain[0]) if hurdle else (1 - gate) * plain
    expected = torch.where(states == 0, gate + (0 if hurdle else above), above)
    torch.testing.assert_close(probabilities, expected)
    assert probabilities.sum() == pytest.approx(1, abs=1e-4)
    torch.manual_seed(0)
    drawn = found().sample((40_000,))
    counts = torch.bincount(drawn.long(), minlength=largest + 1)[: largest + 1]
    common = expected > 1e-3
    statistic = ((counts - 40_000 * expected)[common].square() / (40_000 * expected[common])).sum()
    assert drawn.max() <= largest and statistic < 45                        # chi-square of at most 15 degrees: beyond its 1e-4 quantile


def test_a_gate_of_either_kind():
    """Each formula against the sum of both ways to a count, and the gradient of the one that a network's gate takes."""
    x, log_rate = torch.tensor([0.0, 0.0, 3.0, 0.0]), torch.tensor([0.5, -2.0, 1.0, 4.0])
    gate = torch.tensor([-30.0, 2.0, 0.3, 25.0]).double().requires_grad_()
    plain = dist.Poisson(log_rate.double().exp()).log_prob(x.double()).exp()
    expected = -(gate.sigmoid() * (x == 0) + (-gate).sigmoid() * plain).log()
    (slope,) = torch.autograd.grad(expected.sum(), gate)
    logits = gate.detach().float().requires_grad_()
    here = conditional(dgm.ZeroInflated(dgm.Poisson(4))).surprisals(x, (logits, log_rate.exp()))
    torch.testing.assert_close(here, expected.float(), rtol=1e-5, atol=3e-6)
    torch.testing.assert_close(torch.autograd.grad(here.sum(), logits)[0], slope.float(), rtol=1e-5, atol=1e-6)
    closed = dgm.compile(dgm.BayesNet(z=dgm.Given(1), x=dgm.ZeroInflated(dgm.Poisson(4), gate=[1.0, 1.0, 0.0, 0.0]).given("z", net=dgm.MLP(4)))).conditionals["x"]
    prepared = closed.prepare(torch.ones(1))
    counts = torch.tensor([0.0, 1.0, 0.0, 3.0])
    torch.testing.assert_close(-closed.surprisals(counts, prepared), torch.cat([torch.tensor([0.0, -torch.inf]), dist.Poisson(prepared[1][2:]).log_prob(counts[2:])]))


def test_counts_have_no_gradient_trouble_at_zero():
    net = dgm.BayesNet(z=dgm.Given(1), x=dgm.Hurdle(dgm.Poisson()).given("z", net=dgm.MLP(4)))
    model = dgm.compile(net, seed=0)
    dgm.MaximumLikelihood(model)({"z": torch.zeros(3, 1), "x": torch.tensor([0.0, 0.0, 2.0])}).backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_saved_and_drawn(tmp_path):
    net = dgm.BayesNet(
        a=dgm.Categorical(3), x=dgm.Mixture(dgm.Normal(2, scale=dgm.free(0.5)), components=4, weights=[0.1, 0.2, 0.3, 0.4]).given("a"),
        n=dgm.ZeroInflated(dgm.Poisson(rate=3.0)).given("x", net=dgm.MLP(4)), k=dgm.Mixture(dgm.Categorical(["low", "high"]), components=2),
    )
    model = dgm.compile(net, seed=0)
    dgm.save(model, tmp_path / "mixture.safetensors")
    loaded, values = dgm.load(tmp_path / "mixture.safetensors"), model.sample(5)
    assert loaded.net == net and torch.equal(loaded.log_prob(values), model.log_prob(values))
    assert "4 x Normal(2)" in dgm.draw(net).svg() and model.verify_structure().ok
    with pytest.raises(dgm.GraphError, match=r"node 'k' has no state 'hihg'"):
        model.log_prob({**values, "k": ["hihg"] * 5})


WRONG = {
    "components": (lambda: dgm.Mixture(dgm.Normal(), components=0), r"Mixture: expected a positive whole number of components; got 0"),
    "no family": (lambda: dgm.Mixture(dgm.Flow(2), components=2), r"Mixture: expected the declaration of a family, such as dgm.Normal\(2\); got Flow\(2, MAF\(\)\)"),
    "parents inside": (lambda: dgm.Mixture(dgm.Normal().given("z"), components=2), r"Mixture: parents are given to the whole; .*\.given\('z'\)"),
    "deterministic": (lambda: dgm.Mixture(dgm.Delta(v=1.0), components=2), r"Mixture: expected the declaration of a family"),
    "weights": (lambda: dgm.BayesNet(x=dgm.Mixture(dgm.Normal(), components=2, weights=[0.5, 0.6])), r"node 'x': parameter 'weights' = \[0.5, 0.6\] is outside its range: expected probabilities"),
    "lengths": (lambda: dgm.BayesNet(x=dgm.Mixture(dgm.Normal(loc=[0.0, 1.0, 2.0]), components=2)), r"node 'x': parameter 'loc': expected the shape \(2,\).*; got the shape \(3,\)"),
    "counts": (lambda: dgm.ZeroInflated(dgm.Normal()), r"ZeroInflated: expected a family of counts; got Normal\(\), with values in the real numbers; try dgm.ZeroInflated\(dgm.Poisson\(\)\)"),
    "two gates": (lambda: dgm.ZeroInflated(dgm.Poisson(), gate=0.5, gate_logits=0.0), r"ZeroInflated: the parameters \['gate_logits', 'gate'\] do not go together"),
    "hurdle": (lambda: dgm.Hurdle(dgm.ZeroInflatedPoisson()), r"Hurdle: expected one of Poisson, NegativeBinomial, Binomial.*try dgm.ZeroInflated"),
    "gate": (lambda: dgm.BayesNet(x=dgm.Hurdle(dgm.Poisson(), gate=1.5)), r"node 'x': parameter 'gate' = 1.5 is outside its range: expected a probability"),
    "nothing left": (lambda: dgm.BayesNet(z=dgm.Normal(), x=dgm.Hurdle(dgm.Poisson(rate=1.0), gate=0.5).given("z")), r"node 'x': \['z'\] are parents, but every parameter of HurdleCounts is given"),
    "text": (lambda: dgm.Mixture(dgm.Normal(), components=2, weights=object()), r"Mixture: parameter 'weights': expected a number"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_is_said(wrong):
    act, message = WRONG[wrong]
    with pytest.raises(dgm.GraphError, match=message):
        act()
