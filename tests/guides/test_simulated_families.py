"""Mixtures, flow matching and diffusion as the families of guides, trained on simulations, against closed forms and quadrature."""

from __future__ import annotations

import math

import pyro
import pytest
import torch

import dgm_ppl as dgm

torch.set_num_threads(1)

DENOISERS = {
    "flow matching": lambda: dgm.FlowMatching(net=dgm.MLP(48, 48)),
    "diffusion": lambda: dgm.Diffusion(net=dgm.MLP(48, 48)),
}


def trained(net, observed, family, *, epochs=25, rows=3000, net_of=dgm.MLP(32), **options):
    model = dgm.compile(net, seed=0)
    guide = dgm.compile(dgm.amortize(net, observed, net=net_of, family=family, **options), seed=1)
    torch.manual_seed(2)
    dgm.fit(dgm.ForwardKL(model, guide), dgm.simulate(model, rows), epochs=epochs, batch_size=150, optimizer=dgm.Adam(lr=3e-3), seed=3)
    return model, guide


# ---- against closed forms


@pytest.mark.parametrize("name", DENOISERS)
def test_a_conjugate_posterior_is_found(name):
    """z ~ N(2, 3), x ~ N(z, 1): the posterior is N((2 + 9 x) / 10, 0.9), the evidence N(x; 2, 10)."""
    net = dgm.BayesNet(z=dgm.Normal(2, loc=2.0, scale=3.0), x=dgm.Normal(2, loc="z", scale=1.0))
    model, guide = trained(net, "x", DENOISERS[name]())
    x = torch.tensor([[0.5, 3.0]])
    torch.manual_seed(0)
    draws = dgm.posterior(model, {"x": x}, method=dgm.Amortized(guide)).sample(1500)["z"][:, 0]
    torch.testing.assert_close(draws.mean(0), (2 + 9 * x[0]) / 10, rtol=0, atol=0.3)
    torch.testing.assert_close(draws.std(0), torch.full((2,), math.sqrt(0.9)), rtol=0.2, atol=0)
    found = dgm.log_prob(model, {"x": x}, method=dgm.Importance(guide, 400))
    exact = torch.distributions.Normal(2.0, math.sqrt(10.0)).log_prob(x).sum(-1)
    torch.testing.assert_close(found.value, exact, rtol=0, atol=0.1)


FOLDED = dgm.BayesNet(z=dgm.Normal(loc=0.0, scale=1.0), x=dgm.Normal(loc=dgm.refs("z") ** 2, scale=0.3))
TWO_SIDED = {
    "mixture": lambda: dgm.Mixture(dgm.Normal(), components=4),
    **DENOISERS,
}


@pytest.mark.parametrize("name", TWO_SIDED)
def test_both_modes_are_found(name):
    """x is z squared with noise, so that the posterior has two modes; evidence by quadrature."""
    model, guide = trained(FOLDED, "x", TWO_SIDED[name](), epochs=70)
    x = torch.tensor([1.5])
    torch.manual_seed(0)
    draws = dgm.posterior(model, {"x": x}, method=dgm.Amortized(guide)).sample(1500)["z"][:, 0]
    grid = torch.linspace(-5, 5, 4001)
    joint = torch.distributions.Normal(0.0, 1.0).log_prob(grid) + torch.distributions.Normal(grid.square(), 0.3).log_prob(x)
    weights = joint.softmax(0)
    assert 0.4 < float((draws > 0).float().mean()) < 0.6
    assert float(draws.abs().mean()) == pytest.approx(float((weights * grid.abs()).sum()), abs=0.06)
    found = dgm.log_prob(model, {"x": x}, method=dgm.Importance(guide, 1000))
    assert float(found.value) == pytest.approx(float(joint.logsumexp(0) + math.log(0.0025)), abs=0.15)


# ---- densities, whatever the weights


SUPPORTS = {
    "real": (dgm.Normal(loc=1.0, scale=2.0), torch.linspace(-25, 25, 1500)), "positive": (dgm.Gamma(concentration=2.0, rate=1.0), torch.linspace(math.log(1e-4), math.log(300), 1500).exp()),
    "interval": (dgm.Uniform(low=-1.0, high=3.0), torch.linspace(-0.9999, 2.9999, 3000)),
}


