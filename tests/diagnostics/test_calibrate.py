"""Calibration tells an exact guide from ones that are biased, too narrow, too wide, or deaf to the data."""

from __future__ import annotations

import math

import pytest
import torch
from objectives.oracle import TREE, LinearGaussian

import dgm_ppl as dgm
from dgm_ppl.diagnostics.ranks import binomial_band, rank_among, test_uniform as uniform

torch.set_num_threads(1)
R = dgm.Ref
PAIR = dgm.BayesNet(z=dgm.Normal(loc=0.0, scale=1.0), x=dgm.Normal(loc="z", scale=1.0))
GUIDES = {
    "right": dgm.Normal(loc=0.5 * R("x"), scale=0.5**0.5), "prior": dgm.Normal(loc=0.0, scale=1.0), "narrow": dgm.Normal(loc=0.5 * R("x"), scale=0.5),
    "biased": dgm.Normal(loc=0.5 * R("x") + 0.3, scale=0.5**0.5), "wide": dgm.Normal(loc=0.5 * R("x"), scale=1.0),
}


def guide(kind):
    return dgm.compile(dgm.BayesNet(x=dgm.Given(), z=GUIDES[kind]))


def rejected(found):
    return {line.label for line in found.rejected}


@pytest.fixture(scope="module")
def model():
    return dgm.compile(PAIR)


def test_an_exact_guide_passes_as_often_as_promised(model):
    passed = [dgm.calibrate(model, guide("right"), level=0.1, worlds=200, draws=49, seed=seed).calibrated for seed in range(60)]
    assert sum(passed) >= 48                                                # expected 54 or more; P(fewer than 48) below 0.01


def test_a_prior_has_uniform_marginals_and_is_caught(model):
    found = dgm.calibrate(model, guide("prior"))
    assert found["z"].adjusted > 0.01 and found["z"].kind == "marginal" and found["log q(latents | data)"].adjusted > 0.01
    assert {"log p(data | latents)", "log p(data, latents)", "distance to a reference"} <= rejected(found)
    assert "ignores part of the data" in found.verdict and found.verdict.startswith("not calibrated: 3 of 5")
    assert not found.tarp()["within"].all() and found.coverage()["within"].all()


@pytest.mark.parametrize(("kind", "said"), [("narrow", "too narrow"), ("biased", "biased: draws too high"), ("wide", "too wide")])
def test_what_is_wrong_is_said(model, kind, said):
    found = dgm.calibrate(model, guide(kind))
    assert said in found["z"].said and "z" in rejected(found) and f"z: {said}" in found.verdict


def test_coverage_is_that_of_the_closed_form(model):
    found = dgm.calibrate(model, guide("narrow"), worlds=4000)
    normal = torch.distributions.Normal(0.0, 1.0)
    for _, row in found.coverage().iterrows():
        half = normal.icdf(torch.tensor(0.5 + row["level"] / 2)) * 0.5      # half a region of the guide, in units where the posterior has sd 0.5 ** 0.5
        wanted = 2 * normal.cdf(half / 0.5**0.5) - 1
        assert abs(row["coverage"] - float(wanted)) < 0.03
    central = found.coverage("z")
    assert abs(central["coverage"] - found.coverage()["coverage"]).max() < 0.03


def test_a_derived_guide_with_exact_parameters_passes():
    oracle = LinearGaussian(TREE)
    net = oracle.net()
    exact = oracle.set_exact(dgm.compile(dgm.amortize(net, ["x", "y", "w"], net=dgm.MLP())))
    assert dgm.calibrate(dgm.compile(net), exact, worlds=400).calibrated


def test_exact_marginals_without_their_dependence_are_caught():
    net = dgm.BayesNet(a=dgm.Normal(loc=0.0, scale=1.0), b=dgm.Normal(loc=0.0, scale=1.0), x=dgm.Normal(loc=R("a") + R("b"), scale=0.3))
    each = dgm.Normal(loc=R("x") / 2.09, scale=(1 - 1 / 2.09) ** 0.5)
    found = dgm.calibrate(dgm.compile(net), dgm.compile(dgm.BayesNet(x=dgm.Given(), a=each, b=each)))
    assert not found.calibrated and not [line for line in found.rejected if line.kind == "marginal"]
    assert "dependences between latents" in found.verdict


