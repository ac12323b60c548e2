"""What a user does, on the device that `--device` names: data come from the CPU, nothing is told of devices but to `fit` and `to`."""

from __future__ import annotations

import math

import pytest
import torch
from objectives.steps import STEPS
from torch import nn

import dgm_ppl as dgm

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def close(a, b, tolerance=1e-3):
    torch.testing.assert_close(a.cpu().double(), b.cpu().double(), rtol=tolerance, atol=tolerance)


def on(device, found):
    """Finite, and where it should be."""
    for value in found.values() if isinstance(found, dict) else [found]:
        assert value.device.type == device.type and torch.isfinite(value.double()).all()


@pytest.mark.parametrize("name", STEPS)
def test_steps(name, device):
    """The loss is the CPU's where it has no noise; `fit` leaves finite parameters on the device."""
    objective, data = STEPS[name]()
    if isinstance(objective, dgm.MaximumLikelihood):
        there = STEPS[name]()[0]
        there.load_state_dict(objective.state_dict())
        there.to(device)
        close(there(there.prepare(data)), objective(objective.prepare(data)))
    run = dgm.fit(objective, data, steps=3, batch_size=3, device=device, seed=0, progress=False)
    assert all(parameter.device.type == device.type and torch.isfinite(parameter).all() for parameter in run.objective.parameters())


def vae():
    net = dgm.BayesNet(z=dgm.Normal(2, loc=0.0, scale=1.0), x=dgm.Normal(5, scale=0.5).given("z", net=dgm.MLP(16)))
    model, guide = dgm.compile(net, seed=0), dgm.compile(dgm.amortize(net, "x", net=dgm.MLP(16)), seed=1)
    return model, guide, {"x": torch.randn(64, 5, generator=torch.Generator().manual_seed(2))}


def test_a_seed_decides_a_run_and_leaves_the_generators(device):
    module = torch.get_device_module(device) if device.type != "cpu" else torch
    states, runs = module.get_rng_state(), []
    for _ in range(2):
        model, guide, data = vae()
        torch.manual_seed(3)
        states = module.get_rng_state()
        runs.append(dgm.fit(dgm.ELBO(model, guide), data, validation=data, epochs=3, batch_size=16, device=device, seed=5, progress=False))
        assert torch.equal(module.get_rng_state(), states)
    for one, other in zip(runs[0].objective.parameters(), runs[1].objective.parameters()):
        assert torch.equal(one, other)


def test_a_checkpoint_is_resumed(device, tmp_path):
    found = {}
    for name, steps in (("whole", [12]), ("in two", [6, 12])):
        for count in steps:
            model, guide, data = vae()
            run = dgm.fit(dgm.ELBO(model, guide), data, steps=count, batch_size=16, device=device, seed=5, checkpoint=tmp_path / name, progress=False)
        found[name] = list(run.objective.parameters())
    assert all(torch.equal(one, other) for one, other in zip(found["whole"], found["in two"]))


METHODS = {
    "amortized": lambda guide: dgm.Amortized(guide, samples=50),
    "importance": lambda guide: dgm.Importance(guide, 50),
    "metropolis": lambda guide: dgm.IndependenceMetropolis(guide, samples=50, seed=1),
    "refined": lambda guide: dgm.Refined(guide, steps=5, seed=1),
    "langevin": lambda guide: dgm.Langevin(samples=10, warmup=5, seed=1),
    "hmc": lambda guide: dgm.HMC(samples=10, warmup=5, seed=1),
    "nuts": lambda guide: dgm.NUTS(samples=10, warmup=10, seed=1),
}


@pytest.mark.parametrize("name", METHODS)
def test_questions(name, device):
    model, guide, data = vae()
    model.to(device), guide.to(device)
    rows = {"x": data["x"][:2]}
    post = dgm.posterior(model, rows, method=METHODS[name](guide))
    on(device, post.mean()), on(device, post.std()), on(device, post.sample(5))
    assert post.sample(5)["z"].shape == (5, 2, 2) and repr(post.diagnose())
    again = dgm.posterior(model, rows, method=METHODS[name](guide))
    if name not in ("amortized", "importance"):
        assert torch.equal(again.mean()["z"], post.mean()["z"])


