"""Tables from complete data: frequencies, priors, weights, what no row has, and the posterior over tables."""

from __future__ import annotations

import numpy
import pyro
import pytest
import torch
from exact.brute import random_net
from hypothesis import given, settings
from hypothesis import strategies as st

import dgm_ppl as dgm

torch.set_num_threads(1)


def sampled(net, rows, seed=0):
    torch.manual_seed(seed)
    return dgm.compile(net, seed=seed).sample(rows)


def table(model, name):
    return dgm.estimation.tables.tabulated(model.conditional(name))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), weighted=st.booleans())
def test_tables_are_weighted_frequencies_and_the_likelihood_is_the_models(seed, weighted):
    net = random_net(seed, learned=True)
    data = sampled(net, 60, seed)
    weights = torch.as_tensor(numpy.random.default_rng(seed).integers(0, 4, 60)).double() if weighted else torch.ones(60, dtype=torch.float64)
    model = dgm.compile(net, seed=seed + 1).double()
    found = dgm.estimate(model, data, weights=weights if weighted else None)
    for name in net:
        parents, states = list(net[name].all_parents), net[name].space.cardinality
        sizes = [net[parent].space.cardinality for parent in parents]
        counts = numpy.zeros((*sizes, states))
        for row in range(60):
            counts[(*(int(data[parent][row]) for parent in parents), int(data[name][row]))] += weights[row].item()
        torch.testing.assert_close(found.counts[name], torch.from_numpy(counts))
        total = counts.sum(-1, keepdims=True)
        expected = numpy.where(total > 0, counts / numpy.where(total > 0, total, 1), 1 / states)
        torch.testing.assert_close(table(model, name), torch.from_numpy(expected.reshape(-1, states)), atol=1e-12, rtol=0)
        assert len(found.unseen.get(name, [])) == (int((total == 0).sum()) if parents else 0)
    expanded = {name: column.repeat_interleave(weights.long(), 0) for name, column in data.items()}
    assert found.log_likelihood == pytest.approx(model.log_prob(expanded).sum().item(), abs=1e-8)
    assert found.weight == weights.sum()


def test_zeros_are_exact_directly_and_by_elimination():
    model = dgm.compile(dgm.BayesNet(a=dgm.Bernoulli(), b=dgm.Bernoulli().given("a"), c=dgm.Categorical(3).given("b")), seed=0)
    dgm.estimate(model, {"a": [1, 1, 1], "b": [0, 1, 0], "c": [0, 2, 0]})
    assert model.log_prob({"a": [0.0], "b": [0.0], "c": [0]}).item() == -torch.inf
    torch.testing.assert_close(model.log_prob({"a": [1.0], "b": [0.0], "c": [0]}), torch.tensor([2 / 3]).log())
    torch.testing.assert_close(dgm.log_prob(model, {"c": [0, 1, 2]}).value.exp(), torch.tensor([2 / 3, 0, 1 / 3], dtype=torch.float64), atol=1e-6, rtol=0)
    assert model({"a": torch.ones(3), "b": torch.zeros(3), "c": torch.zeros(3, dtype=torch.long)})["a"].shape == (3,)
    program = dgm.compile(model.net, seed=0)
    program.load_state_dict(model.state_dict())
    assert all(bool(draw.isfinite().all()) for draw in program.sample(50).values())


def test_unseen_configurations_are_named_by_their_states():
    net = dgm.BayesNet(sky=dgm.Categorical(["clear", "grey"]), wind=dgm.Bernoulli(), wet=dgm.Categorical(["no", "yes"]).given("sky", "wind"))
    found = dgm.estimate(dgm.compile(net), {"sky": ["clear", "grey", "grey"], "wind": [0, 1, 0], "wet": ["no", "yes", "yes"]})
    assert found.unseen == {"wet": [{"sky": "clear", "wind": "1"}]}
    torch.testing.assert_close(table(found.model, "wet")[1], torch.tensor([0.5, 0.5], dtype=torch.float64))
    assert "wet: 1 of 4 configurations of its parents have no row (uniform)" in repr(found)


