"""What reaches whom in a game: every learned parameter is trained or named, every column and input is looked at."""

from __future__ import annotations

import math

import pytest
import torch

import dgm_ppl as dgm

torch.set_num_threads(1)

Z = dgm.Normal(2, loc=0.0, scale=1.0)


def net(**nodes):
    return dgm.BayesNet(z=Z, x=dgm.Generator(2).given("z", net=dgm.MLP(8)), **nodes)


def guide(**nodes):
    return dgm.compile(dgm.BayesNet(**(nodes or {"x": dgm.Given(2), "z": dgm.Normal(2).given("x", net=dgm.MLP(8))})), seed=0)


def finite_guide():
    model = dgm.compile(dgm.BayesNet(k=dgm.Categorical(2, probs=[0.5, 0.5]), e=Z, x=dgm.Generator(2).given("k", "e", net=dgm.MLP(8))))
    return dgm.Adversarial(model, {("x", "k"): dgm.MLP(8)}, guide=guide(x=dgm.Given(2), k=dgm.Categorical(2).given("x", net=dgm.MLP(8))))


def behind_a_finite_node():
    return dgm.compile(dgm.BayesNet(
        z=Z, g=dgm.Generator(2).given("z", net=dgm.MLP(8)), k=dgm.Bernoulli(2).given("g", fn=torch.sigmoid), x=dgm.Normal(2, scale=0.1).given("k", fn=lambda k: k.float()),
    ))


def learned_prior():
    net = dgm.BayesNet(k=dgm.Categorical(3), z=dgm.Normal(2).given("k"), x=dgm.Normal(3, scale=0.1).given("z", net=dgm.MLP(8)))
    return dgm.compile(net), dgm.compile(dgm.amortize(net, observed="x", net=dgm.MLP(8)))


def labelled(**more):
    return dgm.compile(dgm.BayesNet(y=dgm.Given(states=2), z=Z, x=dgm.Generator(2).given("z", "y", net=dgm.MLP(8)), **more))


def against(**column):
    return dgm.Adversarial(dgm.compile(dgm.BayesNet(z=Z, x=dgm.Generator().given("z", net=dgm.MLP(8)), **column)), dgm.Critic("x", against="y"))


def sequences():
    chain = dgm.BayesNet(z=Z, h=dgm.Generator(2).given(dgm.lag("h"), "z", net=dgm.MLP(8)), plates={"time": dgm.Chain(["z", "h"])})
    return dgm.compile(chain), {"h": [torch.randn(3 + i % 3, 2) for i in range(6)]}


