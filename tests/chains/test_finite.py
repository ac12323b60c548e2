"""Chains of finite states against brute force, Pyro and themselves."""

import pyro.distributions as dist
import pytest
import torch

import dgm_ppl as dgm
from dgm_ppl.exact import forward_backward
from dgm_ppl.exact.forward_backward import Potentials

from .nets import FINITE, chain, compiled, cut, joint, lag, sampled

LENGTHS = [4, 2, 1]


@pytest.fixture(params=FINITE)
def case(request):
    net, hidden = FINITE[request.param]
    model = compiled(net)
    return model, hidden, sampled(model, hidden)


def gradients(value, model):
    found = torch.autograd.grad(value.sum(), list(model.parameters()), allow_unused=True, retain_graph=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(model.parameters(), found)]


def loss_of(model, data):
    objective = dgm.MaximumLikelihood(model)
    return -objective.world_losses(objective.prepare(data))


def test_likelihood_and_gradient(case):
    model, hidden, data = case
    wanted = joint(model, data, hidden)[0].logsumexp(0)
    got = loss_of(model, data)
    torch.testing.assert_close(got, wanted, atol=1e-10, rtol=0)
    torch.testing.assert_close(gradients(got, model), gradients(wanted, model), atol=1e-9, rtol=0)
    torch.testing.assert_close(dgm.log_prob(model, data).value, wanted.detach(), atol=1e-10, rtol=0)


def test_sequences_of_several_lengths(case):
    model, hidden, data = case
    wanted = torch.cat([joint(model, cut(model, data, row, n), hidden, n)[0].logsumexp(0) for row, n in enumerate(LENGTHS)])
    got = loss_of(model, {**data, "time": torch.tensor(LENGTHS)})
    torch.testing.assert_close(got, wanted, atol=1e-10, rtol=0)
    torch.testing.assert_close(gradients(got, model), gradients(wanted, model), atol=1e-9, rtol=0)


def test_smoothing_filtering_and_paths(case):
    model, hidden, data = case
    logs, every = joint(model, data, hidden)
    logs = logs.detach()
    weights = logs.softmax(0)
    post = dgm.posterior(model, data)
    best = post.mpe()
    torch.testing.assert_close(best.log_prob, logs.max(0).values, atol=1e-10, rtol=0)
    torch.testing.assert_close(post.log_evidence, logs.logsumexp(0), atol=1e-10, rtol=0)
    for name in hidden:
        states = model.net[name].space.cardinality
        hot = torch.stack([torch.nn.functional.one_hot(values[name].long(), states).double() for values in every])
        wanted = (weights.reshape(*weights.shape, *(1,) * (hot.ndim - 2)) * hot).sum(0)
        torch.testing.assert_close(post.probabilities(name), wanted, atol=1e-10, rtol=0)
        assert torch.equal(best.codes[name], torch.stack([values[name] for values in every])[logs.argmax(0), torch.arange(3)])


def test_filtering_is_smoothing_of_the_steps_so_far(case):
    model, hidden, data = case
    post = dgm.posterior(model, data)
    for steps in (1, 3):
        early = {name: torch.cat([cut(model, {name: value}, row, steps)[name] for row in range(3)]) for name, value in data.items()}
        so_far = dgm.posterior(model, early)
        for name in post.filtered:
            torch.testing.assert_close(post.probabilities(name, filtered=True)[:, steps - 1], so_far.probabilities(name)[:, -1], atol=1e-10, rtol=0)


def test_draws_have_the_posterior(case):
    model, hidden, data = case
    post = dgm.posterior(model, data)
    torch.manual_seed(1)
    drawn = post.sample(4000)
    for name in hidden:
        states = model.net[name].space.cardinality
        share = torch.nn.functional.one_hot(drawn[name].long(), states).double().mean(0)
        assert (share - post.probabilities(name)).abs().max() < 5 * 0.5 / 4000**0.5
    stays = [name for name in hidden if model.net.chain_of(name)]
    logs, every = joint(model, data, hidden)                                # steps together, not their marginals alone
    exact = torch.stack([torch.stack([(values[name][:, -1] == values[name][:, -2]).double() for name in stays]) for values in every])
    wanted = (logs.detach().softmax(0).unsqueeze(1) * exact).sum(0)
    got = torch.stack([(drawn[name][:, :, -1] == drawn[name][:, :, -2]).double().mean(0) for name in stays])
    assert (got - wanted).abs().max() < 5 * 0.5 / 4000**0.5


def test_messages_by_scan_are_those_step_by_step(case, monkeypatch):
    model, hidden, data = case
    stepwise, there = dgm.posterior(model, data), loss_of(model, data)
    monkeypatch.setattr(Potentials, "parallel", lambda self: len(self.seen) > 1)
    scanned, here = dgm.posterior(model, data), loss_of(model, data)
    torch.testing.assert_close(here, there, atol=1e-10, rtol=0)
    torch.testing.assert_close(gradients(here, model), gradients(there, model), atol=1e-9, rtol=0)
    for name in stepwise.filtered:
        torch.testing.assert_close(scanned.probabilities(name), stepwise.probabilities(name), atol=1e-10, rtol=0)
        torch.testing.assert_close(scanned.probabilities(name, filtered=True), stepwise.probabilities(name, filtered=True), atol=1e-10, rtol=0)


