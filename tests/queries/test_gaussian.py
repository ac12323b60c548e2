"""Exact posteriors of Gaussian nodes: against one big Gaussian, scikit-learn, and each row alone."""

from __future__ import annotations

import random

import numpy
import pandas
import pytest
import torch
from exact.mixed import Joint, random_net
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import dgm_ppl as dgm

torch.set_num_threads(1)


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(st.integers(0, 10**6))
def test_rows_with_missing_cells_are_what_each_row_is_alone(seed):
    """Cells of vectors too: the oracle conditions one big Gaussian on what is there."""
    net, dice = random_net(seed, 5), random.Random(seed)
    model = dgm.compile(net, seed=seed).double()
    torch.manual_seed(seed)
    drawn = model.sample(4)
    data = {name: drawn[name].double().clone() for name in model.random}
    for value in data.values():
        value[torch.rand(value.shape) < 0.4] = torch.nan
        value.reshape(4, -1)[1] = torch.nan if dice.random() < 0.3 else value.reshape(4, -1)[1]
    if all(bool(value.isnan().any(0).any()) is False for value in data.values()):
        return
    found = dgm.log_prob(model, data)
    assert found.kind == "exact"
    for row in range(4):
        finite = {name: drawn[name][row] for name in data if net[name].space.cardinality is not None and not data[name][row].isnan()}
        joint = Partial(model, finite, {name: value[row] for name, value in data.items() if net[name].space.cardinality is None})
        assert found.value[row].item() == pytest.approx(joint.log_evidence.item(), abs=1e-7)
    if any(value.isnan().any() for value in data.values()):
        post = dgm.posterior(model, data)
        assert torch.allclose(post.log_evidence, found.value)
        means = post.mean() if hasattr(post, "covariance") else {}
        for name in means:
            if net[name].space.cardinality is None and name in data:
                seen = ~data[name].isnan()
                assert torch.allclose(means[name][seen], data[name][seen])
                for row in range(4):
                    finite = {other: drawn[other][row] for other in data if net[other].space.cardinality is not None and not data[other][row].isnan()}
                    joint = Partial(model, finite, {other: value[row] for other, value in data.items() if net[other].space.cardinality is None})
                    assert torch.allclose(means[name][row].reshape(-1), joint.mean(name), atol=1e-6)


class Partial(Joint):
    """The oracle with single numbers of vectors observed."""

    def __init__(self, model, finite, real):
        from exact.mixed import configurations, gaussian
        names = [name for name in model.net.order if model.net[name].space.cardinality is not None]
        hidden, logs, moments = [name for name in names if name not in finite], [], []
        for states in configurations(model, hidden):
            everything = {**states, **finite}
            prior = sum((model.conditionals[name](*(everything[parent] for parent in model.net[name].all_parents)).log_prob(everything[name]) for name in names), torch.zeros((), dtype=torch.float64))
            mean, covariance, places = gaussian(model, everything)
            at, value = [], []
            for name, given in real.items():
                for offset, number in enumerate(given.reshape(-1)):
                    if not number.isnan():
                        at.append(places[name].start + offset)
                        value.append(number)
            if at:
                logs.append(prior + torch.distributions.MultivariateNormal(mean[at], covariance[at][:, at]).log_prob(torch.stack(value)))
                gain = torch.linalg.solve(covariance[at][:, at], covariance[at]).T
                mean, covariance = mean + gain @ (torch.stack(value) - mean[at]), covariance - gain @ covariance[at]
            else:
                logs.append(prior)
            moments.append((mean.detach(), covariance.detach()))
        self.places, self.moments, self.logs = places, moments, torch.stack(logs).detach()
        self.log_evidence, self.weights = self.logs.logsumexp(0), self.logs.softmax(0)


def line(**plates):
    a, b, t = dgm.refs("a b t")
    return dgm.BayesNet(
        a=dgm.Normal(loc=0.0, scale=2.0), b=dgm.Normal(loc=1.0, scale=1.0), t=dgm.Given(), y=dgm.Normal(loc=a + b * t, scale=0.5), plates={"point": ["t", "y"]},
    )


