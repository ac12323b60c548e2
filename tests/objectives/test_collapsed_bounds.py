"""Bounds whose guide leaves out latents that can be eliminated: against Pyro's enumeration, closed forms, and what is seen row by row."""

from __future__ import annotations

import math

import pytest
import torch
from pyro.infer import TraceEnum_ELBO

import dgm_ppl as dgm

torch.set_num_threads(1)


def mixture_prior(**options):
    return dgm.BayesNet(k=dgm.Categorical(3), z=dgm.Normal(2).given("k"), x=dgm.Bernoulli(6).given("z", net=dgm.MLP(8)), **options)


def emissions():
    """A discrete latent, and one that depends on it, with neural emissions."""
    return dgm.BayesNet(
        k=dgm.Categorical(3), j=dgm.Bernoulli().given("k"), z=dgm.Normal(2, loc=0.0, scale=1.0), x=dgm.Normal(4).given("z", "k", net=dgm.MLP(8)), y=dgm.Poisson().given("j", net=dgm.MLP(4)),
    )


def pair(net, observed, double=True):
    model = dgm.compile(net, seed=0)
    guide = dgm.compile(dgm.amortize(net, observed, net=dgm.MLP(8), collapse=True), seed=1)
    return (model.double(), guide.double()) if double else (model, guide)


def gradients(loss, *modules):
    parameters = [parameter for module in modules for parameter in module.parameters()]
    return torch.autograd.grad(loss, parameters, allow_unused=True)


def same(one, other, tolerance=1e-10):
    for a, b in zip(one, other, strict=True):
        a, b = (torch.zeros(()) if value is None else value for value in (a, b))
        assert (a - b).abs().max() < tolerance


@pytest.mark.parametrize(("net", "observed"), [(mixture_prior(), ["x"]), (emissions(), ["x", "y"])])
def test_value_and_gradient_are_those_of_pyros_enumeration(net, observed):
    model, guide = pair(net, observed)
    assert set(guide.random) == {"z"}
    data = {name: value for name, value in model.sample(5).items() if name in observed}
    objective = dgm.ELBO(model, guide, closed_form=False)
    torch.manual_seed(2)
    ours = objective(objective.prepare(data))
    torch.manual_seed(2)
    pyros = TraceEnum_ELBO(max_plate_nesting=1).differentiable_loss(model, guide, data) / 5
    assert ours.item() == pytest.approx(pyros.item(), abs=1e-10)
    same(gradients(ours, model, guide), gradients(pyros, model, guide))


def test_many_particles_attain_the_evidence():
    """The importance-weighted bound of the collapsed model goes to log p(x), by quadrature over z."""
    model, guide = pair(mixture_prior(), "x")
    x = model.sample(2)["x"]
    torch.manual_seed(0)
    objective = dgm.IWAE(model, guide, particles=20_000)
    with torch.no_grad():
        found = objective.score(objective.prepare({"x": x}))
        grid = torch.linspace(-7, 7, 141, dtype=torch.float64)
        z = torch.cartesian_prod(grid, grid)
        weights = torch.stack([
            model.conditional("k")().log_prob(torch.tensor(k)) + model.conditional("z")(torch.tensor(k)).log_prob(z) for k in range(3)
        ]).logsumexp(0) + 2 * math.log(0.1)
        truth = torch.stack([(weights + model.conditional("x")(z).log_prob(row)).logsumexp(0) for row in x])
    assert (found - truth).abs().max() < 0.05


def semi_supervised():
    return dgm.BayesNet(y=dgm.Categorical(["a", "b", "c"]), z=dgm.Normal(2, loc=0.0, scale=1.0), x=dgm.Bernoulli(6).given("z", "y", net=dgm.MLP(8)))


