"""Maximum likelihood where cells are missing and nodes are latent: the exact marginal likelihood, its gradient, and what is refused."""

from __future__ import annotations

import math
import random

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import dgm_ppl as dgm

from exact.brute import conditioned, joint, random_net

torch.set_num_threads(1)
NAN = float("nan")


def with_holes(data, share, seed):
    """Columns of floats in which a share of the cells is NaN, at least one of each column left."""
    generator = numpy.random.default_rng(seed)
    found = {}
    for name, column in data.items():
        gone = torch.as_tensor(generator.random(len(column)) < share)
        gone[int(generator.integers(len(column)))] = False
        found[name] = torch.where(gone, NAN, column.double())
    return found


def brute_log_prob(model, rows):
    """The log of the sum over every way to fill the missing cells, row by row."""
    table, names = joint(model), list(model.net.order)
    logs = []
    for row in range(len(next(iter(rows.values())))):
        seen = {name: int(column[row]) for name, column in rows.items() if not math.isnan(column[row])}
        logs.append(conditioned(table, names, seen).sum().log())
    return torch.stack(logs)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_missing_cells_are_summed_out_value_and_gradient(seed):
    model = dgm.compile(random_net(seed, learned=True, largest=5), seed=seed).double()
    data = with_holes(model.sample(12), 0.4, seed)
    latent = random.Random(seed).choice([None, *(name for name in model.net.order if model.net.dag.children(name))] or [None])
    if latent is not None:
        data.pop(latent)
    objective = dgm.MaximumLikelihood(model)
    losses = objective.world_losses(objective.prepare(data))
    expected = brute_log_prob(model, data)
    torch.testing.assert_close(losses, -expected)
    parameters = list(model.parameters())
    ours = torch.autograd.grad(losses.mean(), parameters, allow_unused=True)
    theirs = torch.autograd.grad(-expected.mean(), parameters, allow_unused=True)
    for one, other, parameter in zip(ours, theirs, parameters):
        torch.testing.assert_close(torch.zeros_like(parameter) if one is None else one, torch.zeros_like(parameter) if other is None else other)


def mixture():
    return dgm.BayesNet(z=dgm.Categorical(2), x=dgm.Normal(2).given("z"), y=dgm.Normal().given("x", "z"))


def test_mixtures_without_labels_and_with_some():
    model = dgm.compile(mixture(), seed=1).double()
    data = model.sample(6)
    whole = model.log_densities(data)
    logs = []
    for code in range(2):
        filled = {**data, "z": torch.full((6,), code)}
        logs.append(sum(model.log_densities(filled).values()))
    marginal = torch.stack(logs).logsumexp(0)
    objective = dgm.MaximumLikelihood(model)
    torch.testing.assert_close(objective.score(objective.prepare({"x": data["x"], "y": data["y"]})), marginal)
    some = data["z"].double()
    some[::2] = NAN
    expected = torch.where(some.isnan(), marginal, sum(whole.values()))
    torch.testing.assert_close(objective.score(objective.prepare({**data, "z": some})), expected)


def test_leaves_lose_their_terms_alone_and_no_elimination_is_made():
    model = dgm.compile(dgm.BayesNet(z=dgm.Normal(2), x=dgm.Normal(3).given("z"), plates={"n": ["x"]}), seed=0).double()
    data = model.run({}, (4,), {"n": 2})
    x = data["x"].clone()
    x[0, 1, 2] = x[2] = NAN
    objective = dgm.MaximumLikelihood(model)
    found = objective.score(objective.prepare({"z": data["z"].squeeze(1), "x": x}))
    terms = -model.conditionals["x"].surprisals(data["x"], model.conditionals["x"].prepare(data["z"]))
    expected = model.log_densities(data)["z"] + torch.where(x.isnan(), 0.0, terms).sum((1, 2))
    torch.testing.assert_close(found, expected)
    assert objective._marginal is None


def test_minibatches_of_fit_carry_their_holes():
    truth = dgm.compile(dgm.BayesNet(a=dgm.Bernoulli(probs=0.3), b=dgm.Bernoulli(probs=[0.2, 0.9]).given("a"), c=dgm.Bernoulli(probs=[0.7, 0.1]).given("b")))
    torch.manual_seed(0)
    data = with_holes(truth.sample(2000), 0.3, 1)
    model = dgm.compile(dgm.BayesNet(a=dgm.Bernoulli(), b=dgm.Bernoulli().given("a"), c=dgm.Bernoulli().given("b")), seed=0)
    run = dgm.fit(dgm.MaximumLikelihood(model), data, validation=data, epochs=10, batch_size=200, optimizer=dgm.Adam(lr=0.05), seed=0, device="cpu")
    assert run.stopped == "epochs"
    assert dgm.log_prob(model, data).mean() > dgm.log_prob(truth, data).mean() - 0.002
    table = model.conditional("b")(torch.tensor([0.0, 1.0])).probs
    torch.testing.assert_close(table, torch.tensor([0.2, 0.9]), atol=0.06, rtol=0)


def test_an_impossible_row_is_minus_infinity_and_not_nan():
    model = dgm.compile(dgm.BayesNet(a=dgm.Bernoulli(probs=0.5), b=dgm.Bernoulli(probs=[0.0, 0.0]).given("a"), c=dgm.Bernoulli().given("b")))
    objective = dgm.MaximumLikelihood(model)
    losses = objective.world_losses(objective.prepare({"a": [NAN, 1.0], "b": [1.0, 0.0], "c": [1.0, 1.0]}))
    assert losses[0] == torch.inf and bool(losses[1].isfinite())


def test_refusals_name_the_node_and_the_mend():
    objective = dgm.MaximumLikelihood(dgm.compile(mixture()))
    x, y = torch.zeros(3, 2), torch.zeros(3)
    with pytest.raises(dgm.GraphError, match=r"node 'z': every cell of its column is missing; give some values, or leave the column out, which makes 'z' latent"):
        objective.prepare({"z": [None, None, None], "x": x, "y": y})
    with pytest.raises(dgm.GraphError, match=r"node 'y' has no data, and nothing that was observed depends on it, so nothing can be learned about it; give a column 'y', or leave the node out: net.remove\('y'\)"):
        objective.prepare({"x": x})
    missing = x.clone()
    missing[1] = NAN
    chain = dgm.MaximumLikelihood(dgm.compile(dgm.BayesNet(z=dgm.StudentT(df=3.0), x=dgm.Gumbel().given("z"))))
    with pytest.raises(dgm.GraphError, match=r"node 'z' ~ StudentT\(df=3.0\) is missing in rows that observe what depends on it.*dgm.ELBO"):
        chain.prepare({"z": [0.0, NAN], "x": [0.0, 1.0]})
    with pytest.raises(dgm.GraphError, match=r"node 'missing\(a\)' has the name of the column that marks missing cells"):
        dgm.MaximumLikelihood(dgm.compile(dgm.BayesNet({"a": dgm.Normal(), "missing(a)": dgm.Normal()})))
    with pytest.raises(dgm.GraphError, match="exact elimination: the largest clique has .* states"):
        dgm.MaximumLikelihood(wide()).prepare({"y": torch.zeros(4)})


def wide():
    """One observation of the sum of twelve latents of twenty states each."""
    names = [f"z{i}" for i in range(12)]
    return dgm.compile(dgm.BayesNet({name: dgm.Categorical(20) for name in names}, y=dgm.Normal(loc=sum(dgm.refs(" ".join(names))), scale=1.0)))
