"""log p(data): exact where it can be, else an estimate with an honest error, or a bound."""

import re

import pandas
import pytest
import torch

import dgm_ppl as dgm

from . import oracle


@pytest.fixture
def x():
    torch.manual_seed(0)
    return dgm.compile(oracle.net()).sample(40)["x"]


def test_the_exact_posterior_as_proposal_gives_the_evidence_without_variance(x):
    score = dgm.log_prob(dgm.compile(oracle.net()), {"x": x}, method=dgm.Importance(oracle.guide(), 3))
    assert score.kind == "estimate"
    torch.testing.assert_close(score.value, oracle.evidence(x), atol=1e-4, rtol=1e-4)
    assert score.stderr.max() < 1e-3


def test_the_standard_error_covers_the_truth(x):
    torch.manual_seed(1)
    score = dgm.log_prob(dgm.compile(oracle.net()), {"x": x}, method=dgm.Importance(oracle.guide(1.5), 2000))
    z = (score.value - oracle.evidence(x)) / score.stderr
    assert z.abs().max() < 5                                    # 40 rows: |z| > 5 has probability 2e-5
    assert 0.5 < z.std() < 1.6                                  # neither over- nor understated


def test_pieces_change_nothing_but_the_draws(x, monkeypatch):
    monkeypatch.setattr("dgm_ppl.queries.weighting.CELLS", 600)
    score = dgm.log_prob(dgm.compile(oracle.net()), {"x": x}, method=dgm.Importance(oracle.guide(), 50))
    assert score.value.shape == (40,)
    torch.testing.assert_close(score.value, oracle.evidence(x), atol=1e-4, rtol=1e-4)


def test_bounds_lie_below_and_rise_with_particles(x):
    torch.manual_seed(2)
    model, guide, truth = dgm.compile(oracle.net()), oracle.guide(1.6), oracle.evidence(x).mean()
    one, many = (dgm.log_prob(model, {"x": x}, method=dgm.Bound(guide, particles=k, samples=400)) for k in (1, 8))
    assert one.kind == many.kind == "bound"
    assert one.mean() < many.mean() < truth
    gap = torch.tensor(1.6).square() - 1 - 2 * torch.tensor(1.6).log()      # KL of the inflated posterior, two dimensions, half each
    assert abs(truth - one.mean() - gap) < 5 * one.monte_carlo_stderr() + 1e-3


def test_complete_data_are_exact():
    net = dgm.BayesNet(a=dgm.Bernoulli(probs=0.25), b=dgm.Bernoulli(probs=[0.1, 0.6]).given("a"))
    score = dgm.log_prob(dgm.compile(net), pandas.DataFrame({"a": [1, 0], "b": [1, 1]}))
    assert score.kind == "exact" and score.stderr is None
    torch.testing.assert_close(score.value.exp(), torch.tensor([0.25 * 0.6, 0.75 * 0.1]))


def test_latents_below_the_data_integrate_to_one():
    model = dgm.compile(oracle.net().add(w=dgm.Normal(2).given("x")))
    z, x = torch.randn(5, 2), torch.randn(5, 3)
    score = dgm.log_prob(model, {"z": z, "x": x})
    assert score.kind == "exact"
    torch.testing.assert_close(score.value, dgm.compile(oracle.net()).log_prob({"z": z, "x": x}))


def test_worlds_of_any_rank(x):
    model, guide = dgm.compile(oracle.net()), oracle.guide()
    for shape in [(), (1,), (4,), (2, 3)]:
        rows = torch.randn(*shape, 3)
        score = dgm.log_prob(model, {"x": rows}, method=dgm.Importance(guide, 4))
        torch.testing.assert_close(score.value, oracle.evidence(rows), atol=1e-4, rtol=1e-4)


BAD = {
    "no method": (lambda m, g: dgm.log_prob(dgm.compile(dgm.BayesNet(z=dgm.HalfNormal(), x=dgm.Poisson().given("z"))), {"x": 1.0}), "the latents ['z'] have to be marginalised"),
    "a method without evidence": (lambda m, g: dgm.log_prob(m, {"x": torch.zeros(3)}, method=dgm.NUTS()), "NUTS gives no evidence"),
    "an unknown node": (lambda m, g: dgm.log_prob(m, {"xx": torch.zeros(3)}), "no node 'xx'; did you mean 'x'?"),
    "a declaration as guide": (lambda m, g: dgm.Importance(g.net, 5), "expected a compiled guide; got BayesNet"),
    "no samples": (lambda m, g: dgm.Importance(g, 0), "expected a positive whole number for samples; got 0"),
    "mixed lengths": (lambda m, g: dgm.log_prob(m, {"x": torch.zeros(4, 3), "z": torch.zeros(5, 2)}), "4"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(case):
    call, message = BAD[case]
    with pytest.raises(ValueError, match=re.escape(message)):
        call(dgm.compile(oracle.net()), oracle.guide())


def test_a_deterministic_node_counts_once_for_each_plate_member():
    net = dgm.BayesNet(
        mu=dgm.Normal(loc=0.0, scale=1.0), d=dgm.Delta(v="mu"), y=dgm.Normal(scale=1.0).given("d", fn=lambda d: d.sum(-1)), plates={"member": dgm.Plate(["d"], size=4)},
    )
    score = dgm.log_prob(dgm.compile(net), {"mu": torch.tensor([0.5]), "y": torch.tensor([2.0])})
    torch.testing.assert_close(score.value, torch.distributions.Normal(0.0, 1.0).log_prob(torch.tensor([0.5])) + torch.distributions.Normal(2.0, 1.0).log_prob(torch.tensor([2.0])))
