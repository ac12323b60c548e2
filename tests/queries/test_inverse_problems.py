"""Measurements of a hidden node: every method against the closed form of a Gaussian."""

from __future__ import annotations

import pytest
import torch
from denoisers import MEAN, SCALE, Known, KnownField, Rough

import dgm_ppl as dgm
from dgm_ppl.queries.comparing import covered

torch.set_num_threads(1)

MATRIX, NOISE = torch.tensor([[1.0, 0.7]]), 0.5
MEASURED = torch.tensor([[1.5], [-2.0]])


def measured(prior):
    return dgm.compile(dgm.BayesNet(x=prior, y=dgm.Normal(1, loc=dgm.matmul(MATRIX.tolist(), dgm.refs("x")), scale=NOISE)))


def diffusion():
    schedule = dgm.Cosine()
    return measured(dgm.Diffusion(2, net=dgm.Flat(Known(schedule)), schedule=schedule, prediction=dgm.Clean()))


def gaussian():
    return measured(dgm.Normal(2, loc=MEAN.tolist(), scale=SCALE.tolist()))


def closed_form():
    precision = torch.diag(SCALE**-2) + MATRIX.T @ MATRIX / NOISE**2
    covariance = torch.linalg.inv(precision)
    return (MEAN / SCALE**2 + MEASURED @ MATRIX / NOISE**2) @ covariance, covariance


def evidence():
    spread = (MATRIX @ torch.diag(SCALE**2) @ MATRIX.T + NOISE**2).sqrt()[0]
    return torch.distributions.Normal(MATRIX @ MEAN, spread).log_prob(MEASURED)[:, 0]


METHODS = {
    "guided": (diffusion, dgm.Guided(2500, 100, seed=0)), "twisted": (diffusion, dgm.Twisted(1500, 250, seed=0)),
    "hmc": (gaussian, dgm.HMC(samples=250, warmup=100, leapfrog=6, seed=0)), "langevin": (gaussian, dgm.Langevin(samples=600, warmup=300, seed=0)),
}


@pytest.mark.parametrize("build, method", METHODS.values(), ids=METHODS)
def test_posteriors_are_those_of_the_closed_form(build, method):
    post = dgm.posterior(build(), {"y": MEASURED}, method=method)
    mean, covariance = closed_form()
    drawn = post.sample(2000)["x"]
    torch.testing.assert_close(post.mean()["x"], mean, atol=0.1, rtol=0)
    for world in range(2):
        torch.testing.assert_close(torch.cov(drawn[:, world].T), covariance, atol=0.13, rtol=0)
    assert str(post.diagnose())


def test_many_measurements_are_led_by_sums_of_rows_along_the_residual(monkeypatch):
    """Of one number the sum is the variance itself; of several that are independent too."""
    monkeypatch.setattr("dgm_ppl.queries.reverse.MOMENTS", 0)
    mean, covariance = closed_form()
    drawn = dgm.posterior(diffusion(), {"y": MEASURED}, method=dgm.Guided(2500, 100, seed=0)).sample(2000)["x"]
    torch.testing.assert_close(drawn.mean(0), mean, atol=0.1, rtol=0)
    torch.testing.assert_close(torch.cov(drawn[:, 0].T), covariance, atol=0.13, rtol=0)
    schedule = dgm.Cosine()
    prior = dgm.Diffusion(2, net=dgm.Flat(Known(schedule)), schedule=schedule, prediction=dgm.Clean())
    both = dgm.compile(dgm.BayesNet(x=prior, y=dgm.Normal(2, loc="x", scale=NOISE)))
    drawn = dgm.posterior(both, {"y": MEASURED.expand(2, 2)}, method=dgm.Guided(2500, 100, seed=0)).sample(2000)["x"]
    gain = SCALE**2 / (SCALE**2 + NOISE**2)
    torch.testing.assert_close(drawn.mean(0), MEAN + gain * (MEASURED - MEAN), atol=0.1, rtol=0)
    torch.testing.assert_close(drawn.var(0), (gain * NOISE**2).expand(2, 2), atol=0.13, rtol=0)