def test_missing_cells_are_summed_out():
    net, hidden = FINITE["hidden Markov"]
    model = compiled(net)
    x = sampled(model, hidden)["x"]
    holes = x.clone()
    holes[0, 1] = torch.nan
    holes[1, 2, 0] = torch.nan
    got = loss_of(model, {"x": holes})
    logs, every = joint(model, {"x": x}, hidden)
    term = torch.stack([model.conditionals["x"].main(values["z"]).base_dist.log_prob(x) for values in every])      # (assignments, rows, steps, 2)
    wanted = (logs - torch.where(holes.isnan(), term, 0.0).sum((-1, -2))).logsumexp(0)
    torch.testing.assert_close(got, wanted, atol=1e-10, rtol=0)
    torch.testing.assert_close(dgm.posterior(model, {"x": holes}).log_evidence, wanted.detach(), atol=1e-10, rtol=0)


def test_missing_states_that_others_depend_on_are_summed_out():
    net, hidden = FINITE["hidden Markov"]
    model = compiled(net)
    torch.manual_seed(0)
    drawn = model.sample(2, sizes={"time": 4})
    seen = drawn["z"].double()
    seen[0, 1], seen[1, 3] = torch.nan, torch.nan
    logs, every = joint(model, {"x": drawn["x"]}, hidden)
    fits = torch.stack([((values["z"] == seen) | seen.isnan()).all(1) for values in every])
    torch.testing.assert_close(loss_of(model, {"x": drawn["x"], "z": seen}), torch.where(fits, logs, -torch.inf).logsumexp(0), atol=1e-10, rtol=0)
    post = dgm.posterior(model, {"x": drawn["x"], "z": seen})
    assert torch.equal(post.probabilities("z")[0, 0].argmax(), drawn["z"][0, 0])


def test_prediction_is_smoothing_of_steps_without_evidence():
    net, hidden = FINITE["hidden Markov"]
    model = compiled(net)
    x = sampled(model, hidden)["x"]
    ahead = dgm.posterior(model, {"x": x}).predict(3)["z"].probs
    longer = torch.cat([x, torch.full((3, 3, 2), torch.nan, dtype=torch.double)], 1)
    torch.testing.assert_close(ahead, dgm.posterior(model, {"x": longer}).probabilities("z")[:, 4:])


def test_pyros_discrete_hmm():
    """Its initial logits precede the first transition."""
    torch.manual_seed(0)
    x = torch.randn(5, 6)
    net = dgm.BayesNet(z=dgm.Categorical(3).given(lag("z")), x=dgm.Normal().given("z"), plates=chain("z", "x"))
    model = dgm.compile(net, seed=0)
    logits, moves = torch.randn(3, requires_grad=True), model.conditionals["z"].main.predictor.rows["logits"]
    first = (logits.softmax(0) @ moves.softmax(-1)).log()
    with torch.no_grad():
        model.conditionals["z"].starts[0].unconstrained["logits"].copy_(first)
    emission = model.conditionals["x"].main
    theirs = dist.DiscreteHMM(logits, moves, emission(torch.arange(3)), duration=6).log_prob(x)
    ours = loss_of(model, {"x": x})
    torch.testing.assert_close(ours, theirs)
    parameters = list(emission.parameters())
    torch.testing.assert_close(torch.autograd.grad(ours.sum(), parameters), torch.autograd.grad(theirs.sum(), parameters), rtol=1e-4, atol=1e-5)


def test_impossible_evidence_is_reported_by_row():
    net = dgm.BayesNet(z=dgm.Categorical(2, probs=[[1.0, 0.0], [0.0, 1.0]]).given(lag("z")), x=dgm.Bernoulli(probs=[0.0, 1.0]).given("z"), plates=chain("z", "x"))
    model = dgm.compile(net)
    data = {"x": torch.tensor([[1.0, 1.0], [0.0, 1.0], [0.0, 0.0]])}
    assert dgm.log_prob(model, data).value.isinf().tolist() == [False, True, False]
    with pytest.raises(dgm.GraphError, match=r"probability zero under the model in row 1; leave out"):
        dgm.posterior(model, data)
    post = dgm.posterior(model, data, method=dgm.Exact(keep_impossible=True))
    assert post.possible.tolist() == [True, False, True] and not post.probabilities("z").isnan().any()
    loss = dgm.MaximumLikelihood(model)
    losses = loss.world_losses(loss.prepare(data))
    gradient = torch.autograd.grad(losses[[0, 2]].sum() + 0 * losses[1].clamp(max=0), list(model.parameters()), allow_unused=True)
    assert all(g is None or g.isfinite().all() for g in gradient)


