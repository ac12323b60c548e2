"""Guides over chains where cells are missing: what stands in a hole counts for nothing, and the posterior is that of the Kalman smoother with holes."""

from __future__ import annotations

import re

import numpy
import pytest
import torch

import dgm_ppl as dgm
from dgm_ppl.graph import GraphError

lag, NAN = dgm.lag, float("nan")
LINE = dgm.BayesNet(z=dgm.Normal(loc=0.9 * lag("z", initial=0.0), scale=0.6), x=dgm.Normal(loc="z", scale=0.7), plates={"time": dgm.Chain(["z", "x"])})
PAIRS = dgm.BayesNet(
    g=dgm.Normal(), z=dgm.Normal(2).given(lag("z"), "g"), x=dgm.Normal(3).given("z"), y=dgm.Poisson().given("z"), plates={"time": dgm.Chain(["z", "x", "y"])})


def derived(net, observed="x", missing="x", **asked):
    return dgm.amortize(net, observed=observed, missing=missing, net=dgm.MLP(16, activation=torch.nn.Tanh), encoder=dgm.RecurrentState(12), **asked)


def test_encoders_read_values_and_masks():
    guide = derived(PAIRS, ["x", "y"], ["x", "y"])
    assert guide["after"].all_parents == ("after[+1]", "x", "x_observed", "y", "y_observed")
    assert guide.masks == {"x": "x_observed", "y": "y_observed"} and guide.observed == ("x", "y") and guide["x_observed"].shape == (3,)
    assert guide.certificate(3).sound and guide.certificate(3).minimal


def test_what_stands_in_a_hole_changes_no_bit():
    torch.manual_seed(0)
    model, guide = dgm.compile(PAIRS, seed=0), dgm.compile(derived(PAIRS, ["x", "y"], ["x", "y"]), seed=1)
    drawn = model.sample(5, sizes={"time": 4})
    data, bound = {name: drawn[name] for name in "xy"}, dgm.ELBO(model, guide)
    gone = {name: torch.rand(value.shape) < 0.4 for name, value in data.items()}
    bound.prepare(data)
    losses = []
    for shift in (0.0, 7.0):
        batch = bound.prepare({name: value.float().masked_fill(gone[name], NAN) for name, value in data.items()})
        batch = {name: value + shift * gone[name] if name in gone else value for name, value in batch.items()}
        torch.manual_seed(1)
        losses.append(bound(batch))
    assert torch.equal(*losses) and losses[0].isfinite()
    losses[0].backward()
    assert all(one.grad.isfinite().all() for one in guide.parameters() if one.grad is not None)
    full = bound(bound.prepare(data))
    assert full.isfinite() and not torch.equal(full, losses[0])


def test_the_exact_posterior_is_reached():
    torch.manual_seed(0)
    model = dgm.compile(LINE)
    x = model.sample(1000, sizes={"time": 4})["x"]
    x[torch.rand(x.shape) < 0.3] = NAN
    data = {"x": x, "time": torch.randint(2, 5, (1000,))}
    guide = dgm.compile(derived(LINE), seed=1)
    bound = dgm.ELBO(model, guide, gradient=dgm.StickingTheLanding())
    dgm.fit(bound, data, epochs=50, batch_size=100, optimizer=dgm.Adam(lr=2e-2), seed=0)
    gap = (dgm.log_prob(model, data).value - dgm.log_prob(model, data, method=dgm.Bound(guide, samples=20)).value).mean()
    assert -0.005 < gap < 0.02, gap
    post, smoothed = dgm.posterior(model, data, method=dgm.Amortized(guide, 500)), dgm.posterior(model, data)
    real = torch.arange(4) < data["time"][:, None]
    assert (post.mean()["z"] - smoothed.mean()["z"])[real].abs().mean() < 0.08
    assert (post.std()["z"] - smoothed.std()["z"])[real].abs().mean() < 0.08


def test_a_guide_with_masks_comes_back_from_a_file(tmp_path):
    guide = dgm.compile(derived(LINE), seed=0)
    dgm.save(guide, tmp_path / "guide.safetensors")
    loaded = dgm.load(tmp_path / "guide.safetensors")
    assert loaded.net == guide.net and loaded.net.masks == {"x": "x_observed"}
    bound = dgm.IWAE(dgm.compile(LINE), loaded, particles=3)
    assert bound(bound.prepare({"x": numpy.array([[1.0, NAN, 2.0], [0.5, 1.0, NAN]])})).isfinite()


@pytest.mark.parametrize(("ask", "message"), [
    (lambda: derived(LINE, missing="z"), "amortize: missing names 'z', which is no observed random node"),
])
def test_what_cannot_be_missing_is_said(ask, message):
    with pytest.raises(GraphError, match=re.escape(message)):
        ask()


def test_a_guide_that_does_not_know_of_holes_says_how_to_derive_one_that_does():
    bound = dgm.ELBO(dgm.compile(LINE), dgm.compile(dgm.amortize(LINE, observed="x")))
    with pytest.raises(GraphError, match=re.escape("derive it to know of them: dgm.amortize(net, observed=['x'], missing=['x'])")):
        bound.prepare({"x": torch.tensor([[1.0, NAN, 2.0]])})
