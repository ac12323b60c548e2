"""Games: their values against closed forms, the gradients they give, what they refuse."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import dgm_ppl as dgm
from dgm_ppl.objectives.critics import CriticNetwork

torch.set_num_threads(1)

REAL, FAKE = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.double), torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.double)
MIXED = (REAL + FAKE) / 2
RATIO = REAL / FAKE


def jensen_shannon() -> float:
    return float(((REAL * (REAL / MIXED).log()).sum() + (FAKE * (FAKE / MIXED).log()).sum()) / 2)


VALUES = {  # what the critic's loss is at its optimum over four states, in closed form
    "jensen shannon": (dgm.JensenShannon(), 2 * math.log(2) - 2 * jensen_shannon()),
    "kl": (dgm.KullbackLeibler(), -float((REAL * RATIO.log()).sum())),
    "reverse kl": (dgm.ReverseKullbackLeibler(), -float((FAKE * (FAKE / REAL).log()).sum())),
    "pearson": (dgm.Pearson(), -float((FAKE * (RATIO - 1).square()).sum())),
    "squared hellinger": (dgm.SquaredHellinger(), -float((FAKE * (RATIO.sqrt() - 1).square()).sum())),
    "total variation": (dgm.TotalVariation(), -float((REAL - FAKE).abs().sum() / 2)),
    "least squares": (dgm.LeastSquares(), float((REAL * FAKE / (REAL + FAKE)).sum() / 2)),
    "hinge": (dgm.Hinge(), 2 - float((REAL - FAKE).abs().sum())),
}


@pytest.mark.parametrize("game, expected", VALUES.values(), ids=VALUES)
def test_the_best_critic_gives_the_divergence(game, expected):
    """A critic that is one number a state: a grid is searched for each."""
    grid = torch.cat([torch.linspace(-40, 40, 4001, dtype=torch.double), torch.linspace(-3, 3, 60001, dtype=torch.double)])
    zero = torch.zeros_like(grid)
    apart = game.critic(grid, zero).outer(REAL) + game.critic(zero, grid).outer(FAKE)       # up to the losses of a zero, counted twice
    assert float(apart.nan_to_num(torch.inf).min(0).values.sum() - game.critic(zero, zero)[0]) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("game", [game for game, _ in VALUES.values()] + [dgm.Wasserstein(), dgm.JensenShannon(saturating=True)], ids=repr)
def test_the_guide_plays_the_mirror_image(game):
    """What pulls D(fake) up for the model pushes D(real) down for the guide."""
    number = torch.tensor([-0.7, 0.1, 0.6], requires_grad=True)
    (model,) = torch.autograd.grad(game.generator(number).sum(), number)
    (guide,) = torch.autograd.grad(game.guide(number).sum(), number)
    assert bool((model < 0).all()) and bool((guide > 0).all()) or isinstance(game, (dgm.Pearson, dgm.LeastSquares))


def generator_net(width=16):
    return dgm.BayesNet(z=dgm.Normal(2, loc=0.0, scale=1.0), x=dgm.Generator(2).given("z", net=dgm.MLP(width)))


def test_losses_are_those_of_the_formula():
    model = dgm.compile(generator_net(), seed=0)
    objective = dgm.Adversarial(model, {"x": dgm.MLP(8)}, penalties=dgm.R1(3.0))
    batch = objective.prepare({"x": torch.randn(50, 2)})
    critic, generator = objective.players
    torch.manual_seed(1)
    found = critic.loss(batch)
    torch.manual_seed(1)
    fake = model.run({}, (50,))["x"].detach()
    real = batch["x"].clone().requires_grad_()
    network = objective.critics[0]
    slope = torch.autograd.grad(network(real).sum(), real, create_graph=True)[0].square().sum(1)
    expected = nn.functional.softplus(-network(real)).mean() + nn.functional.softplus(network(fake)).mean() + 1.5 * slope.mean()
    torch.testing.assert_close(found, expected)
    torch.manual_seed(2)
    found = generator.loss(batch)
    torch.manual_seed(2)
    torch.testing.assert_close(found, nn.functional.softplus(-network(model.run({}, (50,))["x"])).mean())


def test_a_linear_critics_gradient_penalty_is_known():
    net = dgm.BayesNet(x=dgm.Normal(3))
    critic = CriticNetwork(dgm.Critic("x", net=dgm.MLP()), net)
    weight = next(critic.parameters()).detach()
    real, fake = [torch.randn(5, 3)], [torch.randn(5, 3)]
    found = dgm.GradientPenalty(2.0)(critic, real, fake)
    torch.testing.assert_close(found, (2 * (weight.norm() - 1).square()).expand(5), rtol=1e-4, atol=1e-6)


def test_clipping_bounds_the_critic():
    objective = dgm.Adversarial(dgm.compile(generator_net()), {"x": dgm.MLP(8)}, game=dgm.Wasserstein(clip=0.02))
    dgm.fit(objective, {"x": torch.randn(64, 2)}, steps=5, batch_size=32, seed=0, optimizer=dgm.SGD(lr=0.0))
    assert max(float(parameter.detach().abs().max()) for parameter in objective.critics.parameters()) <= 0.02


@pytest.mark.parametrize("game", [dgm.JensenShannon(), dgm.LeastSquares(), dgm.Hinge(), dgm.KullbackLeibler()], ids=repr)
def test_a_gaussian_is_learned(game):
    """x = a + b z against N(2, 0.5^2)."""
    net = dgm.BayesNet(z=dgm.Normal(1, loc=0.0, scale=1.0), x=dgm.Generator(1).given("z"))
    torch.manual_seed(0)
    objective = dgm.Adversarial(dgm.compile(net, seed=0), {"x": dgm.MLP(16, activation=nn.Tanh)}, game=game, penalties=dgm.R1(0.5))
    data, betas = 2 + 0.5 * torch.randn(2000, 1), (0.5, 0.9)
    optimizers = {"critic": dgm.Adam(lr=2e-2, betas=betas), "generator": dgm.Adam(lr=1e-2, betas=betas)}
    run = dgm.fit(objective, {"x": data}, steps=350, batch_size=100, optimizer=optimizers, seed=1, average=0.98)
    drawn = run.averaged.model.sample(4000)["x"]
    assert float(drawn.mean()) == pytest.approx(2, abs=0.15) and float(drawn.std()) == pytest.approx(0.5, abs=0.15)


def test_a_wasserstein_critic_measures_the_earth_movers_distance():
    """Two Gaussians of one scale, two apart: the model stays as it is."""
    net = dgm.BayesNet(z=dgm.Normal(2, loc=0.0, scale=0.5), s=dgm.Normal(2, scale=1e-6), x=dgm.Generator(2).given("z", "s", fn=torch.add))
    torch.manual_seed(0)
    objective = dgm.Adversarial(dgm.compile(net, seed=0), {"x": dgm.MLP(32, activation=nn.Tanh)}, game=dgm.Wasserstein(), penalties=dgm.GradientPenalty(20.0))
    data = torch.tensor([1.2, 1.6]) + 0.5 * torch.randn(2000, 2)
    still = {"critic": dgm.Adam(lr=1e-2), "generator": dgm.SGD(lr=0.0)}
    dgm.fit(objective, {"x": data}, steps=300, batch_size=100, optimizer=still, seed=1)
    batch = objective.prepare({"x": data})
    with torch.no_grad():
        real, fake = objective.critics[0](batch["x"]), objective.critics[0](objective.model.sample(2000)["x"])
    assert float(real.mean() - fake.mean()) == pytest.approx(2, abs=0.3)


def test_joint_inference_trains_the_guide():
    """Bidirectional: x = z + small noise, so the posterior of z follows x."""
    net = dgm.BayesNet(z=dgm.Normal(1, loc=0.0, scale=1.0), x=dgm.Normal(1, scale=0.1).given("z"))
    model, guide = dgm.compile(net, seed=0), dgm.compile(dgm.amortize(net, "x", net=dgm.MLP(16)), seed=0)
    torch.manual_seed(0)
    objective = dgm.Adversarial(model, {("x", "z"): dgm.MLP(32)}, guide=guide, penalties=dgm.R1(0.1))
    torch.manual_seed(0)
    dgm.fit(objective, {"x": torch.randn(1000, 1) * 1.5}, steps=300, batch_size=100, optimizer=dgm.Adam(lr=6e-3, betas=(0.5, 0.9)), seed=0)
    x = torch.tensor([[-1.5], [1.5]])
    z = guide.sample(200, given={"x": x})["z"].mean(0).squeeze(1)
    again = model.sample(given={"z": z.unsqueeze(1)})["x"].squeeze(1)
    assert float(again[1] - again[0]) > 1.0


def test_unpaired_translation_is_declared():
    """Two generators as one graph: each column against the other's, and cycles that close."""
    there, back = dgm.MLP(16), dgm.MLP(16)
    net = dgm.BayesNet(
        a=dgm.Given(1), b=dgm.Given(1), made_b=dgm.Generator(1).given("a", net=there), made_a=dgm.Generator(1).given("b", net=back),
        a_again=dgm.Generator(1).given("made_b", net=back), b_again=dgm.Generator(1).given("made_a", net=there),
    )
    model = dgm.compile(net, seed=0)
    torch.manual_seed(0)
    objective = dgm.Adversarial(
        model, [dgm.Critic("made_a", against="a", net=dgm.MLP(16)), dgm.Critic("made_b", against="b", net=dgm.MLP(16))], game=dgm.LeastSquares(),
        penalties=dgm.R1(0.1), terms=[dgm.Consistency("a_again", "a", weight=0.5), dgm.Consistency("b_again", "b", weight=0.5)],
    )
    data = {"a": torch.randn(800, 1), "b": 3 + 0.5 * torch.randn(800, 1)}
    dgm.fit(objective, data, steps=400, batch_size=50, optimizer=dgm.Adam(lr=1e-2, betas=(0.5, 0.9)), seed=0, average=0.98, device="cpu")
    made = model.sample(given=data)
    assert float(made["made_b"].mean()) == pytest.approx(3, abs=0.5) and float(made["made_a"].mean()) == pytest.approx(0, abs=0.5)
    assert float((made["a_again"] - data["a"]).abs().mean()) < 0.4