def test_labels_seen_in_some_rows_are_summed_out_in_the_others():
    model, guide = pair(semi_supervised(), "x")
    data = model.sample(6)
    holed = data["y"].double()
    holed[::2] = torch.nan
    bounds = {}
    for name, given in {"some": {"x": data["x"], "y": holed}, "all": {"x": data["x"], "y": data["y"]}, "none": {"x": data["x"]}}.items():
        objective = dgm.ELBO(model, guide)
        torch.manual_seed(3)
        bounds[name] = objective.world_losses(objective.prepare(given))
    assert torch.allclose(bounds["some"][1::2], bounds["all"][1::2]) and torch.allclose(bounds["some"][::2], bounds["none"][::2])
    mean = (bounds["all"][1::2].sum() + bounds["none"][::2].sum()) / 6
    objective = dgm.ELBO(model, guide)
    torch.manual_seed(3)
    ours = objective(objective.prepare({"x": data["x"], "y": [label if row % 2 else None for row, label in enumerate(["a", "b", "c", "a", "b", "c"])]}))
    assert ours.isfinite()
    torch.manual_seed(3)
    same(gradients(objective(objective.prepare({"x": data["x"], "y": holed})), model, guide), gradients(mean, model, guide))


def test_one_fit_call_trains_on_labelled_and_unlabelled_rows():
    torch.manual_seed(0)
    net = dgm.BayesNet(y=dgm.Categorical(2), z=dgm.Normal(1, loc=0.0, scale=1.0), x=dgm.Normal(2).given("z", "y", net=dgm.MLP(8)))
    y = torch.arange(64) % 2
    x = 4.0 * y.unsqueeze(1) + torch.randn(64, 2)
    labels = y.float()
    labels[8:] = torch.nan
    model = dgm.compile(net, seed=0)
    guide = dgm.compile(dgm.amortize(net, "x", net=dgm.MLP(8), collapse=True), seed=1)
    run = dgm.fit(dgm.ELBO(model, guide), {"x": x, "y": labels}, epochs=60, batch_size=16, optimizer=dgm.Adam(lr=0.02), device="cpu", seed=0, progress=False)
    score = dgm.IWAE(model, guide, particles=20)
    with torch.no_grad():
        logs = torch.stack([score.score(score.prepare({"x": x, "y": torch.full((64,), code)})) for code in range(2)])
    assert (logs.argmax(0) == y).float().mean() > 0.9
    assert len(run.history)


def test_a_gaussian_latent_is_integrated_given_the_others():
    """z1 is drawn, z2 integrated: with the exact q(z1 | x) the bound is log p(x), whatever is drawn."""
    net = dgm.BayesNet(
        z1=dgm.Normal(loc=0.0, scale=1.0), z2=dgm.Normal(loc=dgm.Ref("z1"), scale=0.5), x=dgm.Normal(loc=dgm.Ref("z2"), scale=0.7), w=dgm.Normal().given("z2"),
    )
    model = dgm.compile(net).double()
    variance = 1 + 0.25 + 0.49
    x = torch.tensor([0.3, -2.0], dtype=torch.float64)
    guide = dgm.compile(dgm.BayesNet(x=dgm.Given(), z1=dgm.Normal(loc=dgm.Ref("x") * (1 / variance), scale=math.sqrt(1 - 1 / variance)))).double()
    for objective in (dgm.ELBO(model, guide, closed_form=False), dgm.IWAE(model, guide, particles=3)):
        found = objective.score(objective.prepare({"x": x}))
        assert torch.allclose(found, torch.distributions.Normal(0.0, math.sqrt(variance)).log_prob(x).double())


def test_score_functions_beside_an_elimination_are_unbiased():
    """A Bernoulli in the guide, a Categorical eliminated: the mean gradient is that of the exact expectation."""
    net = dgm.BayesNet(k=dgm.Categorical(3), b=dgm.Bernoulli().given("k"), x=dgm.Normal().given("k", "b"))
    model = dgm.compile(net, seed=0).double()
    guide = dgm.compile(dgm.BayesNet(x=dgm.Given(), b=dgm.Bernoulli().given("x")), seed=1).double()
    x = torch.tensor([0.4], dtype=torch.float64)
    weight = guide.conditional("b")(x).probs
    joint = torch.stack([torch.stack([
        model.conditional("k")().log_prob(torch.tensor(k)) + model.conditional("b")(torch.tensor([k])).log_prob(torch.tensor([b], dtype=torch.float64))
        + model.conditional("x")(torch.tensor([k]), torch.tensor([b], dtype=torch.float64)).log_prob(x) for k in range(3)
    ]).logsumexp(0) for b in (0.0, 1.0)])
    q = torch.stack([1 - weight, weight])
    exact = -(q * (joint - q.log())).sum()
    objective = dgm.ELBO(model, guide, particles=20_000, closed_form=False)
    torch.manual_seed(0)
    estimate = objective(objective.prepare({"x": x}))
    assert estimate.item() == pytest.approx(exact.item(), abs=0.02)
    same(gradients(estimate, guide, model), gradients(exact, guide, model), tolerance=0.03)


