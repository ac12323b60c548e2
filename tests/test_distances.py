"""Distances between samples: closed forms, unbiasedness, gradients."""

from __future__ import annotations

import pytest
import torch

import dgm_ppl as dgm

torch.set_num_threads(1)

DISTANCES = [dgm.MMD(), dgm.MMD(heavy=True), dgm.EnergyDistance(), dgm.SlicedWasserstein(50), dgm.Sinkhorn()]


def gaussians(rows, shift=0.0, scale=1.0, features=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(rows, features, generator=generator, dtype=torch.double) + shift


@pytest.mark.parametrize("distance", DISTANCES, ids=repr)
def test_near_zero_for_equal_distributions_and_larger_for_others(distance):
    torch.manual_seed(0)
    x = gaussians(150)
    near, shifted, wider = (float(distance(x, gaussians(150, *how, seed=1))) for how in ((), (1.0,), (0.0, 2.0)))
    assert abs(near) < 0.25 * min(shifted, wider)
    assert float(distance(x, gaussians(150, 2.0, seed=1))) > shifted


@pytest.mark.parametrize("distance", [dgm.MMD(scales=(1.0,)), dgm.EnergyDistance()], ids=repr)
def test_unbiased(distance):
    """The mean over small samples of one distribution is zero."""
    x = gaussians(600 * 12).reshape(600, 12, 2)
    found = torch.stack([distance(one[:5], one[5:]) for one in x])
    assert abs(float(found.mean())) < 4 * float(found.std()) / 600**0.5


def test_energy_distance_of_points():
    """{0} and {a, a}: 2 |a| - 0 - 0, the pairs of equal points at distance zero."""
    x, y = torch.zeros(2, 1), torch.full((2, 1), 3.0)
    assert float(dgm.EnergyDistance()(x, y)) == pytest.approx(6)


def test_energy_distance_of_gaussians():
    """2 E|x - y| - E|x - x'| - E|y - y'| for N(0, 1) and N(m, 1), by the folded normal."""
    m = torch.tensor(1.5, dtype=torch.double)
    folded = 2 * torch.exp(-(m**2) / 4) / torch.pi**0.5 + m * torch.erf(m / 2)
    expected = float(2 * folded - 4 / torch.pi**0.5)
    found = dgm.EnergyDistance()(gaussians(3000, features=1), gaussians(3000, float(m), features=1, seed=1))
    assert float(found) == pytest.approx(expected, abs=0.08)


def test_sliced_and_entropic_wasserstein_of_a_shift():
    """W2^2 of a shift m is |m|^2; sliced, |m|^2 over the number of dimensions."""
    torch.manual_seed(0)
    x = gaussians(200)
    y = x + torch.tensor([1.0, 2.0], dtype=torch.double)
    assert float(dgm.SlicedWasserstein(4000)(x, y)) == pytest.approx(2.5, rel=0.1)
    assert float(dgm.Sinkhorn()(x, y)) == pytest.approx(5.0, rel=0.02)
    uneven = float(dgm.SlicedWasserstein(2000)(x, torch.cat([y, y])))
    assert uneven == pytest.approx(2.5, rel=0.1)


@pytest.mark.parametrize("distance", DISTANCES, ids=repr)
def test_gradients_move_the_samples_together(distance):
    torch.manual_seed(0)
    x, y = gaussians(60, 3.0).requires_grad_(), gaussians(60, seed=1)
    (gradient,) = torch.autograd.grad(distance(x, y), x)
    assert bool(gradient.isfinite().all()) and bool((gradient.mean(0) > 0).all())
    same = gaussians(5).requires_grad_()
    (gradient,) = torch.autograd.grad(distance(same, same.detach().clone()), same)
    assert bool(gradient.isfinite().all())


@pytest.mark.parametrize("distance", DISTANCES, ids=repr)
def test_refused(distance):
    with pytest.raises(dgm.GraphError, match=r"expected two samples \(rows, features\).*try x.reshape"):
        distance(torch.zeros(4, 2), torch.zeros(4, 3))
    with pytest.raises(dgm.GraphError, match="expected at least"):
        distance(torch.zeros(0, 2), torch.zeros(4, 2))


@pytest.mark.parametrize("distance", [dgm.MMD(), dgm.EnergyDistance(), dgm.SlicedWasserstein(30)], ids=repr)
def test_a_generator_is_trained_by_it(distance):
    net = dgm.BayesNet(y=dgm.Given(states=2), z=dgm.Normal(1, loc=0.0, scale=1.0), x=dgm.Generator(1).given("y", "z"))
    model = dgm.compile(net, seed=0)
    torch.manual_seed(0)
    y = torch.randint(2, (600,))
    x = torch.where(y == 1, 2.0, -1.0).unsqueeze(1) + 0.3 * torch.randn(600, 1)
    run = dgm.fit(dgm.Matching(model, distance), {"x": x, "y": y}, validation={"x": x[:99], "y": y[:99]}, steps=200, batch_size=100, seed=0, optimizer=dgm.Adam(lr=3e-2))
    drawn = model.sample(given={"y": y})["x"]
    assert float(drawn[y == 1].mean()) == pytest.approx(2, abs=0.25) and float(drawn[y == 0].mean()) == pytest.approx(-1, abs=0.25)
    assert run.best.value < 0.2


def test_matching_refuses():
    model = dgm.compile(dgm.BayesNet(z=dgm.Normal(1, loc=0.0, scale=1.0), x=dgm.Generator(1).given("z")))
    with pytest.raises(dgm.GraphError, match="expected a distance such as"):
        dgm.Matching(model, "mmd")
    given = dgm.compile(dgm.BayesNet(y=dgm.Given(1), x=dgm.Generator(1).given("y")))
    with pytest.raises(dgm.GraphError, match="expected data for one random node at least"):
        dgm.Matching(given).prepare({"y": torch.zeros(3, 1)})


@pytest.mark.parametrize("declare, message", [
    (lambda: dgm.MMD(scales=()), r"MMD: expected scales as a tuple of one positive number or more; got \(\)"), (lambda: dgm.MMD(scales=(-1.0,)), "MMD: expected scales"),
    (lambda: dgm.MMD(scales=1.0), "MMD: expected scales"), (lambda: dgm.SlicedWasserstein(0), "positive whole number of projections; got 0"),
    (lambda: dgm.SlicedWasserstein(2.5), "positive whole number of projections"), (lambda: dgm.Sinkhorn(-1.0), "Sinkhorn: expected blur above 0"),
    (lambda: dgm.Sinkhorn(steps=0), "Sinkhorn: expected a positive whole number of steps"),
])
def test_declared_wrongly(declare, message):
    with pytest.raises(dgm.GraphError, match=message):
        declare()
