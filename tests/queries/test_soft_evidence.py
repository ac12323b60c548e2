"""Likelihoods in place of states, against the joint table."""

import re

import numpy
import pandas
import pytest
import torch

import dgm_ppl as dgm

from .test_exact import weather

SKY = torch.tensor([0.75, 0.25], dtype=torch.float64)
RAIN = torch.tensor([[1.0, 0.0], [0.4, 0.6]], dtype=torch.float64)
GROUND = torch.tensor([[[0.9, 0.1, 0.0], [0.0, 0.2, 0.8]], [[0.8, 0.2, 0.0], [0.0, 0.1, 0.9]]], dtype=torch.float64)
JOINT = SKY[:, None, None] * RAIN[:, :, None] * GROUND


def test_one_likelihood_for_every_row_by_label():
    weights = torch.tensor([0.1, 0.5, 2.0], dtype=torch.float64)
    post = dgm.posterior(weather(), {"ground": dgm.Likelihood({"damp": 0.5, "wet": 2.0, "dry": 0.1})})
    exact = JOINT * weights
    assert post.worlds == () and post.names == ("sky", "rain", "ground")
    assert post.log_evidence.exp() == pytest.approx(exact.sum().item(), abs=1e-12)
    assert (post.probabilities("ground") - exact.sum((0, 1)) / exact.sum()).abs().max() < 1e-12
    assert (post.probabilities("sky", "rain") - exact.sum(2) / exact.sum()).abs().max() < 1e-12
    assert dgm.log_prob(weather(), {"ground": dgm.Likelihood([0.1, 0.5, 2.0])}).value.exp() == pytest.approx(exact.sum().item(), abs=1e-12)
    best = post.mpe()
    assert best.log_prob.exp() == pytest.approx(exact.max().item(), abs=1e-12)
    torch.manual_seed(0)
    assert ((post.sample(20_000)["ground"] == 2).double().mean() - (exact.sum((0, 1)) / exact.sum())[2]).abs() < 0.02


def test_likelihoods_row_by_row_beside_states_and_missing_cells():
    weights = torch.rand(3, 3, dtype=torch.float64)
    data = {"sky": ["clear", None, "grey"], "ground": dgm.Likelihood(weights), "rain": dgm.Likelihood([1.0, 0.5])}
    post = dgm.posterior(weather(), data)
    for row, sky in enumerate([0, None, 1]):
        exact = JOINT * weights[row] * torch.tensor([1.0, 0.5], dtype=torch.float64)[:, None]
        exact = exact if sky is None else exact[sky : sky + 1]
        assert post.log_evidence[row].exp() == pytest.approx(exact.sum().item(), abs=1e-12)
        assert (post.probabilities("rain")[row] - exact.sum((0, 2)) / exact.sum()).abs().max() < 1e-12


def test_a_column_of_states_likelihoods_and_holes_in_a_frame():
    frame = pandas.DataFrame({"ground": ["wet", dgm.Likelihood([0.2, 0.3, 0.4]), None], "rain": [1, 0, 0]}, index=["x", "y", "z"])
    post = dgm.posterior(weather(), frame)
    for row, weights in enumerate([[0, 0, 1.0], [0.2, 0.3, 0.4], [1, 1, 1.0]]):
        exact = JOINT[:, frame["rain"].iloc[row]] * torch.tensor(weights, dtype=torch.float64)
        assert post.log_evidence[row].exp() == pytest.approx(exact.sum().item(), abs=1e-12)
    assert post.frame().index.tolist() == ["x", "y", "z"] and post.mpe().frame().loc["x", "ground"] == "wet"
    assert dgm.log_prob(weather(), frame).value.tolist() == pytest.approx(post.log_evidence.tolist())


def test_a_likelihood_that_excludes_all_that_is_possible_is_impossible_evidence():
    data = {"sky": ["clear", "grey"], "rain": dgm.Likelihood([0.0, 1.0])}
    post = dgm.posterior(weather(), data, method=dgm.Exact(keep_impossible=True))
    assert post.possible.tolist() == [False, True] and post.log_evidence[0] == -torch.inf
    assert all(value.isfinite().all() for value in post.mean().values())
    with pytest.raises(dgm.GraphError, match="1 of 2 rows has probability zero: row 0"):
        dgm.posterior(weather(), data).mean()


