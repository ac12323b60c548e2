"""Pyro's own tools run on compiled nets unchanged."""

from __future__ import annotations

import itertools
import math

import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import MCMC, NUTS, SVI, Predictive, RenyiELBO, Trace_ELBO, TraceEnum_ELBO, TraceMeanField_ELBO
from pyro.infer.autoguide import AutoNormal

import dgm_ppl as dgm

torch.set_num_threads(1)

EFFECTS = [28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0]
ERRORS = [15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0]


@pytest.fixture(autouse=True)
def clean():
    torch.manual_seed(0)
    pyro.clear_param_store()
    yield
    assert not list(pyro.get_param_store().keys())


def schools() -> dgm.BayesNet:
    return dgm.BayesNet(
        mu=dgm.Normal(loc=0.0, scale=5.0), tau=dgm.HalfCauchy(scale=5.0), theta=dgm.Normal(loc="mu", scale="tau"),
        sigma=dgm.Given(), y=dgm.Normal(loc="theta", scale="sigma"), plates={"school": ["theta", "sigma", "y"]},
    )


def vae():
    net = dgm.BayesNet(z=dgm.Normal(2, loc=0.0, scale=1.0), x=dgm.Bernoulli(5).given("z", net=dgm.MLP(6)))
    model, guide = dgm.compile(net, seed=0), dgm.compile(dgm.amortize(net, "x", net=dgm.MLP(6)), seed=1)
    return model, guide, {"x": torch.bernoulli(torch.full((7, 5), 0.4))}


# ---- finite latents


def switching() -> tuple[dgm.Model, dict]:
    """Two finite latents of each row feed networks; one of them through a plate."""
    net = dgm.BayesNet(
        k=dgm.Categorical(3), b=dgm.Bernoulli().given("k"), e=dgm.Categorical(2).given("b", net=dgm.MLP(3)),
        x=dgm.Normal(2).given("k", "b", net=dgm.MLP(4)), y=dgm.Normal(scale=0.5).given("e", "k", net=dgm.MLP(4)),
        plates={"m": dgm.Plate(["e", "y"], size=2)},
    )
    return dgm.compile(net, seed=3), {"x": torch.randn(4, 2), "y": torch.randn(4, 2)}


def enumerated(model: dgm.Model, data: dict) -> torch.Tensor:
    """log p(x, y) of each row by brute force over k, b, e_1, e_2."""
    terms = []
    for k, b, first, second in itertools.product(range(3), range(2), range(2), range(2)):
        rows = len(data["x"])
        latent = {"k": torch.full((rows,), k), "b": torch.full((rows,), float(b)), "e": torch.tensor([first, second]).expand(rows, 2)}
        terms.append(model.log_prob({**data, **latent}))
    return torch.stack(terms).logsumexp(0)


def test_trace_enum_elbo_is_the_brute_force_sum():
    model, data = switching()
    loss = TraceEnum_ELBO(max_plate_nesting=2).differentiable_loss(model, lambda data: None, data)
    expected = -enumerated(model, data).sum()
    torch.testing.assert_close(loss, expected)
    for grad, wanted in zip(torch.autograd.grad(loss, list(model.parameters())), torch.autograd.grad(expected, list(model.parameters()))):
        torch.testing.assert_close(grad, wanted, rtol=1e-3, atol=1e-4)


# ---- autoguides, chains


def test_an_autoguide_learns_eight_schools():
    model = dgm.compile(schools())
    data = {"y": torch.tensor(EFFECTS), "sigma": torch.tensor(ERRORS)}
    guide = AutoNormal(model)
    svi = SVI(model, guide, pyro.optim.Adam({"lr": 0.1}), Trace_ELBO(num_particles=4, vectorize_particles=True, max_plate_nesting=1))
    losses = [svi.step(data) for _ in range(150)]
    assert sum(losses[-30:]) / 30 < sum(losses[:5]) / 5 - 5
    median = guide.median(data)
    assert median["mu"].shape == () and median["theta"].shape == (8,)
    assert 0.0 < median["mu"].item() < 9.0
    assert all(name.startswith("AutoNormal.") for name in pyro.get_param_store().keys())
    pyro.clear_param_store()


def test_nuts_finds_a_conjugate_posterior():
    model = dgm.compile(dgm.BayesNet(z=dgm.Normal(loc=0.0, scale=1.0), x=dgm.Normal(loc="z", scale=0.5), plates={"n": ["x"]}))
    chain = MCMC(NUTS(model), num_samples=300, warmup_steps=100, disable_progbar=True)
    chain.run({"x": torch.tensor([1.0, 1.4, 0.6])})
    precision = 1 + 3 / 0.25
    z = chain.get_samples()["z"]
    assert z.shape == (300,)
    assert z.mean().item() == pytest.approx(3.0 / 0.25 / precision, abs=0.08)
    assert z.std().item() == pytest.approx(precision**-0.5, abs=0.06)


# ---- effect handlers


def test_predictive_draws_from_the_model_and_from_a_guide():
    model, guide, data = vae()
    with torch.no_grad():
        prior = Predictive(model, num_samples=6)()
        posterior = Predictive(model, guide=guide, num_samples=6, return_sites=("z", "x"))(data)
    assert prior["x"].shape == (6, 5) and prior["z"].shape == (6, 2)
    assert posterior["z"].shape == (6, 7, 2)
    torch.testing.assert_close(posterior["x"], data["x"].expand(6, 7, 5))


