"""Gaussian processes at given points, against scikit-learn's regression and torch's multivariate normal."""

from __future__ import annotations

import numpy
import pytest
import torch
from torch.distributions import MultivariateNormal

import dgm_ppl as dgm

torch.set_num_threads(1)

gaussian_process = pytest.importorskip("sklearn.gaussian_process", reason="scikit-learn's regression is the reference")
kernels = gaussian_process.kernels

KERNELS = {
    "rbf": (dgm.RBF(lengthscale=0.7, variance=2.0), lambda: 2.0 * kernels.RBF(0.7)),
    "a lengthscale a feature": (dgm.RBF(lengthscale=(0.7, 1.4), variance=2.0), lambda: 2.0 * kernels.RBF([0.7, 1.4])),
    "ornstein-uhlenbeck": (dgm.Matern(lengthscale=0.7, variance=2.0, nu=0.5), lambda: 2.0 * kernels.Matern(0.7, nu=0.5)),
    "matern 3/2": (dgm.Matern(lengthscale=0.7, variance=2.0), lambda: 2.0 * kernels.Matern(0.7, nu=1.5)),
    "matern 5/2": (dgm.Matern(lengthscale=0.7, variance=2.0, nu=2.5), lambda: 2.0 * kernels.Matern(0.7, nu=2.5)),
    "periodic": (dgm.Periodic(lengthscale=0.7, variance=2.0, period=1.5), lambda: 2.0 * kernels.ExpSineSquared(0.7, 1.5)),
}


def regression(kernel, points=12, features=1, noise=0.3):
    return dgm.BayesNet(
        x=dgm.Given(points, features), f=dgm.GaussianProcess(points, at="x", kernel=kernel), y=dgm.Normal(points, loc="f", scale=noise),
    )


@pytest.mark.parametrize("name", KERNELS)
def test_evidence_and_predictions_are_scikit_learns(name):
    kernel, theirs = KERNELS[name]
    features = 2 if name == "a lengthscale a feature" else 1
    torch.manual_seed(0)
    x = torch.randn(12, features)
    y = (2 * x[:, 0]).sin() + 0.2 * torch.randn(12)
    known = 8
    reference = gaussian_process.GaussianProcessRegressor(theirs(), alpha=0.3**2, optimizer=None).fit(x[:known].numpy(), y[:known].numpy())
    mean, covariance = reference.predict(x[known:].numpy(), return_cov=True)

    model = dgm.compile(regression(kernel, features=features))
    data = {"x": x, "y": torch.where(torch.arange(12) < known, y, torch.nan)}
    assert float(dgm.log_prob(model, data).value) == pytest.approx(reference.log_marginal_likelihood_value_, abs=1e-3)
    post = dgm.posterior(model, data)
    numpy.testing.assert_allclose(post.mean()["f"][known:], mean, atol=2e-3)
    numpy.testing.assert_allclose(post.std()["f"][known:], numpy.sqrt(numpy.diag(covariance)), atol=2e-3)
    drawn = post.sample(6000)["f"][:, known:]
    numpy.testing.assert_allclose(torch.cov(drawn.T), covariance, atol=0.12)


def test_maximum_likelihood_finds_scikit_learns_kernel():
    torch.manual_seed(0)
    x = torch.linspace(-3, 3, 15).unsqueeze(-1)
    y = (2 * x[:, 0]).sin() + 0.2 * torch.randn(15)
    found = gaussian_process.GaussianProcessRegressor(1.0 * kernels.RBF(1.0) + kernels.WhiteKernel(0.1), alpha=0.0).fit(x.numpy(), y.numpy())
    net = dgm.BayesNet(x=dgm.Given(15, 1), f=dgm.GaussianProcess(15, at="x", kernel=dgm.RBF()), y=dgm.Normal(15, loc="f", scale=float(found.kernel_.k2.noise_level) ** 0.5))
    model = dgm.compile(net)
    dgm.fit(dgm.MaximumLikelihood(model), {"x": x[None], "y": y[None]}, steps=70, batch_size=1, optimizer=dgm.Adam(lr=0.1), progress=False)
    learned = {name.rsplit(".")[-1]: value.exp().item() for name, value in model.named_parameters()}
    assert learned["lengthscale"] == pytest.approx(found.kernel_.k1.k2.length_scale, rel=0.03)
    assert learned["variance"] == pytest.approx(found.kernel_.k1.k1.constant_value, rel=0.06)