def test_intervals_of_a_picture_are_calibrated():
    """A smooth Gaussian picture of eight by eight with a hole, 55 numbers measured: 90 % intervals hold 90 %, and means are those of the closed form."""
    torch.manual_seed(0)
    places, rows = torch.cartesian_prod(torch.arange(8.0), torch.arange(8.0)), 30
    covariance = 0.5 * (-torch.cdist(places, places) / 3).exp() + 1e-3 * torch.eye(64)
    measure = dgm.Mask([[[not (3 <= i <= 5 and 3 <= j <= 5) for j in range(8)] for i in range(8)]])
    schedule, x = dgm.Cosine(), (torch.randn(rows, 64) @ torch.linalg.cholesky(covariance).T).reshape(rows, 1, 8, 8)
    prior = dgm.Diffusion(1, 8, 8, net=dgm.Flat(KnownField(schedule, covariance)), schedule=schedule, prediction=dgm.Clean())
    camera = dgm.compile(dgm.BayesNet(x=prior, y=dgm.Normal(55, scale=0.1).given("x", fn=measure)))
    y = measure(x) + 0.1 * torch.randn(rows, 55)
    (row,) = dgm.compare(camera, {"y": y}, [dgm.Guided(samples=30, steps=50, seed=0)], truth={"x": x}).to_dict("records")
    linear = measure(torch.eye(64).reshape(64, 1, 8, 8)).T
    gain = covariance @ linear.T @ torch.linalg.inv(linear @ covariance @ linear.T + 0.01 * torch.eye(55))
    best = (y @ gain.T - x.flatten(1)).square().mean().sqrt()
    assert abs(row["coverage"] - 0.9) < 0.03, row
    assert row["rmse"] < 1.06 * float(best), (row, best)
    drawn = dgm.posterior(camera, {"y": y}, method=dgm.Guided(samples=30, steps=50, seed=0)).sample(30)["x"]
    spread = (covariance - gain @ linear @ covariance).diagonal().mean().sqrt()
    assert float(drawn.var(0).mean().sqrt()) == pytest.approx(float(spread), rel=0.06)
    assert float((measure(drawn) - y).square().mean().sqrt()) == pytest.approx(0.1, rel=0.1)     # neither led too weakly nor fitted to the noise


@pytest.mark.parametrize("numbers", [55, 32])
def test_a_network_that_is_not_quite_right_does_not_lead_pictures_away(numbers):
    """Without a bound on the lead such errors grow from step to step: pictures of deviation 0.7 end at 10^3 to 10^7."""
    torch.manual_seed(0)
    places = torch.cartesian_prod(torch.arange(8.0), torch.arange(8.0))
    covariance = 0.5 * (-torch.cdist(places, places) / 3).exp() + 1e-3 * torch.eye(64)
    seen = [[not (3 <= i <= 5 and 3 <= j <= 5) if numbers == 55 else (i + j) % 2 == 0 for j in range(8)] for i in range(8)]
    schedule, measure = dgm.Cosine(), dgm.Mask([seen])
    x = (torch.randn(4, 64) @ torch.linalg.cholesky(covariance).T).reshape(4, 1, 8, 8)
    prior = dgm.Diffusion(1, 8, 8, net=dgm.Flat(Rough(KnownField(schedule, covariance), 0.1, 4.0)), schedule=schedule, prediction=dgm.Clean())
    camera = dgm.compile(dgm.BayesNet(x=prior, y=dgm.Normal(numbers, scale=0.1).given("x", fn=measure)))
    y = measure(x) + 0.1 * torch.randn(4, numbers)
    drawn = dgm.posterior(camera, {"y": y}, method=dgm.Guided(samples=6, steps=40, seed=0)).sample(6)["x"]
    assert float(drawn.abs().max()) < 4
    assert float((measure(drawn) - y).square().mean().sqrt()) < 0.25


