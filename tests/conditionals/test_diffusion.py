"""Diffusions and flows against a target whose denoiser is known in closed form."""

from __future__ import annotations

import math

import pytest
import torch
from denoisers import MEAN, SCALE, Exact, Known
from torch import nn

import dgm_ppl as dgm
from dgm_ppl.conditionals.probability_flow import flow_log_density

torch.set_num_threads(1)

TARGET = torch.distributions.Independent(torch.distributions.Normal(MEAN, SCALE), 1)

SCHEDULES = {
    "cosine": dgm.Cosine(), "variance preserving": dgm.VariancePreserving(), "log-linear": dgm.LogLinear(high=10.0, low=-10.0),
    "variance exploding": dgm.VarianceExploding(0.01, 40.0),
}


def known(schedule, **options):
    return dgm.compile(dgm.BayesNet(x=dgm.Diffusion(2, net=dgm.Flat(Known(schedule)), schedule=schedule, prediction=dgm.Clean(), **options)))


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_levels_and_rates_are_those_of_the_log_snr(schedule):
    t = torch.linspace(0.01, 0.99, 21, dtype=torch.double, requires_grad=True)
    (alpha, sigma), (ratio, slope), (alpha_rate, sigma_rate) = schedule.levels(t), schedule.log_snr(t), schedule.rates(t)
    torch.testing.assert_close(ratio, 2 * (alpha / sigma).log())
    for level, rate in ((ratio, slope), (sigma, sigma_rate)):
        torch.testing.assert_close(torch.autograd.grad(level.sum(), t, retain_graph=True)[0], rate)
    if alpha.requires_grad:
        torch.testing.assert_close(torch.autograd.grad(alpha.sum(), t)[0], alpha_rate)
    assert bool((slope < 0).all())
    torch.testing.assert_close(schedule.time_of(ratio), t)
    share = torch.linspace(0, 1, 20001, dtype=torch.double)
    times, factor = schedule.even(share)
    torch.testing.assert_close((factor * times.square()).mean(), torch.tensor(1 / 3, dtype=torch.double), atol=2e-3, rtol=0)   # the integral of t^2