def test_the_node_is_a_normal_vector_of_its_kernel(tmp_path):
    net = dgm.BayesNet(x=dgm.Normal(5, loc=0.0, scale=2.0), m=dgm.Normal(), f=dgm.GaussianProcess(5, at="x", kernel=dgm.Matern(), loc=dgm.refs("m") * torch.ones(5)), plates={"curve": dgm.Plate(["x", "f"], size=3)})
    model = dgm.compile(net, seed=0)
    values = model.sample(4)
    node = model.conditionals["f"]
    covariance = dgm.Matern(lengthscale=1.0, variance=1.0)(values["x"].unsqueeze(-1))
    expected = MultivariateNormal(values["m"][:, None, None].expand(4, 3, 5).double(), covariance).log_prob(values["f"].double())
    torch.testing.assert_close(node.log_density(values["f"], node.prepare(*[values[port.name].reshape(4, *(1,) * (port.name == "m"), *values[port.name].shape[1:]) for port in node.ports])).double(), expected, atol=2e-3, rtol=1e-3)
    assert sorted(name.rsplit(".")[-1] for name, _ in node.named_parameters()) == ["lengthscale", "variance"]
    assert "GaussianProcess" not in repr(net["f"]) and "Matern" in repr(net["f"])
    dgm.save(model, tmp_path / "gp.safetensors")
    again = dgm.load(tmp_path / "gp.safetensors")
    assert again.net == net and torch.equal(again.log_prob(values), model.log_prob(values))
    model.log_prob(values).sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def test_points_may_be_members_of_a_plate():
    net = dgm.BayesNet(x=dgm.Given(2), f=dgm.GaussianProcess(6, at="x", kernel=dgm.RBF()), plates={"place": dgm.Plate(["x"], size=6)})
    x = torch.randn(1, 6, 2)
    alone = dgm.compile(dgm.BayesNet(x=dgm.Given(6, 2), f=dgm.GaussianProcess(6, at="x", kernel=dgm.RBF())))
    f = alone.sample(given={"x": x})["f"]
    torch.testing.assert_close(dgm.compile(net).log_prob({"x": x, "f": f}), alone.log_prob({"x": x, "f": f}))


def test_draws_have_the_covariance():
    model = dgm.compile(dgm.BayesNet(x=dgm.Given(3), f=dgm.GaussianProcess(3, at="x", kernel=dgm.RBF(lengthscale=1.0))))
    x = torch.tensor([0.0, 0.5, 2.0])
    torch.manual_seed(0)
    drawn = model.sample(20_000, given={"x": x})["f"]
    torch.testing.assert_close(torch.cov(drawn.T).double(), dgm.RBF()(x[:, None]), atol=0.04, rtol=0)


WRONG = {
    "no kernel": (lambda: dgm.GaussianProcess(3, at="x", kernel="rbf"), r"expected a kernel; got 'rbf'; try kernel=dgm.RBF\(\)"),
    "no points": (lambda: dgm.GaussianProcess(3, at=torch.zeros(3), kernel=dgm.RBF()), r"at= names the node that holds the points.*try at='x' with x=dgm.Given\(3\)"),
    "a lengthscale": (lambda: dgm.RBF(lengthscale=0.0), r"RBF: expected lengthscale to be a number above 0 \(one a feature\), or None for one that is learned; got 0.0"),
    "a node for a lengthscale": (lambda: dgm.RBF(lengthscale=dgm.refs("l")), "RBF: expected lengthscale to be a number above 0"),
    "several variances": (lambda: dgm.RBF(variance=(1.0, 2.0)), "RBF: expected variance to be a number above 0, or None"),
    "no jitter": (lambda: dgm.RBF(jitter=None), "RBF: expected jitter to be a number above 0; got None"),
    "a roughness": (lambda: dgm.Matern(nu=1.0), "Matern: expected nu to be 0.5, 1.5 or 2.5; got 1.0"),
    "another number of points": (lambda: dgm.BayesNet(x=dgm.Given(4), f=dgm.GaussianProcess(3, at="x", kernel=dgm.RBF())).check(), r"node 'f': parameter 'scale_tril' from fn: expected the shape \(\d+, 3, 3\)"),
    "an image": (lambda: dgm.compile(dgm.BayesNet(x=dgm.Given(1, 4, 4), f=dgm.GaussianProcess(4, at="x", kernel=dgm.RBF()))), r"node 'f': RBF\(\) expects one parent, points \(n,\) or \(n, features\); got 'x' \(1, 4, 4\)"),
    "the same point": (
        lambda: dgm.compile(dgm.BayesNet(x=dgm.Given(4), f=dgm.GaussianProcess(4, at="x", kernel=dgm.RBF(jitter=1e-30)))).sample(given={"x": torch.zeros(4)}),
        r"node 'f': the covariance of RBF\(jitter=1e-30\) is not positive definite at these points.*try jitter=1e-28",
    ),
    "lengthscales": (lambda: dgm.BayesNet(x=dgm.Given(4, 3), f=dgm.GaussianProcess(4, at="x", kernel=dgm.RBF(lengthscale=[1.0, 2.0]))).check(), "node 'f': its parameters could not be computed"),
}


@pytest.mark.parametrize("wrong, message", WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_said(wrong, message):
    with pytest.raises(dgm.GraphError, match=message):
        wrong()
