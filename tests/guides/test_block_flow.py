"""One masked flow over all latents: its networks have the arrows of the inverse graph and no others, and it finds a posterior in closed form."""

from __future__ import annotations

import re

import pyro
import pytest
import torch

import dgm_ppl as dgm

torch.set_num_threads(1)

a, b = dgm.refs("a b")
LINEAR = dgm.BayesNet(
    a=dgm.Normal(loc=0.0, scale=1.0), b=dgm.Normal(loc="a", scale=0.7), c=dgm.Normal(loc=0.5 * a + 0.3 * b, scale=0.6),
    x=dgm.Normal(loc="b", scale=0.5), y=dgm.Normal(loc="c", scale=0.5),
)
MIXED = dgm.BayesNet(
    k=dgm.Categorical(3), s=dgm.HalfNormal(2, scale=1.0), w=dgm.Dirichlet(3), z=dgm.Normal(3).given("s", "w", net=dgm.MLP(4)), u=dgm.Uniform(low=-1.0, high=1.0),
    x=dgm.Normal(2).given("z", "k", net=dgm.MLP(4)), y=dgm.Normal().given("u", "k", net=dgm.MLP(4)),
)
KINDS = [dgm.MAF(1, hidden=(16,)), dgm.MAF(2, hidden=(16, 16)), dgm.NSF(2, hidden=(16,)), dgm.IAF(2, hidden=(16,))]


def block_in(guide):
    return next(module for module in guide.modules() if type(module).__name__ == "Block")


@pytest.mark.parametrize("kind", KINDS, ids=repr)
def test_the_networks_have_the_arrows_of_the_inverse_graph_and_no_others(kind):
    recognition = dgm.amortize(MIXED, ["x", "y"], net=dgm.MLP(8), family=dgm.BlockFlow(kind), collapse=False)
    guide = dgm.compile(recognition, seed=0)
    block = block_in(guide)
    assert set(block.names) == {"s", "w", "z", "u"} and recognition["k"].summary == "Categorical(3)"
    for layer in block.layers:
        point = torch.randn(32, block.features + block.context)
        found = torch.autograd.functional.jacobian(lambda values: layer.hyper(values).sum(0), point).abs().sum(1)    # (parameters, numbers)
        found = found.unflatten(0, (block.features, -1)).sum(1)
        for name in block.names:
            own, parents = block.columns[name], recognition.dag.parents(name)
            for other, columns in block.columns.items():
                part = found[own, columns]
                if other == name:
                    size = own.stop - own.start
                    masks = torch.ones(size, size).tril(-1), torch.ones(size, size).triu(1)
                    assert any(bool(((part > 0) == mask.bool()).all()) for mask in masks)
                else:
                    assert bool((part > 0).all()) if other in parents else bool((part == 0).all()), (name, other)


@pytest.mark.parametrize("kind", KINDS, ids=repr)
def test_noise_and_values_map_to_each_other(kind):
    guide = dgm.compile(dgm.amortize(MIXED, ["x", "y"], net=dgm.MLP(8), family=dgm.BlockFlow(kind), collapse=False), seed=0)
    torch.manual_seed(0)
    values = guide.sample(6, given={"x": torch.randn(2), "y": 0.3})
    for name in block_in(guide).names:
        conditional = guide.conditional(name)
        prepared = conditional.prepare(*(values[parent] for parent in guide.net.dag.parents(name)))
        noise = torch.randn(6, conditional.features)
        torch.testing.assert_close(conditional.noise(conditional.value(noise, prepared), prepared), noise, rtol=1e-3, atol=1e-3)


def test_a_density_integrates_to_one_over_two_latents():
    net = dgm.BayesNet(s=dgm.HalfNormal(scale=1.0), z=dgm.Normal(loc=0.0, scale="s"), x=dgm.Normal(loc="z", scale=0.5))
    guide = dgm.compile(dgm.amortize(net, "x", family=dgm.BlockFlow(dgm.NSF(2, hidden=(8,)))), seed=0)
    s, z = torch.logspace(-4, 4, 500, base=2.718281828), torch.linspace(-12, 12, 500)
    grid = torch.cartesian_prod(s, z)
    with torch.no_grad():
        density = guide.log_prob({"s": grid[:, 0], "z": grid[:, 1], "x": torch.full((len(grid),), 0.4)}).exp().reshape(500, 500)
    assert float(torch.trapezoid(torch.trapezoid(density, z), s)) == pytest.approx(1.0, abs=0.02)