def test_condition_do_and_trace():
    model = dgm.compile(schools())
    data = {"sigma": torch.tensor(ERRORS)}
    conditioned = poutine.condition(model, data={"mu": torch.tensor(2.0)})
    trace = poutine.trace(conditioned).get_trace(data)
    assert trace.nodes["mu"]["is_observed"] and not trace.nodes["theta"]["is_observed"]
    trace.compute_log_prob()
    torch.testing.assert_close(trace.nodes["mu"]["log_prob"].sum(), torch.distributions.Normal(0.0, 5.0).log_prob(torch.tensor(2.0)))
    assert [frame.name for frame in trace.nodes["theta"]["cond_indep_stack"]] == ["school"]
    intervened = poutine.trace(poutine.do(model, data={"tau": torch.tensor(1e-9)})).get_trace(data)
    torch.testing.assert_close(intervened.nodes["theta"]["value"], intervened.nodes["mu"]["value"].expand(8))


def test_sites_are_the_nodes_and_rows_are_a_plate():
    model, guide, data = vae()
    for program in (model, guide):
        trace = poutine.trace(program).get_trace(data)
        assert [frame.name for frame in trace.nodes["z"]["cond_indep_stack"]] == ["rows"]
    assert poutine.trace(model).get_trace({"x": data["x"].expand(2, 7, 5)}).nodes["x"]["cond_indep_stack"][0].name == "rows_0"
    assert set(poutine.trace(model).get_trace(data).stochastic_nodes) == {"z", "rows"}


# ---- SVI


@pytest.mark.parametrize("elbo", [Trace_ELBO(), Trace_ELBO(num_particles=2, vectorize_particles=True, max_plate_nesting=1), TraceMeanField_ELBO()])
def test_svi_trains_the_modules_and_leaves_the_store_empty(elbo):
    model, guide, data = vae()
    before = [parameter.clone() for parameter in (*model.parameters(), *guide.parameters())]
    svi = SVI(model, guide, pyro.optim.Adam({"lr": 0.01}), elbo)
    first = svi.evaluate_loss(data)
    for _ in range(30):
        svi.step(data)
    assert svi.evaluate_loss(data) < first
    assert all(not torch.equal(old, new) for old, new in zip(before, (*model.parameters(), *guide.parameters())))


def test_two_models_of_one_net_share_nothing():
    model, guide, data = vae()
    other, other_guide, _ = vae()
    kept = [parameter.clone() for parameter in other.parameters()]
    SVI(model, guide, pyro.optim.SGD({"lr": 0.1}), Trace_ELBO()).step(data)
    assert all(torch.equal(old, new) for old, new in zip(kept, other.parameters()))
    assert not torch.equal(next(iter(model.parameters())), next(iter(other.parameters())))


# ---- importance-weighted bounds


def hand_written_iwae(model: dgm.Model, guide: dgm.Model, x: torch.Tensor, particles: int) -> torch.Tensor:
    """-sum over rows of log mean_k p(x, z_k) / q(z_k | x), in torch alone."""
    encoder, decoder = (module.conditional(name).predictor.network for module, name in ((guide, "z"), (model, "x")))
    loc, log_scale = encoder(x).chunk(2, -1)
    noise = torch.randn(particles, *loc.shape)
    z = loc + log_scale.exp() * noise
    log_q = (-0.5 * noise**2 - log_scale - 0.5 * math.log(2 * math.pi)).sum(-1)
    log_z = (-0.5 * z**2 - 0.5 * math.log(2 * math.pi)).sum(-1)
    log_x = -torch.nn.functional.binary_cross_entropy_with_logits(decoder(z), x.expand(particles, *x.shape), reduction="none").sum(-1)
    return -((log_z + log_x - log_q).logsumexp(0) - math.log(particles)).sum()


def test_renyi_elbo_is_importance_weighted_row_by_row():
    model, guide, data = vae()
    parameters = [*model.parameters(), *guide.parameters()]
    torch.manual_seed(5)
    expected = hand_written_iwae(model, guide, data["x"], 4)
    wanted = torch.autograd.grad(expected, parameters)
    torch.manual_seed(5)
    renyi = RenyiELBO(alpha=0, num_particles=4, vectorize_particles=True, max_plate_nesting=1)
    assert renyi.loss(model, guide, data) == pytest.approx(expected.item(), rel=1e-5)
    torch.manual_seed(5)
    for parameter in parameters:
        parameter.grad = None
    renyi.loss_and_grads(model, guide, data)
    for parameter, grad in zip(parameters, wanted):
        torch.testing.assert_close(parameter.grad, grad, rtol=1e-4, atol=1e-5)
    objective = dgm.IWAE(model, guide, particles=4)
    torch.manual_seed(5)
    direct = objective(objective.prepare(data)) * 7
    torch.testing.assert_close(direct, expected)
    for grad, found in zip(wanted, torch.autograd.grad(direct, parameters)):
        torch.testing.assert_close(found, grad, rtol=1e-4, atol=1e-5)
