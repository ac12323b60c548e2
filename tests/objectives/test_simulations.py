"""Forward KL over simulated worlds: budgets and new draws, simulators that fail, what is refused."""

from __future__ import annotations

import warnings

import pytest
import torch

import dgm_ppl as dgm

torch.set_num_threads(1)
NAN = float("nan")


def conjugate():
    return dgm.BayesNet(z=dgm.Normal(loc=0.0, scale=1.0), x=dgm.Normal(loc="z", scale=0.5))


def linear_guide():
    return dgm.compile(dgm.BayesNet(x=dgm.Given(), z=dgm.Normal().given("x", net=dgm.MLP())), seed=0)


def check_posterior(guide):
    """z | x ~ N(0.8 x, sqrt(0.2))."""
    x = torch.tensor([-1.0, 0.0, 1.0])
    found = guide.conditional("z")(x)
    torch.testing.assert_close(found.mean, 0.8 * x, atol=0.06, rtol=0)
    torch.testing.assert_close(found.stddev, torch.full((3,), 0.2**0.5), atol=0.06, rtol=0)


def noisy(draws):
    return {"x": draws["z"] + 0.5 * torch.randn_like(draws["z"])}


def test_a_budget_with_early_stopping_learns_the_posterior():
    model, guide = dgm.compile(conjugate()), linear_guide()
    torch.manual_seed(0)
    budget, held_out = dgm.simulate(model, 4000), dgm.simulate(model, 1000)
    before = [parameter.clone() for parameter in model.parameters()]
    run = dgm.fit(
        dgm.ForwardKL(model, guide), budget, validation=held_out, stopping=dgm.EarlyStopping(2), epochs=40, batch_size=200, optimizer=dgm.Adam(lr=0.02), seed=0, device="cpu",
    )
    assert run.best is not None and run.best.epoch < run.epoch < 40         # it ended by itself
    check_posterior(guide)
    assert all(bool((one == other).all()) for one, other in zip(before, model.parameters()))


@pytest.mark.parametrize("simulator", [None, noisy], ids=["model", "simulator"])
def test_new_draws_at_each_step(simulator):
    model = dgm.compile(conjugate() if simulator is None else dgm.BayesNet(z=dgm.Normal(loc=0.0, scale=1.0)))
    guide = linear_guide()
    draws = dgm.OnlineSimulations(model, rows=200, batches=20, simulator=simulator)
    dgm.fit(dgm.ForwardKL(model, guide), draws, steps=300, optimizer=dgm.Adam(lr=0.02), seed=0, device="cpu")
    check_posterior(guide)
    again = linear_guide()
    dgm.fit(dgm.ForwardKL(model, again), dgm.OnlineSimulations(model, rows=200, batches=20, simulator=simulator), steps=300, optimizer=dgm.Adam(lr=0.02), seed=0, device="cpu")
    assert all(torch.equal(one, other) for one, other in zip(guide.parameters(), again.parameters()))


def failing(draws):
    found = noisy(draws)["x"]
    return {"x": torch.where(draws["z"] > 1, NAN, found)}


def test_failures_are_counted_reported_and_left_out_only_if_asked():
    prior = dgm.compile(dgm.BayesNet(z=dgm.Normal(loc=0.0, scale=1.0)))
    torch.manual_seed(0)
    failed = int((prior.sample(200)["z"] > 1).sum())
    torch.manual_seed(0)
    with pytest.raises(dgm.GraphError, match=rf"simulations: {failed} of 200 rows have values that are not finite \({failed} of node 'x'\); mend the simulator, or leave .*exclude=True"):
        dgm.simulate(prior, 200, simulator=failing)
    torch.manual_seed(0)
    with pytest.warns(UserWarning, match=f"simulations: {failed} of 200 rows have values that are not finite and are left out"):
        found = dgm.simulate(prior, 200, simulator=failing, exclude=True)
    assert found.excluded == failed and found.asked == 200 and len(found["x"]) == len(found["z"]) == 200 - failed
    assert bool((found["z"] <= 1).all())
    objective = dgm.ForwardKL(prior, linear_guide())
    with pytest.raises(dgm.GraphError, match="simulations: 1 of 2 rows have values that are not finite"):
        objective.prepare({"z": torch.zeros(2), "x": torch.tensor([NAN, 0.0])})
    objective = dgm.ForwardKL(prior, linear_guide(), exclude=True)
    with pytest.warns(UserWarning, match="simulations: 1 of 2 rows"):
        assert objective.prepare({"z": torch.zeros(2), "x": torch.tensor([NAN, 0.0])})["x"].tolist() == [0.0]
    assert objective.excluded == 1
    with pytest.raises(dgm.GraphError, match="simulations: all 5 rows have values that are not finite"):
        dgm.simulate(prior, 5, simulator=lambda draws: {"x": draws["z"] * NAN}, exclude=True)


