"""Bounds of rows with missing cells: at random and not, against the evidence of what is there."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Normal

import dgm_ppl as dgm

from .estimates import assert_unbiased, gradient
from .oracle import LinearGaussian

torch.set_num_threads(1)
NAN = float("nan")


def test_at_the_posterior_of_what_is_there_every_draw_is_the_evidence():
    oracle = LinearGaussian({"z": (), "x": ("z",), "y": ("z",), "w": ("z",)})
    model = dgm.compile(oracle.net())
    guide = oracle.set_exact(dgm.compile(dgm.BayesNet(x=dgm.Given(), w=dgm.Given(), z=dgm.Normal().given("x", "w", net=dgm.MLP()))))
    data = {"x": torch.randn(5), "y": torch.tensor([NAN, 1.0, NAN, -2.0, NAN]), "w": torch.randn(5)}
    objective = dgm.MIWAE(model, guide, particles=3)
    found = objective.score(objective.prepare(data))
    gone = data["y"].isnan()
    torch.testing.assert_close(found[gone], oracle.evidence({"x": data["x"], "w": data["w"]})[gone], rtol=1e-4, atol=1e-4)
    whole = {name: column[~gone] for name, column in data.items()}
    plain = dgm.IWAE(model, guide, particles=3)
    objective, torch_seed = dgm.MIWAE(model, guide, particles=3), torch.manual_seed(0)
    one = objective.score(objective.prepare(whole))
    torch.manual_seed(0)
    torch.testing.assert_close(one, plain.score(plain.prepare(whole)))


def vectors():
    net = dgm.BayesNet(z=dgm.Normal(2, loc=0.0, scale=1.0), x=dgm.Normal(3, scale=0.7).given("z"))
    model = dgm.compile(net, seed=0).double()
    guide = dgm.compile(dgm.BayesNet(x=dgm.Given(3), z=dgm.Normal(2, scale=1.0).given("x", net=dgm.MLP(4))), seed=1).double()
    linear = model.conditional("x").predictor.predictor
    return model, guide, linear


ROWS = torch.tensor([[0.5, NAN, -1.0], [NAN, NAN, 0.3], [1.0, 0.2, 0.1]], dtype=torch.double)


def evidence_of(linear, row):
    there = ~row.isnan()
    weight, bias = linear.weight[there], linear.bias[there]
    return torch.distributions.MultivariateNormal(bias, weight @ weight.T + 0.49 * torch.eye(int(there.sum()), dtype=torch.double)).log_prob(row[there])


@pytest.mark.parametrize("particles", [1, 4])
def test_the_mean_weight_is_the_evidence_of_what_is_there(particles):
    model, guide, linear = vectors()
    objective = dgm.MIWAE(model, guide, particles=particles)
    batch = objective.prepare({"x": ROWS.repeat_interleave(4000, 0)})
    truth = torch.stack([evidence_of(linear, row) for row in ROWS]).exp()
    torch.manual_seed(0)
    assert_unbiased(lambda: objective.score(batch).exp().reshape(3, 4000).mean(1), truth, repetitions=30)


def test_the_gradient_is_that_of_the_evidence_for_many_particles_and_means_are_imputed():
    model, guide, linear = vectors()
    objective = dgm.MIWAE(model, guide, particles=2000)
    batch = objective.prepare({"x": ROWS})
    parameters = list(linear.parameters())
    truth = gradient(-torch.stack([evidence_of(linear, row) for row in ROWS]).mean(), parameters)
    torch.manual_seed(0)
    found = torch.stack([gradient(objective(batch), parameters) for _ in range(20)]).mean(0)
    torch.testing.assert_close(found, truth, atol=0.02, rtol=0.02)
    filled = objective.impute({"x": ROWS}, draws=100_000)["x"]
    for row, one in zip(ROWS, filled):
        there = ~row.isnan()
        weight = linear.weight[there]
        posterior = weight.T @ torch.linalg.solve(weight @ weight.T + 0.49 * torch.eye(len(weight), dtype=torch.double), row[there] - linear.bias[there])
        expected = torch.where(there, row, linear.weight @ posterior + linear.bias)
        torch.testing.assert_close(one, expected.detach(), atol=0.03, rtol=0)


# ---- not at random

GRID = torch.linspace(-8, 8, 801, dtype=torch.double)
MASS = Normal(0.0, 1.0).log_prob(GRID).softmax(0)


def self_masked():
    """x hides itself: the larger, the likelier."""
    net = dgm.BayesNet(z=dgm.Normal(loc=0.0, scale=1.0), x=dgm.Normal().given("z"), m=dgm.Bernoulli().given("x"))
    model = dgm.compile(net, seed=0).double()
    guide = dgm.compile(dgm.BayesNet(x=dgm.Given(), m=dgm.Given(space=dgm.Bernoulli().space), z=dgm.Normal().given("x", "m", net=dgm.MLP(4))), seed=1).double()
    with torch.no_grad():
        model.conditional("m").predictor.predictor.weight.fill_(-1.5)
        model.conditional("x").predictor.predictor.weight.fill_(0.8)
    return model, guide


def log_joint(model, x):
    """log p(x_o, m), the marginal of x being a normal, what is missing integrated over a grid."""
    linear, log_s = model.conditional("x").predictor.predictor, model.conditional("x").unconstrained["scale"]
    deviation = (linear.weight.squeeze() ** 2 + log_s.exp() ** 2).sqrt()
    grid = linear.bias.squeeze() + deviation * GRID
    there = lambda value: model.conditional("m").log_density(torch.ones_like(value), model.conditional("m").prepare(value))          # noqa: E731
    hidden = ((1 - there(grid).exp()) * MASS).sum().log()
    return torch.stack([hidden if math.isnan(one) else Normal(linear.bias.squeeze(), deviation).log_prob(one) + there(one) for one in x])


def test_a_mask_that_depends_on_what_it_hides():
    model, guide = self_masked()
    x = torch.tensor([0.4, NAN, -1.0], dtype=torch.double)
    objective = dgm.MIWAE(model, guide, particles=4, masks={"x": "m"})
    batch = objective.prepare({"x": x.repeat_interleave(4000)})
    assert batch["m"].mean() == pytest.approx(2 / 3)
    torch.manual_seed(0)
    assert_unbiased(lambda: objective.score(batch).exp().reshape(3, 4000).mean(1), log_joint(model, x).exp(), repetitions=30)
    parameters = list(model.parameters())
    truth = gradient(-log_joint(model, x).mean(), parameters)
    objective = dgm.MIWAE(model, guide, particles=2000, masks={"x": "m"})
    batch = objective.prepare({"x": x})
    found = torch.stack([gradient(objective(batch), parameters) for _ in range(20)]).mean(0)
    torch.testing.assert_close(found, truth, atol=0.02, rtol=0.02)


def test_the_mask_may_be_given_by_hand_or_be_an_input_of_the_guide():
    model, guide = self_masked()
    x, there = torch.tensor([0.4, NAN]), torch.tensor([1.0, 0.0])
    objective = dgm.MIWAE(model, guide, masks={"x": "m"})
    one, other = objective.prepare({"x": x}), objective.prepare({"x": x, "m": there})
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    net = dgm.BayesNet(m=dgm.Given(3), z=dgm.Normal(2, loc=0.0, scale=1.0), x=dgm.Normal(3).given("z"))
    guide = dgm.compile(dgm.BayesNet(x=dgm.Given(3), m=dgm.Given(3), z=dgm.Normal(2).given("x", "m", net=dgm.MLP(4))))
    objective = dgm.MIWAE(dgm.compile(net), guide, masks={"x": "m"})
    run = dgm.fit(objective, {"x": ROWS.float().repeat(10, 1)}, validation={"x": ROWS.float()}, steps=3, batch_size=8, seed=0, device="cpu")
    assert run.step == 3


def test_finite_cells_and_plates():
    net = dgm.BayesNet(z=dgm.Normal(2, loc=0.0, scale=1.0), k=dgm.Categorical(3).given("z"), x=dgm.Normal().given("z"), plates={"n": ["x"]})
    guide = dgm.compile(dgm.amortize(net, ["k", "x"], net=dgm.MLP(4)))
    model = dgm.compile(net)
    objective = dgm.MIWAE(model, guide, particles=3)
    x = torch.randn(4, 5)
    x[0, 2] = x[3, :2] = NAN
    batch = objective.prepare({"k": torch.tensor([0.0, NAN, 2.0, 1.0]), "x": x})
    torch.manual_seed(0)
    losses = objective.world_losses(batch)
    torch.manual_seed(0)
    drawn = objective._drawn(batch)
    found = {**drawn.found, "x": drawn.found["x"]}
    term = Normal(*[value for value in (model.conditional("x")(found["z"]).loc, model.conditional("x")(found["z"]).scale)]).log_prob(found["x"])
    log_x = torch.where(x.isnan(), 0.0, term).sum(-1)
    log_k = model.conditional("k")(found["z"]).log_prob(found["k"]).squeeze(-1) * torch.tensor([1.0, 0.0, 1.0, 1.0])
    log_z = model.conditional("z").log_density(found["z"], model.nodes["z"].prepare(found)).squeeze(-1)
    log_q = guide.conditional("z").log_density(found["z"], drawn.prepared["z"]).squeeze(-1)
    torch.testing.assert_close(-losses, (log_x + log_k + log_z - log_q).logsumexp(0) - math.log(3))


@pytest.mark.parametrize("act, message", [
    (lambda m, g: dgm.MIWAE(m, g, masks={"x": "s"}), r"MIWAE: masks: the model has no node 's'.*; declare it, s=dgm.Bernoulli\(...\).given\('x'\) say"),
    (lambda m, g: dgm.MIWAE(m, g, masks={"x": "v"}), r"MIWAE: node 'v' says where 'x' is there; expected its shape \(\) and plates \(\); got \(2,\) and \(\)"),
    (lambda m, g: dgm.MIWAE(m, g).prepare({"x": torch.full((3,), NAN), "v": torch.zeros(3, 2)}), r"MIWAE: node 'x': every cell of its column is missing"),
])
def test_refusals(act, message):
    net = dgm.BayesNet(z=dgm.Normal(), x=dgm.Normal().given("z"), v=dgm.Normal(2).given("z"))
    with pytest.raises(dgm.GraphError, match=message):
        act(dgm.compile(net), dgm.compile(dgm.amortize(net, ["x", "v"], net=dgm.MLP(2))))


def test_missing_parents_whose_draws_have_no_gradient():
    net = dgm.BayesNet(z=dgm.Normal(), k=dgm.Bernoulli().given("z"), m=dgm.Bernoulli().given("k"))
    objective = dgm.MIWAE(dgm.compile(net), dgm.compile(dgm.BayesNet(k=dgm.Given(space=dgm.Bernoulli().space), m=dgm.Given(space=dgm.Bernoulli().space), z=dgm.Normal().given("k", "m", net=dgm.MLP(2)))), masks={"k": "m"})
    batch = None
    with pytest.raises(dgm.GraphError, match=r"MIWAE: node 'k' ~ Bernoulli\(\) has missing cells, others read it, and its draws have no gradient"):
        batch = objective.prepare({"k": torch.tensor([1.0, NAN])})
    assert batch is None
