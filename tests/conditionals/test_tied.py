"""Nodes that share one table or one regression."""

from __future__ import annotations

import pytest
import torch

import dgm_ppl as dgm

torch.set_num_threads(1)


def coders(tied):
    return dgm.BayesNet(
        a=dgm.Categorical(2), b=dgm.Categorical(2), x=dgm.Categorical(3).given("a", net=tied), y=dgm.Categorical(3).given("b", net=tied), u=dgm.Normal().given("a"),
    )


def test_tied_nodes_have_one_set_of_parameters():
    model = dgm.compile(coders(dgm.Tied()), seed=0)
    assert model.conditional("x").predictor.rows["logits"] is model.conditional("y").predictor.rows["logits"]
    assert sum(parameter.numel() for parameter in model.parameters()) == 2 + 2 + 6 + 4
    assert int(coders(dgm.Tied()).num_parameters()) == 1 + 1 + 4 + 4
    states = torch.arange(2)
    torch.testing.assert_close(model.conditional("x")(states).probs, model.conditional("y")(states).probs)


def test_rows_of_all_of_them_count_together_in_closed_form_in_ascent_and_by_gradient():
    torch.manual_seed(0)
    net = coders(dgm.Tied())
    data = dgm.compile(net, seed=4).double().sample(200)
    model = dgm.compile(net, seed=1).double()
    found = dgm.estimate(model, data)
    pairs = torch.cat([data["a"], data["b"]]) * 3 + torch.cat([data["x"], data["y"]])
    counts = torch.bincount(pairs, minlength=6).reshape(2, 3).double()
    torch.testing.assert_close(model.conditional("x").predictor.rows["logits"].softmax(1), counts / counts.sum(1, keepdim=True))
    assert found.log_likelihood == pytest.approx(model.log_prob(data).sum().item())
    hidden = {name: torch.where(torch.rand(200) < 0.3, torch.nan, column.double()) if name in "xy" else column for name, column in data.items()}
    by_ascent, by_gradient = dgm.compile(net, seed=1).double(), dgm.compile(net, seed=1).double()
    reached = dgm.estimate(by_ascent, hidden, method=dgm.EM(tolerance=1e-12))
    dgm.fit(dgm.MaximumLikelihood(by_gradient), hidden, steps=60, optimizer=lambda parameters: torch.optim.LBFGS(parameters, line_search_fn="strong_wolfe"), device="cpu")
    assert reached.log_likelihood / 200 == pytest.approx(dgm.log_prob(by_gradient, hidden).mean(), abs=1e-5)
    assert by_ascent.conditional("x").predictor.rows["logits"] is by_ascent.conditional("y").predictor.rows["logits"]


def test_a_configuration_that_one_of_them_has_is_seen():
    found = dgm.estimate(dgm.compile(coders(dgm.Tied())), {"a": [0, 0], "b": [1, 1], "x": [0, 1], "y": [2, 2], "u": [0.0, 1.0]}, prior=None)
    assert "x" not in found.unseen and "y" not in found.unseen
    post = dgm.estimate(dgm.compile(coders(dgm.Tied())), {"a": [0, 0], "b": [1, 1], "x": [0, 1], "y": [2, 2], "u": [0.0, 1.0]}, prior={"y": dgm.PseudoCounts(1.0)}).posterior
    torch.testing.assert_close(post["x"].concentration, torch.tensor([[2.0, 2.0, 1.0], [1.0, 1.0, 3.0]], dtype=torch.float64))
    assert torch.equal(post["x"].concentration, post["y"].concentration)


def test_regressions_and_roots_are_tied():
    slope, root = dgm.Tied(), dgm.Tied()
    net = dgm.BayesNet(z=dgm.Normal().given(net=root), w=dgm.Normal().given(net=root), x=dgm.Normal().given("z", net=slope), y=dgm.Normal().given("w", net=slope))
    torch.manual_seed(0)
    data = dgm.compile(net, seed=1).double().sample(50)
    model = dgm.compile(net, seed=2).double()
    dgm.estimate(model, data)
    both = torch.cat([data["z"], data["w"]])
    torch.testing.assert_close(model.conditional("w")().loc, both.mean())
    design = torch.stack([both, torch.ones(100, dtype=torch.float64)], 1)
    solution = torch.linalg.lstsq(design, torch.cat([data["x"], data["y"]])[:, None]).solution
    torch.testing.assert_close(model.conditional("y").predictor.predictor.weight, solution[:1])


def test_ties_are_saved(tmp_path):
    net = coders(dgm.Tied())
    model = dgm.compile(net, seed=0)
    dgm.save(model, tmp_path / "tied.safetensors")
    loaded = dgm.load(tmp_path / "tied.safetensors")
    assert loaded.net == net and loaded.conditional("x").predictor.rows["logits"] is loaded.conditional("y").predictor.rows["logits"]
    torch.testing.assert_close(loaded.state_dict(), model.state_dict())


def test_refusals():
    tied = dgm.Tied()
    with pytest.raises(dgm.GraphError, match=r"node 'y': is tied to a node of another kind; .* got Categorical\(3\) with parents in \[.*\]; give it an object of its own: net=dgm.Tied\(\)"):
        dgm.compile(dgm.BayesNet(a=dgm.Categorical(2), b=dgm.Categorical(4), x=dgm.Categorical(3).given("a", net=tied), y=dgm.Categorical(3).given("b", net=tied)))
    with pytest.raises(dgm.GraphError, match=r"to_pyro: node 'x' has tied parameters, for which no source is written"):
        dgm.to_pyro(coders(tied))
