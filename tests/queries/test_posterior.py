"""The posterior's answers against the closed form."""

import re
import warnings

import numpy
import pytest
import torch

import dgm_ppl as dgm

from . import oracle


@pytest.fixture(scope="module")
def x():
    torch.manual_seed(0)
    return dgm.compile(oracle.net()).sample(4)["x"]


METHODS = {
    "amortized": lambda: dgm.Amortized(oracle.guide(), 20_000),
    "importance": lambda: dgm.Importance(oracle.guide(1.3), 20_000),
    "NUTS": lambda: dgm.NUTS(samples=300, warmup=100, max_tree_depth=4, seed=0),
}


@pytest.fixture(scope="module", params=METHODS)
def answered(request, x):
    """The name of a method and its posterior."""
    torch.manual_seed(3)
    return request.param, dgm.posterior(dgm.compile(oracle.net()), {"x": x}, method=METHODS[request.param]())


def test_moments_quantiles_and_draws(answered, x):
    name, post = answered
    mean, covariance = oracle.posterior(x)
    spread = covariance.diagonal().sqrt()
    error = 0.2 if name == "NUTS" else 0.04                      # about five standard errors
    assert (post.mean()["z"] - mean).abs().max() < error
    assert (post.std()["z"] - spread).abs().max() < error
    assert (post.quantile(0.9)["z"] - (mean + 1.2816 * spread)).abs().max() < 2 * error
    drawn = post.sample(300)["z"]
    assert drawn.shape == (300, 4, 2)
    assert (drawn.mean(0) - mean).abs().max() < 0.3


def test_the_amortized_marginal_is_the_guides_own(x):
    post = dgm.posterior(dgm.compile(oracle.net()), {"x": x}, method=dgm.Amortized(oracle.guide(), 100))
    torch.testing.assert_close(post.marginals["z"].mean, oracle.posterior(x)[0])
    assert list(post.marginals) == ["z"]


def test_evidence_comes_along(x):
    post = dgm.posterior(dgm.compile(oracle.net()), {"x": x}, method=dgm.Importance(oracle.guide(), 10))
    torch.testing.assert_close(post.log_evidence, oracle.evidence(x), atol=1e-4, rtol=1e-4)


def test_importance_corrects_a_finite_latent():
    net = dgm.BayesNet(c=dgm.Categorical(["a", "b", "c"], probs=[0.5, 0.3, 0.2]), y=dgm.Normal(loc=dgm.Constant([-1.0, 0.0, 2.0])[dgm.Ref("c")], scale=1.0))
    model = dgm.compile(net)
    guide = dgm.compile(dgm.BayesNet(y=dgm.Given(), c=dgm.Categorical(["a", "b", "c"], probs=[1 / 3, 1 / 3, 1 / 3])))
    y = torch.tensor([0.3, 1.7])
    joint = torch.tensor([0.5, 0.3, 0.2]).log() - 0.5 * (y[:, None] - torch.tensor([-1.0, 0.0, 2.0])) ** 2
    torch.manual_seed(0)
    post = dgm.posterior(model, {"y": y}, method=dgm.Importance(guide, 50_000))
    assert (post.mean()["c"] - joint.softmax(-1)).abs().max() < 0.01
    assert (post.marginals["c"].probs - joint.softmax(-1)).abs().max() < 0.01


def test_k_hat_tells_a_good_guide_from_a_bad_one(x):
    torch.manual_seed(0)
    model = dgm.compile(oracle.net())
    good = dgm.posterior(model, {"x": x}, method=dgm.Importance(oracle.guide(1.2), 4000)).diagnose()
    narrow = dgm.posterior(model, {"x": x}, method=dgm.Importance(oracle.guide(0.4), 4000)).diagnose()
    assert good.khat.max() < 0.5 and good.verdict == "good"
    assert narrow.khat.min() > 0.5 and narrow.verdict.startswith("bad")
    assert good.effective.min() > 2000 > narrow.effective.max()


def test_k_hat_of_normal_weights_is_the_known_one():
    torch.manual_seed(0)
    z = 0.7071 * torch.randn(40_000, 3)                          # q = N(0, 1/2) for p = N(0, 1): k = 1 - 1/2
    weights = -0.5 * z**2 + 0.5 * z**2 / 0.5
    assert (dgm.queries.psis.pareto_k(weights) - 0.5).abs().max() < 0.12


@pytest.mark.parametrize("weights, expected", [
    (torch.zeros(100), -torch.inf), (torch.cat([torch.zeros(2), torch.full((98,), -900.0)]), torch.inf), (torch.cat([torch.zeros(2), torch.full((98,), -1.0)]), -torch.inf),
    (torch.full((100,), -torch.inf), torch.inf),
], ids=["equal", "two of a hundred", "two a little heavier", "none"])
def test_k_hat_where_no_tail_can_be_fitted(weights, expected):
    assert float(dgm.queries.psis.pareto_k(weights)) == expected


