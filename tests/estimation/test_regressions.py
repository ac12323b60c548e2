"""Real nodes and generalized linear models: against least squares, scikit-learn and the gradient's own optimum."""

from __future__ import annotations

import numpy
import pytest
import torch

import dgm_ppl as dgm

torch.set_num_threads(1)


def data_of(rows=400, seed=0):
    generator = torch.Generator().manual_seed(seed)
    a = torch.randint(0, 3, (rows,), generator=generator)
    z = torch.randn(rows, 2, generator=generator, dtype=torch.float64) * torch.tensor([1.0, 30.0]) + 5
    y = z @ torch.tensor([0.7, -0.3], dtype=torch.float64) * (1 + a) + a + torch.randn(rows, generator=generator, dtype=torch.float64) * (0.5 + a)
    return {"a": a, "z": z, "y": y}


def is_stationary(model, data, names, weights=None, atol=1e-6):
    """The gradient of the weighted likelihood vanishes at a maximum."""
    terms = model.log_densities(model.layout.align_all(model.encode(data)))
    total = sum(terms[name] for name in names) * (1.0 if weights is None else weights)
    gradients = torch.autograd.grad(total.mean(), [p for name in names for p in model.conditionals[name].parameters()])
    assert all(bool((gradient.abs() < atol).all()) for gradient in gradients)


def test_conditional_linear_gaussians_are_least_squares_by_configuration():
    data = data_of()
    net = dgm.BayesNet(a=dgm.Categorical(3), z=dgm.Normal(2), y=dgm.Normal().given("a", "z"))
    model = dgm.compile(net, seed=0).double()
    found = dgm.estimate(model, data)
    linear = model.conditional("y").predictor
    for code in range(3):
        rows = data["a"] == code
        design = torch.cat([data["z"][rows], torch.ones(int(rows.sum()), 1, dtype=torch.float64)], 1)
        solution = torch.linalg.lstsq(design, data["y"][rows, None]).solution.squeeze(1)
        torch.testing.assert_close(torch.cat([linear.linear.weight[code, 0], linear.linear.bias[code]]), solution)
        scale = (data["y"][rows] - design @ solution).square().mean().sqrt()
        torch.testing.assert_close(linear.table.rows["scale"][code].exp(), scale)
    assert found.log_likelihood == pytest.approx(model.log_prob(data).sum().item(), rel=1e-10)
    is_stationary(model, data, ["z", "y"])


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("variable", [
    dgm.Normal().given("a"), dgm.Normal().given("z"), dgm.Normal(scale=dgm.free()).given("a", "z"), dgm.Normal(scale=2.0).given("a", "z"), dgm.Normal(loc=1.0).given("a"),
    dgm.Normal(loc=dgm.free(), scale=2.0), dgm.Normal(loc=dgm.free()).given("a"), dgm.Normal(loc=dgm.refs("z")[0], scale=dgm.free()), dgm.Normal(loc=0.0).given("z"),
    dgm.StudentT(df=4.0).given("a"), dgm.Laplace(scale=dgm.free()).given("a"), dgm.Gumbel().given("z"),
], ids=str)
def test_the_likelihood_is_flat_at_the_estimate(variable, weighted):
    data = data_of(200, 1)
    weights = torch.rand(200, generator=torch.Generator().manual_seed(0), dtype=torch.float64) if weighted else None
    model = dgm.compile(dgm.BayesNet(a=dgm.Categorical(3), z=dgm.Normal(2), y=variable), seed=0).double()
    dgm.estimate(model, data, weights=weights)
    if variable.family_name == "Laplace":                                    # its likelihood has corners: medians
        for code in range(3):
            at = data["a"] == code
            weight = torch.ones(int(at.sum()), dtype=torch.float64) if weights is None else weights[at]
            below = (weight * (data["y"][at] < model.conditional("y")(torch.tensor(code)).loc)).sum() / weight.sum()
            assert abs(below - 0.5) < 0.03
        return
    is_stationary(model, data, ["y"], weights, atol=2e-4 if variable.family_name in ("StudentT", "Gumbel") else 1e-6)


