"""Latents without reparameterization: expected gradients against brute-force enumeration."""

from __future__ import annotations

import itertools

import pytest
import torch

import dgm_ppl as dgm

from .estimates import assert_unbiased, gradient

torch.set_num_threads(1)


def several() -> dgm.BayesNet:
    """A chain, a collider and a leaf of its own: the sets of costs differ from latent to latent."""
    return dgm.BayesNet(
        a=dgm.Bernoulli(probs=0.3), b=dgm.Categorical(3).given("a"), c=dgm.Bernoulli(), x=dgm.Normal().given("b", "c"), y=dgm.Bernoulli().given("a"), w=dgm.Normal().given("c"),
    )


DATA = {"x": torch.tensor(0.7), "y": torch.tensor(1.0), "w": torch.tensor(-0.4)}
STATES = {"a": [0.0, 1.0], "b": [0, 1, 2], "c": [0.0, 1.0]}


def exact_elbo(model, guide, weight=1.0):
    """sum_z q(z | x) (log p(x | z) + weight (log p(z) - log q(z | x))) by enumeration of all latents."""
    rows = list(itertools.product(*STATES.values()))
    latent = {name: torch.tensor([row[i] for row in rows]) for i, name in enumerate(STATES)}
    everything = {**latent, **{name: value.expand(len(rows)) for name, value in DATA.items()}}
    log_q = sum(guide.log_densities(guide.encode(everything)).values())
    terms = model.log_densities(model.encode(everything))
    fit, prior = (sum(term for name, term in terms.items() if (name in DATA) == wanted) for wanted in (True, False))
    return (log_q.exp() * (fit + weight * (prior - log_q))).sum()


def build(order="auto", **options):
    net = several()
    model = dgm.compile(net, seed=0)
    guide = dgm.compile(dgm.amortize(net, list(DATA), net=dgm.MLP(3, activation=torch.nn.Tanh), order=order), seed=1)
    return model, guide, dgm.ELBO(model, guide, **options)


def estimate(objective, rows=400):
    batch = objective.prepare({name: value.expand(rows) for name, value in DATA.items()})
    return gradient(objective(batch), list(objective.parameters()))


@pytest.mark.parametrize("order", [["a", "b", "c"], ["b", "a", "c"], ["c", "b", "a"]])
@pytest.mark.parametrize("options", [{}, {"closed_form": False}, {"particles": 3}, {"particles": 2, "closed_form": False, "kl_weight": 0.4}], ids=str)
def test_expected_gradient_is_the_enumerated_one(order, options):
    torch.manual_seed(0)
    model, guide, objective = build(order, **options)
    truth = gradient(-exact_elbo(model, guide, options.get("kl_weight", 1.0)), list(objective.parameters()))
    assert_unbiased(lambda: estimate(objective, 300), truth, repetitions=30)
    batch = objective.prepare({name: value.expand(2000) for name, value in DATA.items()})
    assert objective.score(batch).mean().item() == pytest.approx(exact_elbo(model, guide).item(), abs=0.1)


def test_the_value_is_not_touched_by_the_surrogates():
    model, guide, objective = build(["b", "a", "c"], closed_form=False)
    batch = objective.prepare({name: value.expand(50) for name, value in DATA.items()})
    torch.manual_seed(3)
    losses = objective.world_losses(batch)
    torch.manual_seed(3)
    torch.testing.assert_close(-losses.detach(), objective.score(batch))
    torch.manual_seed(3)
    torch.testing.assert_close(objective(batch), losses.mean())


def test_any_baseline_leaves_the_mean_and_a_good_one_shrinks_the_variance():
    torch.manual_seed(0)
    model, guide, objective = build(["b", "a", "c"])
    truth = gradient(-exact_elbo(model, guide), list(objective.parameters()))
    variance = {}
    for baseline in (-20.0, 1e-9, None):
        def one(baseline=baseline):
            if baseline is not None:
                objective.baselines.fill_(baseline)
            return estimate(objective, 200)
        variance[baseline] = assert_unbiased(one, truth, repetitions=60).sum().item()
    assert variance[None] < variance[1e-9] and variance[None] < 0.1 * variance[-20.0]
    assert torch.isfinite(objective.baselines).all() and "baselines" in objective.state_dict()


def test_the_baseline_moves_in_training_only():
    _, _, objective = build()
    before = objective.baselines.clone()
    estimate(objective.eval())
    assert torch.equal(objective.baselines, before)
    estimate(objective.train())
    assert not torch.equal(objective.baselines, before)
    after = objective.baselines.clone()
    objective.score(objective.prepare({name: value.expand(5) for name, value in DATA.items()}))
    assert torch.equal(objective.baselines, after)


def test_a_draw_is_charged_with_what_it_influences_alone():
    _, _, objective = build(["c", "b", "a"])
    pairing = objective.pairing(frozenset(DATA))
    charged = {latent.name: (set(in_q), set(in_p)) for latent, in_q, in_p in pairing.score}
    parents = {name: set(objective.guide.net.dag.parents(name)) for name in "abc"}
    assert parents == {"c": {"x", "y", "w"}, "b": {"c", "x", "y"}, "a": {"b", "y"}}
    assert charged == {"c": (set("cba"), set("cbaxyw")), "b": (set("ba"), set("baxy")), "a": (set("a"), set("aby"))}