def test_plates_finite_latents_and_vectors():
    net = dgm.BayesNet(
        k=dgm.Categorical(3, probs=[0.5, 0.3, 0.2]), mu=dgm.Normal(2, loc=0.0, scale=1.0), t=dgm.Normal(loc=R("mu")[0], scale=1.0),
        y=dgm.Normal(loc=R("t"), scale=1.0), x=dgm.Normal(loc=R("k"), scale=1.0), plates={"g": ["t", "y"]},
    )
    deaf = dgm.compile(dgm.BayesNet(
        x=dgm.Given(), y=dgm.Given(), k=dgm.Categorical(3, probs=[0.5, 0.3, 0.2]), mu=dgm.Normal(2, loc=0.0, scale=1.0), t=dgm.Normal(loc=R("mu")[0], scale=1.0),
        plates={"g": ["t", "y"]},
    ))
    found = dgm.calibrate(dgm.compile(net), deaf, sizes={"g": 6}, worlds=300)
    labels = {line.label for line in found.lines}
    assert {"k", "mu[0]", "mu[1]", "mean(mu)", "t[random]", "mean(t)"} <= labels
    assert not [line for line in found.rejected if line.kind == "marginal"] and "log p(data | latents)" in rejected(found)


def test_a_finite_posterior_has_uniform_ranks_in_spite_of_ties():
    net = dgm.BayesNet(k=dgm.Bernoulli(probs=0.3), x=dgm.Normal(loc=R("k"), scale=1.0))
    right = dgm.compile(dgm.BayesNet(x=dgm.Given(), k=dgm.Bernoulli(logits=R("x") - 0.5 + math.log(0.3 / 0.7))))
    prior = dgm.compile(dgm.BayesNet(x=dgm.Given(), k=dgm.Bernoulli(probs=0.3)))
    assert dgm.calibrate(dgm.compile(net), right).calibrated
    assert not dgm.calibrate(dgm.compile(net), prior).calibrated


def test_chains():
    def step(loc):
        return dgm.BayesNet(x=dgm.Given(), z=dgm.Normal(loc=loc, scale=0.5), plates={"time": dgm.Chain(["x", "z"])})
    model = dgm.compile(dgm.BayesNet(z=dgm.Normal(loc=0.9 * dgm.lag("z"), scale=0.5), x=dgm.Normal(loc="z", scale=1.0), plates={"time": dgm.Chain(["z", "x"])}))
    prior = dgm.calibrate(model, dgm.compile(step(0.9 * dgm.lag("z"))), sizes={"time": 6}, worlds=200)
    assert not [line for line in prior.rejected if line.kind == "marginal"] and "log p(data | latents)" in rejected(prior)


def test_draws_that_are_not_finite_are_refused(model):
    lost = dgm.compile(dgm.amortize(PAIR, "x", net=dgm.MLP(4)))
    with torch.no_grad():
        for parameter in lost.parameters():
            parameter.fill_(torch.nan)
    with pytest.raises(dgm.GraphError, match=r"node 'z': the guide's draws are not finite in \d+ of \d+ worlds"):
        dgm.calibrate(model, lost)


def test_quantities_of_ones_own(model):
    found = dgm.calibrate(model, guide("prior"), quantities={"error": lambda values: (values["x"] - values["z"]).abs()})
    assert found["error"].kind == "asked" and "error" in rejected(found)
    with pytest.raises(dgm.GraphError, match=r"quantities\['bad'\]: expected one number a draw and world, \(100, 500\); got \(500,\)"):
        dgm.calibrate(model, guide("prior"), quantities={"bad": lambda values: values["z"].mean(0)})