REFUSED = {
    "a finite latent of the guide": (finite_guide, r"guide: node 'k' ~ Categorical\(2\) is learned and not reparameterized"),
    "a generator above a finite node": (lambda: dgm.Adversarial(behind_a_finite_node(), {"x": dgm.MLP(8)}), r"'g'.*no gradient comes back.*'k' is not reparameterized"),
    "the same by matching": (lambda: dgm.Matching(behind_a_finite_node()).prepare({"x": torch.zeros(3, 2)}), r"'g'.*no gradient comes back.*'k'"),
    "a finite prior that is only sampled": (lambda: dgm.WassersteinAutoencoder(*learned_prior()), r"node 'k' ~ Categorical\(3\) is learned and not reparameterized"),
    "labels that nobody reads": (lambda: dgm.Adversarial(labelled(), {"x": dgm.MLP(8)}), r"no critic judges 'x' together with its input 'y'.*add \{\('x', 'y'\): dgm.MLP\(128\)\}"),
    "data for what the guide draws": (
        lambda: dgm.Adversarial(dgm.compile(net()), {("x", "z"): dgm.MLP(8)}, guide=guide()).prepare({"x": torch.zeros(3, 2), "z": torch.zeros(3, 2)}), r"the guide draws 'z', so its data would be ignored",
    ),
    "a guide of other nodes": (
        lambda: dgm.Adversarial(dgm.compile(net()), {("x", "z"): dgm.MLP(8)}, guide=guide(w=dgm.Given(2), z=dgm.Normal(2).given("w", net=dgm.MLP(8)))), r"guide: the model has no node 'w'",
    ),
    "columns of another kind": (lambda: against(y=dgm.Given(states=3)), r"'x' has values in .*'y' in .*own kind"),
    "columns of other plates": (lambda: against(y=dgm.Given(), plates={"p": dgm.Plate(["x", "z"], size=3)}), r"'x' is in the plates \('p',\).*own plates"),
    "lengths, by critics": (lambda: dgm.Adversarial(sequences()[0], {"h": dgm.MLP(8)}).prepare(sequences()[1]), r"Adversarial: expected sequences of one length along 'time'"),
    "lengths, by matching": (lambda: dgm.Matching(sequences()[0]).prepare(sequences()[1]), r"Matching: expected sequences of one length along 'time'"),
    "finite nodes apart": (lambda: dgm.Adversarial(labelled(w=dgm.Given(states=2)), {("x", "y"): dgm.MLP(8)}, terms=dgm.Consistency("y", "w")), r"expected real numbers, whose difference"),
    "a finite latent that tells the code": (
        lambda: dgm.Adversarial(dgm.compile(net(c=dgm.Categorical(2, probs=[0.5, 0.5]), d=dgm.Categorical(2, probs=[0.5, 0.5]))), {"x": dgm.MLP(8)}, terms=dgm.MutualInformation(
            "c", guide(x=dgm.Given(2), d=dgm.Categorical(2).given("x"), c=dgm.Categorical(2).given("d", "x", net=dgm.MLP(8))))), r"its latent 'd' .* to tell 'c', and draws of it have no gradient",
    ),
    "a clip that is no number": (lambda: dgm.Wasserstein(clip="a"), r"expected clip above 0"),
    "a critic of a number": (lambda: dgm.Adversarial(dgm.compile(net()), {1: dgm.MLP(8)}), r"Critic: expected names of nodes; got \(1,\)"),
    "a score of a game": (lambda: dgm.Adversarial(dgm.compile(net()), {"x": dgm.MLP(8)}).score({"x": torch.zeros(3, 2)}), r"losses of a game do not tell.*dgm.metrics.energy_distance"),
    "a length that is no whole number": (lambda: dgm.Generator(2.5), r"Generator: an event shape is made of positive whole numbers; got 2.5; try Generator\(3\)"),
    "no model": (lambda: dgm.Matching(None), r"Matching: expected a compiled model; got NoneType"),
    "a slope that nothing bounds": (lambda: dgm.Adversarial(dgm.compile(net()), {"x": dgm.SpectralNorm(dgm.MLP(8, norm=True))}), r"got LayerNorm in MLP\(8, norm=True\)"),
    "a function of another shape": (lambda: dgm.compile(dgm.BayesNet(z=Z, x=dgm.Generator(3).given("z", fn=lambda z: z))).sample(2), r"node 'x': expected its fn to give the shape \(3,\).*got \(2, 2\)"),
}


@pytest.mark.parametrize("call, message", REFUSED.values(), ids=REFUSED)
def test_refused(call, message):
    with pytest.raises(dgm.GraphError, match=message):
        call()


def test_a_code_that_cannot_be_read_costs_its_entropy():
    """x says nothing of c, and z together with x all: -E log q(c | x) >= log 2."""
    net = dgm.BayesNet(c=dgm.Categorical(2, probs=[0.5, 0.5]), z=dgm.Normal(1, loc=0.0, scale=1.0), x=dgm.Generator(1).given("c", "z", fn=lambda c, z: (2 * c.float().unsqueeze(-1) - 1) * z))
    model, read = dgm.compile(net), dgm.compile(dgm.amortize(net, observed="x", net=dgm.MLP(16)), seed=0)
    term, optimizer = dgm.MutualInformation("c", read), torch.optim.Adam(read.parameters(), 1e-2)
    torch.manual_seed(0)
    for _ in range(100):
        optimizer.zero_grad()
        loss = term(model.run({}, (256,))).mean()
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) > math.log(2) - 0.03
    assert all(parameter.grad is not None for parameter in read.parameters())


def test_a_layer_between_data_and_code_is_computed():
    code = guide(x=dgm.Given(2), h=dgm.Delta(4).given("x", net=dgm.MLP(8)), c=dgm.Categorical(2).given("h"))
    model = dgm.compile(net(c=dgm.Categorical(2, probs=[0.5, 0.5])))
    assert dgm.MutualInformation("c", code)(model.run({}, (5,))).shape == (5,)


