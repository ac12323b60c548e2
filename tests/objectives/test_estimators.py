"""Estimators of bounds and divergences on linear-Gaussian and finite nets: values and gradients against closed forms, quadrature and enumeration."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch.distributions import Normal

import dgm_ppl as dgm

from .estimates import assert_unbiased, gradient
from .oracle import COLLIDERS, TREE, LinearGaussian

torch.set_num_threads(1)


# ---- at the exact posterior

AT_THE_POSTERIOR = {  # objective, whether each single gradient of the guide vanishes
    "sticking the landing": (lambda m, g: dgm.ELBO(m, g, gradient=dgm.StickingTheLanding()), True),
    "sticking the landing, particles": (lambda m, g: dgm.ELBO(m, g, particles=3, gradient=dgm.StickingTheLanding()), True),
    "sticking the landing, importance weights": (lambda m, g: dgm.IWAE(m, g, gradient=dgm.StickingTheLanding()), True),
    "doubly reparameterized": (lambda m, g: dgm.IWAE(m, g, particles=4, gradient=dgm.DoublyReparameterized()), True),
    "doubly reparameterized, one particle": (lambda m, g: dgm.IWAE(m, g, gradient=dgm.DoublyReparameterized()), True),
    "vimco": (lambda m, g: dgm.IWAE(m, g, particles=4, gradient=dgm.VIMCO()), False),
    "renyi 0.5": (lambda m, g: dgm.Renyi(m, g, alpha=0.5, particles=4), False),
    "renyi 2": (lambda m, g: dgm.Renyi(m, g, alpha=2, particles=4), False),
    "renyi -1": (lambda m, g: dgm.Renyi(m, g, alpha=-1.0, particles=4), False),
    "wake": (lambda m, g: dgm.ReweightedWakeSleep(m, g, particles=4), False),
    "sleep": (lambda m, g: dgm.ReweightedWakeSleep(m, g, particles=4, sleep=1.0), False),
    "cubo": (lambda m, g: dgm.CUBO(m, g, particles=4), False),
    "symmetric": (lambda m, g: dgm.SymmetricKL(m, g, closed_form=False), False),
}


@pytest.fixture(scope="module", params=[(TREE, "xyw"), (COLLIDERS, "xy")], ids=["tree", "colliders"])
def exact(request):
    parents, observed = request.param
    oracle = LinearGaussian(parents, seed=1)
    model = dgm.compile(oracle.net())
    guide = oracle.set_exact(dgm.compile(dgm.amortize(oracle.net(), list(observed), net=dgm.MLP())))
    return oracle, model, guide, list(observed)


@pytest.mark.parametrize("build, vanishes", AT_THE_POSTERIOR.values(), ids=AT_THE_POSTERIOR)
def test_at_the_posterior_the_score_is_the_evidence_and_the_guide_rests(exact, build, vanishes):
    oracle, model, guide, observed = exact
    torch.manual_seed(0)
    rows = model.sample(200)
    data = {name: rows[name] for name in observed}
    objective = build(model, guide)
    batch = objective.prepare(data)
    torch.testing.assert_close(objective.score(batch), oracle.evidence(data), rtol=1e-4, atol=1e-4)
    if isinstance(objective, dgm.CUBO):
        torch.testing.assert_close(objective.upper(batch), oracle.evidence(data), rtol=1e-4, atol=1e-4)
    player = objective.players[-1]
    parameters = list(guide.parameters())
    if vanishes:
        assert float(gradient(player.loss(batch), parameters).abs().max()) < 1e-4
        assert float(gradient(objective.world_losses(batch).sum(), parameters).abs().max()) < 0.02
    else:
        spread = assert_unbiased(lambda: gradient(player.loss(batch), parameters), torch.zeros(sum(p.numel() for p in parameters)), repetitions=25)
        assert float(spread.max()) > 1e-8                                    # these do not vanish draw by draw, which the others are held against


def test_forward_kl_at_the_posterior(exact):
    oracle, model, guide, _ = exact
    objective = dgm.ForwardKL(model, guide)
    parameters = list(guide.parameters())
    torch.manual_seed(0)
    assert_unbiased(lambda: gradient(objective(objective.prepare(model.sample(300))), parameters), torch.zeros(sum(p.numel() for p in parameters)))


# ---- away from it

NODES = torch.linspace(-6, 6, 161, dtype=torch.double)
MASS = Normal(0.0, 1.0).log_prob(NODES).softmax(0)


@pytest.fixture
def pair():
    """z ~ N(0, 1), x | z ~ N(w z + b, s); q(z | x) = N(m x + c, t exp(u x)), all learned and not the posterior."""
    net = dgm.BayesNet(z=dgm.Normal(loc=0.0, scale=1.0), x=dgm.Normal().given("z"))
    model = dgm.compile(net, seed=0).double()
    guide = dgm.compile(dgm.amortize(net, "x", net=dgm.MLP()), seed=1).double()
    return model, guide, torch.tensor([0.3, -1.2, 2.0], dtype=torch.double)


def on_grid(model, guide, x):
    """z, log w and log q of it at fixed values, over the grid of its noise, `(nodes, rows)`."""
    linear, log_s = model.conditional("x").predictor.predictor, model.conditional("x").unconstrained["scale"]
    mean, log_t = guide.conditional("z").predictor.network(x.unsqueeze(-1)).unbind(-1)
    z = mean + log_t.exp() * NODES[:, None]
    log_w = Normal(linear.weight.squeeze() * z + linear.bias.squeeze(), log_s.exp()).log_prob(x) + Normal(0.0, 1.0).log_prob(z) - Normal(mean, log_t.exp()).log_prob(z)
    return log_w, Normal(mean, log_t.exp()).log_prob(z.detach())


def mean_over_two(function):
    """The expectation of a function of two particles' nodes, `(nodes, nodes, rows)`, averaged over rows."""
    return (function * MASS[:, None, None] * MASS[None, :, None]).sum((0, 1)).mean()


