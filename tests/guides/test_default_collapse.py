"""Latents that are eliminated exactly unless asked otherwise: which, why, and what the bound is then."""

from __future__ import annotations

import pytest
import torch

import dgm_ppl as dgm

torch.set_num_threads(1)

CLUSTERS = dgm.BayesNet(k=dgm.Categorical(3), z=dgm.Normal(2).given("k"), x=dgm.Normal(4).given("z", net=dgm.MLP(8)))
SCHOOLS = dgm.BayesNet(
    mu=dgm.Normal(loc=0.0, scale=5.0), tau=dgm.HalfNormal(scale=2.0), theta=dgm.Normal(loc="mu", scale="tau"), y=dgm.Normal(loc="theta", scale=1.0), plates={"school": ["theta", "y"]},
)


def left_out(net, observed="x", **options):
    return set(dgm.amortize(net, observed, net=dgm.MLP(8), **options).left_out)


def test_what_is_cheap_is_left_out_and_the_reason_is_said(tmp_path):
    recognition = dgm.amortize(CLUSTERS, "x", net=dgm.MLP(8))
    assert recognition.left_out == ("k",) and "z | x" in repr(recognition)
    said = "k: not in the guide, eliminated exactly: 3 states, summed out of z"
    assert str(recognition.certificate()).splitlines()[-1] == said and recognition.check().splitlines()[-1] == said
    dgm.save(dgm.compile(recognition), tmp_path / "guide.safetensors")
    again = dgm.load(tmp_path / "guide.safetensors").net
    assert str(again.certificate()) == str(recognition.certificate())
    assert str(recognition.replace(z=dgm.Laplace(2).given("x", net=dgm.MLP(4))).certificate()).splitlines()[-1] == said
    schools = dgm.amortize(SCHOOLS, "y", net=dgm.MLP(8))
    assert set(schools.left_out) == {"mu", "theta"} and "theta: not in the guide, eliminated exactly: Gaussian for each school" in str(schools.certificate())


def test_the_bound_sums_over_what_is_left_out():
    """Of schools whose guide draws tau alone: a weight is p(y | tau) p(tau) / q(tau | y), with p(y | tau) a multivariate normal."""
    model, guide = dgm.compile(SCHOOLS), dgm.compile(dgm.amortize(SCHOOLS, "y", net=dgm.MLP(8)), seed=1)
    y = 3 * torch.randn(5, 6)
    objective = dgm.IWAE(model, guide)
    torch.manual_seed(0)
    weights = objective.log_weights(objective.prepare({"y": y})).detach()
    torch.manual_seed(0)
    with torch.no_grad():
        tau = guide.sample(given={"y": y})["tau"]
        q = guide.log_prob({"y": y, "tau": tau})
    covariance = (1 + tau.square())[:, None, None] * torch.eye(6) + 25.0
    evidence = torch.distributions.MultivariateNormal(torch.zeros(6), covariance).log_prob(y)
    prior = torch.distributions.HalfNormal(2.0).log_prob(tau)
    torch.testing.assert_close(weights, evidence + prior - q, rtol=1e-4, atol=1e-3)
    drawn = dgm.posterior(model, {"y": y}, method=dgm.Amortized(guide)).sample(3)
    assert set(drawn) >= {"mu", "tau", "theta"} and drawn["theta"].shape == (3, 5, 6)


def test_what_was_asked_for_is_kept():
    assert left_out(CLUSTERS, collapse=False) == set() == left_out(CLUSTERS, nets={"k": dgm.MLP(4)}) == left_out(CLUSTERS, families={"k": dgm.Categorical})
    assert left_out(CLUSTERS, structure=dgm.MeanField()) == set() == left_out(CLUSTERS, order=["z", "k"])
    assert left_out(CLUSTERS, families={"z": dgm.Laplace}) == {"k"} == left_out(CLUSTERS, family=dgm.LowRank(1))
    assert left_out(SCHOOLS, "y", family=dgm.PriorAnchored(), order=["theta", "mu", "tau"][::-1]) == set() == left_out(SCHOOLS, "y", family=dgm.Flow(dgm.NSF(1)))
    assert left_out(SCHOOLS, "y", families={"mu": dgm.Normal}) == {"theta"}


def test_where_all_could_be_eliminated_the_guide_has_all():
    line = dgm.BayesNet(a=dgm.Normal(loc=0.0, scale=1.0), k=dgm.Bernoulli(), x=dgm.Normal(2).given("a", "k"))
    assert left_out(line) == set() == left_out(line, nets={"a": dgm.MLP(4)})
    with pytest.raises(dgm.GraphError, match="every latent can be eliminated exactly .* so no guide is needed"):
        left_out(line, collapse=True)


def test_what_is_dear_or_has_no_exact_density_is_kept():
    many = dgm.BayesNet(k=dgm.Categorical(40), z=dgm.Normal(2).given("k"), x=dgm.Normal(4).given("z", net=dgm.MLP(8)))
    assert left_out(many) == set() and left_out(many, collapse=True) == {"k"}
    for child in (dgm.Generator(2), dgm.Diffusion(2, net=dgm.MLP(4))):
        coded = dgm.BayesNet(k=dgm.Categorical(3), z=dgm.Normal(2), x=child.given("k", "z", net=dgm.MLP(4)))
        assert left_out(coded) == set()


@pytest.mark.parametrize("variable", [
    dgm.Diffusion(2, net=dgm.MLP(4)), dgm.Diffusion(2, net=dgm.MLP(4), sampler=dgm.Heun(5), flow=True), dgm.FlowMatching(2, net=dgm.MLP(4)), dgm.Flow(2), dgm.Flow(2, levels=4),
    dgm.MaskedDiffusion(3, 2, net=dgm.MLP(4)), dgm.GaussianCopula(dgm.Normal(), dgm.Poisson()), dgm.GaussianCopula(dgm.Normal(), dgm.Weibull()), dgm.Mixture(dgm.Normal(2), components=2),
], ids=lambda variable: variable.summary[:40])
def test_a_declaration_says_whether_the_density_is_exact(variable):
    model = dgm.compile(dgm.BayesNet(x=variable))
    assert variable.family.exact(variable) == (model.conditional("x").density == "exact")