def test_priors_give_posterior_means_and_modes():
    net = dgm.BayesNet(a=dgm.Categorical(3), b=dgm.Bernoulli().given("a"))
    data = {"a": [0, 0, 1, 1, 1], "b": [1, 1, 0, 1, 0]}
    laplace = dgm.estimate(dgm.compile(net).double(), data, prior=dgm.PseudoCounts(1.0))
    torch.testing.assert_close(table(laplace.model, "b")[:, 1], torch.tensor([3 / 4, 2 / 5, 1 / 2], dtype=torch.float64))
    torch.testing.assert_close(table(laplace.model, "a")[0], torch.tensor([3 / 8, 4 / 8, 1 / 8], dtype=torch.float64))
    bdeu = dgm.estimate(dgm.compile(net).double(), data, prior=dgm.BDeu(6.0))
    torch.testing.assert_close(table(bdeu.model, "b")[:, 1], torch.tensor([3 / 4, 2 / 5, 1 / 2], dtype=torch.float64))
    torch.testing.assert_close(table(bdeu.model, "a")[0], torch.tensor([4 / 11, 5 / 11, 2 / 11], dtype=torch.float64))
    most = dgm.estimate(dgm.compile(net).double(), data, prior=dgm.PseudoCounts(2.0, mode=True))
    torch.testing.assert_close(table(most.model, "a")[0], torch.tensor([3 / 8, 4 / 8, 1 / 8], dtype=torch.float64))
    torch.testing.assert_close(most.posterior.mode()["a"], torch.tensor([3 / 8, 4 / 8, 1 / 8], dtype=torch.float64))
    one = dgm.estimate(dgm.compile(net).double(), data, prior={"a": dgm.PseudoCounts([10.0, 1.0, 1.0])})
    torch.testing.assert_close(table(one.model, "a")[0], torch.tensor([12 / 17, 4 / 17, 1 / 17], dtype=torch.float64))
    torch.testing.assert_close(table(one.model, "b")[0, 1], torch.tensor(1.0).double())


def test_the_posterior_over_tables():
    net = dgm.BayesNet(a=dgm.Categorical(2), b=dgm.Categorical(3).given("a"))
    data = sampled(net, 40, 3)
    model = dgm.compile(net)
    post = dgm.estimate(model, data, prior=dgm.PseudoCounts(0.5)).posterior
    counts = torch.zeros(2, 3, dtype=torch.float64)
    for a, b in zip(data["a"].tolist(), data["b"].tolist()):
        counts[a, b] += 1
    torch.testing.assert_close(post["b"].concentration, counts + 0.5)
    draws = post.sample(4000)["b"]
    assert draws.shape == (4000, 2, 3)
    expected = torch.distributions.Dirichlet(counts + 0.5)
    assert bool(((draws.mean(0) - expected.mean).abs() < 5 * (expected.variance / 4000).sqrt()).all())
    sequential, alpha = 0.0, {"a": torch.full((2,), 0.5), "b": torch.full((2, 3), 0.5)}  # p(row | rows before), one after the other
    for a, b in zip(data["a"].tolist(), data["b"].tolist()):
        sequential += (alpha["a"][a] / alpha["a"].sum()).log().item() + (alpha["b"][a, b] / alpha["b"][a].sum()).log().item()
        alpha["a"][a] += 1
        alpha["b"][a, b] += 1
    assert post.log_evidence == pytest.approx(sequential, abs=1e-4)
    draw = {name: drawn[0] for name, drawn in post.sample().items()}
    torch.testing.assert_close(table(post.fill(draw), "b"), draw["b"], atol=1e-6, rtol=0)