def two(values):
    return torch.stack(torch.broadcast_tensors(values[:, None], values[None]))


def asleep(model, guide):
    """E_p[-log q(z | x)] over a grid of both nodes' noise."""
    linear, log_s = model.conditional("x").predictor.predictor, model.conditional("x").unconstrained["scale"]
    z, noise = torch.meshgrid(NODES, NODES, indexing="ij")
    x = (linear.weight.squeeze() * z + linear.bias.squeeze() + log_s.exp() * noise).detach()
    mean, log_t = guide.conditional("z").predictor.network(x.unsqueeze(-1)).unbind(-1)
    return -(Normal(mean, log_t.exp()).log_prob(z) * MASS[:, None] * MASS).sum()


def elbo(model, guide, x):
    return (on_grid(model, guide, x)[0] * MASS[:, None]).sum(0).mean()


def bound(model, guide, x, power=1.0):
    return mean_over_two((power * two(on_grid(model, guide, x)[0])).logsumexp(0) - math.log(2)) / power


def waking(model, guide, x, power=1.0):
    log_w, log_q = on_grid(model, guide, x)
    return -mean_over_two(((power * two(log_w.detach())).softmax(0) * two(log_q)).sum(0))


TRUTHS = {  # objective, what its gradients are over the model's and the guide's parameters
    "sticking the landing": (lambda m, g: dgm.ELBO(m, g, gradient=dgm.StickingTheLanding()), lambda *a: -elbo(*a), lambda *a: -elbo(*a)),
    "sticking the landing, weighted": (
        lambda m, g: dgm.ELBO(m, g, kl_weight=1.0, particles=2, gradient=dgm.StickingTheLanding()), lambda *a: -elbo(*a), lambda *a: -elbo(*a),
    ),
    "doubly reparameterized": (lambda m, g: dgm.IWAE(m, g, particles=2, gradient=dgm.DoublyReparameterized()), lambda *a: -bound(*a), lambda *a: -bound(*a)),
    "vimco, nothing finite": (lambda m, g: dgm.IWAE(m, g, particles=2, gradient=dgm.VIMCO()), lambda *a: -bound(*a), lambda *a: -bound(*a)),
    "renyi 0.5": (lambda m, g: dgm.Renyi(m, g, alpha=0.5, particles=2), lambda *a: -bound(*a, 0.5), lambda *a: -bound(*a, 0.5)),
    "renyi 0": (lambda m, g: dgm.Renyi(m, g, alpha=0, particles=2), lambda *a: -bound(*a), lambda *a: -bound(*a)),
    "renyi 1": (lambda m, g: dgm.Renyi(m, g, alpha=1, particles=2), lambda *a: -elbo(*a), lambda *a: -elbo(*a)),
    "renyi 3": (lambda m, g: dgm.Renyi(m, g, alpha=3, particles=2), lambda *a: -bound(*a, -2.0), lambda *a: -bound(*a, -2.0)),
    "wake": (lambda m, g: dgm.ReweightedWakeSleep(m, g, particles=2), lambda *a: -bound(*a), waking),
    "sleep": (lambda m, g: dgm.ReweightedWakeSleep(m, g, particles=2, sleep=1.0), lambda *a: -bound(*a), lambda m, g, x: asleep(m, g)),
    "both": (lambda m, g: dgm.ReweightedWakeSleep(m, g, particles=2, sleep=0.3), lambda *a: -bound(*a), lambda m, g, x: 0.3 * asleep(m, g) + 0.7 * waking(m, g, x)),
    "cubo 2": (lambda m, g: dgm.CUBO(m, g, particles=2), lambda *a: -bound(*a), lambda *a: 0.5 * waking(*a, 2.0)),
    "cubo 3": (lambda m, g: dgm.CUBO(m, g, order=3, particles=2), lambda *a: -bound(*a), lambda *a: 2 / 3 * waking(*a, 3.0)),
    "symmetric": (lambda m, g: dgm.SymmetricKL(m, g), lambda *a: -elbo(*a), lambda m, g, x: asleep(m, g) - elbo(m, g, x)),
}