def real():
    return dgm.compile(dgm.BayesNet(
        z=dgm.Categorical(2, probs=[0.5, 0.5]), x=dgm.Normal(loc=dgm.Ref("z"), scale=1.0), y=dgm.Bernoulli(probs=[0.1, 0.9]).given("z"), plates={"point": ["y"]},
    ))


WRONG = {
    "negative": (lambda: {"ground": dgm.Likelihood([0.2, -0.1, 0.3])}, "node 'ground': expected likelihoods that are finite and not negative; got -0.1"),
    "not a number": (lambda: {"ground": dgm.Likelihood([0.2, float("nan"), 0.3])}, "node 'ground': expected likelihoods that are finite and not negative; got nan"),
    "all zero": (lambda: {"ground": dgm.Likelihood([0.0, 0.0, 0.0])}, "node 'ground': the likelihood is zero for every state, so nothing"),
    "a row of zeros": (lambda: {"ground": dgm.Likelihood([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])}, "node 'ground': the likelihood is zero for every state in row 1"),
    "too few": (lambda: {"ground": dgm.Likelihood([0.5, 0.5])}, "node 'ground': expected a likelihood for each of 3 states ['dry', 'damp', 'wet']; got the shape (2,)"),
    "a number": (lambda: {"ground": dgm.Likelihood(0.5)}, "expected a likelihood for each of 3 states"),
    "words": (lambda: {"ground": dgm.Likelihood(["much", "little", "none"])}, "node 'ground': expected likelihoods that are numbers"),
    "unknown state": (lambda: {"ground": dgm.Likelihood({"dry": 1, "damp": 1, "wett": 1})}, "node 'ground' has no state 'wett'; did you mean 'wet'?"),
    "a state left out": (lambda: {"ground": dgm.Likelihood({"dry": 1, "damp": 1})}, "none for 'wet'; add 'wet': 0.0"),
    "unknown node": (lambda: {"grund": dgm.Likelihood([1, 1, 1])}, "no node 'grund'; did you mean 'ground'?"),
    "other rows": (lambda: {"sky": ["clear", "grey"], "ground": dgm.Likelihood(numpy.ones((3, 3)))}, "the likelihood of 'ground' has the worlds (3,), other evidence has (2,)"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_likelihoods_are_refused_by_name(name):
    data, message = WRONG[name]
    for ask in (dgm.posterior, dgm.log_prob):
        with pytest.raises(dgm.GraphError, match=re.escape(message)):
            ask(weather(), data())


def test_nodes_and_methods_that_take_no_likelihood():
    for name in ("x", "y"):
        with pytest.raises(dgm.GraphError, match="soft evidence needs a random node that is one finite value outside plates"):
            dgm.posterior(real(), {name: dgm.Likelihood([1.0, 2.0])})
    method = dgm.NUTS(samples=1, warmup=1)
    with pytest.raises(dgm.GraphError, match="the evidence on 'z' is soft, which NUTS does not take"):
        dgm.posterior(real(), {"z": dgm.Likelihood([1.0, 2.0])}, method=method)


@pytest.mark.parametrize("rows", [1, 20])
def test_likelihoods_of_any_scale_neither_underflow_nor_overflow(rows):
    scales = {"sky": 1e-280, "rain": 1e-290, "ground": 1e250}
    weights = {"sky": [1.0, 2.0], "rain": [3.0, 1.0], "ground": [0.5, 1.0, 0.25]}
    data = {name: dgm.Likelihood(numpy.tile(numpy.array(weights[name]) * scale, (rows, 1))) for name, scale in scales.items()}
    post = dgm.posterior(weather(), data)
    exact = JOINT * torch.tensor(weights["sky"])[:, None, None] * torch.tensor(weights["rain"])[:, None] * torch.tensor(weights["ground"])
    wanted = exact.sum().log().item() + numpy.log(list(scales.values())).sum()
    assert post.log_evidence.tolist() == pytest.approx([wanted] * rows, rel=1e-12)
    assert (post.probabilities("sky") - exact.sum((1, 2)) / exact.sum()).abs().max() < 1e-12
