"""Where the scales of a derived guide start, and where any parameter that is left out does."""

import pytest
import torch
from torch import nn

import dgm_ppl as dgm


def net(**prior):
    return dgm.BayesNet(z=dgm.Normal(3, **prior), x=dgm.Normal(4).given("z", net=dgm.MLP(8)))


def scales(recognition):
    guide = dgm.compile(recognition, seed=0)
    return guide.conditional("z").parameters_of(torch.linspace(-2, 2, 40).reshape(10, 4))["scale"]


@pytest.mark.parametrize("prior, size", [({"loc": 0.0, "scale": 1.0}, 1.0), ({"loc": 2.0, "scale": 50.0}, 50.0), ({}, 1.0)])
@pytest.mark.parametrize("builder", [dgm.MLP(64), dgm.ResNet(16, 16)], ids=repr)
def test_scales_start_narrow_in_units_of_the_latent(prior, size, builder):
    wide = scales(dgm.amortize(net(**prior), "x", net=builder, collapse=False))
    narrow = scales(dgm.amortize(net(**prior), "x", net=builder, family=dgm.Usual(scale=0.1), collapse=False))
    assert torch.allclose(narrow / wide, torch.tensor(0.1 * size), rtol=1e-4)


def test_the_scale_stays_open_and_is_learned():
    recognition = dgm.amortize(net(), "x", net=dgm.MLP(8), family=dgm.Usual(scale=0.1), collapse=False)
    assert recognition["z"].open_parameters == ("loc", "scale") and recognition["z"].summary == "Normal(3)"


def test_any_parameter_may_start_somewhere():
    pixels = torch.tensor([-3.0, 0.0, 2.0])
    model = dgm.compile(dgm.BayesNet(z=dgm.Normal(2, scale=dgm.start(0.5)), x=dgm.Bernoulli(3, logits=dgm.start(pixels.numpy())).given("z", net=dgm.MLP(256))), seed=0)
    assert torch.allclose(model.conditional("z").parameters_of()["scale"], torch.tensor(0.5))
    assert (model.conditional("x").parameters_of(torch.zeros(2))["logits"] - pixels).abs().max() < 0.3


REFUSED = {
    r"a module of your own, Linear": dict(net=nn.Linear(3, 6)),
    r"net=ConvTransposeNet\(4, 2\)": dict(net=dgm.ConvTransposeNet(4, 2)),
    r"a function \(fn\)": dict(fn=lambda y: (y, y.exp())),
}


@pytest.mark.parametrize("got", REFUSED)
def test_a_start_that_nothing_can_honour_is_refused(got):
    asked = dgm.Normal(1, 8, 8, scale=dgm.start(0.1)) if "Conv" in got else dgm.Normal(3, scale=dgm.start(0.1))
    with pytest.raises(dgm.GraphError, match=rf"node 'z': scale=start\(0.1\) expected a network of a builder .* got {got}; leave it out"):
        dgm.compile(dgm.BayesNet(y=dgm.Normal(3), z=asked.given("y", **REFUSED[got])))


def test_starts_within_tables_linear_predictors_and_mixtures():
    y, states = torch.zeros(1, 3), torch.arange(3)
    linear = dgm.compile(dgm.BayesNet(y=dgm.Normal(3), z=dgm.Normal(2, loc=dgm.start(50.0), scale=dgm.start(0.01)).given("y")), seed=0)
    found = linear.conditional("z").parameters_of(y)
    assert (found["loc"] - 50).abs().max() < 1 and torch.allclose(found["scale"], torch.tensor(0.01))
    table = dgm.compile(dgm.BayesNet(y=dgm.Categorical(3), z=dgm.Normal(2, scale=dgm.start(0.01)).given("y")), seed=0)
    assert (table.conditional("z").parameters_of(states)["scale"].log() - torch.tensor(0.01).log()).abs().max() < 0.5
    both = dgm.compile(dgm.BayesNet(y=dgm.Categorical(3), w=dgm.Normal(2), z=dgm.Normal(2, loc=dgm.start(50.0), scale=dgm.start(0.01)).given("y", "w")), seed=0)
    found = both.conditional("z").parameters_of(states, torch.zeros(3, 2))
    assert (found["loc"] - 50).abs().max() < 1 and (found["scale"].log() - torch.tensor(0.01).log()).abs().max() < 0.5


def test_shared_weights_start_once():
    shared = dgm.MLP(8)
    both = dgm.compile(dgm.BayesNet(
        a=dgm.Normal(2, scale=dgm.start(0.1)).given("c", net=shared), b=dgm.Normal(2, scale=dgm.start(0.1)).given("c", net=shared), c=dgm.Normal(2),
    ), seed=0)
    plain = dgm.compile(dgm.BayesNet(a=dgm.Normal(2).given("c", net=shared), b=dgm.Normal(2).given("c", net=shared), c=dgm.Normal(2)), seed=0)
    c = torch.randn(5, 2)
    assert torch.allclose(both.conditional("b").parameters_of(c)["scale"], 0.1 * plain.conditional("b").parameters_of(c)["scale"], rtol=1e-4)


def test_a_start_survives_a_file(tmp_path):
    model = dgm.compile(dgm.BayesNet(z=dgm.Normal(2, scale=dgm.start(0.5))))
    dgm.save(model, tmp_path / "net.safetensors")
    assert dgm.load(tmp_path / "net.safetensors").net == model.net


def test_a_start_outside_its_range_is_refused():
    with pytest.raises(dgm.GraphError, match="node 'z': parameter 'scale' = -1.0 is outside its range"):
        dgm.BayesNet(z=dgm.Normal(2, scale=dgm.start(-1.0)))
    with pytest.raises(dgm.GraphError, match="Usual: expected a positive scale; got 0.0"):
        dgm.Usual(scale=0.0)


def test_missing_cells_name_the_guide_that_reads_them():
    holed = torch.where(torch.rand(8, 4) < 0.3, torch.nan, torch.randn(8, 4))
    model, guide = dgm.compile(net()), dgm.compile(dgm.amortize(net(), "x", net=dgm.MLP(8), collapse=False))
    with pytest.raises(dgm.GraphError, match=r"guide: it reads 'x', which has missing cells; .*observed=dgm.AnySubset\('x'\)"):
        dgm.fit(dgm.IWAE(model, guide, particles=3), {"x": holed}, steps=1, progress=False)
    reading = dgm.compile(dgm.amortize(net(), observed=dgm.AnySubset("x"), net=dgm.MLP(8)))
    assert torch.isfinite(dgm.IWAE(model, reading, particles=3)(dgm.IWAE(model, reading, particles=3).prepare({"x": holed})))
