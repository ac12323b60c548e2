"""Maximum likelihood from complete data reaches the closed-form optimum."""

from __future__ import annotations

import pytest
import torch

import dgm_ppl as dgm

torch.set_num_threads(1)


def fitted(net, data, steps=500, lr=0.1):
    model = dgm.compile(net, seed=0)
    dgm.fit(dgm.MaximumLikelihood(model), data, steps=steps, optimizer=dgm.Adam(lr=lr), seed=0, device="cpu")
    return model


def test_tables_become_frequencies():
    net = dgm.BayesNet(a=dgm.Categorical(3), b=dgm.Bernoulli().given("a"), c=dgm.Categorical(["x", "y"]).given("a", "b"))
    data = dgm.compile(net, seed=3).sample(400)
    model = fitted(net, data)
    a, b, c = data["a"], data["b"].long(), data["c"]
    torch.testing.assert_close(model.conditional("a")().probs, torch.bincount(a, minlength=3) / 400, atol=2e-3, rtol=0)
    for i in range(3):
        torch.testing.assert_close(model.conditional("b")(torch.tensor(i)).probs, b[a == i].float().mean(), atol=5e-3, rtol=0)
        for j in range(2):
            chosen = c[(a == i) & (b == j)]
            torch.testing.assert_close(model.conditional("c")(torch.tensor(i), torch.tensor(float(j))).probs[1], chosen.float().mean(), atol=5e-3, rtol=0)


def test_linear_gaussians_become_least_squares():
    net = dgm.BayesNet(z=dgm.Normal(2), y=dgm.Normal().given("z"))
    torch.manual_seed(0)
    z = torch.randn(300, 2) * 1.5 + 1
    y = z @ torch.tensor([0.7, -1.3]) + 0.4 + 0.5 * torch.randn(300)
    model = fitted(net, {"z": z, "y": y}, steps=600)
    design = torch.cat([z, torch.ones(300, 1)], 1)
    coefficients = torch.linalg.lstsq(design, y[:, None]).solution.squeeze()
    predictor = model.conditional("y").predictor.predictor
    torch.testing.assert_close(torch.cat([predictor.weight.squeeze(), predictor.bias]), coefficients, atol=5e-3, rtol=0)
    deviation = (y - design @ coefficients).square().mean().sqrt()
    torch.testing.assert_close(model.conditional("y")(z[0]).scale, deviation, atol=5e-3, rtol=0)
    prior = model.conditional("z")()
    torch.testing.assert_close(prior.mean, z.mean(0), atol=5e-3, rtol=0)
    torch.testing.assert_close(prior.base_dist.scale, z.std(0, unbiased=False), atol=5e-3, rtol=0)


def test_plates_and_functions():
    a, t = dgm.refs("a t")
    net = dgm.BayesNet(a=dgm.Normal(scale=1.0), t=dgm.Given(), f=dgm.Delta(v=a * t), y=dgm.Normal(loc="f", scale=dgm.free(1.0)), plates={"n": ["t", "f", "y"]})
    torch.manual_seed(0)
    values = dgm.compile(net, seed=0).sample(given={"t": torch.linspace(0, 1, 4).expand(50, 4)})
    data = {name: values[name] for name in ("a", "t", "y")}
    model = dgm.compile(net, seed=0)
    objective = dgm.MaximumLikelihood(model)
    batch = objective.prepare(data)
    expected = torch.distributions.Normal(0.0, 1.0).log_prob(data["a"]) + torch.distributions.Normal(values["f"], 1.0).log_prob(data["y"]).sum(-1)
    torch.testing.assert_close(-objective.world_losses(batch), expected)
    torch.testing.assert_close(objective(batch), -expected.mean())
    torch.testing.assert_close(objective.score(batch), expected)


def test_refusals():
    model = dgm.compile(dgm.BayesNet(z=dgm.Normal(), x=dgm.Normal().given("z", net=dgm.MLP(2))))
    objective = dgm.MaximumLikelihood(model)
    with pytest.raises(dgm.GraphError, match=r"MaximumLikelihood: node 'z' has no data; give a column 'z', or treat it as latent: dgm.ELBO\(model, dgm.compile\(dgm.amortize\(net, observed=\['x'\]\)\)\)"):
        objective.prepare({"x": torch.zeros(3)})
    with pytest.raises(dgm.GraphError, match=r"data: no node 'y'; known names: z, x"):
        objective.prepare({"y": torch.zeros(3)})
    with pytest.raises(dgm.GraphError, match=r"'z' has the worlds \(2,\), 'x' has \(3,\)"):
        objective.prepare({"z": torch.zeros(2), "x": torch.zeros(3)})


def test_players_and_declaration():
    model = dgm.compile(dgm.BayesNet(z=dgm.Normal(), x=dgm.Normal().given("z")))
    objective = dgm.MaximumLikelihood(model)
    (player,) = objective.players
    assert {id(parameter) for parameter in player.parameters} == {id(parameter) for parameter in model.parameters()}
    batch = objective.prepare(model.sample(4))
    torch.testing.assert_close(player.loss(batch), objective(batch))
    next(iter(model.parameters())).requires_grad_(False)
    assert len(objective.players[0].parameters) == len(list(model.parameters())) - 1
    assert objective.declaration()["objective"] == "MaximumLikelihood"