def test_bdeu_gives_equivalent_graphs_the_same_evidence():
    data = {"a": [0, 0, 1, 1, 0, 1, 1], "b": [0, 1, 1, 1, 0, 1, 2]}
    forth = dgm.BayesNet(a=dgm.Categorical(2), b=dgm.Categorical(3).given("a"))
    back = dgm.BayesNet(b=dgm.Categorical(3), a=dgm.Categorical(2).given("b"))
    one, other = (dgm.estimate(dgm.compile(net), data, prior=dgm.BDeu(4)).posterior.log_evidence for net in (forth, back))
    assert one == pytest.approx(other, abs=1e-10)


def test_vectors_plates_and_free_parameters_are_counted():
    net = dgm.BayesNet(
        z=dgm.Categorical(2), x=dgm.Bernoulli(3).given("z"), w=dgm.Categorical(3, 2).given("z"), y=dgm.Bernoulli().given("z"), v=dgm.Bernoulli(logits=dgm.free()),
        plates={"n": ["y"]},
    )
    torch.manual_seed(0)
    model = dgm.compile(net, seed=2).double()
    values = model.run({}, (50,), {"n": 4})
    data = {name: model.layout.release(name, value) for name, value in values.items()}
    found = dgm.estimate(dgm.compile(net, seed=3).double(), data)
    z = data["z"] == 1
    torch.testing.assert_close(table(found.model, "x")[1, :, 1], data["x"][z].mean(0))
    torch.testing.assert_close(table(found.model, "y")[1, 1], data["y"][z].mean())
    torch.testing.assert_close(table(found.model, "w")[0], torch.nn.functional.one_hot(data["w"][~z], 3).double().mean(0))
    torch.testing.assert_close(table(found.model, "v")[0, 1], data["v"].mean())
    assert found.counts["w"].shape == (2, 2, 3) and found.counts["v"].shape == (2,)
    assert found.log_likelihood == pytest.approx(found.model.log_prob(data).sum().item(), abs=1e-8)


def test_a_net_that_was_read_is_opened_estimated_and_fixed_again():
    net = dgm.BayesNet(a=dgm.Bernoulli(probs=0.2), b=dgm.Categorical(["u", "v"], probs=[[0.1, 0.9], [0.5, 0.5]]).given("a"), n=dgm.Binomial(total_count=3, probs=0.5))
    with pytest.raises(dgm.GraphError, match=r"every parameter of the net is fixed, so nothing is left to estimate; .* dgm.compile\(net.opened\(\)\)"):
        dgm.estimate(dgm.compile(net), {"a": [0, 1], "b": ["u", "v"], "n": [0, 1]})
    found = dgm.estimate(dgm.compile(net.opened()), {"a": [0, 1, 1, 1], "b": ["u", "v", "v", "u"], "n": [0, 1, 1, 1]})
    assert found.net["a"].fixed["probs"].array == pytest.approx(0.75)
    numpy.testing.assert_allclose(found.net["b"].fixed["probs"].array, [[1, 0], [1 / 3, 2 / 3]], atol=1e-6)
    assert found.net["n"] == net["n"] and net.opened("n")["n"] == dgm.Binomial(total_count=3)
    assert dgm.log_prob(dgm.compile(found.net), {"a": [0.0], "b": ["v"]}).value.item() == -torch.inf


def test_frames_and_labels():
    pandas = pytest.importorskip("pandas")
    net = dgm.BayesNet(a=dgm.Categorical(["x", "y"]), b=dgm.Bernoulli().given("a"))
    frame = pandas.DataFrame({"a": pandas.Categorical(["x", "y", "y"]), "b": [True, False, True]})
    found = dgm.estimate(dgm.compile(net), frame, weights=frame["b"] + 1)
    torch.testing.assert_close(found.counts["b"], torch.tensor([[0.0, 2.0], [1.0, 2.0]], dtype=torch.float64))