@pytest.mark.parametrize("build, of_model, of_guide", TRUTHS.values(), ids=TRUTHS)
def test_gradients(pair, build, of_model, of_guide):
    model, guide, x = pair
    torch.manual_seed(0)
    objective = build(model, guide)
    batch = objective.prepare({"x": x.repeat_interleave(300)})
    theta, phi = list(model.parameters()), list(guide.parameters())
    truth = torch.cat([gradient(of_model(model, guide, x), theta), gradient(of_guide(model, guide, x), phi)])

    def estimate():
        sides = objective.players
        if len(sides) == 1:
            return gradient(sides[0].loss(batch), theta + phi)
        return torch.cat([gradient(sides[0].loss(batch), theta), gradient(sides[1].loss(batch), phi)])

    assert_unbiased(estimate, truth)
    assert_unbiased(lambda: gradient(objective.world_losses(batch).mean(), theta + phi), truth)


def test_forward_kl_value_and_gradient(pair):
    model, guide, _ = pair
    objective = dgm.ForwardKL(model, guide)
    phi = list(guide.parameters())
    torch.manual_seed(0)
    assert_unbiased(lambda: gradient(objective(objective.prepare(model.sample(500))), phi), gradient(asleep(model, guide), phi))
    assert_unbiased(lambda: objective.world_losses(objective.prepare(model.sample(500))).mean(), asleep(model, guide))


def test_doubly_reparameterized_gains_from_particles_where_the_plain_gradient_loses():
    """Signal to noise of the guide's gradient near the posterior, Rainforth et al. (2018)."""
    oracle = LinearGaussian({"z": (), "x": ("z",)})
    model, guide = dgm.compile(oracle.net()), oracle.set_exact(dgm.compile(dgm.amortize(oracle.net(), "x", net=dgm.MLP())))
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in guide.parameters():
            parameter += 0.1

    def ratio(particles, estimator):
        objective = dgm.IWAE(model, guide, particles=particles, gradient=estimator)
        batch = objective.prepare({"x": torch.tensor([1.0])})
        draws = torch.stack([gradient(objective(batch), list(guide.parameters())) for _ in range(500)])
        return float((draws.mean(0).abs() / draws.std(0)).max())

    few, many, plain = ratio(2, dgm.DoublyReparameterized()), ratio(64, dgm.DoublyReparameterized()), ratio(64, None)
    assert many > 2 * few and many > 4 * plain, (few, many, plain)


