"""Multi-scale flows: inverses and log-determinants by Jacobian, shapes that they can take, training on levels."""

import pytest
import torch

import dgm_ppl as dgm
from dgm_ppl.conditionals.flow.image_layers import Mixing, squeeze, unsqueeze

KINDS = {
    "Glow": dgm.Glow(scales=2, steps=2, hidden=6), "one scale": dgm.Glow(scales=1, steps=1, hidden=4), "RealNVP": dgm.MultiscaleRealNVP(scales=2, steps=2, hidden=6),
}


def test_squeezing_is_a_permutation_of_blocks():
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert squeeze(x)[0, :, 0, 0].tolist() == [0, 1, 4, 5] and torch.equal(unsqueeze(squeeze(x)), x)


def test_the_convolution_has_the_determinant_it_says():
    torch.manual_seed(0)
    layer = Mixing(5).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    x = torch.randn(3, 5, 2, 2, dtype=torch.double)
    y, ladj = layer(x, None)
    torch.testing.assert_close(ladj[0], 4 * torch.linalg.slogdet(layer._weight())[1])
    torch.testing.assert_close(layer.inverse(y, None), x)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("given", [False, True])
def test_the_density_is_that_of_the_jacobian(name, given):
    variable = dgm.Flow(2, 4, 4, KINDS[name])
    net = dgm.BayesNet(c=dgm.Normal(3, loc=0.0, scale=1.0), x=variable.given("c") if given else variable)
    found = dgm.compile(net, seed=0).conditionals["x"].double()
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in found.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    parents = [torch.randn(3, dtype=torch.double)] if given else []
    settled, x = found.prepare(*parents), torch.randn(2, 4, 4, dtype=torch.double)
    z = settled.transform(x.flatten())
    jacobian = torch.autograd.functional.jacobian(settled.transform, x.flatten())
    expected = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum() + torch.linalg.slogdet(jacobian)[1]
    torch.testing.assert_close(found.log_density(x, settled), expected)
    torch.testing.assert_close(settled.transform.inv(z), x.flatten())
    batch = torch.randn(3, 5, 2, 4, 4, dtype=torch.double)
    torch.testing.assert_close(found.log_density(batch, settled)[1, 2], found.log_density(batch[1, 2], settled))


def test_training_lowers_the_bits_of_images():
    """Images of one bright square on noise: bits per dimension fall below those of independent pixels, and classes by Bayes' rule are right."""
    torch.manual_seed(0)
    y = torch.randint(2, (600,))
    x = torch.randint(4, (600, 1, 4, 4)).float()
    x[y == 1, :, :2] += 4
    x[y == 0, :, 2:] += 4
    net = dgm.BayesNet(y=dgm.Bernoulli(probs=0.5), x=dgm.Flow(1, 4, 4, dgm.Glow(scales=1, steps=2, hidden=16), levels=8).given("y"))
    model = dgm.compile(net, seed=0)
    dgm.fit(dgm.MaximumLikelihood(model), {"x": x, "y": y}, epochs=25, batch_size=100, optimizer=dgm.Adam(0.01), progress=False)
    found = dgm.bits_per_dimension(model, {"x": x, "y": y})
    assert found.kind == "bound" and found.mean() < 2.6 * 16 / 17 + 1 / 17    # three bits a pixel without the class, two with it
    assert dgm.classify(model, {"x": x[:100]}, label="y").accuracy(y[:100]) > 0.97
    drawn = model.sample(50)["x"]
    assert drawn.shape == (50, 1, 4, 4) and drawn.min() >= 0 and drawn.max() <= 7


def test_saved(tmp_path):
    net = dgm.BayesNet(x=dgm.Flow(1, 8, 8, dgm.Glow(2, steps=1, hidden=4), levels=256))
    assert repr(net) == "x ~ Flow(1, 8, 8, Glow(steps=1, hidden=4), levels=256, dequantize=UniformDequantization())"
    model = dgm.compile(net, seed=0)
    dgm.save(model, tmp_path / "glow.safetensors")
    loaded, values = dgm.load(tmp_path / "glow.safetensors"), model.sample(3)
    torch.manual_seed(0)
    first = model.log_prob(values)
    torch.manual_seed(0)
    assert loaded.net == net and torch.equal(loaded.log_prob(values), first)
    assert "Glow(1, 8, 8)" in dgm.draw(net).svg()


WRONG = {
    "channels last": (lambda: dgm.BayesNet(x=dgm.Flow(8, 8, 3, dgm.Glow())), r"node 'x': Glow expects images.*got \(8, 8, 3\), whose channels seem to come last; the nearest: \(3, 8, 8\)"),
    "no channel": (lambda: dgm.BayesNet(x=dgm.Flow(8, 8, dgm.MultiscaleRealNVP())), r"node 'x': MultiscaleRealNVP expects images.*got the shape \(8, 8\); try dgm.Flow\(1, 8, 8, dgm.MultiscaleRealNVP\(\)\)"),
    "too small": (lambda: dgm.BayesNet(x=dgm.Flow(1, 2, 2, dgm.MultiscaleRealNVP())), r"halves height and width 2 times; got \(1, 2, 2\); the nearest that it can take: \(1, 4, 4\), or fewer scales"),
    "a simplex": (lambda: dgm.BayesNet(x=dgm.Flow(1, 4, 4, dgm.Glow(), space=dgm.Simplex())), r"node 'x': Glow transforms images, and numbers on a simplex are none"),
    "sides": (lambda: dgm.BayesNet(x=dgm.Flow(1, 28, 30, dgm.Glow())), r"node 'x': Glow halves height and width 2 times; got \(1, 28, 30\); the nearest that it can take: \(1, 28, 28\) and \(1, 28, 32\), or fewer scales"),
    "vector": (lambda: dgm.BayesNet(x=dgm.Flow(64, dgm.MultiscaleRealNVP())), r"node 'x': MultiscaleRealNVP expects images \(channels, height, width\); got the shape \(64,\)"),
    "inverse": (lambda: dgm.BayesNet(x=dgm.Flow(64, dgm.Inverse(dgm.Glow()))), r"node 'x': Glow expects images"),
    "scales": (lambda: dgm.Glow(scales=0), r"Glow: expected a positive whole number for scales; got 0"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_is_said(wrong):
    act, message = WRONG[wrong]
    with pytest.raises(dgm.GraphError, match=message):
        act()