def test_bayesian_linear_regression_in_closed_form():
    model, t = dgm.compile(line()).double(), torch.linspace(-1, 1, 20, dtype=torch.float64)
    torch.manual_seed(0)
    y = torch.stack([1 + 2 * t + 0.5 * torch.randn(20), -t + 0.5 * torch.randn(20)])
    post = dgm.posterior(model, {"t": t, "y": y})
    design = torch.stack([torch.ones(20, dtype=torch.float64), t], 1)
    precision = design.T @ design / 0.25 + torch.diag(torch.tensor([0.25, 1.0]))
    mean = torch.linalg.solve(precision, (design.T @ y.T / 0.25) + torch.tensor([[0.0], [1.0]])).T
    joint = post.joint("a", "b")
    assert torch.allclose(joint.mean, mean) and torch.allclose(joint.covariance_matrix, torch.linalg.inv(precision).expand(2, 2, 2))
    assert torch.allclose(post.mean()["b"], mean[:, 1]) and torch.allclose(post.std()["a"], torch.linalg.inv(precision)[0, 0].sqrt().expand(2))
    prior = torch.distributions.MultivariateNormal(design @ torch.tensor([0.0, 1.0], dtype=torch.float64), design @ torch.diag(torch.tensor([4.0, 1.0])).double() @ design.T + 0.25 * torch.eye(20))
    assert torch.allclose(post.log_evidence, prior.log_prob(y)) and torch.allclose(dgm.log_prob(model, {"t": t, "y": y}).value, prior.log_prob(y))
    drawn = post.sample(4000)
    assert drawn["a"].shape == (4000, 2) and (drawn["b"].mean(0) - mean[:, 1]).abs().max() < 0.02
    assert torch.allclose(post.quantile(0.5)["b"], mean[:, 1]) and post.marginals["a"].batch_shape == (2,)
    some = y.clone()
    some[0, 5:] = torch.nan
    part = dgm.posterior(model, {"t": t, "y": some})
    alone = dgm.posterior(model, {"t": t[:5], "y": y[0, :5]})
    assert torch.allclose(part.mean()["a"][0], alone.mean()["a"]) and torch.allclose(part.mean()["a"][1], post.mean()["a"][1])
    predicted = part.mean()["y"]
    assert predicted.shape == (2, 20) and torch.allclose(predicted[0, 5:], alone.mean()["a"] + alone.mean()["b"] * t[5:]) and torch.equal(predicted[1], y[1])
    assert (part.std()["y"][1] < 1e-6).all() and (part.std()["y"][0, 5:] > 0.5).all()


def test_bayesian_ridge_of_scikit_learn():
    linear = pytest.importorskip("sklearn.linear_model")
    torch.manual_seed(0)
    x, weight = torch.randn(40, 3, dtype=torch.float64), torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    y = x @ weight + 0.3 * torch.randn(40)
    ridge = linear.BayesianRidge(fit_intercept=False, compute_score=True).fit(x.numpy(), y.numpy())
    w, design = dgm.refs("w x")
    net = dgm.BayesNet(
        w=dgm.Normal(3, loc=0.0, scale=ridge.lambda_**-0.5), x=dgm.Given(3), y=dgm.Normal(loc=design @ w, scale=ridge.alpha_**-0.5), plates={"row": ["x", "y"]},
    )
    post = dgm.posterior(dgm.compile(net).double(), {"x": x, "y": y})
    assert post.mean()["w"].tolist() == pytest.approx(ridge.coef_.tolist(), rel=1e-4)
    assert torch.allclose(post.covariance("w"), torch.tensor(ridge.sigma_), rtol=1e-3)


def test_probabilistic_pca_and_factor_analysis_of_scikit_learn():
    decomposition = pytest.importorskip("sklearn.decomposition")
    generator = numpy.random.default_rng(0)
    data = generator.normal(size=(60, 2)) @ generator.normal(size=(2, 5)) + 0.3 * generator.normal(size=(60, 5)) + 1.0
    for fitted in (decomposition.PCA(2).fit(data), decomposition.FactorAnalysis(2, tol=1e-8, max_iter=5000).fit(data)):
        covariance, mean = fitted.get_covariance(), fitted.mean_
        if isinstance(fitted, decomposition.PCA):
            loading = fitted.components_.T * numpy.sqrt(fitted.explained_variance_ - fitted.noise_variance_)
            noise = numpy.full(5, fitted.noise_variance_)
        else:
            loading, noise = fitted.components_.T, fitted.noise_variance_
        assert numpy.allclose(loading @ loading.T + numpy.diag(noise), covariance)
        model = dgm.compile(dgm.BayesNet(
            z=dgm.Normal(2, loc=0.0, scale=1.0), x=dgm.Normal(5, loc=torch.tensor(loading) @ dgm.Ref("z") + torch.tensor(mean), scale=torch.tensor(noise).sqrt()),
        )).double()
        found = dgm.log_prob(model, {"x": data})
        assert found.value.numpy() == pytest.approx(fitted.score_samples(data), abs=1e-8)
        if not isinstance(fitted, decomposition.PCA):
            assert numpy.allclose(dgm.posterior(model, {"x": data}).mean()["z"].numpy(), fitted.transform(data), atol=1e-8)