def test_upper_and_lower_bounds_hold_the_evidence(pair):
    model, guide, x = pair
    torch.manual_seed(0)
    objective = dgm.CUBO(model, guide, particles=4000)
    batch = objective.prepare({"x": x})
    linear, log_s = model.conditional("x").predictor.predictor, model.conditional("x").unconstrained["scale"]
    evidence = Normal(linear.bias.squeeze(), (linear.weight.squeeze() ** 2 + log_s.exp() ** 2).sqrt()).log_prob(x)
    assert bool((objective.upper(batch) > evidence - 0.02).all()) and bool((objective.score(batch) < evidence + 0.1).all())
    bounds = [dgm.Renyi(model, guide, alpha=alpha, particles=4000).score(batch).mean() for alpha in (2.0, 1.0, 0.5, 0.0)]
    assert bounds == sorted(bounds)


# ---- finite latents


def test_vimco_and_wake_sleep_against_enumeration():
    """Two latents, one finite: every pair of states of two particles, the Gaussian one by quadrature where there is one."""
    net = dgm.BayesNet(k=dgm.Categorical(3), j=dgm.Bernoulli().given("k"), x=dgm.Normal().given("k", "j"))
    model = dgm.compile(net, seed=0).double()
    guide = dgm.compile(dgm.amortize(net, "x", net=dgm.MLP(4)), seed=1).double()
    x = torch.tensor(0.8, dtype=torch.double)
    states = torch.tensor(list(itertools.product(range(3), range(2))))
    rows = {"k": states[:, 0], "j": states[:, 1].double(), "x": x.expand(6)}
    theta, phi = list(model.parameters()), list(guide.parameters())

    def over_pairs():
        """The bound and the probability of every pair, and what the wake update of each climbs."""
        log_p, log_q = sum(model.log_densities(rows).values()), sum(guide.log_densities(rows).values())
        weights, both = log_p - log_q, log_q[:, None] + log_q[None]
        weighed = two(weights).detach().softmax(0) * two(log_q)
        return torch.logaddexp(weights[:, None], weights[None]) - math.log(2), both.exp(), weighed.sum(0)

    bounds, chances, _ = over_pairs()
    expected = (bounds * chances).sum()
    objective = dgm.IWAE(model, guide, particles=2, gradient=dgm.VIMCO())
    batch = objective.prepare({"x": x.expand(400)})
    torch.manual_seed(0)
    assert_unbiased(lambda: objective.score(batch).mean(), expected)
    truth = gradient(-expected, theta + phi)
    assert_unbiased(lambda: gradient(objective(batch), theta + phi), truth)
    first, second = dgm.ReweightedWakeSleep(model, guide, particles=2).players
    bounds, chances, _ = over_pairs()
    truth = gradient(-(bounds * chances.detach()).sum(), theta)
    assert_unbiased(lambda: gradient(first.loss(batch), theta), truth)
    _, chances, climbed = over_pairs()
    truth = gradient(-(climbed * chances.detach()).sum(), phi)
    assert_unbiased(lambda: gradient(second.loss(batch), phi), truth)


def test_vimco_with_a_reparameterized_latent_beside():
    net = dgm.BayesNet(k=dgm.Bernoulli(), z=dgm.Normal().given("k"), x=dgm.Normal().given("z", "k"))
    model = dgm.compile(net, seed=0).double()
    guide = dgm.compile(dgm.amortize(net, "x", net=dgm.MLP(3)), seed=1).double()
    parameters = list(model.parameters()) + list(guide.parameters())
    objective = dgm.IWAE(model, guide, particles=2, gradient=dgm.VIMCO())
    batch = objective.prepare({"x": torch.full((800,), 0.8, dtype=torch.double)})
    order = [node.name for node in guide.schedule]

    def enumerated(count=2000):
        """The bound with the states of k of both particles summed out, every branch with draws of its own."""
        x, sides = torch.full((count,), 0.8, dtype=torch.double), []
        for state in (0.0, 1.0):
            found, log = {"x": x}, 0.0
            for name in order:
                node = guide.nodes[name]
                prepared = node.prepare(found)
                found[name] = torch.full((count,), state, dtype=torch.double) if name == "k" else guide.draw(node, prepared, (count,), {})
                log = node.conditional.log_density(found[name], prepared) if name == "k" else log
            log_q = sum(guide.nodes[name].conditional.log_density(found[name], guide.nodes[name].prepare(found)) for name in order)
            sides.append((log, sum(model.log_densities({name: found[name] for name in net}).values()) - log_q))
        total = 0.0
        for (log, weight), (other, shuffled) in itertools.product(sides, sides):
            total = total + (log + other.roll(1)).exp() * (torch.logaddexp(weight, shuffled.roll(1)) - math.log(2))
        return -total.mean()

    torch.manual_seed(0)
    truth = torch.stack([gradient(enumerated(), parameters) for _ in range(60)])
    found = torch.stack([gradient(objective(batch), parameters) for _ in range(60)])
    error = (truth.var(0) / 60 + found.var(0) / 60).sqrt()
    assert bool(((truth.mean(0) - found.mean(0)).abs() <= 5 * error + 1e-5).all())