def test_the_slope_of_a_node_outside_a_plate_is_each_members_own():
    plated = dgm.BayesNet(g=Z, e=Z, x=dgm.Generator(3).given("g", "e", net=dgm.MLP(8)), plates={"p": dgm.Plate(["x", "e"], size=4)})
    critic = dgm.Adversarial(dgm.compile(plated), {("x", "g"): dgm.MLP()}).critics[0]
    weight = next(critic.parameters()).detach()
    torch.testing.assert_close(critic.squared_slope([torch.randn(5, 4, 3), torch.randn(5, 1, 2)]), weight.square().sum().expand(5, 4))


@pytest.mark.parametrize("options", [{"penalties": dgm.R1()}, {"penalties": dgm.R2()}, {"penalties": dgm.GradientPenalty()}, {"terms": dgm.Consistency("x", "a")}], ids=str)
def test_generators_of_numbers(options):
    net = dgm.BayesNet(a=dgm.Given(), z=Z, x=dgm.Generator().given("z", "a", net=dgm.MLP(8)))
    run = dgm.fit(dgm.Adversarial(dgm.compile(net), {("x", "a"): dgm.MLP(8)}, **options), {"x": torch.randn(20), "a": torch.randn(20)}, steps=2, seed=0, progress=False)
    assert run.step == 2


def test_clipped_critics_stay_within_after_their_updates():
    objective = dgm.Adversarial(dgm.compile(net()), {"x": dgm.MLP(8)}, game=dgm.Wasserstein(clip=0.01))
    assert max(float(parameter.detach().abs().max()) for parameter in objective.critics.parameters()) <= 0.01
    dgm.fit(objective, {"x": torch.randn(64, 2)}, steps=5, batch_size=32, seed=0, optimizer=dgm.Adam(lr=0.05), progress=False)
    assert max(float(parameter.detach().abs().max()) for parameter in objective.critics.parameters()) <= 0.01


def test_a_seed_gives_the_critics_their_start():
    state = torch.random.get_rng_state()
    one, two = (dgm.Adversarial(dgm.compile(net(), seed=0), {"x": dgm.MLP(8)}, seed=3) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one.critics.parameters(), two.critics.parameters())) and torch.equal(state, torch.random.get_rng_state())


def test_critics_have_the_precision_of_the_model():
    run = dgm.fit(dgm.Adversarial(dgm.compile(net()).double(), {"x": dgm.MLP(8)}, penalties=dgm.R1()), {"x": torch.randn(8, 2).double()}, steps=2, seed=0, progress=False)
    assert all(parameter.dtype == torch.float64 for parameter in run.objective.critics.parameters())
    dgm.fit(dgm.Adversarial(dgm.compile(net()), {"x": dgm.MLP(8)}, penalties=dgm.GradientPenalty()), {"x": torch.randn(8, 2)}, steps=2, seed=0, precision=torch.bfloat16, progress=False)


@pytest.mark.parametrize("members", [1, 8])
def test_codes_weigh_the_same_in_plates(members):
    plated = dgm.BayesNet(c=dgm.Categorical(2, probs=[0.5, 0.5]), x=dgm.Generator(2).given("c", net=dgm.MLP(8)), plates={"p": dgm.Plate(["c", "x"], size=members)})
    fair = dgm.compile(dgm.BayesNet(x=dgm.Given(2), c=dgm.Categorical(2, logits=0.0), plates={"p": dgm.Plate(["c", "x"], size=members)}))
    torch.testing.assert_close(dgm.MutualInformation("c", fair)(dgm.compile(plated).run({}, (3,), {"p": members})), torch.full((3,), math.log(2)))


@pytest.mark.parametrize("game, number, expected", [
    (dgm.SquaredHellinger(), 60.0, math.expm1(60.0)), (dgm.ReverseKullbackLeibler(), -95.0, -96.0), (dgm.Pearson(), 2.0, 3.0),
], ids=repr)
def test_divergences_are_composed_without_overflow(game, number, expected):
    value = torch.tensor(number, requires_grad=True)
    loss = game.generator(value)
    assert float(loss.detach()) == pytest.approx(-expected, rel=1e-5) and bool(torch.autograd.grad(loss, value)[0].isfinite())