def test_rao_blackwell_shrinks_the_variance():
    """Eight independent pairs: with all costs on every draw the variance would be some eight times larger."""
    torch.manual_seed(0)
    pairs = dgm.BayesNet({f"k{i}": dgm.Bernoulli(probs=0.5) for i in range(8)} | {f"x{i}": dgm.Normal(loc=2.0 * dgm.Ref(f"k{i}"), scale=1.0) for i in range(8)})
    names = [f"x{i}" for i in range(8)]
    model, guide = dgm.compile(pairs), dgm.compile(dgm.amortize(pairs, names, net=dgm.MLP()), seed=0)
    objective = dgm.ELBO(model, guide)
    pairing = objective.pairing(frozenset(names))
    assert all(set(in_p) == {latent.name, latent.name.replace("k", "x")} and set(in_q) == {latent.name} for latent, in_q, in_p in pairing.score)
    data = objective.prepare({name: torch.full((1,), 1.5) for name in names})
    parameters = list(guide.parameters())
    found = torch.stack([gradient(objective(data), parameters) for _ in range(200)]).var(0).sum()
    whole = tuple((latent, frozenset(f"k{i}" for i in range(8)), frozenset(names)) for latent, _, _ in pairing.score)
    pairing.score = whole
    plain = torch.stack([gradient(objective(data), parameters) for _ in range(200)]).var(0).sum()
    assert plain > 4 * found


def test_mixed_latents():
    """A reparameterized latent above and below a finite one, against enumeration of the finite one."""
    torch.manual_seed(0)
    net = dgm.BayesNet(u=dgm.Normal(loc=0.0, scale=1.0), k=dgm.Bernoulli().given("u", net=dgm.MLP(3)), v=dgm.Normal().given("k", "u"), x=dgm.Normal().given("v", "k"))
    model = dgm.compile(net, seed=0)
    for order in (["u", "k", "v"], ["v", "k", "u"]):
        guide = dgm.compile(dgm.amortize(net, "x", net=dgm.MLP(3, activation=torch.nn.Tanh), order=order), seed=1)
        objective = dgm.ELBO(model, guide, closed_form=False)
        parameters = list(objective.parameters())

        def enumerated(rows=4000):
            """The same bound with k summed out given what was drawn before it, every branch drawn afresh."""
            found = {"x": torch.full((rows,), 0.8)}
            branches, weights = [found], [torch.zeros(rows)]
            for node in guide.schedule:
                grown, logs = [], []
                for values, log in zip(branches, weights):
                    prepared = node.prepare(values)
                    choices = [torch.full((rows,), float(s)) for s in range(2)] if node.name == "k" else [guide.draw(node, prepared, (rows,), {})]
                    for choice in choices:
                        grown.append({**values, node.name: choice})
                        logs.append(log + node.conditional.log_density(choice, prepared) if node.name == "k" else log)
                branches, weights = grown, logs
            total = 0.0
            for values, log in zip(branches, weights):
                everything = {name: values[name] for name in net}
                log_q = sum(node.conditional.log_density(values[node.name], node.prepare(values)) for node in guide.schedule)
                total = total + log.exp() * (sum(model.log_densities(everything).values()) - log_q)
            return -total.mean()

        truth = torch.stack([gradient(enumerated(), parameters) for _ in range(60)])
        batch = objective.prepare({"x": torch.full((2000,), 0.8)})
        found = torch.stack([gradient(objective(batch), parameters) for _ in range(60)])
        error = (truth.var(0) / 60 + found.var(0) / 60).sqrt()
        assert bool(((truth.mean(0) - found.mean(0)).abs() <= 5 * error + 1e-5).all())


def test_finite_latents_in_plates():
    torch.manual_seed(0)
    net = dgm.BayesNet(p=dgm.Bernoulli(probs=0.4), k=dgm.Bernoulli().given("p"), y=dgm.Normal().given("k"), plates={"n": dgm.Plate(["k", "y"], size=2)})
    model = dgm.compile(net, seed=0)
    guide = dgm.compile(dgm.BayesNet(y=dgm.Given(), p=dgm.Bernoulli(), k=dgm.Bernoulli().given("p", "y", net=dgm.MLP(2)), plates={"n": dgm.Plate(["k", "y"], size=2)}), seed=1)
    y = torch.tensor([0.5, -1.0])
    rows = list(itertools.product([0.0, 1.0], repeat=3))
    values = {"p": torch.tensor([row[0] for row in rows]), "k": torch.tensor([row[1:] for row in rows]), "y": y.expand(len(rows), 2)}
    sizes = {"n": 2}
    for options in ({}, {"closed_form": False, "particles": 2}):
        objective = dgm.ELBO(model, guide, **options)
        log_q = sum(guide.log_densities(guide.layout.align_all(values), sizes).values())
        log_p = sum(model.log_densities(model.layout.align_all(values), sizes).values())
        truth = gradient(-(log_q.exp() * (log_p - log_q)).sum(), list(objective.parameters()))
        batch = objective.prepare({"y": y.expand(300, 2)})
        assert_unbiased(lambda: gradient(objective(batch), list(objective.parameters())), truth)