def test_a_guide_elsewhere_is_refused():
    model, guide, data = vae()
    with pytest.raises(dgm.GraphError, match=r"guide: expected it on the model's device, cpu; got meta; try guide.to\(model.device\)"):
        dgm.posterior(model, data, method=dgm.Amortized(guide.to("meta")))


def test_scores_and_draws(device, tmp_path):
    model, guide, data = vae()
    model.to(device), guide.to(device)
    score = dgm.log_prob(model, data, method=dgm.Importance(guide, 50))
    on(device, score.value)
    on(device, model.sample(4)), on(device, model.do(z=torch.zeros(2)).sample(4)), on(device, model.sample(4, given={"z": torch.zeros(2)}))
    dgm.save(model, tmp_path / "model.safetensors")
    both = {"z": torch.zeros(64, 2), **data}
    there, here = dgm.load(tmp_path / "model.safetensors", device=device), dgm.load(tmp_path / "model.safetensors")
    on(device, there.log_prob(both))
    close(there.log_prob(both), here.log_prob(both))
    assert repr(dgm.calibrate(model, guide, worlds=30, draws=20))
    assert repr(dgm.judge_weights(model, guide, data, samples=50).frame)
    assert dgm.gaps(model, guide, {"x": data["x"][:2]}, steps=3, samples=20).verdict
    assert dgm.outlier_scores(model, data, method=dgm.Importance(guide, 20)) is not None
    on(device, dgm.representations(model, data, method=dgm.Amortized(guide)))


def test_exact_answers(device):
    """Finite, Gaussian and mixed nets, with missing cells: those of the CPU."""
    net = dgm.BayesNet(
        season=dgm.Categorical(3, probs=[0.2, 0.3, 0.5]), rain=dgm.Bernoulli(probs=[0.1, 0.5, 0.8]).given("season"), grass=dgm.Bernoulli(probs=[0.2, 0.9]).given("rain"),
        warmth=dgm.Normal().given("season"), sales=dgm.Normal(2).given("warmth", "rain"),
    )
    here, there = dgm.compile(net, seed=0), dgm.compile(net, seed=0).to(device)
    rows = {"grass": [0.0, None, 1.0], "sales": torch.tensor([[0.1, 0.2], [math.nan, 1.0], [0.3, math.nan]])}
    for evidence in (rows, {"grass": [1.0]}):
        one, other = dgm.posterior(there, evidence), dgm.posterior(here, evidence)
        on(device, one.log_evidence)
        close(one.log_evidence, other.log_evidence)
        close(one.marginals["season"].probs, other.marginals["season"].probs)
        if "sales" in evidence:
            close(one.mean()["warmth"], other.mean()["warmth"])
        assert one.sample(7)["rain"].device.type == device.type
    close(dgm.log_prob(there, rows).value, dgm.log_prob(here, rows).value)
    close(dgm.posterior(there, {"sales": torch.zeros(1, 2)}).marginals["rain"].probs, dgm.posterior(here, {"sales": torch.zeros(1, 2)}).marginals["rain"].probs)


def chain(z, x):
    return dgm.BayesNet(z=z, x=x, plates={"time": dgm.Chain(["z", "x"])})


CHAINS = {
    "finite": chain(dgm.Categorical(3).given(dgm.lag("z")), dgm.Normal(2).given("z")),
    "linear": chain(dgm.Normal(2).given(dgm.lag("z")), dgm.Normal(2).given("z")),
}


@pytest.mark.parametrize("name", CHAINS)
def test_chains(name, device):
    here, there = dgm.compile(CHAINS[name], seed=0), dgm.compile(CHAINS[name], seed=0).to(device)
    rows = {"x": torch.randn(3, 5, 2), "time": [5, 3, 2]}
    one, other = dgm.posterior(there, rows), dgm.posterior(here, rows)
    close(one.log_evidence, other.log_evidence)
    on(device, one.sample(2))
    if name == "linear":
        close(one.mean()["z"], other.mean()["z"])
        close(one.predict(2)["z"].mean, other.predict(2)["z"].mean)
    else:
        close(one.marginals["z"].probs, other.marginals["z"].probs)
        assert str(one.mpe()["z"]) == str(other.mpe()["z"])