def test_particles_estimate_the_evidence():
    post = dgm.posterior(diffusion(), {"y": MEASURED}, method=dgm.Twisted(1500, 300, seed=0))
    torch.testing.assert_close(post.log_evidence, evidence(), atol=0.15, rtol=0)


def test_weights_correct_a_wrong_lead():
    """A likelihood that is not Normal leads by the clean value alone, which is biased; the particles are not."""
    schedule = dgm.Cosine()
    prior = dgm.Diffusion(2, net=dgm.Flat(Known(schedule)), schedule=schedule, prediction=dgm.Clean())
    net = dgm.BayesNet(x=prior, y=dgm.StudentT(1, df=200.0, loc=dgm.matmul(MATRIX.tolist(), dgm.refs("x")), scale=NOISE))
    post = dgm.posterior(dgm.compile(net), {"y": MEASURED}, method=dgm.Twisted(3000, 150, seed=0))
    torch.testing.assert_close(post.mean()["x"], closed_form()[0], atol=0.2, rtol=0)


def test_noise_space_reaches_through_flows_generators_and_hierarchies():
    """y measures what a generator makes of z; the same written as one Normal has a closed form."""
    net = dgm.BayesNet(
        m=dgm.Normal(loc=0.0, scale=1.0), z=dgm.Normal(loc="m", scale=0.5), x=dgm.Generator(1).given("z", fn=Doubled()), y=dgm.Normal(1, loc="x", scale=0.3),
    )
    post = dgm.posterior(dgm.compile(net), {"y": torch.tensor([[2.0]])}, method=dgm.HMC(samples=300, warmup=100, seed=0))
    variance = 4 * 1.25
    expected = 2.0 * variance / (variance + 0.09)
    assert float(post.mean()["x"]) == pytest.approx(expected, abs=0.06)
    assert float(post.mean()["m"]) == pytest.approx(expected / 2 / 1.25, abs=0.12)


class Doubled:
    """2 z, as a vector of one."""

    def __call__(self, z):
        return 2 * z.unsqueeze(-1)


def test_flow_priors_agree_with_quadrature():
    torch.manual_seed(0)
    model = measured(dgm.Flow(2, dgm.MAF(transforms=1, hidden=(8,))))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.5)
        line = torch.linspace(-8, 8, 321)
        grid = torch.cartesian_prod(line, line)
        weights = model.log_prob({"x": grid, "y": MEASURED[:1].expand(len(grid), 1)}).softmax(0)
        mean = weights @ grid
        spread = (weights @ (grid - mean).square()).sqrt()
    drawn = dgm.posterior(model, {"y": MEASURED[:1]}, method=dgm.HMC(samples=250, warmup=120, leapfrog=6, seed=0)).sample(2000)["x"][:, 0]
    torch.testing.assert_close(drawn.mean(0), mean, atol=0.12, rtol=0)
    torch.testing.assert_close(drawn.std(0), spread, atol=0.12, rtol=0)


MEASUREMENTS = [dgm.Blur(1.0), dgm.Coarsen(2), dgm.Grey(), dgm.Grey((0.2, 0.8)), dgm.Clip(-0.5, 0.5), dgm.Mask(torch.rand(2, 4, 6) > 0.5)]


@pytest.mark.parametrize("measurement", MEASUREMENTS, ids=lambda m: type(m).__name__)
def test_measurements_are_data_and_take_any_leading_dimensions(measurement, tmp_path):
    x = torch.randn(3, 5, 2, 4, 6)
    found = measurement(x)
    torch.testing.assert_close(found[1, 2], measurement(x[1, 2]))
    net = dgm.BayesNet(x=dgm.Normal(2, 4, 6, loc=0.0, scale=1.0), y=dgm.Normal(*found.shape[2:], scale=0.1).given("x", fn=measurement))
    model = dgm.compile(net)
    dgm.save(model, tmp_path / "m.safetensors")
    assert dgm.load(tmp_path / "m.safetensors").net == net
    assert type(measurement).__name__ in repr(net)