def test_failures_of_new_draws():
    prior = dgm.compile(dgm.BayesNet(z=dgm.Normal(loc=0.0, scale=1.0)))
    draws = dgm.OnlineSimulations(prior, rows=100, batches=5, simulator=failing, exclude=True)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        dgm.fit(dgm.ForwardKL(prior, linear_guide()), draws, steps=5, seed=0, device="cpu")
    assert len([one for one in said if "left out" in str(one.message)]) == 1 and 40 < draws.excluded < 140
    with pytest.raises(dgm.GraphError, match="of 100 rows have values that are not finite"):
        dgm.fit(dgm.ForwardKL(prior, linear_guide()), dgm.OnlineSimulations(prior, rows=100, simulator=failing), steps=5, seed=0, device="cpu")


def test_models_without_a_density_and_plates():
    net = dgm.BayesNet(z=dgm.Normal(2, loc=0.0, scale=1.0), x=dgm.Generator(3).given("z", net=dgm.MLP(4)))
    model, guide = dgm.compile(net), dgm.compile(dgm.BayesNet(x=dgm.Given(3), z=dgm.Normal(2).given("x", net=dgm.MLP(4))))
    dgm.fit(dgm.ForwardKL(model, guide), dgm.simulate(model, 20), steps=2, seed=0, device="cpu")
    plated = dgm.BayesNet(mu=dgm.Normal(loc=0.0, scale=1.0), y=dgm.Normal(loc="mu", scale=1.0), plates={"n": ["y"]})
    model, guide = dgm.compile(plated), dgm.compile(dgm.amortize(plated, "y", net=dgm.MLP(4)))
    dgm.fit(dgm.ForwardKL(model, guide), dgm.simulate(model, 20, sizes={"n": 4}), steps=2, seed=0, device="cpu")


def test_a_simulator_may_be_a_node():
    net = dgm.BayesNet(z=dgm.Normal(loc=0.0, scale=1.0), noise=dgm.Normal(loc=0.0, scale=0.5), x=dgm.Delta().given("z", "noise", fn=lambda z, noise: z + noise))
    model, guide = dgm.compile(net), linear_guide()
    dgm.fit(dgm.ForwardKL(model, guide), dgm.OnlineSimulations(model, rows=200), steps=300, optimizer=dgm.Adam(lr=0.02), seed=0, device="cpu")
    check_posterior(guide)


def test_interrupted_runs_go_on_with_the_same_simulations(tmp_path):
    model = dgm.compile(conjugate())
    whole, part = linear_guide(), linear_guide()
    draws = dgm.OnlineSimulations(model, rows=20, batches=3)
    dgm.fit(dgm.ForwardKL(model, whole), draws, steps=7, seed=0, device="cpu")
    for steps in (4, 7):
        dgm.fit(dgm.ForwardKL(model, part), draws, steps=steps, seed=0, device="cpu", checkpoint=tmp_path)
    assert all(torch.equal(one, other) for one, other in zip(whole.parameters(), part.parameters()))


@pytest.mark.parametrize("act, message", [
    (lambda m, g: dgm.ForwardKL(m, g).prepare({"x": torch.zeros(3)}), r"ForwardKL: the latent 'z' has no column; expected simulated worlds with their latents: dgm.simulate\(model, 10_000\)"),
    (lambda m, g: dgm.ForwardKL(m, g).prepare({"x": torch.zeros(3), "z": torch.zeros(3), "xx": torch.zeros(3)}), r"data: neither the guide nor the model has a node 'xx'; did you mean 'x'\?"),
    (lambda m, g: dgm.ForwardKL(m, dgm.compile(dgm.BayesNet(x=dgm.Given(), t=dgm.Normal().given("x")))), r"guide: the model has no random node 't'"),
    (lambda m, g: dgm.simulate(m, 0), r"simulate: expected a positive whole number of rows; got 0"),
    (lambda m, g: dgm.simulate(m, 5, simulator=lambda draws: draws["z"]), r"simulator: expected a dict of columns with 5 rows each; got Tensor"),
    (lambda m, g: dgm.simulate(m, 5, simulator=lambda draws: {"x": torch.zeros(4)}), r"simulator: column 'x': expected 5 rows in front; got the shape \(4,\)"),
    (lambda m, g: dgm.OnlineSimulations(m, rows=0), r"OnlineSimulations: expected a positive whole number of rows; got 0"),
])
def test_refusals(act, message):
    with pytest.raises(dgm.GraphError, match=message):
        act(dgm.compile(conjugate()), linear_guide())