BAD = {
    r"expected a compiled model; got BayesNet; try dgm.estimate\(dgm.compile\(net\), data\)": lambda net, model, data: dgm.estimate(net, data),
    r"node 'a': Categorical\(2\) has values in .*; got 7": lambda net, model, data: dgm.estimate(model, {**data, "a": [0, 7, 1]}),
    r"data: no node 'c'": lambda net, model, data: dgm.estimate(model, {**data, "c": [0, 0, 0]}),
    r"'a' has the worlds \(2,\), 'b' has \(3,\)": lambda net, model, data: dgm.estimate(model, {**data, "a": [0, 1]}),
    r"node 'a': every cell of its column is missing; give some values, or leave the column out, which makes 'a' latent": lambda net, model, data: dgm.estimate(model, {**data, "a": [None] * 3}),
    r"node 'b' has no data, and nothing that was observed depends on it": lambda net, model, data: dgm.estimate(model, {"a": [0, 1, 1]}),
    r"weights: expected the shape \(3,\), one a row; got \(2,\)": lambda net, model, data: dgm.estimate(model, data, weights=[1.0, 2.0]),
    r"weights: expected finite numbers that are not negative; got -1": lambda net, model, data: dgm.estimate(model, data, weights=[1.0, 2.0, -1.0]),
    r"weights: expected some above zero; got zeros alone": lambda net, model, data: dgm.estimate(model, data, weights=[0.0, 0.0, 0.0]),
    r"weights: expected one number a row; got list": lambda net, model, data: dgm.estimate(model, data, weights=["a", "b", "c"]),
    r"PseudoCounts: expected numbers above zero; got -1": lambda net, model, data: dgm.PseudoCounts(-1.0),
    r"PseudoCounts: below one the most probable table": lambda net, model, data: dgm.PseudoCounts(0.5, mode=True),
    r"PseudoCounts: expected a number or counts that broadcast to \(1, 2\)": lambda net, model, data: dgm.estimate(model, data, prior=dgm.PseudoCounts([1.0, 2.0, 3.0])),
    r"BDeu: expected a sample size above zero; got 0": lambda net, model, data: dgm.BDeu(0),
    r"expected a prior such as dgm.BDeu\(10\), or a dict of them by node; got 3": lambda net, model, data: dgm.estimate(model, data, prior=3),
    r"prior: no node 'q' with a table to estimate": lambda net, model, data: dgm.estimate(model, data, prior={"q": dgm.BDeu()}),
    r"expected method=dgm.EM\(...\), or none; got 'em'": lambda net, model, data: dgm.estimate(model, data, method="em"),
    r"the tables were estimated without a prior": lambda net, model, data: dgm.estimate(model, data).posterior,
    r"posterior: node 'q' has no table with a prior": lambda net, model, data: dgm.estimate(model, data, prior=dgm.BDeu()).posterior["q"],
}


@pytest.mark.parametrize("message", BAD)
def test_refusals_say_what_is_wrong(message):
    net = dgm.BayesNet(a=dgm.Categorical(2), b=dgm.Bernoulli().given("a"))
    with pytest.raises(dgm.GraphError, match=message):
        BAD[message](net, dgm.compile(net), {"a": [0, 1, 1], "b": [0, 0, 1]})


def test_zeros_of_tables_are_written_as_log_odds_that_plain_pyro_can_take():
    model = dgm.compile(dgm.BayesNet(a=dgm.Bernoulli(), b=dgm.Bernoulli().given("a"), c=dgm.Categorical(3).given("b")), seed=0)
    data = {"a": [1, 1, 1], "b": [0, 1, 0], "c": [0, 2, 0]}
    dgm.estimate(model, data)
    namespace = {}
    exec(dgm.to_pyro(model), namespace)
    module = namespace["Model"]()
    module.load_state_dict(dgm.to_pyro_state(model))
    values = model.encode(data)
    trace = pyro.poutine.trace(module).get_trace(values)
    trace.compute_log_prob()
    torch.testing.assert_close(sum(trace.nodes[name]["log_prob"] for name in "abc"), model.log_prob(data))
