"""ELBO and IWAE on a linear-Gaussian net: values and gradients against closed forms."""

from __future__ import annotations

import math

import pytest
import torch

import dgm_ppl as dgm

from .estimates import assert_unbiased, gradient
from .oracle import LinearGaussian

torch.set_num_threads(1)


@pytest.fixture
def pair():
    """z ~ N(0, 1), x | z ~ N(w z + b, s); q(z | x) = N(m x + c, t), all learned and not the posterior."""
    net = dgm.BayesNet(z=dgm.Normal(loc=0.0, scale=1.0), x=dgm.Normal().given("z"))
    model = dgm.compile(net, seed=0)
    guide = dgm.compile(dgm.amortize(net, "x", net=dgm.MLP()), seed=1)
    torch.manual_seed(0)
    return model, guide, torch.tensor([0.3, -1.2, 2.0])


def numbers(model, guide, x):
    """w, b, s of the model and the mean and deviation of q for each row."""
    linear, log_s = model.conditional("x").predictor.predictor, model.conditional("x").unconstrained["scale"]
    mean, log_t = guide.conditional("z").predictor.network(x.unsqueeze(-1)).unbind(-1)
    return linear.weight.squeeze(), linear.bias.squeeze(), log_s.exp(), mean, log_t.exp()


def closed_elbo(model, guide, x, weight=1.0):
    """E_q log p(x | z) - weight KL(q || p) of each row."""
    w, b, s, mean, t = numbers(model, guide, x)
    fit = -0.5 * math.log(2 * math.pi) - s.log() - ((x - w * mean - b) ** 2 + w**2 * t**2) / (2 * s**2)
    return fit - weight * (0.5 * (mean**2 + t**2 - 1) - t.log())


def log_evidence(model, guide, x):
    w, b, s, _, _ = numbers(model, guide, x)
    return torch.distributions.Normal(b, (w**2 + s**2).sqrt()).log_prob(x)


def parameters_of(objective):
    return list(objective.parameters())


# ---- ELBO


@pytest.mark.parametrize("options", [{}, {"closed_form": False}, {"particles": 7}, {"particles": 7, "closed_form": False}, {"kl_weight": 0.25}, {"kl_weight": 0.25, "closed_form": False}])
def test_elbo_value_and_gradient(pair, options):
    model, guide, x = pair
    objective = dgm.ELBO(model, guide, **options)
    rows = x.repeat_interleave(300)
    batch = objective.prepare({"x": rows})
    expected = closed_elbo(model, guide, x, options.get("kl_weight", 1.0))
    assert_unbiased(lambda: objective.world_losses(batch).reshape(3, 300).mean(1), -expected)
    assert_unbiased(lambda: gradient(objective(batch), parameters_of(objective)), gradient(-expected.mean(), parameters_of(objective)))


def test_the_score_of_a_validation_is_the_bound_whatever_the_weight(pair):
    model, guide, x = pair
    objective = dgm.ELBO(model, guide, kl_weight=0.1, particles=4000)
    score = objective.score(objective.prepare({"x": x}))
    assert not score.requires_grad
    torch.testing.assert_close(score, closed_elbo(model, guide, x).detach(), atol=0.1, rtol=0.02)


