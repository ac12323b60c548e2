"""Models with eliminated latents as Pyro programs: Pyro's own objectives give the exact evidence, and the library's bounds."""

from __future__ import annotations

import pyro
import pytest
import torch
from pyro.infer import SVI, Predictive, RenyiELBO, Trace_ELBO
from pyro.optim import Adam

import dgm_ppl as dgm

torch.set_num_threads(1)


def no_guide(data):
    """Nothing is left to be drawn."""


def factors():
    return dgm.BayesNet(k=dgm.Categorical(3), z=dgm.Normal(2).given("k"), x=dgm.Normal(4).given("z", "k"))


def line():
    a, b, t = dgm.refs("a b t")
    return dgm.BayesNet(
        a=dgm.Normal(loc=0.0, scale=dgm.free(1.0)), b=dgm.Normal(loc=0.0, scale=1.0), t=dgm.Given(), y=dgm.Normal(loc=a + b * t, scale=dgm.free(0.5)), plates={"point": ["t", "y"]},
    )


@pytest.mark.parametrize(("net", "data"), [
    (factors(), {"x": torch.randn(5, 4, dtype=torch.float64)}),
    (line(), {"t": torch.linspace(-1, 1, 6, dtype=torch.float64), "y": torch.randn(3, 6, dtype=torch.float64)}),
])
def test_without_a_guide_the_bound_is_the_evidence(net, data):
    model = dgm.compile(net, seed=0).double()
    observed = [name for name in data]
    program = dgm.collapse(model, observed=observed)
    loss = Trace_ELBO().differentiable_loss(program, no_guide, data)
    exact = -dgm.log_prob(model, data, method=dgm.Exact(differentiable=True)).value.sum()
    assert loss.item() == pytest.approx(exact.item(), abs=1e-9)
    for a, b in zip(*(torch.autograd.grad(total, list(model.parameters()), allow_unused=True) for total in (loss, exact))):
        assert (a - b).abs().max() < 1e-8


@pytest.mark.parametrize("net", [
    dgm.BayesNet(k=dgm.Categorical(3), z=dgm.Normal(2).given("k"), x=dgm.Bernoulli(6).given("z", net=dgm.MLP(8))),
    dgm.BayesNet(z=dgm.Normal(2, loc=0.0, scale=1.0), w=dgm.Normal(2).given("z", net=dgm.MLP(4)), x=dgm.Normal(3).given("w"), y=dgm.Poisson().given("z", net=dgm.MLP(4))),
])
def test_with_a_guide_for_the_rest_pyros_bound_is_ours(net):
    observed = ["x", "y"] if "y" in net else ["x"]
    model = dgm.compile(net, seed=0).double()
    guide = dgm.compile(dgm.amortize(net, observed, net=dgm.MLP(8), collapse=True), seed=1).double()
    data = {name: value for name, value in model.sample(5).items() if name in observed}
    program, ours = dgm.collapse(model, observed), dgm.ELBO(model, guide, closed_form=False)
    torch.manual_seed(2)
    loss = Trace_ELBO().differentiable_loss(program, guide, data) / 5
    torch.manual_seed(2)
    wanted = ours(ours.prepare(data))
    assert loss.item() == pytest.approx(wanted.item(), abs=1e-10)
    parameters = [*model.parameters(), *guide.parameters()]
    for a, b in zip(*(torch.autograd.grad(total, parameters, allow_unused=True) for total in (loss, wanted))):
        a, b = (torch.zeros(()) if value is None else value for value in (a, b))
        assert (a - b).abs().max() < 1e-10
    many = RenyiELBO(alpha=0, num_particles=4, vectorize_particles=True, max_plate_nesting=1)
    assert torch.isfinite(torch.tensor(many.loss(program, guide, data)))


def test_svi_trains_and_predictive_draws():
    pyro.clear_param_store()
    torch.manual_seed(0)
    model = dgm.compile(factors(), seed=0)
    x = torch.randn(20, 4) + 3
    program = dgm.collapse(model, observed="x")
    svi = SVI(program, no_guide, Adam({"lr": 0.05}), Trace_ELBO())
    losses = [svi.step({"x": x}) for _ in range(30)]
    assert losses[-1] < losses[0] - 20 and not list(pyro.get_param_store().keys())
    drawn = Predictive(program, num_samples=7)({"x": x})
    assert drawn["x"].shape == (7, 20, 4)


def test_what_cannot_be_collapsed_says_why():
    curved = dgm.compile(dgm.BayesNet(z=dgm.Normal(2), x=dgm.Bernoulli(3).given("z", net=dgm.MLP(4))))
    with pytest.raises(dgm.GraphError, match="collapse: node 'z' cannot be eliminated: 'x' depends on it, and Bernoulli is not Gaussian; leave it to a guide"):
        dgm.collapse(curved, "x", latents="z")
    with pytest.raises(dgm.GraphError, match="collapse: no latent can be eliminated:\nlatent  treatment"):
        dgm.collapse(curved, "x")
    with pytest.raises(dgm.GraphError, match="collapse: expected a compiled model; got BayesNet"):
        dgm.collapse(factors(), "x")
    with pytest.raises(dgm.GraphError, match="node 'x' needs a value"):
        dgm.collapse(dgm.compile(factors()), "x")({})
