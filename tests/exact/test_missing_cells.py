"""Missing cells of real, vector-valued and repeated nodes: their terms are left out where nothing depends on them."""

from __future__ import annotations

import numpy
import pytest
import torch

import dgm_ppl as dgm

torch.set_num_threads(1)
NAN = float("nan")


def naive_bayes():
    return dgm.compile(dgm.BayesNet(
        z=dgm.Categorical(2, probs=[0.3, 0.7]), x=dgm.Normal(3, loc=[[0.0, 1.0, 2.0], [-1.0, 0.5, 0.0]], scale=0.8).given("z"),
    )).double()


def test_elements_of_a_vector_may_be_missing():
    model, x = naive_bayes(), torch.tensor([[0.1, NAN, 1.0], [NAN, NAN, NAN], [0.4, 0.2, -0.3]], dtype=torch.float64)
    score = dgm.log_prob(model, {"x": x})
    terms = torch.distributions.Normal(torch.tensor([[0.0, 1.0, 2.0], [-1.0, 0.5, 0.0]], dtype=torch.float64), 0.8).log_prob(x.nan_to_num().unsqueeze(1))
    terms = torch.where(x.isnan().unsqueeze(1), 0.0, terms).sum(-1)
    expected = (terms + torch.tensor([0.3, 0.7], dtype=torch.float64).log()).logsumexp(1)
    assert score.kind == "exact"
    torch.testing.assert_close(score.value, expected)
    post = dgm.posterior(model, {"x": x})
    torch.testing.assert_close(post.probabilities("z"), (terms + torch.tensor([0.3, 0.7], dtype=torch.float64).log()).softmax(1))
    drawn = post.sample(5)["x"]
    assert torch.equal(drawn[:, ~x.isnan()], x[~x.isnan()].expand(5, -1)) and bool(drawn.isfinite().all())


def test_members_of_a_plate_may_be_missing():
    model = dgm.compile(dgm.BayesNet(z=dgm.Bernoulli(probs=0.4), x=dgm.Normal(loc="z", scale=1.0), plates={"n": ["x"]})).double()
    x = torch.tensor([[0.3, NAN, 1.2], [0.1, 0.2, 0.3]], dtype=torch.float64)
    both = torch.stack([torch.distributions.Normal(m, 1.0).log_prob(x.nan_to_num()).where(~x.isnan(), 0.0).sum(1) for m in (torch.tensor(0.0), torch.tensor(1.0))])
    expected = (both + torch.tensor([[0.6], [0.4]], dtype=torch.float64).log()).logsumexp(0)
    torch.testing.assert_close(dgm.log_prob(model, {"x": x}).value, expected)


def test_a_real_node_above_others_may_be_missing_where_they_are_too():
    model = dgm.compile(dgm.BayesNet(s=dgm.Bernoulli(probs=0.5), x=dgm.Normal(loc="s", scale=1.0), y=dgm.Normal(loc="x", scale=0.5))).double()
    rows = {"x": torch.tensor([0.5, NAN, 1.0], dtype=torch.float64), "y": torch.tensor([0.2, NAN, NAN], dtype=torch.float64)}
    score = dgm.log_prob(model, rows).value

    def mixture(x):
        return torch.stack([torch.distributions.Normal(float(m), 1.0).log_prob(torch.tensor(x).double()) for m in (0, 1)]).logsumexp(0) + numpy.log(0.5)

    expected = torch.stack([mixture(0.5) + torch.distributions.Normal(0.5, 0.5).log_prob(torch.tensor(0.2)), torch.tensor(0.0).double(), mixture(1.0)])
    torch.testing.assert_close(score, expected.double())


def test_values_whose_elements_hang_together_are_there_or_missing_as_a_whole():
    model = dgm.compile(dgm.BayesNet(z=dgm.Bernoulli(probs=0.4), x=dgm.MultivariateNormal(2, covariance_matrix=[[1.0, 0.3], [0.3, 1.0]]).given("z")), seed=0)
    whole = torch.tensor([[0.1, 0.2], [NAN, NAN]])
    assert abs(float(dgm.log_prob(model, {"x": whole}).value[1])) < 1e-6
    part = dgm.log_prob(model, {"x": torch.tensor([[0.3, NAN]])}).value[0]     # the other element of a Gaussian is integrated out
    places = torch.stack([model.conditional("x")(torch.tensor(float(state))).mean[0] for state in (0, 1)]).detach()
    expected = (torch.tensor([0.6, 0.4]).log() + torch.distributions.Normal(places, 1.0).log_prob(torch.tensor(0.3))).logsumexp(0)
    torch.testing.assert_close(part.to(expected.dtype), expected)
    shares = dgm.compile(dgm.BayesNet(z=dgm.Bernoulli(probs=0.4), x=dgm.Dirichlet(3).given("z")), seed=0)
    with pytest.raises(dgm.GraphError, match=r"node 'x' ~ Dirichlet\(3\).* has cells that are missing within a value"):
        dgm.log_prob(shares, {"x": torch.tensor([[0.1, 0.2, 0.7], [0.3, NAN, 0.2]])})


def test_cells_of_inputs_may_not_be_missing():
    model = dgm.compile(dgm.BayesNet(c=dgm.Given(), x=dgm.Normal(loc="c", scale=1.0)))
    with pytest.raises(dgm.GraphError, match="node 'c' is a Given input and has missing cells.*fill them in"):
        dgm.log_prob(model, {"c": [0.1, NAN], "x": [0.0, 1.0]})