def test_with_the_exact_posterior_every_draw_is_the_evidence():
    oracle = LinearGaussian({"z": (), "x": ("z",), "y": ("z",)})
    model = dgm.compile(oracle.net())
    guide = oracle.set_exact(dgm.compile(dgm.amortize(oracle.net(), ["x", "y"], net=dgm.MLP())))
    data = {"x": torch.randn(5), "y": torch.randn(5)}
    evidence = oracle.evidence(data)
    for objective in (dgm.ELBO(model, guide, closed_form=False), dgm.ELBO(model, guide, closed_form=False, particles=3), dgm.IWAE(model, guide), dgm.IWAE(model, guide, particles=6)):
        batch = objective.prepare(data)
        torch.testing.assert_close(-objective.world_losses(batch), evidence, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(objective.score(batch), evidence, rtol=1e-4, atol=1e-4)
    grads = lambda objective: gradient(objective(objective.prepare({name: value.repeat_interleave(200) for name, value in data.items()})), list(guide.parameters()))  # noqa: E731
    for objective in (dgm.ELBO(model, guide), dgm.IWAE(model, guide, particles=3)):
        assert_unbiased(lambda objective=objective: grads(objective), torch.zeros(sum(parameter.numel() for parameter in guide.parameters())))


# ---- KL weight


def test_a_constant_weight(pair):
    model, guide, x = pair
    whole, half = dgm.ELBO(model, guide), dgm.ELBO(model, guide, kl_weight=0.5)
    batch = whole.prepare({"x": x})
    torch.manual_seed(0)
    one = whole.world_losses(batch)
    torch.manual_seed(0)
    two = half.world_losses(batch)
    _, _, _, mean, t = numbers(model, guide, x)
    torch.testing.assert_close(one - two, 0.5 * (0.5 * (mean**2 + t**2 - 1) - t.log()))
    torch.manual_seed(0)
    torch.testing.assert_close(half(batch), two.mean())


def test_a_schedule_follows_the_step(pair):
    model, guide, x = pair
    objective = dgm.ELBO(model, guide, kl_weight=lambda step: min(1.0, step / 10))
    assert objective.weight.item() == 0.0
    seen = []
    dgm.fit(objective, {"x": x}, steps=13, seed=0, device="cpu", callbacks=lambda moment: seen.append(objective.weight.item()))
    assert seen == pytest.approx([min(1.0, step / 10) for step in range(13)])
    assert dgm.ELBO(model, guide, kl_weight=lambda step: 0.5).declaration()["kl_weight"] == "schedule"


@pytest.mark.parametrize("weight", [-0.1, float("nan"), float("inf")])
def test_weights_that_are_none(pair, weight):
    with pytest.raises(dgm.GraphError, match="ELBO: expected kl_weight to be a number that is not negative, or a function of the step; got"):
        dgm.ELBO(*pair[:2], kl_weight=weight)


# ---- IWAE


def test_one_particle_is_the_sampled_elbo(pair):
    model, guide, x = pair
    losses = []
    for objective in (dgm.IWAE(model, guide), dgm.ELBO(model, guide, closed_form=False)):
        torch.manual_seed(0)
        losses.append(objective(objective.prepare({"x": x})))
    torch.testing.assert_close(*losses)
    torch.testing.assert_close(*(gradient(loss, list(guide.parameters())) for loss in losses))


def test_more_particles_are_tighter_and_never_above_the_evidence(pair):
    model, guide, x = pair
    rows = x.repeat_interleave(4000)
    torch.manual_seed(0)
    means = [dgm.IWAE(model, guide, particles=k).score({"x": rows}).mean().item() for k in (1, 2, 5, 20, 80)]
    assert means == sorted(means) and means[0] == pytest.approx(closed_elbo(model, guide, x).mean().item(), abs=0.1)
    evidence = log_evidence(model, guide, x).mean().item()
    assert means[-1] < evidence + 0.01 and evidence - means[-1] < 0.2 * (evidence - means[0])


def test_the_bound_is_row_by_row(pair):
    model, guide, x = pair
    objective = dgm.IWAE(model, guide, particles=5)
    torch.manual_seed(0)
    weights = objective.log_weights(objective.prepare({"x": x}))
    torch.manual_seed(0)
    losses = objective.world_losses(objective.prepare({"x": x}))
    assert weights.shape == (5, 3)
    torch.testing.assert_close(losses, math.log(5) - weights.logsumexp(0))


def test_gradient_of_the_importance_weighted_bound(pair):
    """Against differentiating E log((w1 + w2) / 2) over a grid of both draws' noise."""
    model, guide, x = pair
    objective = dgm.IWAE(model, guide, particles=2)
    nodes = torch.linspace(-6, 6, 241)
    mass = torch.distributions.Normal(0.0, 1.0).log_prob(nodes).softmax(0)
    w, b, s, mean, t = numbers(model, guide, x)
    z = mean + t * nodes[:, None]
    log_w = torch.distributions.Normal(w * z + b, s).log_prob(x) + torch.distributions.Normal(0.0, 1.0).log_prob(z) - torch.distributions.Normal(mean, t).log_prob(z)
    bound = (torch.logaddexp(log_w[:, None], log_w[None]) - math.log(2)) * mass[:, None, None] * mass[None, :, None]
    truth = -bound.sum((0, 1)).mean()
    batch = objective.prepare({"x": x.repeat_interleave(300)})
    assert_unbiased(lambda: gradient(objective(batch), parameters_of(objective)), gradient(truth, parameters_of(objective)))


# ---- what bounds refuse


def test_particles_are_a_positive_number(pair):
    for objective in (dgm.ELBO, dgm.IWAE):
        for particles in (0, -1, 2.0, True):
            with pytest.raises(dgm.GraphError, match=f"{objective.__name__}: expected a positive whole number of particles; got {particles}"):
                objective(*pair[:2], particles=particles)


def test_a_guide_that_does_not_fit():
    net = dgm.BayesNet(c=dgm.Given(), z=dgm.Normal(2), y=dgm.Normal().given("z", net=dgm.MLP(4)), x=dgm.Normal(3).given("y", "c"))
    model = dgm.compile(net)
    x = dgm.Given(3)

    def guide(**variables):
        return dgm.compile(dgm.BayesNet(variables))

    def refused(message, guide, data=None):
        with pytest.raises(dgm.GraphError, match=message):
            objective = dgm.ELBO(model, guide)
            objective.prepare({"x": torch.zeros(2, 3), "c": torch.zeros(2)} if data is None else data)

    good = guide(x=x, y=dgm.Normal().given("x"), z=dgm.Normal(2).given("y"))
    dgm.ELBO(model, good).prepare({"x": torch.zeros(2, 3), "c": torch.zeros(2)})
    refused(r"guide: the latent 'z' has neither data nor a distribution in the guide; .*derive the guide: dgm.amortize\(net, observed=\['x'\]\)", guide(x=x, y=dgm.Normal().given("x")))
    refused(r"guide: the model has no node 'zz'; did you mean 'z'\?", guide(x=x, y=dgm.Normal().given("x"), zz=dgm.Normal(2)))
    refused(r"guide: node 'z' has the event shape \(3,\); the model's has \(2,\)", guide(x=x, y=dgm.Normal(), z=dgm.Normal(3)))
    refused(r"guide: node 'c' is a Given input of the model and has no posterior", guide(c=dgm.Normal(), y=dgm.Normal(), z=dgm.Normal(2)))
    refused(r"guide: expected a distribution for at least one latent of the model; got none; try dgm.compile\(dgm.amortize\(net, observed=...\)\)", guide(x=x))
    refused(r"data: no random node of the model is observed; give data for at least one of \['z', 'y', 'x'\]", guide(x=dgm.Normal(3), y=dgm.Normal(), z=dgm.Normal(2)), {"c": torch.zeros(2)})
    refused(r"node 'c' needs a value, it is a Given input; add 'c' to the data", good, {"x": torch.zeros(2, 3)})
    refused(r"guide: it is given 'x', which the data lack; add 'x' to the data, or derive the guide without it", good, {"y": torch.zeros(2), "c": torch.zeros(2)})
    refused(r"data: no node 'xx'; did you mean 'x'\?", good, {"xx": torch.zeros(2, 3), "c": torch.zeros(2)})


@pytest.mark.parametrize(("latent", "factor", "message"), [
    (dgm.HalfNormal(), dgm.Normal(), r"node 't' ~ Normal\(\) has values in the real numbers; the model's HalfNormal\(\) has values in the "),
    (dgm.HalfNormal(), dgm.Poisson(), r"node 't' ~ Poisson\(\) has values in .*; the model's HalfNormal\(\)"),
    (dgm.Bernoulli(), dgm.Categorical(2), r"node 't' ~ Categorical\(2\) holds its states as codes .*, the model's Bernoulli\(\) as floats; in the guide declare a dgm.Bernoulli"),
    (dgm.Categorical(2), dgm.Categorical(3), r"node 't' ~ Categorical\(3\) has values in \{0, ..., 2\}; the model's Categorical\(2\) has values in \{0, 1\}"),
    (dgm.Uniform(low=0.0, high=2.0), dgm.LogNormal(), r"node 't' ~ LogNormal\(\)"),
    (dgm.Dirichlet(3), dgm.Beta(3), r"node 't' ~ Beta\(3\)"),
])
def test_supports_of_model_and_guide_agree(latent, factor, message):
    model = dgm.compile(dgm.BayesNet(t=latent, x=dgm.Normal().given("t")))
    with pytest.raises(dgm.GraphError, match="guide: " + message):
        dgm.ELBO(model, dgm.compile(dgm.BayesNet(x=dgm.Given(), t=factor)))


def test_a_guide_may_live_on_part_of_the_support():
    model = dgm.compile(dgm.BayesNet(t=dgm.HalfNormal(), x=dgm.Normal().given("t")))
    for factor in (dgm.LogNormal(), dgm.Gamma(), dgm.Beta(), dgm.HalfNormal()):
        dgm.ELBO(model, dgm.compile(dgm.BayesNet(x=dgm.Given(), t=factor)))


def test_plates_of_model_and_guide_agree():
    plated = dgm.BayesNet(mu=dgm.Normal(), t=dgm.Normal(loc="mu"), y=dgm.Normal(loc="t"), plates={"n": ["t", "y"]})
    model = dgm.compile(plated)
    for declared, message in [
        (dgm.BayesNet(mu=dgm.Normal(), t=dgm.Normal()), r"guide: node 't' is in the plates \(\); in the model it is in \('n',\)"),
        (dgm.BayesNet(mu=dgm.Normal(), t=dgm.Normal(), plates={"n": ["t", "mu"]}), r"guide: node 'mu' is in the plates \('n',\); in the model it is in \(\)"),
    ]:
        with pytest.raises(dgm.GraphError, match=message):
            dgm.ELBO(model, dgm.compile(declared))
    flat = dgm.compile(dgm.BayesNet(mu=dgm.Normal(), y=dgm.Normal(loc="mu"), plates={"n": ["y"]}))
    with pytest.raises(dgm.GraphError, match=r"guide: its plates are \[\], the model's \['n'\]; declare the same plates in the same order; .* named as an input: dgm.Given\(\)"):
        dgm.ELBO(flat, dgm.compile(dgm.BayesNet(mu=dgm.Normal())))
    guide = dgm.compile(dgm.BayesNet(y=dgm.Given(), mu=dgm.Normal(), plates={"n": ["y"]}))
    objective = dgm.ELBO(flat, guide)
    assert objective.world_losses(objective.prepare({"y": torch.zeros(4, 3)})).shape == (4,)


def test_iwae_wants_reparameterized_latents():
    net = dgm.BayesNet(k=dgm.Categorical(3), x=dgm.Normal().given("k"))
    guide = dgm.compile(dgm.amortize(net, "x", net=dgm.MLP(3)))
    with pytest.raises(dgm.GraphError, match=r"IWAE: node 'k' ~ Categorical\(3\) is not reparameterized; use gradient=dgm.VIMCO\(\), or dgm.ELBO\(model, guide, particles=...\), which takes its score function"):
        dgm.IWAE(dgm.compile(net), guide)
    barren = dgm.BayesNet(z=dgm.Normal(), k=dgm.Categorical(3).given("z"), x=dgm.Normal().given("z"))
    model = dgm.compile(barren)
    objective = dgm.IWAE(model, dgm.compile(dgm.amortize(barren, "x", net=dgm.MLP(3)), share=model), particles=2)
    assert torch.isfinite(objective(objective.prepare({"x": torch.zeros(4)})))


def test_latents_in_plates_without_inputs_count_once_a_member():
    """A learned factor that reads nothing has no dimensions of its own; its divergence still counts for every member."""
    net = dgm.BayesNet(t=dgm.Normal(loc=0.0, scale=1.0), y=dgm.Normal(loc="t", scale=1.0), plates={"n": ["t", "y"]})
    guide = dgm.compile(dgm.BayesNet(y=dgm.Given(), t=dgm.Normal(loc=dgm.free(0.7), scale=dgm.free(0.5)), plates={"n": ["y", "t"]}))
    objective = dgm.ELBO(dgm.compile(net), guide)
    batch = objective.prepare({"y": torch.zeros(2, 5)})
    kl = 0.5 * (0.49 + 0.25 - 1) - math.log(0.5)
    expected = 5 * (kl + 0.5 * (0.49 + 0.25) + 0.5 * math.log(2 * math.pi))
    assert_unbiased(lambda: torch.stack([objective(batch), *objective.world_losses(batch)]), torch.full((3,), expected), repetitions=400)


def test_a_latent_that_the_data_have_is_observed():
    """One objective takes labelled and unlabelled batches."""
    net = dgm.BayesNet(y=dgm.Normal(), z=dgm.Normal(2).given("y"), x=dgm.Normal(3).given("z", "y"))
    model = dgm.compile(net, seed=0)
    guide = dgm.compile(dgm.BayesNet(x=dgm.Given(3), y=dgm.Normal().given("x"), z=dgm.Normal(2).given("x", "y")), seed=1)
    objective = dgm.ELBO(model, guide, closed_form=False)
    values = model.sample(4)
    labelled, unlabelled = objective.prepare({"x": values["x"], "y": values["y"]}), objective.prepare({"x": values["x"]})
    torch.manual_seed(0)
    loss = objective.world_losses(labelled)
    torch.manual_seed(0)
    pairing, found, prepared, *_ = objective._drawn(labelled)
    torch.testing.assert_close(found["y"], values["y"])
    log_p = model.log_prob({name: found[name] for name in net})
    log_q = guide.conditional("z").log_density(found["z"], prepared["z"])
    torch.testing.assert_close(loss, log_q - log_p)
    assert [latent.name for latent in pairing.latents] == ["z"]
    assert [latent.name for latent in objective._drawn(unlabelled).pairing.latents] == ["y", "z"]
    assert set(objective.guide.conditional("y").parameters()) and objective(unlabelled).requires_grad


@pytest.mark.parametrize("rows", [(), (4,)])
def test_inputs_may_be_one_for_all_rows(rows):
    net = dgm.BayesNet(c=dgm.Given(2), u=dgm.Normal().given("c"), x=dgm.Normal(3).given("u", "c"))
    model = dgm.compile(net, seed=0)
    guide = dgm.compile(dgm.BayesNet(c=dgm.Given(2), x=dgm.Given(3), u=dgm.Normal().given("c")), seed=1)       # reads the input alone
    c, x = torch.tensor([0.3, -1.0]), torch.randn(4, 3)
    losses = []
    for objective in (dgm.ELBO(model, guide), dgm.ELBO(model, guide, particles=3), dgm.IWAE(model, guide, particles=3)):
        batch = objective.prepare({"c": c.expand(*rows, 2), "x": x})
        torch.manual_seed(0)
        by_world = objective.world_losses(batch)
        torch.manual_seed(0)
        torch.testing.assert_close(objective(batch), by_world.mean())
        assert by_world.shape == (4,)
        losses.append(by_world)
    full = dgm.ELBO(model, guide)
    torch.manual_seed(0)
    torch.testing.assert_close(full.world_losses(full.prepare({"c": c.expand(4, 2), "x": x})), losses[0])


@pytest.mark.parametrize("share", [True, False])
def test_where_all_latents_are_barren_the_bound_is_the_likelihood(share):
    net = dgm.BayesNet(x=dgm.Normal(2), z=dgm.Normal().given("x"), k=dgm.Categorical(3).given("z"))
    model = dgm.compile(net, seed=0)
    guide = dgm.compile(dgm.amortize(net, "x"), share=model if share else None)
    x = torch.randn(4, 2)
    expected = model.conditional("x")().log_prob(x)
    for objective in (dgm.ELBO(model, guide), dgm.ELBO(model, guide, particles=3), dgm.IWAE(model, guide), dgm.IWAE(model, guide, particles=3)):
        batch = objective.prepare({"x": x})
        torch.testing.assert_close(-objective.world_losses(batch), expected)
        torch.testing.assert_close(-objective(batch), expected.mean())