def test_paired_translation_is_declared():
    """b = -a + noise: either marginal is symmetric, so that only a critic of pairs tells which way; noise of the generator makes the spread."""
    net = dgm.BayesNet(a=dgm.Given(1), z=dgm.Normal(1, loc=0.0, scale=1.0), b=dgm.Generator(1).given("a", "z", net=dgm.MLP(16)))
    torch.manual_seed(0)
    objective = dgm.Adversarial(dgm.compile(net, seed=0), {("a", "b"): dgm.MLP(32)}, penalties=dgm.R1(0.1))
    a = torch.randn(2000, 1)
    data = {"a": a, "b": -a + 0.5 * torch.randn(2000, 1)}
    run = dgm.fit(objective, data, steps=600, batch_size=100, optimizer=dgm.Adam(lr=6e-3, betas=(0.5, 0.9)), seed=0, average=0.98)
    made = run.averaged.model.sample(given={"a": a})["b"]
    slope = float((a * made).mean() / a.square().mean())
    assert slope == pytest.approx(-1, abs=0.15) and float((made - slope * a).std()) == pytest.approx(0.5, abs=0.15)


def test_paired_translation_of_images_keeps_to_its_target():
    """Digit scans from a quarter of their pixels: a critic of pairs, and the distance to the picture that belongs to each."""
    datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn's digit scans")
    target = torch.tensor(datasets.load_digits().images, dtype=torch.float).unsqueeze(1) / 8 - 1
    coarse = nn.functional.avg_pool2d(target, 2)
    net = dgm.BayesNet(coarse=dgm.Given(1, 4, 4), target=dgm.Given(1, 8, 8), made=dgm.Generator(1, 8, 8, space=dgm.Interval(-1, 1)).given("coarse", net=dgm.MLP(128)))
    critic = dgm.Critic("coarse", "made", against=("coarse", "target"), net=dgm.MLP(64))
    objective = dgm.Adversarial(dgm.compile(net, seed=0), critic, penalties=dgm.R1(1.0), terms=dgm.Consistency("made", "target", weight=20.0))
    data = {"coarse": coarse[:1400], "target": target[:1400]}
    run = dgm.fit(objective, data, steps=250, batch_size=100, optimizer=dgm.Adam(lr=2e-3, betas=(0.5, 0.9)), seed=0, average=0.98)
    made = run.averaged.model.sample(given={"coarse": coarse[1400:], "target": target[1400:]})["made"]
    smooth = nn.functional.interpolate(coarse[1400:], scale_factor=2, mode="bicubic").clamp(-1, 1)
    assert float((made - target[1400:]).abs().mean()) < 0.8 * float((smooth - target[1400:]).abs().mean())