def test_sampling_chains_are_reproducible_and_leave_the_generator_alone(x):
    model, state = dgm.compile(oracle.net()), torch.random.get_rng_state()
    one, two = (dgm.posterior(model, {"x": x}, method=dgm.NUTS(8, 8, seed=5)).sample(8)["z"] for _ in range(2))
    assert torch.equal(one, two) and torch.equal(state, torch.random.get_rng_state())


def test_plates_and_deterministic_nodes_come_back_in_the_users_layout():
    net = dgm.BayesNet(
        mu=dgm.Normal(loc=0.0, scale=1.0), e=dgm.Normal(loc=0.0, scale=1.0), theta=dgm.Delta(v=dgm.Ref("mu") + dgm.Ref("e")),
        y=dgm.Normal(loc="theta", scale=1.0), plates={"member": ["e", "theta", "y"]},
    )
    post = dgm.posterior(dgm.compile(net), {"y": torch.randn(5)}, method=dgm.NUTS(10, 10, max_tree_depth=4, seed=0))
    drawn = post.sample(10)
    assert {name: tuple(value.shape) for name, value in drawn.items()} == {"mu": (10,), "e": (10, 5), "theta": (10, 5)}
    torch.testing.assert_close(drawn["theta"], drawn["mu"][:, None] + drawn["e"])
    rows = dgm.posterior(dgm.compile(net), {"y": torch.randn(3, 5)}, method=dgm.NUTS(5, 5, max_tree_depth=4, seed=0))
    assert rows.sample(5)["mu"].shape == (5, 3) and rows.sample(5)["theta"].shape == (5, 3, 5)


def test_arviz(answered, x):
    pytest.importorskip("arviz")
    _, post = answered
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = post.to_arviz()
    assert tree["posterior"]["z"].shape[2:] == (4, 2)
    numpy.testing.assert_allclose(tree["observed_data"]["x"], x.numpy())


BAD = {
    "nothing to infer": (lambda m: dgm.posterior(m, {"x": torch.zeros(3), "z": torch.zeros(2)}, method=dgm.NUTS()), "every random node is observed"),
    "no method": (lambda m: dgm.posterior(dgm.compile(dgm.BayesNet(z=dgm.HalfNormal(), x=dgm.Poisson().given("z"))), {"x": 1.0}), "expected a method; got None"),
    "an unknown node": (lambda m: dgm.posterior(m, {"X": torch.zeros(3)}, method=dgm.NUTS()), "no node 'X'; did you mean 'x'?"),
    "a quantile out of range": (lambda m: dgm.posterior(m, {"x": torch.zeros(3)}, method=dgm.Amortized(oracle.guide(), 5)).quantile(2), "a number from 0 to 1; got 2"),
    "an unknown marginal": (lambda m: dgm.posterior(m, {"x": torch.zeros(3)}, method=dgm.Amortized(oracle.guide(), 5)).marginals["y"], "'y' was not inferred"),
    "more draws than the chains hold": (lambda m: dgm.posterior(m, {"x": torch.zeros(3)}, method=dgm.NUTS(5, 5)).sample(6), "the chains hold 5 draws; got 6"),
    "evidence of chains": (lambda m: dgm.posterior(m, {"x": torch.zeros(3)}, method=dgm.NUTS(5, 5)).log_evidence, "NUTS does not give it"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case):
    call, message = BAD[case]
    with pytest.raises(ValueError, match=re.escape(message)):
        call(dgm.compile(oracle.net()))


def test_chains_refuse_discrete_nodes():
    net = dgm.BayesNet(c=dgm.Bernoulli(probs=0.5), y=dgm.Normal(scale=1.0).given("c"))
    with pytest.raises(ValueError, match="'c' ~ Bernoulli.*has no gradient"):
        dgm.posterior(dgm.compile(net), {"y": torch.tensor(0.0)}, method=dgm.NUTS())


def test_marginals_are_a_mapping_that_can_be_drawn():
    model = dgm.compile(dgm.BayesNet(rain=dgm.Bernoulli(probs=0.2), wet=dgm.Bernoulli(probs=[0.1, 0.9]).given("rain")))
    marginals = dgm.posterior(model, {"wet": 1}).marginals
    assert "rain" in marginals and "wet" not in marginals and "hail" not in marginals
    assert "rain" in dgm.draw(model.net, evidence={"wet": 1}, posterior=marginals).svg()