def test_what_the_plan_says():
    model = dgm.compile(dgm.BayesNet(
        k=dgm.Categorical(3), z=dgm.Normal(2).given("k"), u=dgm.Normal(loc=0.0, scale=1.0), x=dgm.Normal(4).given("z"), y=dgm.Normal().given("u", net=dgm.MLP(4)), w=dgm.Normal().given("z"),
    ))
    plan = model.plan(observed=["x", "y"])
    assert (plan.enumerated, plan.integrated, plan.amortized, plan.dropped) == (("k",), ("z",), ("u",), ("w",))
    assert plan["z"].cost == "2 unknowns solved for, in 3 configurations of k" and "x is linear in it" in plan["z"].reason
    assert plan["u"].reason == "'y' depends on it, and MLP(4)(u) is not linear"
    assert [line.split()[0] for line in str(plan).splitlines()] == ["latent", "k", "z", "u", "w"]
    with pytest.raises(dgm.GraphError, match=r"plan: 'x' is no latent"):
        plan["x"]


def test_eliminated_latents_come_back_in_the_posterior():
    """Drawn exactly given what the guide draws: with the exact guide of the rest, the draws are those of the joint posterior."""
    net = dgm.BayesNet(
        k=dgm.Categorical(2, probs=[0.3, 0.7]), z1=dgm.Normal(loc=[-1.0, 1.0], scale=1.0).given("k"), z2=dgm.Normal(loc=dgm.Ref("z1"), scale=0.5), x=dgm.Normal(loc=dgm.Ref("z2"), scale=0.7),
        total=dgm.Delta(v=dgm.Ref("z1") + dgm.Ref("z2")), w=dgm.Normal(loc="total", scale=0.1),
    )
    model = dgm.compile(net).double()
    x = torch.tensor([0.4, -1.5], dtype=torch.float64)
    exact = dgm.posterior(model, {"x": x})
    guide = dgm.compile(dgm.BayesNet(z1=dgm.Normal(loc=0.0, scale=2.0))).double()
    torch.manual_seed(0)
    post = dgm.posterior(model, {"x": x}, method=dgm.Importance(guide, 40_000))
    assert set(post.names) == {"k", "z1", "z2", "total", "w"}
    assert (post.mean()["k"] - exact.probabilities("k")).abs().max() < 0.02
    for name in ("z1", "z2"):
        assert (post.mean()[name] - exact.mean()[name]).abs().max() < 0.03 and (post.std()[name] - exact.std()[name]).abs().max() < 0.03
    assert torch.allclose(post.log_evidence, exact.log_evidence, atol=0.02)
    assert torch.allclose(post.released("total"), post.released("z1") + post.released("z2"))
    assert dgm.log_prob(model, {"x": x}, method=dgm.Importance(guide, 20_000)).value.tolist() == pytest.approx(exact.log_evidence.tolist(), abs=0.02)
    assert dgm.posterior(model, {"x": x}, method=dgm.Amortized(guide)).sample(5)["k"].shape == (5, 2)


def test_guides_without_some_latents_are_saved(tmp_path):
    model, guide = pair(mixture_prior(), "x", False)
    dgm.save(guide, tmp_path / "guide.safetensors")
    again = dgm.load(tmp_path / "guide.safetensors")
    assert again.net == guide.net and again.net.left_out == ("k",)
    x = model.sample(3)["x"]
    one, other = (dgm.ELBO(model, each) for each in (guide, again))
    losses = []
    for objective in (one, other):
        torch.manual_seed(0)
        losses.append(objective(objective.prepare({"x": x})))
    assert torch.equal(*losses)