def test_codes_stay_readable():
    """InfoGAN: the code is fixed and finite, its guide is trained with the model."""
    net = dgm.BayesNet(
        c=dgm.Categorical(2, probs=[0.5, 0.5]), z=dgm.Normal(1, loc=0.0, scale=1.0), x=dgm.Generator(1).given("c", "z", net=dgm.MLP(16)),
    )
    model, guide = dgm.compile(net, seed=0), dgm.compile(dgm.amortize(net, "x", net=dgm.MLP(16)), seed=0)
    torch.manual_seed(0)
    objective = dgm.Adversarial(model, {"x": dgm.MLP(16)}, penalties=dgm.R1(0.1), terms=dgm.MutualInformation("c", guide))
    torch.manual_seed(0)
    data = torch.where(torch.rand(1000, 1) < 0.5, -2.0, 2.0) + 0.3 * torch.randn(1000, 1)
    dgm.fit(objective, {"x": data}, steps=300, batch_size=100, optimizer=dgm.Adam(lr=6e-3, betas=(0.5, 0.9)), seed=0)
    made = model.sample(500)
    prepared = {**made, "z": made["z"]}
    node = next(node for node in guide.schedule if node.name == "c")
    assert float(node.conditional.log_density(made["c"], node.prepare(prepared)).detach().mean()) > -0.35


