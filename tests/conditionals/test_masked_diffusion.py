"""Absorbing diffusion: the bound of a known denoiser, sampling, what is refused."""

from __future__ import annotations

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
    (lambda: known().log_prob({"x": torch.tensor([[0, 3]])}), r"node 'x'.*got 3"),
    (lambda: dgm.BayesNet(y=dgm.Given(1), x=dgm.MaskedDiffusion(3, 2, net=dgm.MLP(4)).given("y", net=dgm.MLP(4))), r"the denoiser reads the parents itself"),
])
def test_refused(call, message):
    with pytest.raises(dgm.GraphError, match=message):
        call()