def test_mixtures_of_gaussians_of_scikit_learn():
    mixture = pytest.importorskip("sklearn.mixture")
    generator = numpy.random.default_rng(1)
    data = numpy.concatenate([generator.normal(size=(40, 2)) + [3, 0], generator.normal(size=(30, 2)) @ [[1.0, 0.8], [0.0, 0.4]]])
    for kind in ("diag", "full"):
        fitted = mixture.GaussianMixture(2, covariance_type=kind, random_state=0).fit(data)
        scale = {"scale": fitted.covariances_**0.5} if kind == "diag" else {"covariance_matrix": fitted.covariances_}
        family = dgm.Normal if kind == "diag" else dgm.MultivariateNormal
        model = dgm.compile(dgm.BayesNet(k=dgm.Categorical(2, probs=fitted.weights_), x=family(2, loc=fitted.means_, **scale).given("k"))).double()
        post = dgm.posterior(model, {"x": data})
        assert post.log_evidence.numpy() == pytest.approx(fitted.score_samples(data), abs=1e-8)
        assert numpy.allclose(post.probabilities("k").numpy(), fitted.predict_proba(data), atol=1e-8)
        prior = dgm.posterior(model, {}).marginals["x"]                        # the mixture itself, as a distribution
        assert numpy.allclose(prior.log_prob(torch.tensor(data)).numpy(), fitted.score_samples(data), atol=1e-8)


def test_missing_cells_of_a_mixture_of_factor_analysers():
    torch.manual_seed(0)
    model = dgm.compile(dgm.BayesNet(k=dgm.Categorical(["a", "b"]), z=dgm.Normal(2, loc=0.0, scale=1.0), x=dgm.Normal(4).given("z", "k")), seed=0).double()
    x = model.sample(3)["x"]
    x[0, 1], x[1, :] = torch.nan, torch.nan
    post = dgm.posterior(model, {"x": x, "k": ["a", None, None]})
    for row in range(3):
        finite = {"k": torch.tensor(0)} if row == 0 else {}
        oracle = Partial(model, finite, {"x": x[row]})
        assert post.log_evidence[row].item() == pytest.approx(oracle.log_evidence.item(), abs=1e-9)
        for name in ("z", "x"):
            assert torch.allclose(post.mean()[name][row], oracle.mean(name)) and torch.allclose(post.covariance(name)[row], oracle.covariance(name), atol=1e-9)
    marginal = post.marginals["z"]
    assert isinstance(marginal, torch.distributions.MixtureSameFamily) and torch.allclose(marginal.mean, post.mean()["z"]) and marginal.batch_shape == (3,)
    assert post.table("k")["a"][0] == 1 and post.sample(7)["x"].shape == (7, 3, 4) and torch.equal(post.sample(7)["x"][:, 2], x[2].expand(7, 4))
    assert (post.marginals["x"].sample((5,))[:, 0, 0] == x[0, 0]).all()


def test_frames_in_and_out_and_soft_evidence():
    model = dgm.compile(dgm.BayesNet(k=dgm.Categorical(["low", "high"], probs=[0.5, 0.5]), h=dgm.Normal(loc=[0.0, 4.0], scale=1.0).given("k"), y=dgm.Normal(loc="h", scale=1.0))).double()
    frame = pandas.DataFrame({"y": [0.0, 4.0, None]}, index=["one", "two", "three"])
    post = dgm.posterior(model, frame)
    shown = post.frame()
    assert list(shown.index) == ["one", "two", "three"] and shown["k", "low"]["one"] > 0.9 and shown["h", "mean"]["three"] == pytest.approx(2.0)
    soft = dgm.posterior(model, {"y": [2.0, 2.0], "k": dgm.Likelihood([[0.2, 0.6], [1.0, 1.0]])})
    assert soft.probabilities("k")[0].tolist() == pytest.approx([0.25, 0.75]) and soft.probabilities("k")[1].tolist() == pytest.approx([0.5, 0.5])


