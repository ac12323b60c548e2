"""Objectives that weigh the divergence otherwise: free bits, total correlation, matched priors, against closed forms and what they contain as special cases."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch.distributions import Normal

import dgm_ppl as dgm
from dgm_ppl.objectives.total_correlation import log_aggregate

from .estimates import assert_unbiased, gradient

torch.set_num_threads(1)


@pytest.fixture
def pair():
    """Two latent nodes that the guide reads off x alone."""
    net = dgm.BayesNet(y=dgm.Normal(loc=0.0, scale=1.0), z=dgm.Normal(2, loc=0.0, scale=1.0), x=dgm.Normal(3).given("z", "y"))
    model = dgm.compile(net, seed=0).double()
    guide = dgm.compile(dgm.amortize(net, "x", net=dgm.MLP(), structure=dgm.MeanField()), seed=1).double()
    torch.manual_seed(0)
    return model, guide, 2 * torch.randn(6, 3, dtype=torch.double)


def divergences(guide, x):
    """KL(q || p) of y and of z for each row, in closed form."""
    found = []
    for name in ("y", "z"):
        mean, log_t = guide.conditional(name).predictor.network(x).chunk(2, -1)
        found.append((0.5 * (mean**2 + (2 * log_t).exp() - 1) - log_t).sum(-1))
    return found


def fit_of(model, guide, x):
    """E_q[-log p(x | y, z)] of each row, in closed form: x is linear in both."""
    linear, log_s = model.conditional("x").predictor.predictor, model.conditional("x").unconstrained["scale"]
    order = [port.name for port in model.conditional("x").ports]
    parts = {name: guide.conditional(name).predictor.network(x).chunk(2, -1) for name in order}
    mean, deviation = (torch.cat([parts[name][i] for name in order], -1) for i in range(2))
    loc = linear(mean)
    spread = deviation.exp().square() @ linear.weight.square().T
    return (0.5 * math.log(2 * math.pi) + log_s + ((x - loc) ** 2 + spread) / (2 * (2 * log_s).exp())).sum(-1)


def same_noise(objective, other, batch):
    torch.manual_seed(3)
    one = objective.world_losses(batch)
    torch.manual_seed(3)
    return one, other.world_losses(batch)


# ---- free bits


@pytest.mark.parametrize("closed_form", [True, False])
def test_free_bits_by_node(pair, closed_form):
    model, guide, x = pair
    y, z = (float(term.mean().detach()) for term in divergences(guide, x))
    floors = {"y": y + 0.5, "z": z / 2}                                      # one node below its floor, the other above
    objective = dgm.FreeBits(model, guide, floors, closed_form=closed_form)
    parameters = list(objective.parameters())
    expected = (fit_of(model, guide, x) + divergences(guide, x)[1]).mean() + floors["y"]
    truth = gradient(expected, parameters)
    batch = objective.prepare({"x": x.repeat_interleave(300, 0)})
    torch.manual_seed(0)
    assert_unbiased(lambda: gradient(objective(batch), parameters), truth)
    assert_unbiased(lambda: torch.stack([objective(batch), objective.world_losses(batch).mean()]), expected.expand(2))
    torch.testing.assert_close(objective.score(batch).mean(), -(fit_of(model, guide, x) + sum(divergences(guide, x))).mean(), atol=0.3, rtol=0.05)


def test_without_a_floor_it_is_the_elbo(pair):
    model, guide, x = pair
    for floor in (0.0, {}, 1e-9):
        objective = dgm.FreeBits(model, guide, floor, particles=2)
        torch.testing.assert_close(*same_noise(objective, dgm.ELBO(model, guide, particles=2), objective.prepare({"x": x})))


def test_free_bits_with_finite_latents():
    net = dgm.BayesNet(k=dgm.Categorical(3, probs=[0.2, 0.3, 0.5]), x=dgm.Normal().given("k"))
    model, guide = dgm.compile(net, seed=0).double(), dgm.compile(dgm.amortize(net, "x", net=dgm.MLP(4)), seed=1).double()
    x = torch.tensor([0.5, -1.0], dtype=torch.double)

    def expected(weight):
        q = guide.conditional("k")(x)
        k = torch.arange(3)[:, None].expand(3, 2)
        log_p = model.conditional("x")(k).log_prob(x)
        kl = (q.probs * (q.probs.log() - torch.tensor([0.2, 0.3, 0.5], dtype=torch.double).log())).sum(-1)
        return (-(q.probs.T * log_p).sum(0) + weight * kl).mean()

    for floor, weight in ((50.0, 0.0), (1e-6, 1.0)):
        objective = dgm.FreeBits(model, guide, floor, particles=3)
        parameters = list(objective.parameters())
        batch = objective.prepare({"x": x.repeat_interleave(300)})
        truth = gradient(expected(weight), parameters)
        torch.manual_seed(0)
        assert_unbiased(lambda: gradient(objective(batch), parameters), truth)


# ---- total correlation


def test_all_weights_one_is_the_elbo(pair):
    model, guide, x = pair
    objective = dgm.BetaTCVAE(model, guide, data_size=50, beta=1.0)
    batch = objective.prepare({"x": x})
    torch.testing.assert_close(*same_noise(objective, dgm.ELBO(model, guide, closed_form=False), batch))


def test_the_terms_are_those_of_the_formula(pair):
    model, guide, x = pair
    objective = dgm.BetaTCVAE(model, guide, data_size=6, alpha=0.3, beta=4.0, gamma=2.0)
    batch = objective.prepare({"x": x})
    torch.manual_seed(0)
    losses = objective.world_losses(batch)
    torch.manual_seed(0)
    drawn = objective._drawn(batch)
    z = torch.cat([drawn.found["y"].unsqueeze(-1), drawn.found["z"]], -1)
    parts = [guide.conditional(name).predictor.network(x).chunk(2, -1) for name in ("y", "z")]
    q = Normal(torch.cat([mean for mean, _ in parts], -1), torch.cat([log for _, log in parts], -1).exp())
    each = q.log_prob(z[:, None])                                            # (i, j, d); all N rows are in the batch, so the mixtures are exact
    joint, whole = each.sum(-1).diagonal(), each.sum(-1).logsumexp(1) - math.log(6)
    apart = (each.logsumexp(1) - math.log(6)).sum(-1)
    log_p = model.conditional("x").log_density(drawn.found["x"], model.nodes["x"].prepare(drawn.found))
    prior = Normal(0.0, 1.0).log_prob(z).sum(-1)
    torch.testing.assert_close(losses, -log_p + 0.3 * (joint - whole) + 4 * (whole - apart) + 2 * (apart - prior))


def test_the_aggregate_is_unbiased_over_minibatches():
    """All minibatches of three of five rows that hold row 2: the mean of the estimates is the mixture."""
    torch.manual_seed(0)
    log_q = torch.randn(5, 5, dtype=torch.double)
    estimates = []
    for rows in itertools.permutations(range(5), 3):
        if 2 in rows:
            at = rows.index(2)
            estimates.append(log_aggregate(log_q[list(rows)][:, list(rows)], 5)[at].exp())
    torch.testing.assert_close(torch.stack(estimates).mean(), log_q[2].exp().mean())
    torch.testing.assert_close(log_aggregate(log_q, 5), log_q.logsumexp(1) - math.log(5))


def test_a_guide_that_reads_nothing_tells_nothing():
    """Mutual information and total correlation are exactly zero, whatever their weights."""
    net = dgm.BayesNet(z=dgm.Normal(3, loc=0.0, scale=1.0), x=dgm.Normal(2).given("z"))
    model = dgm.compile(net, seed=0)
    guide = dgm.compile(dgm.BayesNet(x=dgm.Given(2), z=dgm.Normal(3, loc=dgm.free(0.3), scale=dgm.free(0.8))))
    objective = dgm.BetaTCVAE(model, guide, data_size=100, alpha=7.0, beta=9.0)
    torch.testing.assert_close(*same_noise(objective, dgm.ELBO(model, guide, closed_form=False), objective.prepare({"x": torch.randn(5, 2)})), atol=1e-3, rtol=1e-3)


def test_total_correlation_in_plates_and_with_flows():
    plated = dgm.BayesNet(z=dgm.Normal(2, loc=0.0, scale=1.0), x=dgm.Normal(3).given("z"), plates={"n": ["z", "x"]})
    model, guide = dgm.compile(plated), dgm.compile(dgm.amortize(plated, "x", net=dgm.MLP(4)))
    objective = dgm.BetaTCVAE(model, guide, data_size=9, beta=1.0)
    torch.testing.assert_close(*same_noise(objective, dgm.ELBO(model, guide, closed_form=False), objective.prepare({"x": torch.randn(5, 4, 3)})))
    net = dgm.BayesNet(z=dgm.Normal(2, loc=0.0, scale=1.0), x=dgm.Normal(3).given("z"))
    guide = dgm.compile(dgm.BayesNet(x=dgm.Given(3), z=dgm.Flow(2, dgm.MAF(1, hidden=(4,))).given("x")))
    objective = dgm.BetaTCVAE(dgm.compile(net), guide, data_size=9, beta=3.0)
    assert objective.world_losses(objective.prepare({"x": torch.randn(5, 3)})).isfinite().all()


# ---- matched priors


def test_info_vae_holds_the_elbo_and_the_formula(pair):
    model, guide, x = pair
    objective = dgm.InfoVAE(model, guide, alpha=0.0, weight=1.0)
    batch = objective.prepare({"x": x})
    torch.testing.assert_close(*same_noise(objective, dgm.ELBO(model, guide), batch))
    torch.testing.assert_close(*(each.score(batch) for each in (objective, dgm.ELBO(model, guide)) if torch.manual_seed(1)))
    distance = dgm.EnergyDistance()
    objective = dgm.InfoVAE(model, guide, alpha=0.6, weight=5.0, distance=distance)
    torch.manual_seed(0)
    losses = objective.world_losses(batch)
    torch.manual_seed(0)
    drawn = objective._drawn(batch)
    posterior, prior = objective.latents(drawn)
    assert posterior.shape == prior.shape == (6, 3)
    log_p = model.conditional("x").log_density(drawn.found["x"], model.nodes["x"].prepare(drawn.found))
    torch.testing.assert_close(losses, -log_p + 0.4 * sum(divergences(guide, x)) + 4.6 * distance(posterior, prior))


def test_the_distance_vanishes_in_mean_where_the_aggregate_is_the_prior():
    """An unbiased distance between samples of one distribution has mean zero, and so has its gradient."""
    net = dgm.BayesNet(z=dgm.Normal(loc=0.0, scale=1.0), x=dgm.Normal().given("z"))
    guide = dgm.compile(dgm.BayesNet(x=dgm.Given(), z=dgm.Normal(loc=dgm.free(0.0), scale=dgm.free(1.0))))
    objective = dgm.InfoVAE(dgm.compile(net), guide, distance=dgm.EnergyDistance())
    batch = objective.prepare({"x": torch.zeros(100)})

    def estimate():
        value = objective.distance(*objective.latents(objective._drawn(batch)))
        return torch.cat([value.reshape(1), gradient(value, list(guide.parameters()))])

    torch.manual_seed(0)
    assert_unbiased(estimate, torch.zeros(3), repetitions=200)


def test_wasserstein_autoencoders_of_densities_and_generators():
    dense = dgm.BayesNet(z=dgm.Normal(2, loc=0.0, scale=1.0), x=dgm.Normal(3, scale=0.5).given("z"))
    implicit = dgm.BayesNet(z=dgm.Normal(2, loc=0.0, scale=1.0), x=dgm.Generator(3).given("z", net=dgm.MLP()))
    x = torch.randn(40, 3)
    for net in (dense, implicit):
        guide = dgm.compile(dgm.BayesNet(x=dgm.Given(3), z=dgm.Normal(2, scale=1e-3).given("x", net=dgm.MLP())), seed=0)
        objective = dgm.WassersteinAutoencoder(dgm.compile(net, seed=0), guide, weight=1.0)
        batch = objective.prepare({"x": x})
        before = objective.score(batch).mean()
        dgm.fit(objective, {"x": x}, steps=60, optimizer=dgm.Adam(lr=0.02), seed=0, device="cpu")
        assert objective.score(batch).mean() > before
    torch.manual_seed(0)
    losses = objective.world_losses(batch)
    torch.manual_seed(0)
    drawn = objective._drawn(batch)
    made = objective.model.conditional("x").draw((40,), objective.model.nodes["x"].prepare(drawn.found), dgm.families.noise)
    torch.testing.assert_close((losses - losses.mean()).detach(), ((made - x) ** 2).sum(1).sub(((made - x) ** 2).sum(1).mean()).detach(), atol=1e-4, rtol=1e-4)


# ---- what is refused

REFUSED = {
    "floor": (lambda m, g: dgm.FreeBits(m, g, -1.0), r"FreeBits: node '.': expected a floor in nats that is not negative; got -1.0"),
    "no such latent": (lambda m, g: dgm.FreeBits(m, g, {"zz": 1.0}), r"FreeBits: the guide has no latent 'zz'; did you mean 'z'\?"),
    "data size": (lambda m, g: dgm.BetaTCVAE(m, g, data_size=1), r"BetaTCVAE: expected data_size, the number of rows of the training data; got 1"),
    "weight": (lambda m, g: dgm.BetaTCVAE(m, g, data_size=5, beta=-1), r"BetaTCVAE: expected beta to be a number that is not negative; got -1"),
    "distance": (lambda m, g: dgm.InfoVAE(m, g, distance="mmd"), r"InfoVAE: expected a distance such as dgm.MMD\(heavy=True\); got 'mmd'"),
    "lambda": (lambda m, g: dgm.WassersteinAutoencoder(m, g, weight=math.nan), r"WassersteinAutoencoder: expected weight to be a finite number; got nan"),
    "large batch": (
        lambda m, g: (one := dgm.BetaTCVAE(m, g, data_size=5)).world_losses(one.prepare({"x": torch.zeros(6, 3)})), r"BetaTCVAE: expected batches of 2 to data_size=5 rows; got \(6,\)",
    ),
}


@pytest.mark.parametrize("act, message", REFUSED.values(), ids=REFUSED)
def test_refusals(pair, act, message):
    with pytest.raises(dgm.GraphError, match=message):
        act(*pair[:2])


@pytest.mark.parametrize("make", [lambda m, g: dgm.BetaTCVAE(m, g, data_size=9), dgm.InfoVAE])
def test_sequences_are_refused(make):
    net = dgm.BayesNet(z=dgm.Normal().given(dgm.lag("z", initial=0.0)), x=dgm.Normal().given("z"), plates={"t": dgm.Chain(["z", "x"])})
    guide = dgm.BayesNet(x=dgm.Given(), z=dgm.Normal().given("x", net=dgm.MLP(2)), plates={"t": dgm.Chain(["z", "x"])})
    with pytest.raises(dgm.GraphError, match="expected a net without chains"):
        make(dgm.compile(net), dgm.compile(guide))


def test_coupled_copies_have_no_density_each():
    net = dgm.BayesNet(z=dgm.Normal(loc=0.0, scale=1.0), x=dgm.Normal().given("z"), plates={"n": dgm.Plate(["z"], size=3)})
    x = torch.randn(4)
    coupled = dgm.BetaTCVAE(dgm.compile(net), dgm.compile(dgm.amortize(net, "x", net=dgm.MLP(2))), data_size=9)
    with pytest.raises(dgm.GraphError, match=r"BetaTCVAE: the copies of node 'z' are coupled in the guide"):
        coupled.prepare({"x": x})
    apart = dgm.BetaTCVAE(dgm.compile(net), dgm.compile(dgm.amortize(net, "x", net=dgm.MLP(2), structure=dgm.MeanField())), data_size=9)
    assert apart.world_losses(apart.prepare({"x": x})).isfinite().all()


def test_a_guide_whose_latents_read_each_other():
    net = dgm.BayesNet(z=dgm.Normal(), y=dgm.Normal().given("z"), x=dgm.Normal().given("y"))
    objective = dgm.BetaTCVAE(dgm.compile(net), dgm.compile(dgm.amortize(net, "x", net=dgm.MLP(2))), data_size=5)
    with pytest.raises(dgm.GraphError, match=r"BetaTCVAE: node '.' of the guide reads the latent '.'; .*structure=dgm.MeanField\(\)"):
        objective.prepare({"x": torch.zeros(3)})


def test_matching_takes_nodes_of_a_single_number():
    net = dgm.BayesNet(z=dgm.Normal(loc=0.0, scale=1.0), x=dgm.Normal().given("z"))
    objective = dgm.Matching(dgm.compile(net), dgm.EnergyDistance())
    assert torch.isfinite(objective(objective.prepare({"x": torch.randn(20)})))
