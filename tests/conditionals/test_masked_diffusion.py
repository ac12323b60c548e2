"""Absorbing diffusion: the bound of a known denoiser, sampling, what is refused."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

import dgm_ppl as dgm

torch.set_num_threads(1)

TABLE = torch.tensor([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]])


class Independent(nn.Module):
    """The exact denoiser of independent elements: their own distributions, whatever is seen."""

    def __init__(self):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(()))

    def forward(self, inputs):
        logits = torch.cat([TABLE.log(), torch.zeros(2, 1)], 1).flatten()
        return logits.expand(*inputs.shape[:-1], 8) + 0 * self.unused


def known(**options):
    return dgm.compile(dgm.BayesNet(x=dgm.MaskedDiffusion(["a", "b", "c"], 2, net=dgm.Flat(Independent()), **options)))


def test_the_bound_is_log_p_for_the_exact_denoiser():
    torch.manual_seed(0)
    x = torch.tensor([[0, 1], [2, 0], [1, 2]])
    expected = TABLE.log()[torch.arange(2), x].sum(1)
    with torch.no_grad():
        found = known().log_prob({"x": x.repeat(20000, 1)}).reshape(-1, 3)
    error = found.std(0) / len(found) ** 0.5
    assert bool(((found.mean(0) - expected).abs() < 5 * error + 2e-3).all())


@pytest.mark.parametrize("steps", [1, 3, 20])
def test_samples_of_independent_elements_are_exact_at_any_number_of_steps(steps):
    torch.manual_seed(0)
    x = known().sampling(x=dgm.Unmasking(steps)).sample(6000)["x"]
    assert int(x.max()) <= 2
    for element in range(2):
        share = torch.bincount(x[:, element], minlength=3) / len(x)
        torch.testing.assert_close(share, TABLE[element], atol=0.03, rtol=0)


def test_dependences_are_learned():
    torch.manual_seed(0)
    first = torch.randint(2, (800,))
    x = torch.stack([first, (first + (torch.rand(800) < 0.1)) % 2], 1)
    model = dgm.compile(dgm.BayesNet(y=dgm.Given(1), x=dgm.MaskedDiffusion(2, 2, net=dgm.MLP(32)).given("y")), seed=0)
    dgm.fit(dgm.MaximumLikelihood(model), {"x": x, "y": torch.zeros(800, 1)}, steps=250, batch_size=200, optimizer=dgm.Adam(lr=1e-2), seed=0)
    drawn = model.sample(1000, given={"y": torch.zeros(1000, 1)})["x"]
    assert float((drawn[:, 0] == drawn[:, 1]).float().mean()) == pytest.approx(0.9, abs=0.07)


OVERALL = torch.tensor([[0.3, 0.3, 0.4], [0.2, 0.2, 0.6]])
BY_CLASS = torch.tensor([[[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]], [[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]]])


class ByClass(nn.Module):
    """The exact denoiser of independent elements given a class, and of their marginals where the class is left out."""

    def __init__(self):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(()))

    def forward(self, inputs):
        present, label = inputs[..., -3], inputs[..., -2:]
        logits = torch.where(present[..., None, None] > 0, torch.einsum("...c,cek->...ek", label, BY_CLASS.log()), OVERALL.log())
        return torch.cat([logits, torch.zeros_like(logits[..., :1])], -1).flatten(-2) + 0 * self.unused


def by_class(**options):
    variable = dgm.MaskedDiffusion(3, 2, net=dgm.Flat(ByClass()), drop={"c": 0.2}, **options)
    return dgm.compile(dgm.BayesNet(c=dgm.Categorical(2), x=variable.given("c")))


@pytest.mark.parametrize("weight", [-0.5, 0.0, 1.0, 2.5])
def test_guided_elements_follow_the_tilted_probabilities(weight):
    torch.manual_seed(0)
    model = by_class(sampler=dgm.Unmasking(4, guidance={"c": weight}))
    expected = (OVERALL.log() + weight * (BY_CLASS.log() - OVERALL.log())).softmax(-1)
    for label in (0, 1):
        x = model.sample(6000, given={"c": label})["x"]
        for element in range(2):
            share = torch.bincount(x[:, element], minlength=3) / len(x)
            torch.testing.assert_close(share, expected[label, element], atol=0.03, rtol=0)


def test_a_parent_is_left_out_in_training_and_never_in_the_bound_of_a_model_that_is_evaluated():
    torch.manual_seed(0)
    x, c = torch.tensor([[2, 0]]).repeat(40_000, 1), torch.ones(40_000, dtype=torch.long)
    own, overall = (float(table[range(2), [2, 0]].log().sum()) for table in (BY_CLASS[1], OVERALL))
    model = by_class().requires_grad_(False)
    node = model.conditional("x")
    for training, expected in ((False, own), (True, 0.8 * own + 0.2 * overall)):
        model.train(training)
        found = node.log_density(x, node.prepare(c))
        assert abs(float(found.mean()) - expected) < 5 * float(found.std() / len(found) ** 0.5) + 2e-3


@pytest.mark.parametrize("training", [True, False])
def test_a_question_is_answered_with_all_parents_in_training_mode_too(training):
    torch.manual_seed(0)
    x, c = torch.tensor([[2, 0]]).repeat(40_000, 1), torch.ones(40_000, dtype=torch.long)
    score = dgm.log_prob(by_class().train(training), {"x": x, "c": c})
    expected = float(BY_CLASS[1][range(2), [2, 0]].log().sum()) + math.log(0.5)
    assert abs(score.mean() - expected) < 5 * float(score.value.std() / len(x) ** 0.5) + 2e-3


def test_a_trained_network_follows_guidance():
    torch.manual_seed(0)
    c = torch.randint(2, (1000,))
    x = (torch.rand(1000, 2) < torch.where(c == 1, 0.7, 0.3).unsqueeze(1)).long()
    net = dgm.BayesNet(c=dgm.Given(states=2), x=dgm.MaskedDiffusion(2, 2, net=dgm.MLP(32), drop={"c": 0.3}).given("c"))
    model = dgm.compile(net, seed=0)
    dgm.fit(dgm.MaximumLikelihood(model), {"x": x, "c": c}, steps=400, batch_size=200, optimizer=dgm.Adam(lr=5e-3), seed=0)
    shares = [float(model.sampling(x=dgm.Unmasking(8, guidance={"c": weight})).sample(4000, given={"c": 1})["x"].float().mean()) for weight in (0.0, 1.0, 3.0)]
    odds = 0.7 / 0.3
    assert shares == pytest.approx([0.5, 0.7, odds**3 / (1 + odds**3)], abs=0.06)


def test_dropped_parents_are_written_and_read(tmp_path):
    net = dgm.BayesNet(c=dgm.Categorical(2), x=dgm.MaskedDiffusion(3, 4, net=dgm.MLP(8), drop={"c": 0.1}, sampler=dgm.Unmasking(3, guidance={"c": 2.0})).given("c"))
    model = dgm.compile(net, seed=0)
    dgm.save(model, tmp_path / "m.safetensors")
    loaded = dgm.load(tmp_path / "m.safetensors")
    assert loaded.net == net and "guidance" in repr(loaded.net["x"]) and "drop={'c': 0.1}" in repr(net["x"])
    states = []
    for each in (model, loaded):
        torch.manual_seed(0)
        states.append(each.sample(20)["x"])
    torch.testing.assert_close(*states)


def test_written_and_read(tmp_path):
    net = dgm.BayesNet(x=dgm.MaskedDiffusion(["a", "b"], 4, net=dgm.DiT(8, depth=1, heads=2), sampler=dgm.Unmasking(3)))
    model = dgm.compile(net, seed=0)
    dgm.save(model, tmp_path / "m.safetensors")
    loaded = dgm.load(tmp_path / "m.safetensors")
    assert loaded.net == net and loaded.sample(3)["x"].shape == (3, 4) and model.verify_structure().ok
    torch.testing.assert_close(loaded.state_dict(), model.state_dict())


@pytest.mark.parametrize("call, message", [
    (lambda: dgm.MaskedDiffusion(3, net=dgm.MLP(4)), r"expected an event with elements.*dgm.Categorical"),
    (lambda: dgm.MaskedDiffusion(3, 2, net=dgm.MLP(4), sampler=5), r"expected a sampler such as dgm.Unmasking\(64\); got 5"),
    (lambda: dgm.Unmasking(0), r"positive whole number of steps"),
    (lambda: known().sampling(x=dgm.DDIM(5)), r"node 'x': expected a sampler such as dgm.Unmasking"),
    (lambda: by_class().sampling(x=dgm.Unmasking(4, guidance={"k": 2.0})), r"node 'x': guidance names 'k', which is no parent.*\['c'\]"),
    (lambda: dgm.BayesNet(c=dgm.Given(states=2), x=dgm.MaskedDiffusion(3, 2, net=dgm.MLP(4), sampler=dgm.Unmasking(4, guidance={"c": 2.0})).given("c")), r"declare drop=\{'c': 0.1\}"),
    (lambda: dgm.BayesNet(c=dgm.Given(states=2), x=dgm.MaskedDiffusion(3, 2, net=dgm.MLP(4), drop={"d": 0.1}).given("c")), r"drop names 'd', which is no parent"),
    (lambda: dgm.BayesNet(c=dgm.Given(states=2), x=dgm.MaskedDiffusion(3, 2, net=dgm.MLP(4), drop={"c": 1.5}).given("c")), r"expected drop of 'c' between 0 and 1.*got 1.5"),
    (lambda: dgm.MaskedDiffusion(3, 2, net=dgm.MLP(4), drop=0.1), r"MaskedDiffusion: expected drop as shares by parent; got 0.1"),
    (lambda: dgm.Unmasking(4, guidance=2.0), r"Unmasking: expected guidance as weights by parent; got 2.0"),
    (lambda: dgm.Unmasking(4, guidance={"c": True}), r"Unmasking: expected a finite number as the weight of guidance by 'c'; got True"),
    (lambda: known().log_prob({"x": torch.tensor([[0, 3]])}), r"node 'x'.*got 3"),
    (lambda: dgm.BayesNet(y=dgm.Given(1), x=dgm.MaskedDiffusion(3, 2, net=dgm.MLP(4)).given("y", net=dgm.MLP(4))), r"the denoiser reads the parents itself"),
])
def test_refused(call, message):
    with pytest.raises(dgm.GraphError, match=message):
        call()