def test_a_set_node_and_functions_of_hidden_nodes():
    """Deterministic links: the joint is degenerate, the answer is not."""
    a, b, total = dgm.refs("a b total")
    net = dgm.BayesNet(a=dgm.Normal(loc=0.0, scale=1.0), b=dgm.Normal(loc=0.0, scale=2.0), total=dgm.Delta(v=a + b), y=dgm.Normal(loc="total", scale=1.0), c=dgm.Normal(loc="a", scale=1.0))
    model = dgm.compile(net).double()
    post = dgm.posterior(model, {"y": 3.0})
    assert post.mean()["a"].item() == pytest.approx(3 / 6) and post.mean()["b"].item() == pytest.approx(3 * 4 / 6)
    assert post.marginals["c"].mean.item() == pytest.approx(0.5) and post.marginals["c"].variance.item() == pytest.approx(1 - 1 / 6 + 1)
    drawn = post.sample(3000)
    assert torch.allclose(drawn["total"], drawn["a"] + drawn["b"]) and drawn["total"].mean().item() == pytest.approx(2.5, abs=0.08)
    assert dgm.posterior(model.do(a=1.0), {"y": 3.0}).mean()["b"].item() == pytest.approx(2 * 4 / 5)


def test_hierarchies_unroll_their_plates():
    """Eight schools with tau given: the textbook's formulas."""
    y, sigma = torch.tensor([28.0, 8, -3, 7, -1, 1, 18, 12], dtype=torch.float64), torch.tensor([15.0, 10, 16, 11, 9, 11, 10, 18], dtype=torch.float64)
    model = dgm.compile(dgm.BayesNet(
        mu=dgm.Normal(loc=0.0, scale=5.0), tau=dgm.Given(), theta=dgm.Normal(loc="mu", scale="tau"), sigma=dgm.Given(), y=dgm.Normal(loc="theta", scale="sigma"),
        plates={"school": ["theta", "sigma", "y"]},
    )).double()
    post = dgm.posterior(model, {"y": y, "sigma": sigma, "tau": torch.tensor(4.0, dtype=torch.float64)})
    weights = 1 / (sigma**2 + 16)
    variance = 1 / (weights.sum() + 1 / 25)
    mu = variance * (weights * y).sum()
    assert post.mean()["mu"].item() == pytest.approx(mu.item()) and post.marginals["mu"].variance.item() == pytest.approx(variance.item())
    shrink = (1 / sigma**2) / (1 / sigma**2 + 1 / 16)
    assert torch.allclose(post.mean()["theta"], shrink * y + (1 - shrink) * mu)
    marginal = post.marginals["theta"]
    assert marginal.event_shape == (8,) and torch.allclose(marginal.variance, 1 / (1 / sigma**2 + 1 / 16) + (1 - shrink) ** 2 * variance)
    assert post.sample(5)["theta"].shape == (5, 8)


def test_finite_nodes_in_plates():
    model = dgm.compile(dgm.BayesNet(
        s=dgm.Bernoulli(probs=0.4), k=dgm.Categorical(2, probs=[[0.9, 0.1], [0.2, 0.8]]).given("s"), x=dgm.Normal(loc=[0.0, 2.0], scale=1.0).given("k"), plates={"point": ["k", "x"]},
    )).double()
    x = torch.tensor([[0.1, 2.2, 1.0], [3.0, 2.0, 1.5]], dtype=torch.float64)
    post = dgm.posterior(model, {"x": x})
    table = torch.tensor([[0.9, 0.1], [0.2, 0.8]], dtype=torch.float64)
    density = torch.distributions.Normal(torch.tensor([0.0, 2.0], dtype=torch.float64), 1.0).log_prob(x.unsqueeze(-1)).exp()           # (rows, points, k)
    by_state = torch.stack([(density * table[s]).sum(-1).prod(-1) * weight for s, weight in enumerate((0.6, 0.4))], -1)
    assert torch.allclose(post.log_evidence, by_state.sum(-1).log()) and torch.allclose(post.probabilities("s"), by_state / by_state.sum(-1, keepdim=True))
    shares = torch.stack([density * table[s] / (density * table[s]).sum(-1, keepdim=True) for s in range(2)], -1)
    assert torch.allclose(post.probabilities("k"), (shares * post.probabilities("s")[:, None, None]).sum(-1))
    drawn = post.sample(20_000)
    assert drawn["k"].shape == (20_000, 2, 3) and ((drawn["k"] == 1).double().mean(0) - post.probabilities("k")[..., 1]).abs().max() < 0.015
    both = (drawn["s"] * (drawn["k"][..., 0] == 1)).mean(0)
    assert (both - shares[:, 0, 1, 1] * post.probabilities("s")[:, 1]).abs().max() < 0.015


