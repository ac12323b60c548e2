"""Linear dynamical systems against the joint Gaussian of all steps, Pyro, and themselves."""

import pyro.distributions as dist
import pytest
import torch

import dgm_ppl as dgm

from .nets import GAUSSIAN, STEPS, assignments, chain, compiled, cut, gaussian_joint, lag, sampled

LENGTHS = [4, 2, 1]


@pytest.fixture(params=GAUSSIAN)
def case(request):
    net, hidden = GAUSSIAN[request.param]
    model = compiled(net)
    return model, hidden, sampled(model, hidden)


def test_evidence_and_smoothing(case):
    model, hidden, data = case
    post = dgm.posterior(model, data)
    mean, spread = post.mean(), post.std()
    for row in range(3):
        log, means, variances = gaussian_joint(model, cut(model, data, row, STEPS), hidden, STEPS)
        torch.testing.assert_close(post.log_evidence[row], log, atol=1e-9, rtol=0)
        for name in hidden:
            torch.testing.assert_close(mean[name][row], means[name], atol=1e-9, rtol=0)
            torch.testing.assert_close(spread[name][row].square(), variances[name], atol=1e-9, rtol=0)


def test_sequences_of_several_lengths(case):
    model, hidden, data = case
    padded = {**data, "time": torch.tensor(LENGTHS)}
    post, score = dgm.posterior(model, padded), dgm.log_prob(model, padded).value
    for row, steps in enumerate(LENGTHS):
        log, means, _ = gaussian_joint(model, cut(model, data, row, steps), hidden, steps)
        torch.testing.assert_close(score[row], log, atol=1e-9, rtol=0)
        for name in hidden:
            if model.net.chain_of(name):
                torch.testing.assert_close(post.mean()[name][row, :steps], means[name], atol=1e-9, rtol=0)
                torch.testing.assert_close(post.mean()[name][row, steps - 1:], means[name][-1:].expand_as(post.mean()[name][row, steps - 1:]), atol=1e-9, rtol=0)


def test_filtering_is_smoothing_of_the_steps_so_far(case):
    model, hidden, data = case
    post = dgm.posterior(model, data)
    for steps in (1, 3):
        early = dgm.posterior(model, {name: torch.cat([cut(model, {name: value}, row, steps)[name] for row in range(3)]) for name, value in data.items()})
        for name in post.filtered:
            for ours, theirs in zip(post.moments(name, filtered=True), early.moments(name)):
                torch.testing.assert_close(ours[:, steps - 1], theirs[:, -1], atol=1e-9, rtol=0)


def test_draws_have_the_posterior(case):
    model, hidden, data = case
    post = dgm.posterior(model, data)
    torch.manual_seed(0)
    drawn = post.sample(4000)
    mean, spread = post.mean(), post.std()
    for name in hidden:
        assert drawn[name].shape == (4000, *mean[name].shape)
        assert ((drawn[name].mean(0) - mean[name]) / spread[name]).abs().max() < 5 / 4000**0.5
        assert (drawn[name].std(0) / spread[name] - 1).abs().max() < 5 / (2 * 4000)**0.5


def test_gradients_are_those_of_the_score(case):
    """d log p(x) = E[d log p(x, z)] over the posterior (Fisher's identity), by draws that the posterior's moments fix: a finite difference checks it here."""
    model, hidden, data = case
    objective = dgm.MaximumLikelihood(model)
    batch = objective.prepare(data)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not parameters:
        return
    gradient = torch.autograd.grad(objective(batch), parameters, allow_unused=True)
    for parameter, slope in zip(parameters, gradient):
        if slope is None:
            continue
        torch.manual_seed(0)
        direction = torch.randn_like(parameter)
        with torch.no_grad():
            parameter.add_(direction, alpha=1e-5)
            above = objective(batch)
            parameter.add_(direction, alpha=-2e-5)
            below = objective(batch)
            parameter.add_(direction, alpha=1e-5)
        torch.testing.assert_close((slope * direction).sum(), (above - below) / 2e-5, atol=1e-6, rtol=1e-5)