def test_measurements_measure_what_they_say():
    x = torch.arange(16.0).reshape(1, 4, 4)
    assert dgm.Coarsen(2)(x).flatten().tolist() == [2.5, 4.5, 10.5, 12.5]
    assert dgm.Grey()(torch.stack([x[0], 3 * x[0]])).allclose(2 * x)
    assert dgm.Clip(2.0, 5.0)(x).min() == 2 and dgm.Clip(2.0, 5.0)(x).max() == 5
    mask = torch.zeros(1, 4, 4)
    mask[0, 1, 2] = mask[0, 3, 0] = 1
    assert dgm.Mask(mask)(x).tolist() == [6.0, 12.0]
    point = torch.zeros(1, 9, 9)
    point[0, 4, 4] = 1
    spread = dgm.Blur(1.0)(point)
    assert float(spread.sum()) == pytest.approx(1, abs=5e-3) and float(spread[0, 4, 5] / spread[0, 4, 4]) == pytest.approx(0.6065, abs=1e-3)


def test_methods_are_compared_on_the_same_measurement():
    model = gaussian()
    torch.manual_seed(0)
    truth = model.sample(40)
    frame = dgm.compare(model, {"y": truth["y"]}, {"exact": None, "langevin": dgm.Langevin(samples=100, warmup=150, seed=0)}, truth={"x": truth["x"]})
    exact, langevin = frame.to_dict("records")
    assert exact["method"] == "exact" and exact["node"] == "x"
    assert exact["rmse"] == pytest.approx(langevin["rmse"], rel=0.1) and exact["psnr"] > 5
    for row in (exact, langevin):
        assert abs(row["coverage"] - 0.9) < 4 * row["coverage_stderr"] + 0.03
    (alone,) = dgm.compare(model, {"y": truth["y"][0]}, {"exact": None}, truth={"x": truth["x"][0]}).to_dict("records")
    assert alone["coverage_stderr"] != alone["coverage_stderr"]            # one world has no spread


def test_coverage_is_the_level_of_few_draws_too():
    model = dgm.compile(dgm.BayesNet(x=dgm.Normal(2, loc=0.0, scale=1.0), y=dgm.Normal(2, loc=0.0 * dgm.Ref("x"), scale=1.0)))
    exact = dgm.compile(dgm.BayesNet(x=dgm.Normal(2, loc=0.0, scale=1.0)))
    torch.manual_seed(0)
    truth = model.sample(3000)
    (row,) = dgm.compare(model, {"y": truth["y"]}, {"few": dgm.Amortized(exact, samples=9)}, truth={"x": truth["x"]}, level=0.9).to_dict("records")
    assert abs(row["coverage"] - 0.9) < 4 * row["coverage_stderr"] < 0.02


@pytest.mark.parametrize("level", [0.5, 0.9])
def test_coverage_shares_out_ties(level):
    torch.manual_seed(0)
    draws = torch.randn(10, 20000).clamp_min(0.5)                           # most are the same
    inside = covered(draws[1:], draws[0], level)
    assert abs(inside.mean() - level) < 4 * inside.std() / len(inside) ** 0.5