REFUSED = {
    "weighted": (lambda: dgm.ELBO(*pair(semi_supervised(), "x", False), kl_weight=0.5).prepare({"x": torch.zeros(2, 6)}), r"ELBO: kl_weight has no meaning here: 'y' is eliminated together with the observed 'x'"),
    "all missing": (lambda: dgm.ELBO(*pair(semi_supervised(), "x", False)).prepare({"x": torch.zeros(2, 6), "y": [None, None]}), "ELBO: node 'y': every cell of its column is missing"),
    "nothing left": (lambda: dgm.amortize(dgm.BayesNet(k=dgm.Categorical(2), x=dgm.Normal().given("k")), "x", collapse=True), "every latent can be eliminated exactly.*dgm.MaximumLikelihood"),
    "not possible": (lambda: dgm.amortize(mixture_prior(), "x", collapse="z"), "collapse names 'z', which cannot be eliminated: 'x' depends on it, and Bernoulli is not Gaussian"),
    "no latent": (lambda: dgm.amortize(mixture_prior(), "x", collapse=["x"]), "collapse names 'x', which cannot be eliminated, it is no latent"),
    "read by the guide": (
        lambda: dgm.ELBO(dgm.compile(semi_supervised()), dgm.compile(dgm.amortize(semi_supervised(), ["x", "y"]))).prepare({"x": torch.zeros(2, 6), "y": ["a", None]}),
        "guide: it reads 'y', which has missing cells; derive it to read values and holes",
    ),
    "missing inputs": (
        lambda: dgm.ELBO(*pair(dgm.BayesNet(t=dgm.Given(), k=dgm.Categorical(2), z=dgm.Normal().given("k"), x=dgm.Bernoulli().given("z", "t", net=dgm.MLP(4))), "x", False)).prepare({"x": [0.0, 1.0], "t": [0.0, None]}),
        "node 't' is a Given input and has missing cells",
    ),
    "a latent that cannot go": (
        lambda: dgm.ELBO(dgm.compile(mixture_prior()), dgm.compile(dgm.BayesNet(k=dgm.Categorical(3)))).prepare({"x": torch.zeros(2, 6)}),
        "the latent 'z' has neither data nor a distribution in the guide.*, and it cannot be eliminated: 'x' depends on it, and Bernoulli is not Gaussian",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_says_why(name):
    ask, message = REFUSED[name]
    with pytest.raises(dgm.GraphError, match=message):
        ask()


def test_guides_given_for_finite_latents_work_as_before():
    net = mixture_prior()
    model, guide = dgm.compile(net, seed=0).double(), dgm.compile(dgm.amortize(net, "x", net=dgm.MLP(8), collapse=False), seed=1).double()
    x = model.sample(3)["x"]
    objective = dgm.ELBO(model, guide)
    pairing = objective.pairing(objective.prepare({"x": x}))
    assert pairing.collapse is None and [latent.name for latent, *_ in pairing.score] == ["k"]


def test_a_density_that_is_a_bound_cannot_be_read_by_what_is_eliminated():
    """log sum_k exp(noisy bound) would be no bound any more."""
    net = dgm.BayesNet(k=dgm.Categorical(3), z=dgm.Normal(2, loc=0.0, scale=1.0), x=dgm.Diffusion(2, net=dgm.MLP(8)).given("z", "k"))
    model = dgm.compile(net)
    assert model.plan(observed="x")["k"].reason == "'x' depends on it, and has no exact density"
    guide = dgm.compile(dgm.BayesNet(x=dgm.Given(2), z=dgm.Normal(2).given("x")))
    with pytest.raises(dgm.GraphError, match="the latent 'k' has neither data nor a distribution in the guide.* and it cannot be eliminated: 'x' depends on it, and has no exact density"):
        dgm.ELBO(model, guide).prepare({"x": torch.zeros(2, 2)})