def test_a_conditional_critic_reads_the_label():
    net = dgm.BayesNet(y=dgm.Given(states=3), z=dgm.Normal(2, loc=0.0, scale=1.0), x=dgm.Generator(2).given("y", "z", net=dgm.MLP(8)))
    objective = dgm.Adversarial(dgm.compile(net), {("x", "y"): dgm.MLP(8)}, penalties=[dgm.GradientPenalty(), dgm.R2()])
    dgm.fit(objective, {"x": torch.randn(20, 2), "y": torch.arange(20) % 3}, steps=3, seed=0)
    plated = dgm.BayesNet(
        z=dgm.Normal(2, loc=0.0, scale=1.0), x=dgm.Generator(2).given("z", net=dgm.MLP(8)), plates={"p": dgm.Plate(["x", "z"], size=4)},
    )
    dgm.fit(dgm.Adversarial(dgm.compile(plated), {"x": dgm.MLP(8)}, penalties=dgm.GradientPenalty()), {"x": torch.randn(20, 4, 2)}, steps=3, seed=0)


def test_runs_resume_bit_for_bit(tmp_path):
    def run(steps, **arguments):
        torch.manual_seed(0)
        objective = dgm.Adversarial(dgm.compile(generator_net(), seed=0), {"x": dgm.MLP(8)}, critic_steps=3)
        return dgm.fit(objective, {"x": torch.randn(40, 2)}, steps=steps, batch_size=10, seed=0, **arguments)
    whole = run(11)
    run(5, checkpoint=tmp_path)
    resumed = run(11, checkpoint=tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(whole.objective.parameters(), resumed.objective.parameters()))