REFUSED = {
    "a prior that is no diffusion": (lambda: dgm.posterior(gaussian(), {"y": MEASURED}, method=dgm.Guided()), r"one hidden Diffusion or FlowMatching.*'x' ~ Normal\(2\).*dgm.Amortized"),
    "levels": (
        lambda: dgm.posterior(dgm.compile(dgm.BayesNet(x=dgm.Diffusion(2, net=dgm.MLP(4), levels=4), y=dgm.Normal(1).given("x"))), {"y": MEASURED}, method=dgm.Guided(samples=2, steps=2)), r"'x' has levels",
    ),
    "noise that is not normal": (
        lambda: dgm.posterior(dgm.compile(dgm.BayesNet(g=dgm.Gamma(concentration=2.0, rate=1.0), y=dgm.Normal(loc="g", scale=1.0))), {"y": torch.zeros(2)}, method=dgm.HMC()),
        r"node 'g' ~ Gamma.* is not made of normal noise.*dgm.NUTS",
    ),
    "guided steps": (lambda: dgm.Guided(steps=0), "positive whole number for steps"),
    "particles": (lambda: dgm.Twisted(particles=0), "positive whole number for particles"),
    "a step": (lambda: dgm.HMC(step=0.0), "expected step above 0"),
    "no method": (lambda: dgm.compare(gaussian(), {"y": MEASURED}, {}), "expected one method or more"),
    "a level": (lambda: dgm.compare(gaussian(), {"y": MEASURED}, {"a": None}, level=1.0), "expected level between 0 and 1"),
    "two of a kind": (lambda: dgm.compare(gaussian(), {"y": MEASURED}, [dgm.Langevin(), dgm.Langevin(samples=9)]), r"one method of each kind in a list; got \['Langevin', 'Langevin'\]; name them"),
    "the truth of other worlds": (lambda: dgm.compare(gaussian(), {"y": MEASURED}, {"exact": None}, truth={"x": torch.zeros(3, 2)}), r"truth of 'x' with the shape \(2, 2\).*got \(3, 2\)"),
    "a lead by name": (lambda: dgm.Guided(scale="1"), "expected scale to be a finite number"),
    "sides": (lambda: dgm.Coarsen(3)(torch.zeros(1, 4, 4)), "expected sides that 3 divides; got 4 x 4"),
    "no images": (lambda: dgm.Blur()(torch.zeros(4)), r"expected images.*try rank=1"),
    "a width": (lambda: dgm.Blur("1"), "Blur: expected width to be a number above 0"),
    "a width without end": (lambda: dgm.Blur(float("inf")), "Blur: expected width to be a number above 0"),
    "ends": (lambda: dgm.Clip("a", "b"), "Clip: expected low below high"),
    "a length": (lambda: dgm.BayesNet(x=dgm.Normal(8), y=dgm.Normal(2).given("x", fn=dgm.Coarsen(3))).check(), "expected sides that 3 divides; got 8"),
    "a number": (lambda: dgm.BayesNet(x=dgm.Normal(), y=dgm.Normal().given("x", fn=dgm.Blur())).check(), "expected images.*sequences .*got an event of 0 dimensions"),
    "grey sound": (lambda: dgm.BayesNet(x=dgm.Normal(8, 2), y=dgm.Normal(8, 1).given("x", fn=dgm.Grey())).check(), "Grey: expected images.*an event of 2 dimensions"),
    "two parents": (lambda: dgm.BayesNet(x=dgm.Normal(8), u=dgm.Normal(8), y=dgm.Normal(4, scale=1.0).given("x", "u", fn=dgm.Coarsen())).check(), r"node 'y': Coarsen\(\) measures one parent; got x, u"),
    "no mask": (lambda: dgm.Mask(torch.zeros(3)), "one element that is measured at least"),
    "another shape": (lambda: dgm.Mask(torch.ones(3))(torch.zeros(2, 4)), r"expected an event of shape \(3,\)"),
}


@pytest.mark.parametrize("call, message", REFUSED.values(), ids=REFUSED)
def test_refused(call, message):
    with pytest.raises(dgm.GraphError, match=message):
        call()


def test_an_exact_answer_names_guided_draws():
    with pytest.raises(dgm.GraphError, match=r"Exact\(\) is asked for, and node 'x' .* cannot be eliminated.*method=dgm.Guided\(samples=100\)"):
        dgm.posterior(diffusion(), {"y": MEASURED}, method=dgm.Exact())


def test_too_few_particles_are_told():
    found = dgm.posterior(diffusion(), {"y": torch.tensor([[40.0]])}, method=dgm.Twisted(particles=30, steps=3, seed=0)).diagnose()
    assert found.verdict.startswith("bad") and "more particles and steps" in found.verdict