def test_a_linear_gaussian_posterior_is_found():
    """Cov of (a, b, c, x, y) by hand; the mean of log p(z | data) - log q(z | data) over worlds is the divergence."""
    model = dgm.compile(LINEAR)
    guide = dgm.compile(dgm.amortize(LINEAR, ["x", "y"], family=dgm.BlockFlow(dgm.MAF(1, hidden=(32,)))), seed=1)
    torch.manual_seed(0)
    dgm.fit(dgm.ForwardKL(model, guide), dgm.simulate(model, 4000), epochs=30, batch_size=200, optimizer=dgm.Adam(lr=5e-3), seed=0)
    values = dgm.simulate(model, 1000)
    paths = torch.tensor([[1.0, 0, 0, 0, 0], [1, 0.7, 0, 0, 0], [0.8, 0.21, 0.6, 0, 0], [1, 0.7, 0, 0.5, 0], [0.8, 0.21, 0.6, 0, 0.5]])
    covariance = paths @ paths.T
    z, seen = torch.stack([values[name] for name in "abc"], -1), torch.stack([values[name] for name in "xy"], -1)
    gain = covariance[:3, 3:] @ covariance[3:, 3:].inverse()
    posterior = torch.distributions.MultivariateNormal(seen @ gain.T, covariance[:3, :3] - gain @ covariance[3:, :3])
    with torch.no_grad():
        assert -0.02 < float((posterior.log_prob(z) - guide.log_prob(dict(values))).mean()) < 0.1


def test_bounds_programs_and_files_take_it(tmp_path):
    model = dgm.compile(LINEAR)
    guide = dgm.compile(dgm.amortize(LINEAR, ["x", "y"], family=dgm.BlockFlow(dgm.MAF(2, hidden=(8,)))), seed=1)
    data = {"x": torch.randn(5), "y": torch.randn(5)}
    objective = dgm.ELBO(model, guide)
    with torch.no_grad():
        torch.manual_seed(3)
        direct = objective.world_losses(objective.prepare(data)).sum()
        torch.manual_seed(3)
        assert pyro.infer.Trace_ELBO().loss(model, guide, data) == pytest.approx(float(direct), rel=1e-4)
    dgm.save(guide, tmp_path / "guide.safetensors")
    again, values = dgm.load(tmp_path / "guide.safetensors"), dgm.simulate(model, 4)
    torch.testing.assert_close(again.log_prob(dict(values)), guide.log_prob(dict(values)))
    assert len({id(conditional.flow) for conditional in (again.conditional(name) for name in "abc")}) == 1


def test_what_is_refused():
    plated = dgm.BayesNet(mu=dgm.Normal(), z=dgm.Normal(loc="mu"), x=dgm.Normal(loc="z"), plates={"n": ["z", "x"]})
    for call, message in (
        (lambda: dgm.BlockFlow(dgm.RealNVP()), r"BlockFlow: expected a masked kind: dgm.NSF(...), dgm.MAF(...) or dgm.IAF(...); got RealNVP()"),
        (lambda: dgm.amortize(LINEAR, dgm.AnySubset(["x", "y"]), family=dgm.BlockFlow()), r"amortize: BlockFlow has one mask"),
        (lambda: dgm.amortize(plated, "x", family=dgm.BlockFlow()), r"amortize: BlockFlow joins the numbers of all latents into one vector, and latents in plates ['n'] have copies"),
        (lambda: dgm.amortize(LINEAR, ["x", "y"], family=dgm.BlockFlow(), nets={"a": dgm.MLP(4)}), r"amortize: nets names 'a', whose numbers are in the block"),
        (lambda: dgm.amortize(LINEAR, ["x", "y"], family=dgm.BlockFlow()).replace(b=dgm.amortize(LINEAR, ["x", "y"], family=dgm.BlockFlow())["b"].given("x")), r"node 'b': its block was made for the parents"),
    ):
        with pytest.raises(dgm.GraphError, match=re.escape(message)):
            call()
    beside = dgm.amortize(LINEAR, ["x", "y"], net=dgm.MLP(4), family=dgm.BlockFlow(dgm.MAF(1)), families={"a": dgm.Laplace})
    assert beside["a"].summary == "Laplace()" and beside["b"].summary == "BlockFlow(MAF(transforms=1))"