@pytest.mark.parametrize("schedule", [dgm.Cosine(30.0, -30.0), dgm.LogLinear(30.0, -30.0), dgm.VarianceExploding(1e-6, 1e6), dgm.VariancePreserving(0.1, 50.0, start=1e-10)], ids=repr)
def test_extreme_ends_keep_their_digits(schedule):
    """In 24 digits as in 53, at both ends."""
    t = torch.tensor([0.0, 1e-3, 0.5, 1 - 1e-3, 1.0])
    (ratio, slope), (alpha, sigma), (alpha_rate, sigma_rate) = schedule.log_snr(t), schedule.levels(t), schedule.rates(t)
    exact, (alphas, sigmas) = schedule.log_snr(t.double())[0], schedule.levels(t.double())
    torch.testing.assert_close(ratio.double(), exact, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(alpha.double(), alphas, rtol=1e-3, atol=0)
    torch.testing.assert_close(sigma.double(), sigmas, rtol=1e-3, atol=0)
    assert bool((slope < 0).all()) and all(bool(level.isfinite().all()) for level in (slope, alpha_rate, sigma_rate))


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_the_bound_is_tight_for_the_exact_denoiser(schedule):
    """The bound's mean is log p up to what the ends cost, which is small here."""
    torch.manual_seed(0)
    model, x = known(schedule), TARGET.sample((20000,))
    with torch.no_grad():
        found = model.log_prob({"x": x}) - TARGET.log_prob(x)
    error = 4 * float(found.std()) / len(x) ** 0.5
    assert float(found.mean()) < 0.02 + error and float(found.mean()) > -0.06 - error


def test_the_bound_is_unbiased_in_its_random_time():
    """One world many times over: its mean does not depend on where in the batch it stands."""
    torch.manual_seed(0)
    model, x = known(dgm.LogLinear(high=8.0, low=-8.0)), torch.tensor([0.1, 0.4])
    with torch.no_grad():
        first = torch.stack([model.log_prob({"x": x.expand(64, 2)}) for _ in range(300)])
    by_place, error = first.mean(0), first.std(0) / 300**0.5
    assert bool(((by_place - first.mean()).abs() < 5 * error).all())


@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_the_flow_has_the_exact_density(schedule):
    model, x = known(schedule), TARGET.sample((50,))
    conditional = model.conditional("x")
    with torch.no_grad():
        found = flow_log_density(conditional.denoiser(conditional.prepare(), (50,)), x)
        torch.testing.assert_close(found, TARGET.log_prob(x), atol=0.03, rtol=0.01)
        torch.manual_seed(0)
        several = torch.stack([flow_log_density(conditional.denoiser(conditional.prepare(), (50,)), x, probes=1) for _ in range(3)])
    torch.testing.assert_close(several.mean(0), found, atol=0.03, rtol=0.01)   # of a diagonal Jacobian every probe gives the trace


SAMPLERS = [dgm.Ancestral(200), dgm.DDIM(100), dgm.DDIM(200, eta=1.0), dgm.Heun(40), dgm.DPMSolver(25), dgm.AdamsBashforth(25)]


@pytest.mark.parametrize("kind, order, largest", [(dgm.DDIM, 1, 0.16), (dgm.Heun, 2, 0.2), (dgm.DPMSolver, 2, 0.02), (dgm.AdamsBashforth, 2, 0.02)], ids=lambda kind: getattr(kind, "__name__", None))
@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_samplers_follow_the_exact_flow_with_their_order(schedule, kind, order, largest):
    """Root mean square distances from where the probability flow of a Gaussian ends: bounded at 20 steps, and halved once or twice by twice the steps."""
    exact = Exact(schedule, 100)
    errors = [float((kind(steps)(exact, None) - exact.end).square().mean().sqrt()) for steps in (20, 160, 320)]
    assert errors[0] < largest and errors[1] / errors[2] > 0.75 * 2**order, errors


def test_extrapolated_steps_stay_near_the_flow_when_they_are_few():
    """Ten steps along the cosine, whose first and last are leaps in log-SNR and steps like the others in the angle."""
    exact = Exact(dgm.Cosine(), 100)
    errors = {kind.__name__: float((kind(10)(exact, None) - exact.end).square().mean().sqrt()) for kind in (dgm.DDIM, dgm.DPMSolver, dgm.AdamsBashforth)}
    assert errors["AdamsBashforth"] < 0.6 * errors["DPMSolver"] and errors["DPMSolver"] < 0.4 * errors["DDIM"], errors


@pytest.mark.parametrize("schedule", [SCHEDULES["cosine"], SCHEDULES["variance exploding"]], ids=["cosine", "variance exploding"])
@pytest.mark.parametrize("sampler", SAMPLERS, ids=repr)
def test_samplers_reach_the_target(sampler, schedule):
    torch.manual_seed(0)
    x = known(schedule).sampling(x=sampler).sample(4000)["x"]
    torch.testing.assert_close(x.mean(0), MEAN, atol=0.1, rtol=0)
    torch.testing.assert_close(x.std(0), SCALE, atol=0.1, rtol=0.05)


@pytest.mark.parametrize("prediction", [dgm.Velocity(), dgm.NoisePrediction(), dgm.Clean()], ids=repr)
def test_predictions_say_the_same(prediction):
    """alpha x + sigma noise is the noisy value, whatever the network gives."""
    alpha, sigma = torch.tensor(0.6), torch.tensor(0.8)
    noisy, output = torch.randn(5, 2), torch.randn(5, 2)
    clean, noise = prediction.read(output, noisy, alpha, sigma)
    torch.testing.assert_close(alpha * clean + sigma * noise, noisy)
    x, e = torch.randn(5, 2), torch.randn(5, 2)
    outputs = {"Velocity": alpha * e - sigma * x, "NoisePrediction": e, "Clean": x}
    clean, noise = prediction.read(outputs[type(prediction).__name__], alpha * x + sigma * e, alpha, sigma)
    torch.testing.assert_close(clean, x)
    torch.testing.assert_close(noise, e)


def test_levels_have_probabilities():
    """Of whole numbers the bound is one of a probability: summed over all of them at most one."""
    torch.manual_seed(0)
    model = dgm.compile(dgm.BayesNet(x=dgm.Diffusion(levels=4, net=dgm.MLP(16))), seed=0)
    dgm.fit(dgm.MaximumLikelihood(model), {"x": torch.tensor([0, 1, 1, 2, 2, 2, 3, 3])}, steps=150, optimizer=dgm.Adam(lr=1e-2), seed=0)
    with torch.no_grad():
        bounds = torch.stack([model.log_prob({"x": torch.arange(4)}) for _ in range(2000)]).mean(0)
    assert float(bounds.exp().sum()) <= 1.02
    drawn = model.sample(500)["x"]
    assert drawn.dtype is torch.long and int(drawn.min()) >= 0 and int(drawn.max()) <= 3


def test_a_learned_schedule_is_trained_and_saved(tmp_path):
    model = dgm.compile(dgm.BayesNet(x=dgm.Diffusion(2, net=dgm.MLP(8), schedule=dgm.Learned())), seed=0)
    before = [parameter.clone() for parameter in model.conditional("x").schedule.parameters()]
    dgm.fit(dgm.MaximumLikelihood(model), {"x": TARGET.sample((100,))}, steps=5, device="cpu", seed=0)
    assert all(not torch.equal(a, b) for a, b in zip(before, model.conditional("x").schedule.parameters()))
    t = torch.linspace(0, 1, 50, requires_grad=True)
    ratio, slope = model.conditional("x").schedule.log_snr(t)
    torch.testing.assert_close(torch.autograd.grad(ratio.sum(), t)[0], slope)
    assert bool((slope < 0).all())
    dgm.save(model, tmp_path / "m.safetensors")
    loaded = dgm.load(tmp_path / "m.safetensors")
    torch.testing.assert_close(loaded.conditional("x").schedule.log_snr(t), (ratio, slope))


@pytest.mark.parametrize("weighting, expected", [
    (dgm.SimpleWeighting(), [1.0, 1.0]), (dgm.MinSNR(5.0), [5 / math.e**4, 1.0]), (dgm.LikelihoodWeighting(), [1.5, 1.5]),
])
def test_weightings(weighting, expected):
    torch.testing.assert_close(weighting(torch.tensor([4.0, -2.0]), torch.tensor([-3.0, -3.0])), torch.tensor(expected))


def test_denoising_with_the_bounds_weights_is_the_bound_up_to_a_constant():
    model, x = known(dgm.LogLinear(high=8.0, low=-8.0)), TARGET.sample((400,))
    objective = dgm.Denoising(model, dgm.LikelihoodWeighting())
    batch = objective.prepare({"x": x})
    torch.manual_seed(0)
    weighted = objective.world_losses(batch)
    torch.manual_seed(0)
    bound = -model.log_prob({"x": x})
    constant = bound - weighted                                             # what z_1 and z_0 cost: known numbers of x alone
    alpha, sigma = model.conditional("x").schedule.levels(torch.ones(()))
    last = ((sigma.square() + alpha.square() * x.square()) / 1.0 - 1 - sigma.square().log()).sum(1) / 2
    first = (math.log(2 * math.pi) + 1 - 8.0) / 2 * 2
    torch.testing.assert_close(constant, last + first, atol=1e-3, rtol=1e-3)


def conditional_net(**options):
    return dgm.BayesNet(y=dgm.Given(states=2), x=dgm.Diffusion(1, net=dgm.MLP(48, activation=nn.SiLU), sampler=dgm.DPMSolver(15), drop={"y": 0.2}, **options).given("y"))


def test_the_bound_reads_all_parents_in_training_mode_too():
    model = dgm.compile(dgm.BayesNet(y=dgm.Given(states=2), x=dgm.Diffusion(2, net=dgm.MLP(8), drop={"y": 0.9}).given("y")), seed=0)
    data = {"x": torch.zeros(200, 2), "y": torch.ones(200, dtype=torch.long)}
    found = []
    for training in (True, False):
        torch.manual_seed(0)
        found.append(dgm.log_prob(model.train(training), data).value)
    torch.testing.assert_close(*found)


def test_guidance_follows_the_parent_more():
    model = dgm.compile(conditional_net(), seed=0)
    torch.manual_seed(0)
    y = torch.randint(2, (1000,))
    x = torch.where(y == 1, 0.7, -0.7).unsqueeze(1) + 0.5 * torch.randn(1000, 1)
    dgm.fit(dgm.Denoising(model), {"x": x, "y": y}, steps=500, batch_size=200, optimizer=dgm.Adam(lr=5e-3), seed=0)
    means = {}
    for weight in (0.0, 1.0, 3.0):
        sampled = model.sampling(x=dgm.DPMSolver(15, guidance={"y": weight})).sample(2000, given={"y": 1})["x"]
        means[weight] = float(sampled.mean())
    assert means[1.0] == pytest.approx(0.7, abs=0.15)
    assert means[0.0] == pytest.approx(0.0, abs=0.25) and means[3.0] > means[1.0] + 0.1


@pytest.mark.parametrize("coupling", [dgm.Independent(), dgm.OptimalTransport()], ids=repr)
def test_flow_matching_learns_a_density_and_samples_it(coupling):
    model = dgm.compile(dgm.BayesNet(x=dgm.FlowMatching(2, net=dgm.MLP(32, activation=nn.SiLU), coupling=coupling)), seed=0)
    torch.manual_seed(0)
    x = TARGET.sample((1000,))
    run = dgm.fit(dgm.Denoising(model), {"x": x}, steps=350, batch_size=100, optimizer=dgm.Adam(lr=1e-2), seed=0, average=0.97, device="cpu")
    model = run.averaged.model
    with torch.no_grad():
        assert float((model.log_prob({"x": x[:40]}) - TARGET.log_prob(x[:40])).mean()) == pytest.approx(0, abs=0.2)
    drawn = model.sample(3000)["x"]
    torch.testing.assert_close(drawn.std(0), SCALE, atol=0.2, rtol=0)


def test_a_diffusion_is_the_prior_of_a_latent():
    net = dgm.BayesNet(z=dgm.Diffusion(2, net=dgm.MLP(16), sampler=dgm.DDIM(10)), x=dgm.Normal(3, scale=0.5).given("z", net=dgm.MLP(8)))
    model, guide = dgm.compile(net, seed=0), dgm.compile(dgm.amortize(net, "x", net=dgm.MLP(8)), seed=0)
    run = dgm.fit(dgm.ELBO(model, guide), {"x": torch.randn(60, 3)}, steps=20, batch_size=30, seed=0)
    assert math.isfinite(run.history["loss"].iloc[-1]) and model.sample(4)["x"].shape == (4, 3)
    gradients = [parameter.grad for parameter in model.conditional("z").parameters()]
    assert all(gradient is not None and bool(gradient.isfinite().all()) for gradient in gradients)


def test_in_a_plate_and_with_worlds_in_front():
    net = dgm.BayesNet(y=dgm.Normal(2), x=dgm.Diffusion(3, net=dgm.MLP(8), sampler=dgm.DDIM(3)).given("y"), plates={"p": dgm.Plate(["x"], size=4)})
    model = dgm.compile(net)
    values = model.sample((5, 6))
    assert values["x"].shape == (5, 6, 4, 3) and model.log_prob(values).shape == (5, 6)
    assert model.verify_structure().ok


@pytest.mark.parametrize("net", [
    dgm.BayesNet(y=dgm.Given(states=2), x=dgm.Diffusion(1, 8, 8, net=dgm.UNet(4, 8), schedule=dgm.VariancePreserving(), levels=16, drop={"y": 0.1}).given("y")),
    dgm.BayesNet(x=dgm.Diffusion(1, 8, 8, net=dgm.DiT(8, depth=1, heads=2), sampler=dgm.DDIM(5, eta=0.5, clip=1.0), prediction=dgm.NoisePrediction())),
    dgm.BayesNet(x=dgm.FlowMatching(4, net=dgm.MLP(8), coupling=dgm.OptimalTransport())),
], ids=["unet", "dit", "flow matching"])
def test_written_and_read(net, tmp_path):
    model = dgm.compile(net, seed=0)
    dgm.save(model, tmp_path / "m.safetensors")
    loaded = dgm.load(tmp_path / "m.safetensors")
    assert loaded.net == net and repr(loaded.net) == repr(net)
    torch.manual_seed(0)
    given = {"y": torch.tensor([0, 1])} if "y" in net else None
    values = model.sample(2, given=given)
    with torch.no_grad():
        torch.manual_seed(1)
        ours = model.log_prob(values)
        torch.manual_seed(1)
        torch.testing.assert_close(loaded.log_prob(values), ours)
    assert dgm.draw(net) is not None and net.check()


REFUSED = {
    "no noise at the data": (lambda: dgm.LogLinear(high=math.inf), r"finite log signal-to-noise ratios.*t = 0.*try high=13.0"),
    "noise at the wrong end": (lambda: dgm.Cosine(high=-5.0, low=5.0), r"high, that of t = 0, above low"),
    "no noise to begin with": (lambda: dgm.VarianceExploding(0.0, 1.0), r"0 < least < most, both finite, so that there is noise at t = 0"),
    "the straight schedule": (lambda: dgm.Diffusion(2, net=dgm.MLP(4), schedule=dgm.conditionals.Straight()), r"use dgm.FlowMatching"),
    "a schedule by name": (lambda: dgm.Diffusion(2, net=dgm.MLP(4), schedule="cosine"), r"schedule=dgm.Cosine\(\)"),
    "levels": (lambda: dgm.Diffusion(2, net=dgm.MLP(4), levels=1), r"expected levels to be a whole number from 2"),
    "sides that do not halve": (
        lambda: dgm.compile(dgm.BayesNet(x=dgm.Diffusion(1, 28, 28, net=dgm.UNet(4, 8, 8, 8)))), r"node 'x': .*halved 3 times; got 28 x 28 \(28 x 28 -> 14 x 14 -> 7 x 7\); try UNet\(4, 8, 8\), or images padded to 32 x 32",
    ),
    "patches that do not fill": (lambda: dgm.compile(dgm.BayesNet(x=dgm.Diffusion(1, 28, 28, net=dgm.DiT(8, heads=2, patch=5)))), r"patches of 5 fill; got 28 x 28; try patch=4"),
    "guidance by no parent": (lambda: dgm.compile(conditional_net()).sampling(x=dgm.DDIM(5, guidance={"z": 2.0})), r"guidance names 'z', which is no parent.*\['y'\]"),
    "guidance by what was never dropped": (
        lambda: dgm.BayesNet(y=dgm.Given(2), x=dgm.Diffusion(2, net=dgm.MLP(4), sampler=dgm.DDIM(5, guidance={"y": 2.0})).given("y")), r"declare drop=\{'y': 0.1\}",
    ),
    "drop of no parent": (lambda: dgm.BayesNet(y=dgm.Given(2), x=dgm.Diffusion(2, net=dgm.MLP(4), drop={"w": 0.1}).given("y")), r"drop names 'w', which is no parent"),
    "a share": (lambda: dgm.BayesNet(y=dgm.Given(2), x=dgm.Diffusion(2, net=dgm.MLP(4), drop={"y": 1.5}).given("y")), r"expected drop of 'y' between 0 and 1"),
    "a function given with the parents": (lambda: dgm.BayesNet(y=dgm.Given(2), x=dgm.Diffusion(2, net=dgm.MLP(4)).given("y", fn=torch.sin)), r"fn computes parameters, and a denoiser has none"),
    "another way for a node with one": (lambda: dgm.compile(dgm.BayesNet(x=dgm.Normal(2))).sampling(x=dgm.DDIM(5)), r"is drawn in one way alone"),
    "no denoiser": (lambda: dgm.Denoising(dgm.compile(dgm.BayesNet(x=dgm.Normal(2)))), r"no node is a Diffusion or FlowMatching.*dgm.MaximumLikelihood"),
    "a plan that must be exact": (
        lambda: dgm.log_prob(dgm.compile(dgm.BayesNet(c=dgm.Bernoulli(), x=dgm.Diffusion(2, net=dgm.MLP(4)).given("c"))), {"x": torch.zeros(3, 2)}), r"no exact density|marginalised",
    ),
}


@pytest.mark.parametrize("call, message", REFUSED.values(), ids=REFUSED)
def test_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