def test_answers_in_single_precision_and_their_gradients():
    """A thousand sharp observations: single precision parameters, the same answer as in double."""
    t, y = torch.linspace(100, 101, 1000), torch.linspace(200, 203, 1000)
    net = line().replace(y=dgm.Normal(loc=dgm.Ref("a") + dgm.Ref("b") * dgm.Ref("t"), scale=0.01))
    single, double = (dgm.posterior(model, {"t": t, "y": y}) for model in (dgm.compile(net), dgm.compile(net).double()))
    assert single.log_evidence.item() == pytest.approx(double.log_evidence.item(), rel=1e-5)
    assert single.mean()["b"].item() == pytest.approx(double.mean()["b"].item(), rel=1e-4)
    model = dgm.compile(dgm.BayesNet(z=dgm.Normal(loc=0.0, scale=dgm.free(1.0)), x=dgm.Normal(loc="z", scale=1.0))).double()
    post = dgm.posterior(model, {"x": 2.0}, method=dgm.Exact(differentiable=True))
    (slope,) = torch.autograd.grad(post.mean()["z"], list(model.parameters()))
    assert slope.item() == pytest.approx(2.0 * 2 / 4)                          # d/d log s of 2 s^2 / (s^2 + 1)
    (again,) = torch.autograd.grad(post.log_evidence, list(model.parameters()))
    assert again.item() == pytest.approx((4.0 / 4 - 1 / 2))


def curved():
    return dgm.compile(dgm.BayesNet(z=dgm.Normal(), x=dgm.Normal(loc=dgm.exp(dgm.Ref("z")), scale=1.0)))


WRONG = {
    "not linear": (lambda: dgm.posterior(curved(), {"x": 1.0}), r"expected a method; got None, and node 'z' ~ Normal\(\) cannot be eliminated: 'x' depends on it, and exp\(z\) is not linear in z; try"),
    "no log_prob": (lambda: dgm.log_prob(curved(), {"x": 1.0}), r"the latents \['z'\] have to be marginalised, and 'z' cannot be eliminated exactly: 'x' depends on it.*dgm.Importance"),
    "too large": (
        lambda: dgm.posterior(dgm.compile(dgm.BayesNet(k=dgm.Categorical(5), z=dgm.Normal(40).given("k"), x=dgm.Normal(3).given("z"))), {"x": [0.0, 0.0, 0.0]}, method=dgm.Exact(memory=10**4)),
        r"node 'k' .*cannot be eliminated: 1 Gaussian nodes \(z\) have 40 unknowns, to be solved for in each of 5 configurations of k: .* MiB a row; allowed are 0",
    ),
    "no states": (lambda: dgm.posterior(dgm.compile(line()), {"t": [0.0], "y": [1.0]}).probabilities("a"), "node 'a' ~ .* has no states"),
    "unknown": (lambda: dgm.posterior(dgm.compile(line()), {"t": [0.0], "y": [1.0]}).marginals["aa"], "marginals: 'aa' was not inferred; did you mean 'a'?"),
    "unknown evidence": (lambda: dgm.posterior(dgm.compile(line()), {"t": [0.0], "yy": [1.0]}), "data: no node 'yy'; did you mean 'y'?"),
    "mpe": (lambda: dgm.posterior(dgm.compile(line()), {"t": [0.0], "y": [1.0]}).mpe(), "mpe: the net has Gaussian nodes"),
    "a covariance": (
        lambda: dgm.posterior(dgm.compile(dgm.BayesNet(z=dgm.MultivariateNormal(2, loc=[0.0, 0.0], covariance_matrix=[[1.0, 1.0], [1.0, 1.0]]), x=dgm.Normal(2, loc="z", scale=1.0))), {"x": [0.0, 0.0]}).mean(),
        "covariance",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_answered_says_why(name):
    ask, message = WRONG[name]
    with pytest.raises(dgm.GraphError, match=message):
        ask()
