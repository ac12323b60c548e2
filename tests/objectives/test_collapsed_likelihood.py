"""Maximum likelihood whose hidden nodes are summed out and integrated: against Pyro's enumeration, scikit-learn's optima, and one big Gaussian a row."""

from __future__ import annotations

import random

import numpy
import pytest
import torch
from exact.mixed import Joint, random_net
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyro.infer import TraceEnum_ELBO

import dgm_ppl as dgm

torch.set_num_threads(1)


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(st.integers(0, 10**6))
def test_losses_are_the_evidence_of_each_row(seed):
    net, dice = random_net(seed, 5), random.Random(seed)
    model = dgm.compile(net, seed=seed).double()
    observed = dice.sample(model.random, dice.randint(1, len(model.random)))
    torch.manual_seed(seed)
    data = {name: value for name, value in model.sample(3).items() if name in observed}
    above = {name for child in observed for name in net.dag.ancestors(child)}
    if any(name not in observed and name not in above for name in model.random):
        return
    objective = dgm.MaximumLikelihood(model)
    batch = objective.prepare(data)
    wanted = torch.stack([Joint(model, {name: value[row] for name, value in data.items()}).log_evidence for row in range(3)])
    assert torch.allclose(-objective.world_losses(batch), wanted, atol=1e-7) and torch.allclose(-objective(batch), wanted.mean(), atol=1e-7)
    one, other = (torch.autograd.grad(total, list(model.parameters()), allow_unused=True) for total in (-objective(batch), wanted.mean()))
    for a, b in zip(one, other):
        a, b = (torch.zeros(()) if value is None else value for value in (a, b))
        assert (a - b).abs().max() < 1e-6 * (1 + b.abs().max())


@pytest.mark.parametrize("net", [
    dgm.BayesNet(k=dgm.Categorical(4), x=dgm.Normal(3).given("k")),
    dgm.BayesNet(k=dgm.Categorical(3), j=dgm.Bernoulli().given("k"), x=dgm.Bernoulli(5).given("k", "j"), y=dgm.Gamma().given("j")),
    dgm.BayesNet(k=dgm.Categorical(3), x=dgm.Normal(2).given("k", net=dgm.MLP(4)), c=dgm.Categorical(3).given("k")),
    dgm.BayesNet(s=dgm.Bernoulli(), k=dgm.Categorical(3).given("s"), x=dgm.Normal(2).given("k"), plates={"point": ["k", "x"]}),
])
def test_value_and_gradient_are_those_of_pyros_enumeration(net):
    model = dgm.compile(net, seed=0).double()
    torch.manual_seed(0)
    sizes = {"point": 4} if net.plates else {}
    drawn = model.sample(6, given={}) if not sizes else {"x": torch.randn(6, 4, 2, dtype=torch.float64)}
    data = {name: value for name, value in drawn.items() if name in ("x", "y", "c")}
    objective = dgm.MaximumLikelihood(model)
    ours = objective(objective.prepare(data))
    pyros = TraceEnum_ELBO(max_plate_nesting=1 + len(net.plates)).differentiable_loss(model, lambda data: None, data) / 6
    assert ours.item() == pytest.approx(pyros.item(), abs=1e-10)
    for a, b in zip(*(torch.autograd.grad(loss, list(model.parameters())) for loss in (ours, pyros)), strict=True):
        assert (a - b).abs().max() < 1e-10


def test_probabilistic_pca_reaches_scikit_learns_optimum():
    decomposition = pytest.importorskip("sklearn.decomposition")
    generator = numpy.random.default_rng(0)
    data = generator.normal(size=(200, 2)) @ generator.normal(size=(2, 5)) + 0.3 * generator.normal(size=(200, 5)) + 1.0
    best = decomposition.FactorAnalysis(2, tol=1e-10, max_iter=10_000).fit(data).score(data)
    net = dgm.BayesNet(z=dgm.Normal(2, loc=0.0, scale=1.0), x=dgm.Normal(5).given("z"))
    model = dgm.compile(net, seed=0)
    dgm.fit(dgm.MaximumLikelihood(model), {"x": data}, epochs=150, optimizer=dgm.Adam(lr=0.08), seed=0, progress=False)
    assert dgm.log_prob(model, {"x": data}).mean() == pytest.approx(best, abs=0.01)


def test_a_mixture_trains_from_its_declaration_alone():
    mixture = pytest.importorskip("sklearn.mixture")
    generator = numpy.random.default_rng(1)
    data = numpy.concatenate([generator.normal(size=(100, 2)) + 4, generator.normal(size=(60, 2)) * 0.5]).astype("float32")
    best = mixture.GaussianMixture(2, covariance_type="diag", random_state=0, reg_covar=0.0, tol=1e-8, max_iter=1000).fit(data).score(data)
    model = dgm.compile(dgm.BayesNet(k=dgm.Categorical(2), x=dgm.Normal(2).given("k")), seed=0)
    dgm.fit(dgm.MaximumLikelihood(model), {"x": data}, epochs=300, optimizer=dgm.Adam(lr=0.05), seed=0, progress=False)
    assert dgm.log_prob(model, {"x": data}).mean() == pytest.approx(best, abs=0.01)


def test_missing_cells_of_vectors_are_integrated():
    """Cells of a correlated vector, and of a node that others depend on: the loss is that of the cells that are there."""
    torch.manual_seed(0)
    model = dgm.compile(dgm.BayesNet(z=dgm.Normal(2), y=dgm.MultivariateNormal(3).given("z"), w=dgm.Normal().given("y")), seed=0).double()
    drawn = model.sample(4)
    data = {name: drawn[name].clone() for name in ("y", "w")}
    data["y"][0, 1], data["y"][1], data["w"][2] = torch.nan, torch.nan, torch.nan
    objective = dgm.MaximumLikelihood(model)
    batch = objective.prepare(data)
    from queries.test_gaussian import Partial
    wanted = torch.stack([Partial(model, {}, {name: value[row] for name, value in data.items()}).log_evidence for row in range(4)])
    assert torch.allclose(-objective.world_losses(batch), wanted, atol=1e-8)
    run = dgm.fit(dgm.MaximumLikelihood(model), data, epochs=2, batch_size=2, device="cpu", seed=0, progress=False)
    assert run.objective.score(batch).isfinite().all()


def test_what_cannot_be_eliminated_says_why():
    model = dgm.compile(dgm.BayesNet(z=dgm.Normal(2), x=dgm.Bernoulli(3).given("z", net=dgm.MLP(4))))
    with pytest.raises(dgm.GraphError, match=r"MaximumLikelihood: node 'z' has no data; give a column 'z', or treat it as latent: dgm.ELBO.*it cannot be eliminated exactly: 'x' depends on it, and Bernoulli is not Gaussian"):
        dgm.MaximumLikelihood(model).prepare({"x": torch.zeros(2, 3)})
