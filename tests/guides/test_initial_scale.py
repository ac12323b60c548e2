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


def test_a_module_keeps_its_weights():
    module = nn.Linear(4, 6)
    bias = module.bias.detach().clone()
    dgm.compile(dgm.amortize(net(), "x", net=module, family=dgm.Usual(scale=0.1), collapse=False))
    assert torch.equal(module.bias, bias)


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