# ---- particles and worlds


@pytest.mark.parametrize("build", [build for build, _ in AT_THE_POSTERIOR.values()], ids=AT_THE_POSTERIOR)
def test_worlds_do_not_mix(pair, build):
    """The loss of a row is the same whatever rows stand beside it, for the same noise."""
    model, guide, _ = pair
    objective = build(model, guide)
    losses = []
    for last in (0.5, 40.0):
        batch = objective.prepare({"x": torch.tensor([0.3, -1.2, last], dtype=torch.double)})
        torch.manual_seed(0)
        losses.append(objective.world_losses(batch)[:2])
        assert objective.world_losses(batch).shape == objective.score(batch).shape == (3,)
    torch.testing.assert_close(*losses)


def plated():
    u, v = dgm.refs("u v")
    return dgm.BayesNet(
        u=dgm.Normal(loc=0.0, scale=1.0), v=dgm.Normal(loc="u", scale=1.0), r=dgm.Normal(loc=u + v, scale=0.5), plates={"person": ["v", "r"]},
    )


@pytest.mark.parametrize("build", [build for build, _ in AT_THE_POSTERIOR.values()], ids=AT_THE_POSTERIOR)
def test_plates(build):
    model = dgm.compile(plated())
    guide = dgm.compile(dgm.amortize(plated(), "r", net=dgm.MLP(4)), seed=0)
    objective = build(model, guide)
    run = dgm.fit(objective, {"r": torch.randn(20, 4)}, steps=2, batch_size=10, seed=0, device="cpu")
    assert objective.score(objective.prepare({"r": torch.randn(3, 6)})).shape == (3,) and run.step == 2


def test_the_path_alone_leaves_parameters_trainable_and_goes_with_shared_conditionals():
    net = dgm.BayesNet(z=dgm.Normal(), y=dgm.Normal(loc="z", scale=1.0), w=dgm.Normal().given("z"), x=dgm.Normal().given("y"))
    model = dgm.compile(net, seed=0)
    guide = dgm.compile(dgm.amortize(net, "x", net=dgm.MLP(4)), share=model)
    objective = dgm.IWAE(model, guide, particles=3, gradient=dgm.DoublyReparameterized())
    objective(objective.prepare({"x": torch.randn(5)})).backward()
    assert all(parameter.requires_grad for parameter in objective.parameters())
    assert all(parameter.grad is not None for name, parameter in guide.named_parameters() if "p(w)" not in name)