@pytest.mark.parametrize("support", SUPPORTS)
@pytest.mark.parametrize("name", [*DENOISERS, "mixture", "flow"])
def test_densities_integrate_to_one_over_every_support(name, support):
    latent, grid = SUPPORTS[support]
    net = dgm.BayesNet(z=latent, x=dgm.Normal(loc="z", scale=1.0))
    family = {**TWO_SIDED, "flow": lambda: dgm.Flow(dgm.NSF(transforms=2, hidden=(16,)))}[name]()
    guide = dgm.compile(dgm.amortize(net, "x", net=dgm.MLP(8), family=family), seed=0)
    with torch.no_grad():
        density = guide.log_prob({"z": grid, "x": torch.full_like(grid, 0.3)}).exp()
    assert float(torch.trapezoid(density, grid)) == pytest.approx(1.0, abs=0.02)
    assert type(guide.net["z"].space) is type(latent.space)
    drawn = guide.sample(50, given={"x": 0.3})["z"]
    assert bool((drawn >= latent.space.bounds[0]).all()) and bool((drawn <= latent.space.bounds[1]).all())


def test_a_declaration_for_all_latents_takes_their_shapes_and_leaves_states_alone():
    net = dgm.BayesNet(
        k=dgm.Categorical(3), z=dgm.Normal(2, 2, loc=0.0, scale=1.0), s=dgm.HalfNormal(4, scale=1.0), w=dgm.Dirichlet(3), x=dgm.Normal(2).given("k", "z", "s", "w", net=dgm.MLP(4)),
    )
    summaries = {
        name: {latent: dgm.amortize(net, "x", net=dgm.MLP(4), family=family, collapse=False)[latent].summary for latent in ("k", "z", "s", "w")}
        for name, family in (("mixture", dgm.Mixture(dgm.Normal(), components=2)), ("flow", dgm.Flow(dgm.MAF(1))), ("matching", dgm.FlowMatching(net=dgm.MLP(4))))
    }
    assert {name: found["k"] for name, found in summaries.items()} == dict.fromkeys(summaries, "Categorical(3)")
    assert summaries["mixture"]["z"] == "Mixture(Normal(2, 2), components=2)" and summaries["mixture"]["s"] == "Mixture(LogNormal(4), components=2)"
    assert summaries["flow"]["w"] == "Flow(3, MAF(transforms=1), space=Simplex())" and summaries["flow"]["s"] == "Flow(4, MAF(transforms=1), space=Positive(closed=False))"
    assert summaries["matching"]["w"] == "Dirichlet(3)" and "space=Positive(closed=False)" in summaries["matching"]["s"] and summaries["matching"]["z"].startswith("FlowMatching(2, 2, ")


def test_latents_have_networks_of_their_own():
    net = dgm.BayesNet(z=dgm.Normal(2, loc=0.0, scale=1.0), w=dgm.Normal(3, loc=0.0, scale=1.0), x=dgm.Normal(2).given("z", "w", net=dgm.MLP(4)))
    model, guide = dgm.compile(net), dgm.compile(dgm.amortize(net, "x", net=dgm.MLP(4), family=dgm.FlowMatching(net=dgm.MLP(8))))
    assert guide.conditional("z").network is not guide.conditional("w").network
    objective = dgm.ForwardKL(model, guide)
    assert objective.world_losses(objective.prepare(dgm.simulate(model, 4))).isfinite().all()


# ---- over plates, in Pyro, on disk


