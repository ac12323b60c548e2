"""Refinement, independence Metropolis-Hastings, weights, gaps and agreement, against closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from objectives.oracle import CHAIN, LinearGaussian

import dgm_ppl as dgm

torch.set_num_threads(1)
R = dgm.Ref
PAIR = dgm.BayesNet(z=dgm.Normal(loc=0.0, scale=1.0), x=dgm.Normal(loc="z", scale=1.0))
DATA = {"x": torch.tensor([-1.0, 0.0, 3.0])}
POSTERIOR = DATA["x"] / 2, 0.5**0.5


@pytest.fixture(scope="module")
def model():
    return dgm.compile(PAIR)


@pytest.fixture(scope="module")
def untrained():
    return dgm.compile(dgm.amortize(PAIR, "x", net=dgm.MLP(8)), seed=0)


def fixed(scale, shift=0.0):
    return dgm.compile(dgm.BayesNet(x=dgm.Given(), z=dgm.Normal(loc=0.5 * R("x") + shift, scale=scale)))


def test_refined_guides_reach_the_evidence_and_leave_the_guide_alone(model, untrained):
    before = {name: value.clone() for name, value in untrained.state_dict().items()}
    torch.manual_seed(5)
    state = torch.get_rng_state()
    post = dgm.posterior(model, DATA, method=dgm.Refined(untrained, steps=100, lr=0.04))
    assert torch.equal(torch.get_rng_state(), state) and all(torch.equal(value, before[name]) for name, value in untrained.state_dict().items())
    torch.testing.assert_close(post.bound, dgm.log_prob(model, DATA).value.float(), atol=0.03, rtol=0)
    torch.testing.assert_close(post.mean()["z"], POSTERIOR[0], atol=0.12, rtol=0)
    assert post.sample(7)["z"].shape == (7, 3) and post.log_weights is None and post.diagnose().khat.shape == (3,)
    assert dgm.posterior(model, {"x": 1.0}, method=dgm.Refined(untrained, steps=3, samples=20)).mean()["z"].shape == ()


def test_refinement_by_the_score_function_and_of_plates():
    net = dgm.BayesNet(k=dgm.Bernoulli(probs=0.3), y=dgm.Normal(loc=2 * R("k"), scale=1.0), plates={"g": ["y"]})
    model, guide = dgm.compile(net), dgm.compile(dgm.amortize(net, "y", net=dgm.MLP(4)), seed=0)
    data = {"y": torch.tensor([[0.1, 1.2, 1.4], [0.0, 0.3, -1.0]])}
    exact = dgm.posterior(model, data).mean()["k"][..., 1]
    post = dgm.posterior(model, data, method=dgm.Refined(guide, steps=200, samples=4000, lr=0.05))
    torch.testing.assert_close(post.mean()["k"][..., 1], exact.float(), atol=0.06, rtol=0)


def test_refining_what_has_no_parameters_is_refused(model):
    with pytest.raises(dgm.GraphError, match="Refined: the guide has no parameters of its own.*dgm.Importance"):
        dgm.posterior(model, DATA, method=dgm.Refined(fixed(1.0)))
    with pytest.raises(dgm.GraphError, match="Refined: expected lr to be a positive number; got -1"):
        dgm.Refined(fixed(1.0), lr=-1)
    with pytest.raises(dgm.GraphError, match="IndependenceMetropolis: expected a positive whole number for chains; got 0"):
        dgm.IndependenceMetropolis(fixed(1.0), chains=0)


def test_metropolis_corrects_a_biased_guide(model):
    post = dgm.posterior(model, DATA, method=dgm.IndependenceMetropolis(fixed(1.0, 0.5), samples=2000))
    torch.testing.assert_close(post.mean()["z"], POSTERIOR[0], atol=0.06, rtol=0)
    torch.testing.assert_close(post.std()["z"], torch.full((3,), POSTERIOR[1]), atol=0.05, rtol=0)
    found = post.diagnose()
    assert found.rhat["z"] < 1.01 and 0.4 < float(found.rate.min()) < 0.8 and found.verdict == "good"


def test_metropolis_with_the_exact_guide_accepts_all_and_one_that_is_far_too_narrow_says_so(model):
    assert dgm.posterior(model, DATA, method=dgm.IndependenceMetropolis(fixed(0.5**0.5))).diagnose().rate.min() > 0.99
    assert dgm.posterior(model, DATA, method=dgm.IndependenceMetropolis(fixed(0.1, 0.6))).diagnose().verdict.startswith("bad")


def test_k_hat_is_that_of_the_closed_form(model):
    data = {"x": torch.linspace(-2, 2, 8)}
    narrow = dgm.judge_weights(model, fixed(0.5), data, samples=4000)       # k = 1 - s^2 / v = 0.5
    assert abs(float(narrow.khat.mean()) - 0.5) < 0.1
    assert dgm.judge_weights(model, fixed(0.8), data).verdict == "good"
    far = dgm.judge_weights(model, fixed(0.2), data)
    assert far.verdict.startswith("bad") and set(far.frame["verdict"]) <= {"bad", "usable"} and len(far.frame) == 8
    assert "image/svg+xml" in far._repr_mimebundle_()


def test_gaps_are_those_of_the_closed_form():
    """Two latents that depend on each other a posteriori: a mean-field family loses -log(1 - r^2) / 2 at its best, a faithful one nothing."""
    net = dgm.BayesNet(a=dgm.Normal(loc=0.0, scale=1.0), b=dgm.Normal(loc=0.0, scale=1.0), x=dgm.Normal(loc=R("a") + R("b"), scale=1.0))
    model, data = dgm.compile(net), {"x": torch.tensor([1.0, -0.5])}
    correlation = -(1 / 3) / (2 / 3)
    apart = dgm.compile(dgm.amortize(net, "x", net=dgm.MLP(4), structure=dgm.MeanField()), seed=0)
    found = dgm.gaps(model, apart, data, steps=250)
    assert found.evidence.kind == "exact" and abs(float(found.approximation.mean()) + 0.5 * math.log(1 - correlation**2)) < 0.03
    torch.testing.assert_close(found.total, found.approximation + found.amortization)
    assert found.structure is not None and len(found.frame) == 2 and "image/svg+xml" in found._repr_mimebundle_()


def test_gaps_of_an_exact_guide_are_none_and_what_cannot_be_eliminated_is_estimated():
    oracle = LinearGaussian(CHAIN)
    net, observed = oracle.net(), ["x1", "x2", "x3"]
    model = dgm.compile(net)
    exact = oracle.set_exact(dgm.compile(dgm.amortize(net, observed, net=dgm.MLP())))
    data = {name: value[:2] for name, value in dgm.compile(net).sample(2).items() if name in observed}
    found = dgm.gaps(model, exact, data, steps=2)
    assert "as good as exact" in found.verdict and float(found.total.abs().max()) < 1e-3
    bent = dgm.BayesNet(z=dgm.Normal(loc=0.0, scale=1.0), x=dgm.Normal(loc=dgm.exp(R("z")), scale=1.0))
    guide = dgm.compile(dgm.amortize(bent, "x", net=dgm.MLP(4)), seed=0)
    found = dgm.gaps(dgm.compile(bent), guide, {"x": torch.tensor([1.0])}, steps=150, samples=4000)
    z = torch.linspace(-8, 4, 20001)
    wanted = ((-z**2 / 2 - (1.0 - z.exp()) ** 2 / 2 - math.log(2 * math.pi)).logsumexp(0) + math.log(12 / 20000)).item()
    assert found.evidence.kind == "estimate" and abs(float(found.evidence.value) - wanted) < 0.02 and "estimated evidence" in found.verdict


def test_agreement_with_the_exact_posterior_with_draws_and_with_nuts(model):
    assert dgm.agreement(model, fixed(0.5**0.5), {"x": DATA["x"][:1]}, samples=400).verdict.startswith("agrees")
    off = dgm.agreement(model, fixed(0.5**0.5, 1.0), DATA, samples=400)     # the best accuracy for normals d deviations apart is Phi(d / 2)
    best = float(torch.special.ndtr(torch.tensor(0.5 * 1.0 / 0.5**0.5)))
    assert off.verdict.startswith("differs") and len(off.told_apart) == 3 and abs(float(off.accuracy.mean()) - best) < 0.04
    assert abs(off.frame["shift"].mean() - 2**0.5) < 0.15 and "image/svg+xml" in off._repr_mimebundle_()
    draws = {"z": POSTERIOR[0] + POSTERIOR[1] * torch.randn(400, 3, generator=torch.Generator().manual_seed(1))}
    assert dgm.agreement(model, dgm.IndependenceMetropolis(fixed(1.0)), DATA, draws, samples=400).verdict.startswith("agrees")
    one = {"x": torch.tensor([1.0])}
    assert dgm.agreement(model, fixed(0.5**0.5), one, dgm.NUTS(samples=100, warmup=30, seed=0), samples=100).verdict.startswith(("agrees", "nearly"))
    with pytest.raises(dgm.GraphError, match="node 'z': expected 1000 reference draws; got 400"):
        dgm.agreement(model, fixed(1.0), DATA, draws)
    with pytest.raises(dgm.GraphError, match=r"the reference has none of the latents \['z'\]; got \['w'\]"):
        dgm.agreement(model, fixed(1.0), DATA, {"w": draws["z"]})


# ---- refine


def test_a_refined_guide_is_a_guide(model, untrained, tmp_path):
    before = {name: value.clone() for name, value in untrained.state_dict().items()}
    one = {"x": 3.0}
    torch.manual_seed(5)
    state = torch.get_rng_state()
    own = dgm.refine(model, untrained, one, steps=300, lr=0.05)
    assert torch.equal(torch.get_rng_state(), state) and all(torch.equal(value, before[name]) for name, value in untrained.state_dict().items())
    post = dgm.posterior(model, one, method=dgm.Amortized(own, samples=4000))
    assert float(post.mean()["z"]) == pytest.approx(1.5, abs=0.1) and float(post.std()["z"]) == pytest.approx(0.5**0.5, abs=0.08)
    objective = dgm.ELBO(model, own)
    with torch.no_grad():
        bound = -objective.world_losses(objective.prepare({"x": torch.full((5000,), 3.0)})).mean()
    assert float(bound) == pytest.approx(float(dgm.log_prob(model, one).value), abs=0.05)
    assert not dgm.calibrate(model, own, worlds=200).calibrated             # of other data it knows nothing
    assert dgm.calibrate(model, fixed(0.5**0.5), worlds=200).calibrated
    dgm.save(own, tmp_path / "own.safetensors")
    torch.testing.assert_close(dgm.load(tmp_path / "own.safetensors").state_dict(), own.state_dict())


def test_rows_share_a_refined_guide(model):
    """A guide of one location and scale for all rows ends at the mean of the rows' posteriors."""
    shared = dgm.compile(dgm.BayesNet(x=dgm.Given(), z=dgm.Normal()))
    own = dgm.refine(model, shared, DATA, steps=300, lr=0.05)
    assert float(dgm.posterior(model, {"x": 0.0}, method=dgm.Amortized(own, samples=4000)).mean()["z"]) == pytest.approx(1 / 3, abs=0.1)
    with pytest.raises(dgm.GraphError, match="the guide has no parameters of its own"):
        dgm.refine(model, fixed(1.0), DATA)
    with pytest.raises(dgm.GraphError, match="expected lr to be a positive number; got 0"):
        dgm.refine(model, shared, DATA, lr=0)
