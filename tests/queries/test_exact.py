"""Exact posteriors in the net's words: labels, frames, missing cells, impossible rows, what cannot be summed out."""

import gzip
import json
import os
import re
from pathlib import Path

import numpy
import pandas
import pytest
import torch

import dgm_ppl as dgm

DATA = Path(os.environ.get("DGM_DATA", "data"))


def weather():
    return dgm.compile(dgm.BayesNet(
        sky=dgm.Categorical(["clear", "grey"], probs=[0.75, 0.25]),
        rain=dgm.Bernoulli(probs=[0.0, 0.6]).given("sky"),
        ground=dgm.Categorical(["dry", "damp", "wet"], probs=[[[0.9, 0.1, 0.0], [0.0, 0.2, 0.8]], [[0.8, 0.2, 0.0], [0.0, 0.1, 0.9]]]).given("sky", "rain"),
    )).double()


def test_one_row_in_and_out_by_label():
    post = dgm.posterior(weather(), {"ground": "wet"})
    assert post.worlds == () and post.names == ("sky", "rain")
    assert post.table("sky")["grey"] == 1 and post.marginals["rain"].probs == 1
    assert post.log_evidence.item() == pytest.approx(numpy.log(0.25 * 0.6 * 0.9))
    assert post.mpe()["sky"] == "grey" and post.mpe().codes["rain"] == 1
    assert post.frame()["sky", "grey"].tolist() == [1.0]
    assert post.mean()["sky"].tolist() == [0.0, 1.0]
    assert "impossible evidence in 0 of 1 rows" in post.diagnose()


def test_frames_with_missing_cells_answer_row_by_row():
    model = weather()
    frame = pandas.DataFrame({"ground": ["dry", None, "wet", "damp"], "rain": [0.0, 1.0, numpy.nan, numpy.nan]})
    post = dgm.posterior(model, frame)
    for row in range(4):
        one = {name: value for name, value in frame.iloc[row].items() if value is not None and value == value}
        alone = dgm.posterior(model, one)
        assert post.log_evidence[row].item() == pytest.approx(alone.log_evidence.item())
        assert (post.probabilities("sky")[row] - alone.probabilities("sky")).abs().max() < 1e-12
        if "ground" in one:
            assert post.probabilities("ground")[row].max() == 1
    assert dgm.log_prob(model, frame).value.tolist() == pytest.approx(post.log_evidence.tolist())
    assert post.sample(7)["ground"].shape == (7, 4)
    assert (post.sample(7)["ground"][:, 0] == 0).all() and (post.sample(7)["rain"][:, 1] == 1).all()
    assert post.mpe()["ground"][2] == "wet"


@pytest.mark.parametrize("plan", [10**7, 1])
def test_many_patterns_of_missing_cells_share_few_plans(plan, monkeypatch):
    monkeypatch.setattr("dgm_ppl.exact.holes.PLAN", plan)
    torch.manual_seed(0)
    names = [f"x{index}" for index in range(6)]
    model = dgm.compile(dgm.BayesNet({"z": dgm.Categorical(3), **{name: dgm.Bernoulli().given("z") for name in names}})).double()
    data = {name: value.clone() for name, value in model.sample(200).items() if name != "z"}
    for name in names:
        data[name][torch.rand(200) < 0.4] = torch.nan
    found, post = dgm.log_prob(model, data), dgm.posterior(model, data)
    assert found.kind == "exact" and (len(post._groups) == 1 if plan > 1 else 1 < len(post._groups) < 10)
    for row in range(0, 200, 40):
        seen = {name: data[name][row] for name in names if not data[name][row].isnan()}
        assert found.value[row].item() == pytest.approx(dgm.log_prob(model, seen).value.item(), abs=1e-12)
        assert post.probabilities("z")[row].tolist() == pytest.approx(dgm.posterior(model, seen).probabilities("z").tolist(), abs=1e-12)


def test_joint_probabilities_and_samples_agree():
    torch.manual_seed(0)
    post = dgm.posterior(weather(), {"ground": ["damp", "dry"]})
    joint = post.probabilities("rain", "sky")
    assert joint.shape == (2, 2, 2) and joint.sum((1, 2)).tolist() == pytest.approx([1, 1])
    assert (joint.sum(1) - post.probabilities("sky")).abs().max() < 1e-12
    drawn = post.sample(20_000)
    assert ((drawn["rain"] * drawn["sky"]).double().mean(0) - joint[:, 1, 1]).abs().max() < 0.015


def test_real_children_of_finite_parents_and_nodes_below():
    torch.manual_seed(0)
    model = dgm.compile(dgm.BayesNet(
        z=dgm.Categorical(3, probs=[0.2, 0.3, 0.5]), t=dgm.Given(), x=dgm.Normal(2, scale=0.7).given("z", "t", net=dgm.MLP(8)),
        y=dgm.Normal(loc=dgm.Ref("z"), scale=0.1),
    )).double()
    x, t = torch.randn(5, 2, dtype=torch.float64), torch.randn(5, dtype=torch.float64)
    post = dgm.posterior(model, {"x": x, "t": t})
    logs = torch.stack([model.conditionals["x"].log_density(x, model.conditionals["x"].prepare(torch.full((5,), code), t)) for code in range(3)], -1)
    logs = (logs + torch.tensor([0.2, 0.3, 0.5], dtype=torch.float64).log()).detach()
    assert (post.probabilities("z") - logs.softmax(-1)).abs().max() < 1e-12
    assert (post.log_evidence - logs.logsumexp(-1)).abs().max() < 1e-12
    drawn = post.sample(50)
    assert drawn["y"].shape == (50, 5) and (drawn["y"] - drawn["z"]).abs().max() < 0.6


