"""Expectation maximisation: exact expectations, a likelihood that never falls, and the optimum that the gradient finds."""

from __future__ import annotations

import math

import numpy
import pytest
import torch
from exact.brute import conditioned, joint, marginal, random_net
from hypothesis import given, settings
from hypothesis import strategies as st

import dgm_ppl as dgm
from dgm_ppl.estimation.expectation import Expectation
from dgm_ppl.estimation.learners import learners
from dgm_ppl.exact import see

torch.set_num_threads(1)
NAN = float("nan")


def with_holes(data, share, seed):
    generator = numpy.random.default_rng(seed)
    found = {}
    for name, column in data.items():
        gone = torch.as_tensor(generator.random(column.shape) < share)
        gone[int(generator.integers(len(column)))] = False
        found[name] = torch.where(gone, NAN, column.double())
    return found


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_expected_counts_are_those_of_enumeration(seed):
    model = dgm.compile(random_net(seed, learned=True, largest=5), seed=seed).double()
    data = with_holes(model.sample(15), 0.4, seed)
    weights = torch.rand(15, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    statistics = Expectation(model, see(model, data), weights, learners(model, None), 2**31)()
    table, names, total = joint(model).detach(), list(model.net.order), 0.0
    expected = {name: 0 for name in names}
    for row in range(15):
        seen = {name: int(column[row]) for name, column in data.items() if not math.isnan(column[row])}
        held = conditioned(table, names, seen)
        total += weights[row] * held.sum().log()
        for name in names:
            expected[name] = expected[name] + weights[row] * marginal(held / held.sum(), names, (*model.net[name].all_parents, name))
    assert statistics.log_likelihood == pytest.approx(float(total), abs=1e-9)
    for name in names:
        torch.testing.assert_close(statistics.counts[name], torch.as_tensor(expected[name]).reshape(statistics.counts[name].shape))


@pytest.mark.parametrize("prior", [None, dgm.PseudoCounts(0.7)], ids=["likelihood", "prior"])
def test_the_objective_never_falls_and_ends_where_the_gradient_does(prior):
    net = dgm.BayesNet(a=dgm.Bernoulli(), b=dgm.Categorical(3).given("a"), c=dgm.Bernoulli().given("a", "b"), d=dgm.Categorical(2).given("c"))
    data = with_holes(dgm.compile(net, seed=5).sample(300), 0.3, 0)
    model = dgm.compile(net, seed=1).double()
    found = dgm.estimate(model, data, prior=prior, method=dgm.EM(tolerance=1e-11, steps=3000))
    assert found.stopped == "convergence" and len(found.history) > 3
    assert bool((torch.tensor(found.history).diff() > -1e-12).all())
    score = dgm.log_prob(model, data)
    assert found.log_likelihood == pytest.approx(score.value.sum().item(), abs=1e-6)
    loss = -dgm.MaximumLikelihood(model).score(dgm.MaximumLikelihood(model).prepare(data)).sum()
    if prior is not None:
        loss = loss - sum(0.7 * _probs(model.conditional(name)).log().sum() for name in net)
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    assert all(bool((gradient.abs() < 0.02).all()) for gradient in gradients)


def _probs(conditional):
    codes = torch.arange(1 if conditional.configurations is None else conditional.configurations.count)
    sizes = () if conditional.configurations is None else conditional.configurations.sizes
    parents = torch.unravel_index(codes, sizes) if sizes else ()
    distribution = conditional(*(parent.double() if not port.space.integer else parent for port, parent in zip(conditional.ports, parents)))
    return torch.stack([distribution.probs, 1 - distribution.probs]) if conditional.variable.family_name == "Bernoulli" else distribution.probs


def test_it_goes_on_where_it_ended():
    net = dgm.BayesNet(z=dgm.Categorical(2), x=dgm.Categorical(3).given("z"), y=dgm.Categorical(3).given("z"), w=dgm.Categorical(3).given("z"))
    data = {name: column for name, column in dgm.compile(net, seed=3).sample(200).items() if name != "z"}
    once, twice = dgm.compile(net, seed=1).double(), dgm.compile(net, seed=1).double()
    whole = dgm.estimate(once, data, method=dgm.EM(steps=10, tolerance=0.0))
    first = dgm.estimate(twice, data, method=dgm.EM(steps=4, tolerance=0.0))
    second = dgm.estimate(twice, data, method=dgm.EM(steps=6, tolerance=0.0))
    assert first.stopped == "steps"
    numpy.testing.assert_allclose([*first.history, *second.history[1:]], whole.history, atol=1e-12)


def test_mixtures_of_gaussians_step_by_step_as_scikit_learn():
    sklearn = pytest.importorskip("sklearn.mixture")
    generator = torch.Generator().manual_seed(0)
    centres = torch.tensor([[0.0, 0.0], [3.0, 1.0], [-2.0, 4.0]], dtype=torch.float64)
    x = centres[torch.randint(0, 3, (500,), generator=generator)] + torch.randn(500, 2, generator=generator, dtype=torch.float64)
    starts = x[:3] + 0.0
    for kind, family in (("diag", dgm.Normal(2)), ("full", dgm.MultivariateNormal(2))):
        model = dgm.compile(dgm.BayesNet(z=dgm.Categorical(3), x=family.given("z")), seed=0).double()
        rows = model.conditional("x").predictor.rows
        with torch.no_grad():
            model.conditional("z").unconstrained["logits"].zero_()
            rows["loc"].copy_(starts)
            rows[family.signature[1]].zero_() if kind == "diag" else rows["scale_tril"].zero_()
        found = dgm.estimate(model, {"x": x}, method=dgm.EM(steps=2000, tolerance=1e-12, smallest_scale=0.0))
        precisions = numpy.ones((3, 2)) if kind == "diag" else numpy.stack([numpy.eye(2)] * 3)
        oracle = sklearn.GaussianMixture(
            3, covariance_type=kind, weights_init=numpy.ones(3) / 3, means_init=starts.numpy(), precisions_init=precisions, tol=1e-12, max_iter=2000, reg_covar=0.0,
        ).fit(x.numpy())
        assert found.log_likelihood / 500 == pytest.approx(oracle.score(x.numpy()), abs=1e-8)
        numpy.testing.assert_allclose(rows["loc"].detach().numpy(), oracle.means_, atol=1e-4)
        post = dgm.posterior(model, {"x": x[:20]}).probabilities("z")
        numpy.testing.assert_allclose(post.detach().numpy(), oracle.predict_proba(x[:20].numpy()), atol=1e-4)


def test_restarts_find_the_better_of_the_optima():
    generator = torch.Generator().manual_seed(1)
    centres = torch.tensor([0.0, 10.0, 20.0, 30.0], dtype=torch.float64)
    x = centres[torch.randint(0, 4, (400,), generator=generator)] + torch.randn(400, generator=generator, dtype=torch.float64)
    net = dgm.BayesNet(z=dgm.Categorical(4), x=dgm.Normal().given("z"))
    plain = dgm.estimate(dgm.compile(net, seed=0), {"x": x}, method=dgm.EM(steps=100))
    before = torch.get_rng_state()
    best = dgm.estimate(dgm.compile(net, seed=0), {"x": x}, method=dgm.EM(restarts=5, seed=3, steps=100))
    again = dgm.estimate(dgm.compile(net, seed=0), {"x": x}, method=dgm.EM(restarts=5, seed=3, steps=100))
    assert torch.equal(before, torch.get_rng_state()) and best.history == again.history
    assert best.log_likelihood > plain.log_likelihood + 50
    numpy.testing.assert_allclose(sorted(best.model.conditional("x").predictor.rows["loc"].tolist()), centres, atol=0.3)


@pytest.mark.parametrize("net", [
    dgm.BayesNet(z=dgm.Categorical(2), w=dgm.Normal(), x=dgm.Normal().given("z", "w"), y=dgm.Bernoulli(3).given("z")),
    dgm.BayesNet(w=dgm.Normal(2), k=dgm.Categorical(3).given("w"), x=dgm.Poisson().given("k"), b=dgm.Bernoulli().given("k")),
    dgm.BayesNet(z=dgm.Bernoulli(), m=dgm.Delta(v=2 * dgm.refs("z") - 1), x=dgm.Normal(loc="m", scale=dgm.free(2.0)), u=dgm.Gumbel().given("z")),
], ids=["regressions", "softmax gate", "deterministic"])
def test_every_kind_of_node_reaches_a_stationary_point_with_missing_cells(net):
    torch.manual_seed(0)
    data = with_holes({name: value for name, value in dgm.compile(net, seed=2).double().sample(150).items() if name not in ("m",)}, 0.25, 4)
    for name in ("w",):
        if name in data:
            data[name] = data[name].nan_to_num(0.3)                         # a real parent of what was seen cannot be summed out here
    model = dgm.compile(net, seed=1).double()
    found = dgm.estimate(model, data, method=dgm.EM(tolerance=1e-10, steps=2000))
    assert bool((torch.tensor(found.history).diff() > -1e-9).all())
    objective = dgm.MaximumLikelihood(model)
    score = objective.score(objective.prepare(data))
    assert found.log_likelihood == pytest.approx(score.sum().item(), abs=1e-6)
    gradients = torch.autograd.grad(score.mean(), list(model.parameters()), allow_unused=True)
    assert all(gradient is None or bool((gradient.abs() < 2e-3).all()) for gradient in gradients)


def test_a_component_on_a_single_row_keeps_some_scale():
    x = torch.tensor([0.0, 0.1, -0.2, 0.05, 50.0], dtype=torch.float64)
    model = dgm.compile(dgm.BayesNet(z=dgm.Categorical(2), x=dgm.Normal().given("z")), seed=0).double()
    with torch.no_grad():
        model.conditional("x").predictor.rows["loc"].copy_(torch.tensor([0.0, 50.0]))
    found = dgm.estimate(model, {"x": x}, method=dgm.EM(smallest_scale=0.01))
    scales = model.conditional("x").predictor.rows["scale"].exp()
    assert math.isfinite(found.log_likelihood) and bool((scales >= 0.0099 * x.std(correction=0)).all())


def test_refusals():
    net = dgm.BayesNet(z=dgm.StudentT(df=3.0), x=dgm.Gumbel().given("z"))
    with pytest.raises(dgm.GraphError, match=r"estimate: node 'z' ~ StudentT\(df=3.0\) has no data and cannot be eliminated exactly: .*; give a column 'z', or bound the likelihood: dgm.ELBO"):
        dgm.estimate(dgm.compile(net), {"x": torch.zeros(3)})
    fixed = dgm.BayesNet(a=dgm.Bernoulli(probs=0.0), b=dgm.Bernoulli().given("a"))
    with pytest.raises(dgm.GraphError, match=r"estimate: 1 rows have probability zero .*: row 1; drop them"):
        dgm.estimate(dgm.compile(fixed), {"a": [0.0, 1.0, NAN], "b": [1.0, 0.0, 1.0]})
    with pytest.raises(dgm.GraphError, match="EM: expected a whole number from 1 for steps; got 0"):
        dgm.EM(steps=0)
    with pytest.raises(dgm.GraphError, match="EM: expected a number that is not negative for tolerance; got -1"):
        dgm.EM(tolerance=-1)
    mixture = dgm.compile(dgm.BayesNet(z=dgm.Categorical(2), x=dgm.Categorical(3).given("z")), seed=0)
    with pytest.raises(dgm.GraphError, match="where cells are missing the tables' posterior is no product of Dirichlets"):
        dgm.estimate(mixture, {"x": [0, 1, 2]}, prior=dgm.BDeu()).posterior


def test_factor_analysis_with_missing_cells_reaches_the_gradients_optimum():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(120, 2, generator=generator, dtype=torch.float64) @ torch.randn(2, 4, generator=generator, dtype=torch.float64)
    x = x + 0.5 * torch.randn(120, 4, generator=generator, dtype=torch.float64) + 1
    x[torch.rand(120, 4, generator=generator) < 0.2] = NAN
    x[0] = torch.tensor([0.1, 0.2, NAN, 0.3])
    net = dgm.BayesNet(z=dgm.Normal(2, loc=0.0, scale=1.0), x=dgm.Normal(4).given("z"))
    model = dgm.compile(net, seed=0).double()
    found = dgm.estimate(model, {"x": x}, method=dgm.EM(tolerance=1e-9, steps=3000))
    assert bool((torch.tensor(found.history).diff() > -1e-10).all())
    objective = dgm.MaximumLikelihood(model)
    score = objective.score(objective.prepare({"x": x}))
    assert found.log_likelihood == pytest.approx(score.sum().item(), abs=1e-6)
    gradients = torch.autograd.grad(score.mean(), list(model.parameters()))
    assert all(bool((gradient.abs() < 2e-3).all()) for gradient in gradients)


def test_a_linear_gaussian_chain_with_missing_cells_and_finite_parents():
    net = dgm.BayesNet(s=dgm.Categorical(2), t=dgm.Categorical(2).given("s"), u=dgm.Normal().given("s"), v=dgm.Normal().given("u", "t"), w=dgm.Normal(loc=dgm.refs("v"), scale=dgm.free(0.5)))
    torch.manual_seed(1)
    data = with_holes(dgm.compile(net, seed=3).double().sample(120), 0.3, 2)
    model = dgm.compile(net, seed=0).double()
    found = dgm.estimate(model, data, method=dgm.EM(tolerance=1e-10, steps=3000))
    assert bool((torch.tensor(found.history).diff() > -1e-10).all())
    objective = dgm.MaximumLikelihood(model)
    score = objective.score(objective.prepare(data))
    assert found.log_likelihood == pytest.approx(score.sum().item(), abs=1e-6)
    gradients = torch.autograd.grad(score.mean(), list(model.parameters()))
    assert all(bool((gradient.abs() < 2e-3).all()) for gradient in gradients)


def test_factor_analysis_as_scikit_learn():
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(300, 1, generator=generator, dtype=torch.float64) @ torch.tensor([[1.0, -0.5, 2.0]], dtype=torch.float64) + 0.4 * torch.randn(300, 3, generator=generator, dtype=torch.float64)
    shared = dgm.BayesNet(z=dgm.Normal(loc=0.0, scale=1.0), x=dgm.Normal(3).given("z"))
    found = dgm.estimate(dgm.compile(shared, seed=1).double(), {"x": x}, method=dgm.EM(tolerance=1e-7))
    decomposition = pytest.importorskip("sklearn.decomposition")
    oracle = decomposition.FactorAnalysis(1, tol=1e-10, max_iter=5000).fit(x.numpy())
    assert found.log_likelihood / 300 == pytest.approx(oracle.score(x.numpy()), abs=1e-3)