def test_a_guide_over_a_chain(device):
    net = chain(dgm.Normal(2).given(dgm.lag("z"), net=dgm.MLP(8, activation=nn.Tanh)), dgm.Bernoulli(4).given("z", net=dgm.MLP(8)))
    model, guide = dgm.compile(net, seed=0), dgm.compile(dgm.amortize(net, "x", net=dgm.MLP(8, activation=nn.Tanh), encoder=dgm.RecurrentState(6)), seed=1)
    data = {"x": torch.ones(6, 5, 4), "time": [5, 4, 3, 2, 1, 5]}
    dgm.fit(dgm.ELBO(model, guide), data, steps=2, batch_size=3, device=device, progress=False)
    on(device, dgm.log_prob(model, data, method=dgm.Importance(guide, 20)).value)
    on(device, model.sample(2, sizes={"time": 4}))


def test_a_guide_over_chains_in_plates(device):
    net = dgm.BayesNet(
        mu=dgm.Normal(loc=0.0, scale=1.0), z=dgm.Normal(2).given(dgm.lag("z"), "mu", net=dgm.MLP(8, activation=nn.Tanh)), x=dgm.Normal(2, loc="z", scale=[[[0.5, 0.5]], [[1.0, 1.0]]]),
        plates={"series": ["z", "x"], "time": dgm.Chain(["z", "x"])})
    model, guide = dgm.compile(net, seed=0).to(device), dgm.compile(dgm.amortize(net, "x", net=dgm.MLP(8), coupling=dgm.InTurn(8, heads=2), order=["z", "mu"]), seed=1).to(device)
    x = torch.randn(4, 2, 5, 2)
    for asked in (dgm.ELBO(model, guide), dgm.IWAE(model, guide, particles=2)):
        asked(asked.prepare({"x": x})).backward()
    guide = dgm.compile(dgm.amortize(net, "x", net=dgm.MLP(8)), seed=1).to(device)
    bound = dgm.ELBO(model, guide)
    assert bound(bound.prepare({"x": x, "time": torch.tensor([[5, 2], [1, 5], [3, 3], [4, 5]])})).device.type == device.type


def test_estimates(device):
    net = dgm.BayesNet(k=dgm.Categorical(2), a=dgm.Categorical(3).given("k"), b=dgm.Normal().given("k"))
    data = {"k": [0, 1, 1, 0], "a": [0, 1, 2, 1], "b": [0.1, 0.4, 2.0, -1.0]}
    for rows, method in ((data, {}), ({**data, "k": [0, None, 1, None]}, {"method": dgm.EM(steps=3)})):
        here, there = dgm.compile(net, seed=0), dgm.compile(net, seed=0).to(device)
        dgm.estimate(here, rows, **method), dgm.estimate(there, rows, **method)
        for one, other in zip(there.parameters(), here.parameters()):
            assert one.device.type == device.type
            close(one, other)


SEQUENCES = {
    "masked": dgm.Autoregressive(dgm.Bernoulli(12), net=dgm.MADE(16)),
    "fully visible": dgm.Autoregressive(dgm.Bernoulli(12), net=dgm.FVSBN()),
    "nade": dgm.Autoregressive(dgm.Bernoulli(12), net=dgm.NADE(8)),
    "pixels": dgm.Autoregressive(dgm.Bernoulli(1, 5, 5), net=dgm.PixelCNN(8, layers=2)),
    "snail": dgm.Autoregressive(dgm.Bernoulli(1, 4, 4), net=dgm.PixelSNAIL(8)),
    "attention": dgm.Autoregressive(dgm.Categorical(5, 10), net=dgm.Transformer(16)),
    "dilated": dgm.Autoregressive(dgm.Categorical(5, 20), net=dgm.WaveNet(8, layers=3)),
    "recurrent": dgm.Autoregressive(dgm.Categorical(5, 10), net=dgm.Recurrent(8)),
}


