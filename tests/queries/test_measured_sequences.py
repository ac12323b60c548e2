"""Measurements of sequences: what is measured, the posterior, the bandwidth of a sound."""

from __future__ import annotations

import torch

import dgm_ppl as dgm

torch.set_num_threads(1)


def test_sequences_are_measured_along_time():
    """A node's event says what runs: (length,), or (length, channels); batch dimensions are not mistaken for it."""
    x = torch.randn(3, 5, 12, 2)
    lines = x.movedim(-2, -1).reshape(-1, 1, 12)
    kernel = torch.exp(-torch.arange(-3.0, 4.0).square() / 2).reshape(1, 1, -1)
    smooth = torch.nn.functional.conv1d(lines, kernel, padding=3) / torch.nn.functional.conv1d(torch.ones_like(lines), kernel, padding=3)
    halved = torch.nn.functional.avg_pool1d(lines, 3)
    for measurement, expected in ((dgm.Blur(1.0), smooth), (dgm.Coarsen(3), halved)):
        expected = expected.reshape(3, 5, 2, -1).movedim(-1, -2)
        torch.testing.assert_close(measurement(x, rank=2), expected)
        torch.testing.assert_close(measurement(x[..., 1], rank=1), expected[..., 1])
        for channels in ((), (2,)):
            model = dgm.compile(dgm.BayesNet(x=dgm.Normal(12, *channels), y=dgm.Normal(expected.shape[2], *channels, scale=1.0).given("x", fn=measurement)))
            seen, found = (x, expected) if channels else (x[..., 1], expected[..., 1])
            torch.testing.assert_close(model.conditionals["y"].parameters_of(seen)["loc"], found)
    plated = dgm.BayesNet(x=dgm.Normal(12), y=dgm.Normal(3, 4, scale=1.0).given("x", fn=dgm.Coarsen(3)), plates={"voice": dgm.Plate(["x"], size=3)})
    torch.testing.assert_close(dgm.compile(plated).conditionals["y"].parameters_of(x[:1, :3, :, 0])["loc"][0], dgm.Coarsen(3)(x[0, :3, :, 0], rank=1))


def test_a_sequence_of_half_the_rate_has_the_posterior_of_the_closed_form():
    """x is a Gaussian walk, so that y = A x + noise with A the means of pairs is a linear Gaussian model."""
    length, noise = 8, 0.3
    root = torch.ones(length, length).tril() * 0.5
    net = dgm.BayesNet(
        z=dgm.Normal(length, loc=0.0, scale=1.0), x=dgm.Delta(length, v=dgm.matmul(root.tolist(), dgm.refs("z"))),
        y=dgm.Normal(length // 2, scale=noise).given("x", fn=dgm.Coarsen(2)),
    )
    measured = torch.tensor([[0.5, 1.0, 0.0, -1.0]])
    post = dgm.posterior(dgm.compile(net), {"y": measured}, method=dgm.HMC(samples=200, warmup=100, leapfrog=6, seed=0))
    pairs = torch.eye(length // 2).repeat_interleave(2, 1) / 2
    prior = root @ root.T
    gain = prior @ pairs.T @ torch.linalg.inv(pairs @ prior @ pairs.T + noise**2 * torch.eye(length // 2))
    drawn = post.sample(1600)["x"][:, 0]
    torch.testing.assert_close(drawn.mean(0), (gain @ measured[0]), atol=0.1, rtol=0)
    torch.testing.assert_close(torch.cov(drawn.T), prior - gain @ pairs @ prior, atol=0.1, rtol=0)


def test_the_upper_band_of_a_sound_comes_back():
    """Voices of two harmonics whose upper one is lost at a quarter of the rate: the prior knows how it follows from the lower one."""
    torch.manual_seed(0)
    time = torch.arange(64) * (2 * torch.pi / 64)
    low, high = torch.stack([(3 * time).cos(), (3 * time).sin()]), torch.stack([(18 * time).cos(), (18 * time).sin()])
    voices = (low + 0.5 * high).T
    net = dgm.BayesNet(
        z=dgm.Normal(2, loc=0.0, scale=1.0), x=dgm.Normal(64, loc=dgm.matmul(voices.tolist(), dgm.refs("z")), scale=0.05),
        y=dgm.Normal(16, scale=0.05).given("x", fn=dgm.Coarsen(4)),
    )
    sound = voices @ torch.tensor([1.0, -0.7])
    heard = dgm.Coarsen(4)(sound, rank=1)
    restored = dgm.posterior(dgm.compile(net), {"y": heard[None]}, method=dgm.HMC(samples=100, warmup=100, seed=0)).mean()["x"][0]
    interpolated = torch.nn.functional.interpolate(heard[None, None], size=64, mode="linear")[0, 0]
    upper = torch.fft.rfft(torch.stack([sound, restored, interpolated]))[:, 9:]
    truth, ours, lines = upper[0], upper[1] - upper[0], upper[2] - upper[0]
    assert ours.norm() < 0.15 * truth.norm() and lines.norm() > 0.7 * truth.norm()
