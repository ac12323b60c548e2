"""Encoders of observed nodes in guides: shared by latents, one for each member of a plate, chosen by shape or by the user."""

from __future__ import annotations

import pyro
import pytest
import torch
from torch import nn

import dgm_ppl as dgm

torch.set_num_threads(1)

IMAGE = dgm.Bernoulli(1, 12, 12).given("z", "w", net=dgm.MLP(8))
PAIR = dgm.BayesNet(z=dgm.Normal(2, loc=0.0, scale=1.0), w=dgm.Normal(loc=0.0, scale=1.0), x=IMAGE, y=dgm.Normal(3).given("z"))
PAGES = dgm.BayesNet(
    c=dgm.Normal(2, loc=0.0, scale=1.0), z=dgm.Normal(2).given("c", net=dgm.MLP(4)), x=dgm.Bernoulli(1, 8, 8).given("z", net=dgm.MLP(8)), plates={"n": ["z", "x"]},
)


def encoded(net, observed, **options):
    return dgm.amortize(net, observed, net=dgm.MLP(8), encoders={"x": dgm.ConvNet(4)}, **options)


def test_all_latents_read_one_encoder():
    recognition = encoded(PAIR, ["x", "y"])
    assert repr(recognition).splitlines()[2] == "x_encoded | x ~ Delta(128), ConvNet(4)"
    assert all("x_encoded" in recognition.dag.parents(name) and "x" not in recognition.dag.parents(name) for name in ("w", "z"))
    certificate = recognition.certificate()
    assert certificate.sound and certificate.minimal and "z | x, y: sound" in str(certificate)
    guide = dgm.compile(recognition, seed=0)
    assert len([module for module in guide.modules() if isinstance(module, nn.Conv2d)]) == 1


@pytest.mark.parametrize("name", ["pair", "pages"])
def test_the_bound_is_that_of_the_trace_and_gradients_reach_the_encoder(name, tmp_path):
    net, observed, sizes = {"pair": (PAIR, ["x", "y"], {}), "pages": (PAGES, ["x"], {"n": 5})}[name]
    model, guide = dgm.compile(net, seed=0), dgm.compile(encoded(net, observed), seed=1)
    data = {key: value for key, value in model.sample(3, sizes=sizes).items() if key in observed}
    objective = dgm.ELBO(model, guide, closed_form=False)
    torch.manual_seed(0)
    losses = objective.world_losses(objective.prepare(data))
    own = [parameter for key, parameter in guide.named_parameters() if "x_encoded" in key]
    assert own and all(bool((gradient != 0).any()) for gradient in torch.autograd.grad(losses.sum(), own))
    with torch.no_grad():
        torch.manual_seed(0)
        assert pyro.infer.Trace_ELBO().loss(model, guide, data) == pytest.approx(float(losses.detach().sum()), rel=1e-4)
    dgm.save(guide, tmp_path / "guide.safetensors")
    assert dgm.load(tmp_path / "guide.safetensors").net == guide.net
    draws = dgm.posterior(model, data, method=dgm.Importance(guide, 20)).sample(2)
    assert "x_encoded" not in draws and draws["z"].shape[:2] == (2, 3)
    simulated = {key: value for key, value in model.sample(4, sizes=sizes).items() if key != "y" or name == "pair"}
    forward = dgm.ForwardKL(model, guide)
    assert forward.world_losses(forward.prepare(simulated)).isfinite().all()


def test_each_member_of_a_plate_is_encoded_by_itself():
    guide = dgm.compile(encoded(PAGES, "x"), seed=0)
    values = dgm.compile(PAGES, seed=0).sample(2, sizes={"n": 4})
    turned = {"c": values["c"], "z": values["z"].flip(1), "x": values["x"].flip(1)}
    torch.testing.assert_close(guide.log_prob(values), guide.log_prob(turned), rtol=1e-4, atol=1e-4)
    x = values["x"][:1].clone().requires_grad_()
    conditional, drawn = guide.conditional("x_encoded"), x.reshape(4, 1, 8, 8)
    (gradient,) = torch.autograd.grad(conditional.value(conditional.prepare(drawn))[0].sum(), x)
    assert bool((gradient[0, 0] != 0).any()) and not bool((gradient[0, 1:] != 0).any())


def test_large_images_have_one_unless_nets_are_given():
    large = dgm.BayesNet(z=dgm.Normal(2, loc=0.0, scale=1.0), x=dgm.Normal(3, 40, 40, scale=1.0).given("z", net=dgm.MLP(4)))
    assert dgm.amortize(large, "x")["x_encoded"].net == dgm.ConvNet(32, 64, 64) and dgm.amortize(large, "x")["z"].net == dgm.MLP(128)
    for options in ({"net": dgm.MLP(8)}, {"encoders": {"x": None}}, {"nets": {"z": dgm.ConvNet(4)}}):
        assert "x_encoded" not in dgm.amortize(large, "x", **options)
    assert "x_encoded" not in dgm.amortize(PAIR, ["x", "y"])


def test_sequences_are_read_from_both_ends():
    """Whether the first token is the last one, which the mean of the tokens does not tell."""
    words = dgm.BayesNet(z=dgm.Normal(2, loc=0.0, scale=1.0), x=dgm.Autoregressive(dgm.Categorical(3, 7), net=dgm.Recurrent(8)).given("z"))
    recognition = dgm.amortize(words, "x")
    assert recognition["x_encoded"].net == dgm.Bidirectional(64)
    model, guide = dgm.compile(words, seed=0), dgm.compile(recognition, seed=1)
    x = model.sample(5)["x"]
    conditional = guide.conditional("x_encoded")
    moved = [bool((conditional.value(conditional.prepare(x)) != conditional.value(conditional.prepare(_changed(x, place)))).any()) for place in range(7)]
    assert all(moved)
    objective = dgm.ELBO(model, guide)
    assert objective.world_losses(objective.prepare({"x": x})).isfinite().all()
    for net in (dgm.MADE(8), dgm.NADE(8)):
        assert "x_encoded" not in dgm.amortize(words.replace(x=dgm.Autoregressive(dgm.Categorical(3, 7), net=net).given("z")), "x")


def _changed(codes, place):
    codes = codes.clone()
    codes[:, place] = (codes[:, place] + 1) % 3
    return codes


def test_what_is_refused():
    for encoders, message in (
        ({"z": dgm.MLP(4)}, r"amortize: encoders names 'z', which is not observed; .*encoders read what the guide is given: \['x', 'y'\]"),
        ({"x": "conv"}, r"amortize: encoders\['x'\]: expected a network such as dgm.ConvNet\(32, 64\), or None to read the values as they are; got 'conv'"),
    ):
        with pytest.raises(dgm.GraphError, match=message):
            dgm.amortize(PAIR, ["x", "y"], encoders=encoders)
    with pytest.raises(dgm.GraphError, match=r"node 'x_encoded': ConvNet\(4\): expected an image \(channels, height, width\) among the parents; got \(3\)"):
        dgm.compile(dgm.amortize(dgm.BayesNet(z=dgm.Normal(), x=dgm.Normal(3).given("z")), "x", encoders={"x": dgm.ConvNet(4)}))