def test_long_sequences_neither_underflow_nor_drift():
    torch.manual_seed(0)
    model = dgm.compile(FINITE["hidden Markov"][0], seed=0)
    x = model.sample(2, sizes={"time": 3000})["x"]
    single, double = dgm.log_prob(model, {"x": x}).value, dgm.log_prob(model.double(), {"x": x}).value
    torch.testing.assert_close(single, double, rtol=1e-5, atol=0)


def test_second_derivatives():
    net, hidden = FINITE["factorial"]
    model = compiled(net)
    data, parameters = sampled(model, hidden), list(model.parameters())

    def curvature(value):
        first = torch.autograd.grad(value.sum(), parameters, create_graph=True)
        return torch.autograd.grad(sum(each.square().sum() for each in first), parameters)

    for more in ({}, {"time": torch.tensor([4, 4, 4])}):
        torch.testing.assert_close(curvature(loss_of(model, {**data, **more})), curvature(joint(model, data, hidden)[0].logsumexp(0)), atol=1e-8, rtol=0)


def test_too_many_states_are_refused_with_the_figure():
    names = [f"z{i}" for i in range(4)]
    net = dgm.BayesNet({name: dgm.Categorical(20).given(lag(name)) for name in names} | {"x": dgm.Normal().given(*names, net=dgm.MLP(2))}, plates=chain(*names, "x"))
    with pytest.raises(dgm.GraphError, match=r"160,000 joint states a step, which takes 191 GiB for 2 sequences of 3 steps; allowed are 2 GiB"):
        dgm.log_prob(dgm.compile(net), {"x": torch.zeros(2, 3)})


def test_draws_from_potentials_that_differ_by_step():
    torch.manual_seed(0)
    chain_of = Potentials(torch.full((2, 1), 0.5), torch.rand(2, 3, 2, 2).softmax(-1), torch.randn(3, 2, 3))
    _, _, probs = forward_backward.smoothed(chain_of)
    share = forward_backward.draw_paths(chain_of, 4000).float().mean(0)
    assert (share - probs[:, 1]).abs().max() < 0.04


def test_answers_with_gradients():
    net, hidden = FINITE["coupled"]
    model = compiled(net)
    data = sampled(model, hidden)
    logs, every = joint(model, data, hidden)
    hot = torch.stack([torch.nn.functional.one_hot(values["a"], 2).double() for values in every])
    wanted = (logs.softmax(0).unsqueeze(-1).unsqueeze(-1) * hot).sum(0)
    for more in ({}, {"time": torch.tensor([4, 4, 4])}):
        got = dgm.posterior(model, {**data, **more}, method=dgm.Exact(differentiable=True)).probabilities("a")
        torch.testing.assert_close(got, wanted, atol=1e-10, rtol=0)
        weights = torch.rand_like(got)
        torch.testing.assert_close(gradients(got * weights, model), gradients(wanted * weights, model), atol=1e-9, rtol=0)


def test_the_plan_says_what_happens_to_each_latent():
    plan = compiled(FINITE["factorial"][0]).plan(observed="x")
    assert plan.enumerated == ("a", "b") and plan["a"].cost == "4^2 = 16 products a step"
    assert plan["b"].reason == "2 states of each step of time, summed out forwards and backwards"
    net = dgm.BayesNet(z=dgm.Normal(2).given(lag("z")), w=dgm.Normal().given("z"), x=dgm.Normal().given("z", net=dgm.MLP(3)), plates=chain("z", "w", "x"))
    plan = dgm.compile(net).plan(observed="x")
    assert plan.amortized == ("z",) and plan.dropped == ("w",) and "MLP(3)(z) is not linear" in plan["z"].reason
    assert dgm.compile(net).plan(observed="w").integrated == ("z",)


def test_what_chains_do_not_take_says_so():
    model = compiled(FINITE["table emissions"][0])
    with pytest.raises(dgm.GraphError, match="node 'x': soft evidence is not taken by nets with a chain"):
        dgm.posterior(model, {"x": dgm.Likelihood([0.1, 0.2, 0.3])})
    with pytest.raises(dgm.GraphError, match="node 'x': soft evidence is not taken by nets with a chain"):
        dgm.estimate(model, {"x": dgm.Likelihood([0.1, 0.2, 0.3])})


def test_structure_is_verified_over_steps():
    assert compiled(FINITE["autoregressive observations"][0]).verify_structure().ok
    mixing = dgm.BayesNet(z=dgm.Normal(scale=1.0).given(lag("z", initial=0.0), fn=lambda z: z - z.mean(0)), plates=chain("z"))
    assert not dgm.compile(mixing).verify_structure().ok


def test_a_posterior_for_arviz():
    model = compiled(FINITE["hidden Markov"][0])
    post = dgm.posterior(model, {"x": sampled(model, ["z"])["x"]})
    assert post.to_arviz(7).posterior["z"].shape == (1, 7, 3, 4)