@pytest.mark.parametrize("name", SEQUENCES)
def test_autoregressive_nodes(name, device):
    """Densities are the CPU's, and drawing step by step gives what has that density."""
    net = dgm.BayesNet(x=SEQUENCES[name])
    here, there = dgm.compile(net, seed=0), dgm.compile(net, seed=0).to(device)
    x = there.sample(4)["x"]
    on(device, x)
    close(there.log_prob({"x": x}), here.log_prob({"x": x.cpu()}))


FLOWS = {kind.__name__: kind(1, hidden=(8,)) for kind in (dgm.MAF, dgm.NSF, dgm.NICE, dgm.RealNVP, dgm.IAF)} | {"Glow": dgm.Glow(1, steps=1, hidden=4)}


@pytest.mark.parametrize("name", FLOWS)
def test_flows(name, device):
    shape = (1, 4, 4) if name == "Glow" else (3,)
    net = dgm.BayesNet(u=dgm.Normal(2, loc=0.0, scale=1.0), x=dgm.Flow(*shape, FLOWS[name]).given("u"))
    here, there = dgm.compile(net, seed=0), dgm.compile(net, seed=0).to(device)
    drawn = there.sample(4)
    on(device, drawn)
    close(there.log_prob(drawn), here.log_prob({name: value.cpu() for name, value in drawn.items()}))


GAMES = {
    "saturating": {}, "wasserstein": {"game": dgm.Wasserstein(), "penalties": dgm.GradientPenalty(), "critic_steps": 2}, "hinge": {"game": dgm.Hinge(), "penalties": dgm.R1(0.1)},
}


@pytest.mark.parametrize("name", GAMES)
def test_games(name, device):
    model = dgm.compile(dgm.BayesNet(z=dgm.Normal(2, loc=0.0, scale=1.0), x=dgm.Generator(2).given("z", net=dgm.MLP(8))), seed=0)
    run = dgm.fit(dgm.Adversarial(model, {"x": dgm.SpectralNorm(dgm.MLP(8))}, **GAMES[name]), {"x": torch.randn(32, 2)}, steps=3, batch_size=8, device=device, average=0.9, progress=False)
    on(device, run.averaged.model.sample(3))


def test_a_game_is_resumed_between_turns_of_the_generator(device, tmp_path):
    found = {}
    for name, counts in (("whole", [8]), ("in two", [5, 8])):
        for count in counts:
            model = dgm.compile(dgm.BayesNet(z=dgm.Normal(2, loc=0.0, scale=1.0), x=dgm.Generator(2).given("z", net=dgm.MLP(8))), seed=0)
            torch.manual_seed(0)
            objective, data = dgm.Adversarial(model, {"x": dgm.MLP(8)}, critic_steps=3), {"x": torch.randn(32, 2)}
            run = dgm.fit(objective, data, steps=count, batch_size=8, device=device, seed=0, checkpoint=tmp_path / name, progress=False)
        found[name] = list(run.objective.parameters())
    assert all(torch.equal(one, other) for one, other in zip(found["whole"], found["in two"]))


@pytest.mark.parametrize("distance", [dgm.MMD(), dgm.EnergyDistance(), dgm.SlicedWasserstein()], ids=lambda distance: type(distance).__name__)
def test_matching(distance, device):
    model = dgm.compile(dgm.BayesNet(z=dgm.Normal(2, loc=0.0, scale=1.0), x=dgm.Generator(2).given("z", net=dgm.MLP(8))), seed=0)
    dgm.fit(dgm.Matching(model, distance), {"x": torch.randn(32, 2)}, steps=3, batch_size=8, device=device, progress=False)
    on(device, model.sample(3))