def test_missing_cells_are_integrated_out():
    model = compiled(GAUSSIAN["full covariances"][0])
    x = sampled(model, ["z"])["x"]
    holes = x.clone()
    holes[0, 1], holes[1, 2, 0] = torch.nan, torch.nan
    joint = joint_of_observed(model)
    for row in range(3):
        seen = ~holes[row].isnan().reshape(-1)
        mean, covariance = joint[0][seen], joint[1][seen][:, seen]
        wanted = dist.MultivariateNormal(mean, covariance).log_prob(x[row].reshape(-1)[seen])
        torch.testing.assert_close(dgm.log_prob(model, {"x": holes}).value[row], wanted, atol=1e-8, rtol=0)


def joint_of_observed(model):
    """Moments of all observations, from many zero-data evaluations: log p is quadratic in x."""
    numbers = STEPS * 3

    def log(flat):
        return -dgm.MaximumLikelihood(model).world_losses({"x": flat.reshape(1, STEPS, 3)}).sum()

    zero = torch.zeros(numbers, dtype=torch.double)
    covariance = torch.linalg.inv(-torch.autograd.functional.hessian(log, zero))
    return covariance @ torch.autograd.functional.jacobian(log, zero), covariance


def test_pyros_gaussian_hmm():
    torch.manual_seed(0)
    move, read = 0.5 * torch.randn(2, 2), torch.randn(3, 2)
    net = dgm.BayesNet(
        z=dgm.Normal(2, loc=dgm.matmul(move, lag("z")), scale=0.4).starting(dgm.Normal(2, loc=0.0, scale=1.0)),
        x=dgm.Normal(3, loc=dgm.matmul(read, dgm.Ref("z")), scale=0.7),
        plates=chain("z", "x"))
    x = torch.randn(4, 6, 3, dtype=torch.double)

    def normal(scale, n):
        return dist.Normal(torch.zeros(n, dtype=torch.double), scale).to_event(1)

    first = dist.MultivariateNormal(torch.zeros(2, dtype=torch.double), (move @ move.T).double() + 0.16 * torch.eye(2, dtype=torch.double))
    before = dgm.BayesNet({**net.variables, "z": dgm.Normal(2, loc=dgm.matmul(move, lag("z")), scale=0.4).starting(
        dgm.MultivariateNormal(2, loc=0.0, covariance_matrix=first.covariance_matrix.numpy()))}, plates=net.plates)
    theirs = dist.GaussianHMM(normal(1.0, 2), move.T.double(), normal(0.4, 2), read.T.double(), normal(0.7, 3), duration=6)
    ours = dgm.posterior(compiled(before), {"x": x})                        # its initial distribution precedes the first move
    torch.testing.assert_close(ours.log_evidence, theirs.log_prob(x), atol=1e-5, rtol=0)
    end = theirs.filter(x)
    torch.testing.assert_close(ours.moments("z", filtered=True)[0][:, -1], end.loc, atol=1e-5, rtol=0)
    torch.testing.assert_close(ours.moments("z", filtered=True)[1][:, -1], end.covariance_matrix, atol=1e-5, rtol=0)


def test_prediction_is_smoothing_of_steps_without_evidence():
    model = compiled(GAUSSIAN["two steps back"][0])
    x = sampled(model, ["z"])["x"]
    post = dgm.posterior(model, {"x": x, "time": torch.tensor(LENGTHS)})
    ahead = post.predict(2)["z"]
    for row, steps in enumerate(LENGTHS):
        longer = torch.cat([x[row, :steps], torch.full((2,), torch.nan, dtype=torch.double)])
        mean, covariance = dgm.posterior(model, {"x": longer}).moments("z")
        torch.testing.assert_close(ahead.mean[row], mean[steps:])
        torch.testing.assert_close(ahead.variance[row], covariance[steps:, 0, 0])


