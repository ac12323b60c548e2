"""Hierarchies and crossed plates are trained end to end, through `fit`, and through Pyro's SVI at another size."""

from __future__ import annotations

import pyro
import pytest
import torch
from torch.distributions import MultivariateNormal

import dgm_ppl as dgm

from .plated import NETS, drawn

torch.set_num_threads(1)


def pair(name, **options):
    net, observed = NETS[name]
    model = dgm.compile(net, seed=0)
    return model, dgm.compile(dgm.amortize(net, observed, net=dgm.MLP(16), **options), seed=1)


@pytest.mark.parametrize("name", ["schools", "three levels", "items"])
def test_fit_improves_the_bound(name):
    model, guide = pair(name)
    values = drawn(model, guide.net.observed, worlds=64, sizes=(8, 3, 2))
    data = {key: values[key] for key in guide.net.observed}
    objective = dgm.ELBO(model, guide)
    batch = objective.prepare(data)
    before = objective.score(batch).mean()
    dgm.fit(objective, data, epochs=25, batch_size=16, optimizer=dgm.Adam(lr=3e-3), clip=1.0, device="cpu", seed=0, progress=False)
    assert objective.score(batch).mean() > before + 1


def test_the_trained_guide_is_near_the_exact_posterior_at_sizes_it_has_not_seen():
    net, observed = NETS["hierarchical"]
    model = dgm.compile(net)
    guide = dgm.compile(dgm.amortize(net, observed, net=dgm.DeepSet(16), pool=dgm.DeepSet(16, features=4)), seed=1)
    optimizer = torch.optim.Adam(guide.parameters(), lr=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 300)
    torch.manual_seed(0)
    for step in range(300):
        loss = -guide.log_prob(model.sample(64, sizes={"n": 3 + step % 12})).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        for members in (5, 40):
            values = model.sample(500, sizes={"n": members})
            evidence = MultivariateNormal(torch.zeros(members), torch.ones(members, members) + (0.7**2 + 0.5**2) * torch.eye(members)).log_prob(values["x"])
            gap = (model.log_prob(values) - evidence - guide.log_prob(values)).mean() / (members + 1)
            assert -0.005 < gap < 0.02, (members, gap)


def test_pyros_svi_trains_it():
    model, guide = pair("items")
    values = drawn(model, guide.net.observed, worlds=8)
    svi = pyro.infer.SVI(model, guide, pyro.optim.Adam({"lr": 1e-2}), pyro.infer.Trace_ELBO())
    before = {name: parameter.detach().clone() for name, parameter in guide.named_parameters()}
    assert torch.isfinite(torch.tensor([svi.step({"r": values["r"]}) for _ in range(3)])).all()
    assert all(not torch.equal(parameter, before[name]) for name, parameter in guide.named_parameters())


def test_structure_as_declared():
    model, guide = pair("schools")
    values = drawn(model, guide.net.observed)
    assert guide.verify_structure({name: values[name] for name in guide.net.observed}).ok


@pytest.mark.parametrize("name", ["items", "mixture", "told apart"])
def test_copies_that_are_read_whole_or_drawn_together_are_as_declared(name):
    model, guide = pair(name)
    values = drawn(model, guide.net.observed)
    assert guide.verify_structure({key: values[key] for key in guide.net.observed}).ok


def test_a_guide_with_plates_is_saved_and_drawn_step_by_step(tmp_path):
    model, guide = pair("items")
    dgm.save(guide, tmp_path / "guide.safetensors")
    again, values = dgm.load(tmp_path / "guide.safetensors"), drawn(model, ["r"])
    torch.testing.assert_close(again.log_prob(values), guide.log_prob(values))
    assert [box.label for box in dgm.draw_steps(guide.net).figure.boxes][2:] == ["3. u goes", "4. v goes", "5. the inverse"]