DENOISED = {
    "diffusion": dgm.Diffusion(2, net=dgm.MLP(8), sampler=dgm.Ancestral(4)),
    "learned schedule": dgm.Diffusion(2, net=dgm.MLP(8), schedule=dgm.Learned(), sampler=dgm.DDIM(4)),
    "exploding": dgm.Diffusion(2, net=dgm.MLP(8), schedule=dgm.VarianceExploding(), sampler=dgm.Heun(4)),
    "matched": dgm.FlowMatching(2, net=dgm.MLP(8)),
    "transported": dgm.FlowMatching(2, net=dgm.MLP(8), coupling=dgm.OptimalTransport()),
}


@pytest.mark.parametrize("name", DENOISED)
def test_diffusion(name, device):
    net = dgm.BayesNet(x=DENOISED[name], m=dgm.Normal(1, scale=0.2).given("x", fn=dgm.Mask([True, False])))
    model = dgm.compile(net, seed=0)
    data = {"x": torch.randn(32, 2), "m": torch.randn(32, 1)}
    dgm.fit(dgm.MaximumLikelihood(model), data, steps=3, batch_size=8, device=device, progress=False)
    on(device, model.sample(3))
    on(device, dgm.log_prob(model, data, method=dgm.ProbabilityFlow(tolerance=1e-2)).value)
    for method in (dgm.Guided(samples=6, steps=4, seed=0), dgm.Twisted(particles=6, steps=4, seed=0)):
        on(device, dgm.posterior(model, {"m": torch.tensor([[1.0]])}, method=method).mean())


def test_tokens_unmasked(device):
    model = dgm.compile(dgm.BayesNet(x=dgm.MaskedDiffusion(3, 6, net=dgm.MLP(8))), seed=0)
    data = {"x": torch.randint(3, (16, 6))}
    dgm.fit(dgm.MaximumLikelihood(model), data, steps=3, batch_size=8, device=device, progress=False)
    on(device, model.sample(3))
    on(device, dgm.log_prob(model, data).value)


def test_images(device):
    """A U-Net, a vision transformer, convolutions both ways."""
    net = dgm.BayesNet(
        y=dgm.Given(states=3), z=dgm.Normal(4, loc=0.0, scale=1.0), a=dgm.Bernoulli(1, 8, 8).given("z", net=dgm.ConvTransposeNet(8)),
        b=dgm.Diffusion(1, 8, 8, net=dgm.UNet(8), sampler=dgm.DDIM(3), drop={"y": 0.2}).given("y"), c=dgm.Diffusion(1, 8, 8, net=dgm.DiT(16), sampler=dgm.DDIM(3)).given("y"),
    )
    model, guide = dgm.compile(net, seed=0), dgm.compile(dgm.amortize(net, ["a", "b", "c", "y"], net=dgm.MLP(8)), seed=1)
    data = {"a": torch.ones(6, 1, 8, 8), "b": torch.randn(6, 1, 8, 8), "c": torch.randn(6, 1, 8, 8), "y": torch.tensor([0, 1, 2, 0, 1, 2])}
    dgm.fit(dgm.ELBO(model, guide), data, steps=2, batch_size=3, device=device, average=0.9, progress=False)
    on(device, model.sampling(b=dgm.DDIM(3, guidance={"y": 2.0})).sample(2, given={"y": 1}))


def test_measures(device):
    x, y = torch.randn(60, 2, device=device), torch.randn(60, 2, device=device) + 1
    for measure in (dgm.metrics.mmd, dgm.metrics.energy_distance, dgm.metrics.sliced_wasserstein):
        close(torch.tensor(measure(x, y).value), torch.tensor(measure(x.cpu(), y.cpu()).value), 0.05)
    images, labels = torch.rand(64, 1, 8, 8, device=device), (torch.arange(64) % 2).to(device)
    features = dgm.metrics.train_features(images, labels, width=8, epochs=1)
    assert math.isfinite(dgm.metrics.frechet_distance(features(images[:32]), features(images[32:])).value)


def test_programs(device):
    """A compiled net is a Pyro program on the device too."""
    import pyro
    from pyro.infer import SVI, Trace_ELBO

    model, guide, data = vae()
    model.to(device), guide.to(device)
    x = {"x": data["x"].to(device)}
    assert math.isfinite(SVI(model, guide, pyro.optim.Adam({"lr": 1e-3}), Trace_ELBO()).step(x))