@pytest.mark.parametrize("plain, other", [
    (dgm.ELBO, lambda m, g: dgm.ELBO(m, g, gradient=dgm.StickingTheLanding())),
    (lambda m, g: dgm.IWAE(m, g, particles=3), lambda m, g: dgm.IWAE(m, g, particles=3, gradient=dgm.DoublyReparameterized())),
])
def test_chains_of_several_lengths_have_the_gradient_of_the_plain_estimator(plain, other):
    """The guide carries a state that it computes backwards through time."""
    lag = dgm.lag
    net = dgm.BayesNet(z=dgm.Normal(2).given(lag("z", initial=dgm.free())), x=dgm.Normal(3).given("z", lag("x"), net=dgm.MLP(4)), plates={"time": dgm.Chain(["x", "z"])})
    guide = dgm.compile(dgm.BayesNet(
        x=dgm.Given(3), h=dgm.Delta(3).given(dgm.lead("h", initial=0.0), "x", net=dgm.MLP(4)), z=dgm.Normal(2).given(lag("z", initial=0.0), "h", net=dgm.MLP(4)),
        plates={"time": dgm.Chain(["x", "h", "z"])},
    ), seed=1).double()
    model, found = dgm.compile(net, seed=0).double(), []
    torch.manual_seed(0)
    x = torch.randn(1, 4, 3, dtype=torch.double)
    for make in (plain, other):
        objective = make(model, guide)
        batch = objective.prepare({"x": x.expand(300, 4, 3), "time": [4, 3, 2] * 100})
        found.append(torch.stack([gradient(objective(batch), list(objective.parameters())) for _ in range(25)]))
    error = sum(draws.var(0) / 25 for draws in found).sqrt()
    assert bool(((found[0].mean(0) - found[1].mean(0)).abs() <= 5 * error + 1e-6).all())


# ---- what is refused

REFUSED = {
    "elbo with another estimator": (lambda m, g: dgm.ELBO(m, g, gradient=dgm.VIMCO()), r"ELBO: expected gradient=dgm.StickingTheLanding\(\) or None; got VIMCO\(\); .*dgm.IWAE"),
    "an estimator that is none": (lambda m, g: dgm.IWAE(m, g, gradient="dreg"), r"IWAE: expected a gradient such as dgm.DoublyReparameterized\(\) or dgm.VIMCO\(\); got 'dreg'"),
    "sticking with particles": (
        lambda m, g: dgm.IWAE(m, g, particles=3, gradient=dgm.StickingTheLanding()), r"IWAE: StickingTheLanding is biased for 3 particles; use gradient=dgm.DoublyReparameterized\(\)",
    ),
    "one particle of vimco": (lambda m, g: dgm.IWAE(m, g, gradient=dgm.VIMCO()), r"VIMCO: expected two particles or more, each one's baseline being the others; got 1"),
    "alpha": (lambda m, g: dgm.Renyi(m, g, alpha=math.inf), r"Renyi: expected alpha to be a finite number; got inf"),
    "order": (lambda m, g: dgm.CUBO(m, g, order=1), r"CUBO: expected an order above 1; got 1"),
    "one particle of the chi bound": (lambda m, g: dgm.CUBO(m, g, particles=1), r"CUBO: expected two particles or more"),
    "share": (lambda m, g: dgm.ReweightedWakeSleep(m, g, sleep=1.5), r"ReweightedWakeSleep: expected sleep to be a share from 0 to 1; got 1.5"),
    "one particle awake": (lambda m, g: dgm.ReweightedWakeSleep(m, g, particles=1), r"with one particle the weight is always 1 .* try particles=5, or sleep=1.0"),
}


@pytest.mark.parametrize("build, message", REFUSED.values(), ids=REFUSED)
def test_refusals(pair, build, message):
    with pytest.raises(dgm.GraphError, match=message):
        build(*pair[:2])


@pytest.mark.parametrize("build, message", [
    (lambda m, g: dgm.IWAE(m, g, particles=2, gradient=dgm.DoublyReparameterized()), r"DoublyReparameterized: node 'k' ~ Categorical\(3\) is not reparameterized; use gradient=dgm.VIMCO\(\)"),
    (lambda m, g: dgm.ELBO(m, g, gradient=dgm.StickingTheLanding()), r"StickingTheLanding: node 'k' ~ Categorical\(3\) is not reparameterized; use dgm.ELBO\(model, guide\) without it"),
    (lambda m, g: dgm.Renyi(m, g), r"Renyi: node 'k' ~ Categorical\(3\) is not reparameterized; use dgm.IWAE\(model, guide, particles=..., gradient=dgm.VIMCO\(\)\)"),
])
def test_finite_latents_where_draws_must_be_differentiable(build, message):
    net = dgm.BayesNet(k=dgm.Categorical(3), x=dgm.Normal().given("k"))
    with pytest.raises(dgm.GraphError, match=message):
        build(dgm.compile(net), dgm.compile(dgm.amortize(net, "x", net=dgm.MLP(3))))