@pytest.mark.parametrize("name", [*DENOISERS, "mixture", "flow"])
def test_latents_that_read_sets(name):
    family = {**TWO_SIDED, "flow": lambda: dgm.Flow(dgm.MAF(1))}[name]()
    net = dgm.BayesNet(mu=dgm.Normal(2, loc=0.0, scale=1.0), x=dgm.Normal(2, loc="mu", scale=1.0), plates={"n": ["x"]})
    model, guide = dgm.compile(net), dgm.compile(dgm.amortize(net, "x", net=dgm.MLP(8), families={"mu": family}), seed=0)
    values = {"mu": torch.randn(3, 2), "x": torch.randn(3, 5, 2)}
    objective = dgm.ForwardKL(model, guide)
    assert objective.world_losses(objective.prepare(values)).isfinite().all()
    turned = {"mu": values["mu"], "x": values["x"].flip(1)}
    torch.testing.assert_close(guide.log_prob(values), guide.log_prob(turned), rtol=1e-3, atol=1e-3)
    with torch.no_grad():
        trace = pyro.poutine.trace(pyro.poutine.condition(guide, {"mu": values["mu"].unsqueeze(1)})).get_trace({"x": values["x"]})
    torch.testing.assert_close(trace.log_prob_sum(), guide.log_prob(values).sum(), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", DENOISERS)
def test_they_are_saved(name, tmp_path):
    net = dgm.BayesNet(z=dgm.LogNormal(2, loc=1.0, scale=2.0), x=dgm.Normal(2, loc="z", scale=1.0))
    guide = dgm.compile(dgm.amortize(net, "x", net=dgm.MLP(8), family=DENOISERS[name]()), seed=0)
    dgm.save(guide, tmp_path / "guide.safetensors")
    values = {"z": torch.rand(4, 2) + 0.1, "x": torch.randn(4, 2)}
    again = dgm.load(tmp_path / "guide.safetensors")
    assert again.net == guide.net
    torch.testing.assert_close(again.log_prob(values), guide.log_prob(values))


# ---- what is refused


def test_what_is_refused():
    net = dgm.BayesNet(z=dgm.Normal(2, loc=0.0, scale=1.0), x=dgm.Normal(2).given("z", net=dgm.MLP(4)))
    model = dgm.compile(net)
    guide = dgm.compile(dgm.amortize(net, "x", net=dgm.MLP(4), family=DENOISERS["flow matching"]()))
    for asked in (lambda: dgm.ELBO(model, guide), lambda: dgm.IWAE(model, guide, particles=3), lambda: dgm.ReweightedWakeSleep(model, guide), lambda: dgm.SymmetricKL(model, guide)):
        with pytest.raises(dgm.GraphError, match=r"node 'z' ~ FlowMatching.* of the guide is learned by regression on simulations, not by a bound; train it by dgm.ForwardKL\(model, guide\)"):
            asked()
    with pytest.raises(dgm.GraphError, match=r"Refined: node 'z' .* use dgm.Importance\(guide\)"):
        dgm.posterior(model, {"x": torch.zeros(1, 2)}, method=dgm.Refined(guide)).sample(1)
    with pytest.raises(dgm.GraphError, match=r"family: a declaration for all latents takes the shape and the parents of each; got Flow\(2"):
        dgm.amortize(net, "x", family=dgm.Flow(2))
    with pytest.raises(dgm.GraphError, match=r"the family for 'z' has the event shape \(3,\); the latent has \(2,\)"):
        dgm.amortize(net, "x", families={"z": dgm.FlowMatching(3, net=dgm.MLP(4))})
    chain = dgm.BayesNet(z=dgm.Normal(2).given(dgm.lag("z")), x=dgm.Normal(2).given("z", net=dgm.MLP(4)), plates={"t": dgm.Chain(["z", "x"])})
    with pytest.raises(dgm.GraphError, match=r"amortize: FlowMatchingKind is no family for 'z', a latent of the chain 't'"):
        dgm.amortize(chain, "x", net=dgm.MLP(4), family=DENOISERS["flow matching"]())
    with pytest.raises(dgm.GraphError, match=r"Diffusion: flow=True draws along the probability flow, which takes a sampler without fresh noise; got Ancestral.*try sampler=dgm.Heun\(20\)"):
        dgm.Diffusion(2, net=dgm.MLP(4), flow=True)
    with pytest.raises(dgm.GraphError, match=r"FlowMatching: expected preprocess=dgm.Affine\(loc, scale\); got 2.0"):
        dgm.FlowMatching(2, net=dgm.MLP(4), preprocess=2.0)
    with pytest.raises(dgm.GraphError, match=r"node 'x': noise is added to real numbers, to positive ones by their logarithm .* got the simplex"):
        dgm.BayesNet(x=dgm.FlowMatching(2, net=dgm.MLP(4), space=dgm.Simplex()))
    with pytest.raises(dgm.GraphError, match=r"node 'x': drop leaves parents out one by one, which the network that sums them up cannot do without"):
        dgm.BayesNet(y=dgm.Given(2), x=dgm.FlowMatching(2, net=dgm.MLP(4), drop={"y": 0.1}).given("y", net=dgm.MLP(4)))
