"""Objectives called without `fit`: a first batch that `prepare` never saw is held against the declaration, and the players' own losses are left alone."""

from __future__ import annotations

import pytest
import torch

import dgm_ppl as dgm

torch.set_num_threads(1)

MEND = r"try objective\(objective.prepare\(data\)\), or dgm.fit\(objective, data\)"


def elbo():
    net = dgm.BayesNet(z=dgm.Normal(2, loc=0.0, scale=1.0), x=dgm.Bernoulli(4).given("z", net=dgm.MLP(4)))
    return dgm.ELBO(dgm.compile(net), dgm.compile(dgm.amortize(net, "x", net=dgm.MLP(4))))


def likelihood(variable):
    return dgm.MaximumLikelihood(dgm.compile(dgm.BayesNet(x=variable)))


def tokens():
    return likelihood(dgm.Autoregressive(dgm.Categorical(5, 6), net=dgm.Transformer(8, layers=1, heads=2)))


WRONG = {
    "no bits": (elbo, torch.full((3, 4), 2.0), r"node 'x': Bernoulli\(4\) has values in \{0, 1\}; got 2.*as data come they are no batch: " + MEND),
    "missing": (elbo, torch.full((3, 4), torch.nan), "missing cells.*" + MEND),
    "a shape": (elbo, torch.zeros(3, 5), r"expected the shape \(\*worlds, 4\); got \(3, 5\)"),
    "integers": (elbo, torch.ones(3, 4).long(), "ELBO: node 'x': expected torch.float32 on cpu; got torch.int64 on cpu; " + MEND),
    "doubles": (elbo, torch.ones(3, 4).double(), "expected torch.float32 on cpu; got torch.float64"),
    "a list": (elbo, [[1.0, 0.0, 0.0, 1.0]], "ELBO: expected prepared columns, tensors by node; got list for 'x'; " + MEND),
    "a token beyond": (tokens, torch.full((2, 6), 5), r"has values in \{0, ..., 4\}; got 5"),
    "a token before": (tokens, torch.full((2, 6), -1), r"has values in \{0, ..., 4\}; got -1"),
    "outside a support": (lambda: likelihood(dgm.Gamma()), -torch.ones(2), r"Gamma\(\) has values in the numbers from 0; got -1"),
    "outside a flow's": (lambda: likelihood(dgm.Flow(2, dgm.MAF(transforms=1, hidden=(4,)), space=dgm.families.Interval(0.0, 1.0))), torch.full((3, 2), 1.5), r"got 1.5"),
}


@pytest.mark.parametrize("build, x, message", WRONG.values(), ids=WRONG)
def test_what_no_fit_checked_is_said(build, x, message):
    with pytest.raises(dgm.GraphError, match=message):
        build()({"x": x})


def test_columns_and_batches_of_another_kind():
    objective = elbo()
    with pytest.raises(dgm.GraphError, match="ELBO: expected prepared columns, tensors by node; got Tensor"):
        objective(torch.ones(3, 4))
    with pytest.raises(dgm.GraphError, match="no node 'y'; known names: z, x"):
        objective({"x": torch.ones(3, 4), "y": torch.ones(3)})
    objective({"x": torch.ones(3, 4)})
    with pytest.raises(dgm.GraphError, match="expected the shape"):
        objective({"x": torch.ones(3, 5)})


def test_what_was_prepared_is_taken_with_its_holes():
    objective = likelihood(dgm.Normal(2, loc=0.0))
    batch = objective.prepare({"x": torch.tensor([[torch.nan, 1.0], [0.5, 2.0]])})
    assert objective(batch).isfinite() and objective({name: column[1:] for name, column in batch.items()}).isfinite()


def test_a_kind_is_looked_at_once_and_players_never(monkeypatch):
    objective, looked = elbo(), []
    monkeypatch.setattr(objective, "_look_at", looked.append)
    batch = objective.prepare({"x": torch.ones(6, 4)})
    (player,) = objective.players
    player.loss(batch)
    assert not looked
    for rows in (slice(0, 2), slice(2, 6)):
        objective({name: column[rows] for name, column in batch.items()})
    assert len(looked) == 1


def declared():
    return dgm.BayesNet(z=dgm.Normal(2, loc=0.0, scale=1.0), x=dgm.Bernoulli(4).given("z"))


NO_MODELS = {
    "a declaration": (lambda: dgm.MaximumLikelihood(declared()), r"MaximumLikelihood: expected a compiled model; got BayesNet; try dgm.compile\(net\)"),
    "a declared guide": (lambda: dgm.ELBO(dgm.compile(declared()), dgm.amortize(declared(), "x")), r"ELBO: expected a compiled guide; got RecognitionNet; try guide=dgm.compile\(recognition\)"),
    "no guide": (lambda: dgm.IWAE(dgm.compile(declared()), None), r"IWAE: expected a compiled guide; got None; try dgm.compile\(dgm.amortize\("),
}


@pytest.mark.parametrize("build, message", NO_MODELS.values(), ids=NO_MODELS)
def test_what_is_no_model_is_said(build, message):
    with pytest.raises(dgm.GraphError, match=message):
        build()


def test_a_net_is_no_objective():
    for net in (declared(), dgm.compile(declared())):
        with pytest.raises(TypeError, match=rf"fit: expected an objective; got {type(net).__name__}; try dgm.fit\(dgm.MaximumLikelihood\(model\), data\)"):
            dgm.fit(net, {"x": torch.zeros(2, 4)}, steps=1)