def test_other_families_in_closed_form():
    generator = torch.Generator().manual_seed(0)
    a = torch.randint(0, 2, (300,), generator=generator)
    count = torch.poisson(2.0 + 3 * a.double(), generator=generator)
    x = torch.randn(300, 3, generator=generator, dtype=torch.float64) @ torch.tensor([[1.0, 0.5, 0.0], [0.0, 1.0, 0.2], [0.0, 0.0, 0.3]], dtype=torch.float64)
    net = dgm.BayesNet(
        a=dgm.Categorical(2), n=dgm.Poisson().given("a"), e=dgm.Exponential().given("a"), h=dgm.HalfNormal(), l=dgm.LogNormal().given("a"), x=dgm.MultivariateNormal(3).given("a"),
    )
    data = {"a": a, "n": count, "e": x[:, 0].abs() + 0.1, "h": x[:, 1].abs(), "l": x[:, 2].exp(), "x": x}
    model = dgm.compile(net, seed=0).double()
    dgm.estimate(model, data)
    for code in range(2):
        rows, state = a == code, torch.tensor(code)
        torch.testing.assert_close(model.conditional("n")(state).mean, count[rows].mean())
        torch.testing.assert_close(model.conditional("e")(state).mean, data["e"][rows].mean())
        torch.testing.assert_close(model.conditional("l")(state).base_dist.loc, x[rows, 2].mean())
        torch.testing.assert_close(model.conditional("x")(state).covariance_matrix, torch.cov(x[rows].T, correction=0), atol=1e-7, rtol=0)
    torch.testing.assert_close(model.conditional("h")().scale, x[:, 1].square().mean().sqrt())


def test_softmax_and_logistic_regression_against_scikit_learn():
    linear_model = pytest.importorskip("sklearn.linear_model")
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(500, 2, generator=generator, dtype=torch.float64)
    logits = z @ torch.tensor([[1.0, -0.5, 0.0], [0.3, 0.8, -1.0]], dtype=torch.float64) + torch.tensor([0.2, 0.0, -0.4])
    k = torch.multinomial(logits.softmax(1), 1, generator=generator).squeeze(1)
    b = torch.bernoulli((0.8 * z[:, 0] - 0.3).sigmoid(), generator=generator)
    model = dgm.compile(dgm.BayesNet(z=dgm.Normal(2), k=dgm.Categorical(3).given("z"), b=dgm.Bernoulli().given("z")), seed=0).double()
    dgm.estimate(model, {"z": z, "k": k, "b": b})
    oracle = linear_model.LogisticRegression(C=numpy.inf, tol=1e-10, max_iter=1000)
    numpy.testing.assert_allclose(model.conditional("k")(z).probs.detach().numpy(), oracle.fit(z, k).predict_proba(z), atol=1e-5)
    numpy.testing.assert_allclose(model.conditional("b")(z).probs.detach().numpy(), oracle.fit(z, b).predict_proba(z)[:, 1], atol=1e-5)


def test_rows_of_parameters_without_enough_cases_follow_the_stated_rule():
    net = dgm.BayesNet(a=dgm.Categorical(3), z=dgm.Normal(), y=dgm.Normal().given("a", "z"))
    data = data_of(60, 2)
    z, a = data["z"][:, 0], data["a"].clamp_max(1)
    a[a == 1] = 0
    a[0] = 1                                                                # one case of 1, none of 2
    model = dgm.compile(net, seed=0).double()
    found = dgm.estimate(model, {"a": a, "z": z, "y": data["y"]})
    assert found.unseen == {"y": [{"a": "2"}]}
    assert "y: 1 of 3 configurations of its parents have no row (as all rows together)" in repr(found)
    whole = numpy.polyfit(z.numpy(), data["y"].numpy(), 1)
    linear = model.conditional("y").predictor
    numpy.testing.assert_allclose([linear.linear.weight[2, 0, 0].item(), linear.linear.bias[2, 0].item()], whole)
    model_at = model.conditional("y")(a[:1], z[:1])
    torch.testing.assert_close(model_at.loc, data["y"][:1])                 # its one case is met, its scale is that of all residuals
    residual = data["y"] - model.conditional("y")(a, z).loc
    torch.testing.assert_close(model_at.scale[0], residual.square().mean().sqrt())


def test_networks_are_left_to_the_gradient():
    net = dgm.BayesNet(z=dgm.Normal(2), x=dgm.Normal().given("z", net=dgm.MLP(4)))
    with pytest.raises(dgm.GraphError, match=r"node 'x' has a network, MLP\(4\), whose weights have no closed form; train it by gradient.*dgm.fit\(dgm.MaximumLikelihood\(model\), data\)"):
        dgm.estimate(dgm.compile(net), {"z": torch.zeros(2, 2), "x": torch.zeros(2)})
    with pytest.raises(dgm.GraphError, match="a Dirichlet prior is one of tables, and no node has a table to estimate"):
        dgm.estimate(dgm.compile(dgm.BayesNet(z=dgm.Normal())), {"z": torch.zeros(2)}, prior=dgm.BDeu())