def test_single_precision_is_stable_over_many_steps():
    model = dgm.compile(dgm.BayesNet(z=dgm.Normal(loc=lag("z", initial=0.0), scale=0.01), x=dgm.Normal(loc="z", scale=1.0), plates=chain("z", "x")))
    torch.manual_seed(0)
    x = model.sample(2, sizes={"time": 1000})["x"]
    spreads, logs = [], []
    for each in (model, model.double()):
        post = dgm.posterior(each, {"x": x})
        spreads.append(post.std()["z"].double())
        logs.append(post.log_evidence)
    torch.testing.assert_close(*spreads, rtol=1e-3, atol=0)
    torch.testing.assert_close(*logs, rtol=1e-5, atol=0)


BAD = {
    "not linear": (lambda: dgm.BayesNet(z=dgm.Normal().given(lag("z")), x=dgm.Normal().given("z", net=dgm.MLP(3)), plates=chain("z", "x")),
                   r"node 'x' depends on z, which is not observed, and MLP\(3\)\(z\) is not linear"),
    "not Gaussian": (lambda: dgm.BayesNet(z=dgm.Gamma(concentration=lag("z", initial=1.0), rate=1.0), x=dgm.Normal(loc="z", scale=1.0), plates=chain("z", "x")),
                     r"node 'z' ~ Gamma.* is not observed and not a single finite value"),
    "switching": (lambda: dgm.BayesNet(s=dgm.Categorical(2).given(lag("s")), z=dgm.Normal().given(lag("z"), "s"), x=dgm.Normal().given("z"), plates=chain("s", "z", "x")),
                  r"s is finite and z Gaussian.*a switching system, whose posterior is a mixture of 2\^30 = 1.07e\+09 Gaussians for each of 2 sequences; allowed are 100,000"),
}


@pytest.mark.parametrize("net, message", BAD.values(), ids=BAD.keys())
def test_what_cannot_be_integrated_says_why(net, message):
    with pytest.raises(dgm.GraphError, match=message):
        dgm.posterior(dgm.compile(net()), {"x": torch.zeros(2, 30)})


def test_short_switching_systems_are_gone_through_path_by_path():
    net = dgm.BayesNet(
        c=dgm.Categorical(2), s=dgm.Categorical(2).given(lag("s"), "c"), z=dgm.Normal(2).given(lag("z"), "s"), x=dgm.Normal().given("z", "s"), plates=chain("s", "z", "x"))
    model = compiled(net)
    data = {"x": sampled(model, [])["x"]}
    for lengths in ([4, 4, 4], [4, 2, 1]):
        padded = {**data, "time": torch.tensor(lengths)}
        post = dgm.posterior(model, padded)
        objective = dgm.MaximumLikelihood(model)
        torch.testing.assert_close(-objective.world_losses(objective.prepare(padded)), post.log_evidence, atol=1e-9, rtol=0)
        torch.manual_seed(0)
        drawn = post.sample(3000)
        for row, steps in enumerate(lengths):
            logs, means, states = [], [], []
            for values in assignments(net, ["c", "s"], 1, steps):
                log, mean, _ = gaussian_joint(model, {**cut(model, data, row, steps), **values}, ["z"], steps)
                logs.append(log)
                means.append(mean["z"])
                states.append(values["s"][0].double())
            weights = torch.stack(logs).softmax(0)
            torch.testing.assert_close(post.log_evidence[row], torch.stack(logs).logsumexp(0), atol=1e-9, rtol=0)
            share = (weights.unsqueeze(-1) * torch.stack(states)).sum(0)
            torch.testing.assert_close(post.probabilities("s")[row, :steps, 1], share, atol=1e-9, rtol=0)
            torch.testing.assert_close(post.moments("z")[0][row, :steps], (weights.reshape(-1, 1, 1) * torch.stack(means)).sum(0), atol=1e-9, rtol=0)
            torch.testing.assert_close(post.marginals["z"].component_distribution.mean.shape[-1], 2)
            assert (drawn["s"][:, row, :steps].double().mean(0) - share).abs().max() < 5 * 0.5 / 3000**0.5
            spread = post.std()["z"][row, :steps]
            assert ((drawn["z"][:, row, :steps].mean(0) - post.mean()["z"][row, :steps]) / spread).abs().max() < 5 / 3000**0.5