def test_seeds_reproduce_and_leave_the_generator(model):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    one, two, other = (dgm.calibrate(model, guide("right"), worlds=50, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one["z"].test.ranks, two["z"].test.ranks) and not torch.equal(one["z"].test.ranks, other["z"].test.ranks)
    dgm.calibrate(model, guide("right"), worlds=50, seed=None)
    assert not torch.equal(torch.get_rng_state(), before)


def test_rows_of_inputs_are_drawn(model):
    net = dgm.BayesNet(c=dgm.Given(), z=dgm.Normal(loc="c", scale=1.0), x=dgm.Normal(loc="z", scale=1.0))
    right = dgm.compile(dgm.BayesNet(c=dgm.Given(), x=dgm.Given(), z=dgm.Normal(loc=0.5 * R("x") + 0.5 * R("c"), scale=0.5**0.5)))
    assert dgm.calibrate(dgm.compile(net), right, given={"c": torch.tensor([-2.0, 0.0, 5.0])}).calibrated


def test_worlds_that_are_not_finite_are_reported_and_left_out_when_asked():
    net = dgm.BayesNet(
        z=dgm.Normal(loc=0.0, scale=1.0), f=dgm.Delta().given("z", fn=lambda z: torch.where(z > 1.5, torch.nan, z)), x=dgm.Normal(loc="f", scale=1.0),
    )
    model = dgm.compile(net)
    with pytest.raises(dgm.GraphError, match=r"node 'f': \d+ of 500 simulated worlds are not finite; .*drop_nonfinite=True"):
        dgm.calibrate(model, guide("prior"))
    found = dgm.calibrate(model, guide("prior"), drop_nonfinite=True)
    assert 15 < found.dropped < 60 and found.worlds == 500 - found.dropped and f"{found.dropped} simulated worlds were not finite and left out" in repr(found)


def test_bad_input(model):
    with pytest.raises(dgm.GraphError, match="expected worlds to be a whole number of 20 or more; got 3"):
        dgm.calibrate(model, guide("right"), worlds=3)
    with pytest.raises(dgm.GraphError, match="expected a compiled model and a compiled guide; got BayesNet"):
        dgm.calibrate(model, PAIR)
    with pytest.raises(dgm.GraphError, match="expected level between 0 and 1; got 2"):
        dgm.calibrate(model, guide("right"), level=2)
    with pytest.raises(dgm.GraphError, match="the guide reads nothing.*observed='x'"):
        dgm.calibrate(model, dgm.compile(dgm.BayesNet(z=dgm.Normal(loc=0.0, scale=1.0))))


def test_it_is_shown_and_drawn(model, tmp_path):
    found = dgm.calibrate(model, guide("prior"), worlds=60)
    figure = found.plot(tmp_path / "ranks.png")
    assert (tmp_path / "ranks.png").stat().st_size > 10_000
    assert [axes.get_title().split(" (")[0] for axes in figure.axes[:2]] == ["coverage of highest density", "coverage around references"]
    assert "image/svg+xml" in found._repr_mimebundle_() and repr(found).startswith("not calibrated")
    assert list(found.frame.columns) == ["quantity", "kind", "mean_rank", "spread", "p", "adjusted", "verdict"]


def test_uniform_ranks_have_uniform_p_values_and_bands_are_binomial():
    generator = torch.Generator().manual_seed(0)
    p = torch.tensor([uniform(torch.randint(0, 50, (100,), generator=generator), 49).p for _ in range(1000)])
    assert abs(float((p < 0.1).double().mean()) - 0.1) < 0.04 and abs(float((p < 0.01).double().mean()) - 0.01) < 0.013
    from scipy.stats import binom

    for share, trials in ((0.05, 100), (0.9, 333)):
        low, high = binomial_band(share, trials, 0.99)
        assert round(float(low) * trials) == binom.ppf(0.005, trials, share) and round(float(high) * trials) == binom.ppf(0.995, trials, share)
    ranks = rank_among(torch.zeros(3000), torch.zeros(9, 3000))
    assert uniform(ranks, 9).p > 0.001