REFUSED = {
    "an implicit node that no critic judges": (lambda m: dgm.Adversarial(m, {"z": dgm.MLP(4)}), r"no critic judges 'x'.*nothing would train it"),
    "an unknown node": (lambda m: dgm.Adversarial(m, {"y": dgm.MLP(4)}), r"no node 'y'"),
    "no critic": (lambda m: dgm.Adversarial(m, {}), r"expected critics by node"),
    "a game by name": (lambda m: dgm.Adversarial(m, {"x": dgm.MLP(4)}, game="hinge"), r"expected a game such as"),
    "a latent that none judges": (
        lambda m: dgm.Adversarial(m, {"x": dgm.MLP(4)}, guide=dgm.compile(dgm.amortize(m.net, "x"))), r"no critic judges the guide's latent 'z'",
    ),
    "steps": (lambda m: dgm.Adversarial(m, {"x": dgm.MLP(4)}, critic_steps=0), r"positive whole number for critic_steps"),
    "no data for what is judged": (
        lambda m: dgm.Adversarial(m, {("x", "z"): dgm.MLP(4)}).prepare({"x": torch.zeros(3, 2)}), r"judges 'z', for which the data have no column",
    ),
    "data that nobody looks at": (
        lambda m: dgm.Adversarial(m, {"x": dgm.MLP(4)}).prepare({"x": torch.zeros(3, 2), "z": torch.zeros(3, 2)}), r"no critic judges 'z', so its data would be ignored",
    ),
    "a likelihood": (lambda m: dgm.MaximumLikelihood(m), r"node 'x' ~ Generator\(2\) only samples and has no density.*dgm.Adversarial.*dgm.Matching"),
    "a bound": (lambda m: dgm.ELBO(m, dgm.compile(dgm.amortize(m.net, "x"))), r"node 'x' .* has no density, which the bound ELBO needs"),
    "a log-density": (lambda m: m.log_prob(m.sample(2)), r"node 'x' .* has no density"),
    "validation": (
        lambda m: dgm.fit(dgm.Adversarial(m, {"x": dgm.MLP(4)}), {"x": torch.zeros(3, 2)}, validation={"x": torch.zeros(3, 2)}, steps=1),
        r"expected no validation data.*Adversarial",
    ),
    "no end": (lambda m: dgm.fit(dgm.Adversarial(m, {"x": dgm.MLP(4)}), {"x": torch.zeros(3, 2)}), r"expected epochs, steps or stopping"),
}


@pytest.mark.parametrize("call, message", REFUSED.values(), ids=REFUSED)
def test_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(dgm.compile(generator_net()))


def test_a_learned_node_without_gradients_is_named():
    net = dgm.BayesNet(c=dgm.Categorical(3), x=dgm.Generator(2).given("c", net=dgm.MLP(8)))
    for objective in (lambda m: dgm.Adversarial(m, {"x": dgm.MLP(4)}), dgm.Matching):
        with pytest.raises(dgm.GraphError, match=r"node 'c' ~ Categorical\(3\) is learned and not reparameterized"):
            objective(dgm.compile(net))


def test_a_diverging_player_is_named(tmp_path):
    objective = dgm.Adversarial(dgm.compile(generator_net(), seed=0), {"x": dgm.MLP(8)}, game=dgm.KullbackLeibler())
    with pytest.raises(FloatingPointError, match=r"player '(critic|generator)'.*at step \d+"):
        dgm.fit(objective, {"x": torch.randn(64, 2)}, steps=400, seed=0, optimizer=dgm.SGD(lr=50.0), checkpoint=tmp_path)
    assert (tmp_path / "last.safetensors").exists() or list(tmp_path.iterdir())