def test_a_set_node_and_a_plate_of_observations():
    model = dgm.compile(dgm.BayesNet(
        z=dgm.Categorical(2, probs=[0.5, 0.5]), x=dgm.Normal(loc=dgm.Ref("z"), scale=1.0), plates={"point": ["x"]},
    )).double()
    x = torch.tensor([[0.1, 0.9, 1.4], [0.0, -1.0, 0.3]], dtype=torch.float64)
    logs = torch.stack([torch.distributions.Normal(float(code), 1.0).log_prob(x).sum(1) for code in range(2)], -1)
    assert (dgm.posterior(model, {"x": x}).probabilities("z") - logs.softmax(-1)).abs().max() < 1e-12
    wet = dgm.posterior(weather().do(rain=1.0), {"ground": "damp"})
    assert wet.probabilities("sky").tolist() == pytest.approx([0.15 / 0.175, 0.025 / 0.175])


def test_impossible_rows_are_named_and_the_others_answered():
    model, evidence = weather(), {"rain": [1.0, 1.0, 0.0], "sky": ["clear", "grey", "clear"]}
    post = dgm.posterior(model, evidence)
    assert post.possible.tolist() == [False, True, True] and post.log_evidence[0] == -torch.inf
    with pytest.raises(dgm.GraphError, match="the evidence of 1 of 3 rows has probability zero: row 0; keep the rows where post.possible"):
        post.probabilities("ground")
    kept = dgm.posterior(model, evidence, method=dgm.Exact(keep_impossible=True)).probabilities("ground")
    assert kept[0].tolist() == [0, 0, 0] and kept[1].tolist() == pytest.approx([0, 0.1, 0.9])
    with pytest.raises(dgm.GraphError, match="the evidence has probability zero under the model"):
        dgm.posterior(model, {"rain": 1, "sky": "clear"}).mpe()


def test_plans_are_kept_by_the_method():
    model, method = weather(), dgm.Exact()
    dgm.posterior(model, {"ground": "wet"}, method=method).mean()
    programs = dict(method.engine(model)._programs)
    dgm.posterior(model, {"ground": ["dry", "damp"]}, method=method).mean()
    assert method.engine(model)._programs == programs


def chain():
    return dgm.compile(dgm.BayesNet(z=dgm.Normal(), c=dgm.Bernoulli().given("z"), d=dgm.Bernoulli().given("c")))


WRONG = {
    "unknown node": (lambda: dgm.posterior(weather(), {"grund": "wet"}), "no node 'grund'; did you mean 'ground'?"),
    "unknown state": (lambda: dgm.posterior(weather(), {"ground": "wett"}), "node 'ground' has no state 'wett'; did you mean 'wet'?"),
    "a real latent": (lambda: dgm.posterior(chain(), {"d": 1}), "expected a method; got None, and node 'z' ~ Normal() cannot be eliminated: 'c' depends on it, and Bernoulli is not Gaussian"),
    "asked for evidence": (lambda: dgm.posterior(weather(), {"ground": "wet"}).marginals["ground"], "'ground' was not inferred"),
    "everything seen": (lambda: dgm.posterior(weather(), {"ground": "wet", "sky": 0, "rain": 1}), "every random node is observed"),
    "too wide": (lambda: dgm.posterior(weather(), {"ground": "wet"}, method=dgm.Exact(memory=10)).mean(), "exact elimination: the largest clique has 4 states of 2 nodes"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_answered_says_why(name):
    ask, message = WRONG[name]
    with pytest.raises(dgm.GraphError, match=re.escape(message)):
        ask()


@pytest.mark.parametrize("name", ["asia", "cancer", "earthquake", "survey", "sachs", "child", "alarm", "insurance", "water"])
def test_reference_answers(name, tmp_path):
    source = DATA / "bn_networks" / f"{name}.bif.gz"
    if not source.exists():
        pytest.skip("no reference data")
    (tmp_path / f"{name}.bif").write_bytes(gzip.open(source).read())
    model = dgm.compile(dgm.read(tmp_path / f"{name}.bif")).double()
    reference = json.load(gzip.open(DATA / "bn_reference" / f"{name}.json.gz"))
    post, prior = dgm.posterior(model, reference["evidence"]), dgm.posterior(model, {})
    assert post.log_evidence.item() == pytest.approx(reference["log_evidence"], abs=1e-10)
    for node in model.net:
        assert prior.probabilities(node).tolist() == pytest.approx(reference["prior"][node], abs=1e-10)
        if node in post.names:
            assert post.probabilities(node).tolist() == pytest.approx(reference["posterior"][node], abs=1e-10)
