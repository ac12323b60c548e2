"""Guides over chains whose missing cells are read by later steps: what is missing is drawn, what is there stands, and the posterior is that of the joint Gaussian."""

from __future__ import annotations

import copy
import re

import pytest
import torch

import dgm_ppl as dgm
from dgm_ppl.graph import GraphError, Topological

from .padding import padding_counts_for_nothing

torch.set_num_threads(1)
lag, NAN = dgm.lag, float("nan")


def chain(*names):
    return {"time": dgm.Chain(names)}


LINE = dgm.BayesNet(
    z=dgm.Normal(loc=0.8 * lag("z", initial=0.0) + 0.3 * lag("y", initial=0.0), scale=0.6), y=dgm.Normal(loc=dgm.Ref("z") + 0.5 * lag("y", initial=0.0), scale=0.7), plates=chain("z", "y"))
NETS = {
    "read by itself": (dgm.BayesNet(z=dgm.Normal().given(lag("z")), y=dgm.Normal(2).given("z", lag("y")), plates=chain("z", "y")), "y", "y"),
    "read by the hidden state": (dgm.BayesNet(z=dgm.Normal().given(lag("z"), lag("y")), y=dgm.Normal().given("z"), plates=chain("z", "y")), "y", "y"),
    "read in its own step": (dgm.BayesNet(z=dgm.Normal().given(lag("z")), y=dgm.Normal().given("z"), x=dgm.Poisson().given("y"), plates=chain("z", "y", "x")), "yx", "yx"),
    "nothing else is hidden": (dgm.BayesNet(y=dgm.Normal(2).given(lag("y"), lag("y", 2)), plates=chain("y")), "y", "y"),
    "finite": (dgm.BayesNet(z=dgm.Normal().given(lag("z")), y=dgm.Categorical(3).given("z", lag("y")), plates=chain("z", "y")), "y", "y"),
    "of the model's inputs": (dgm.BayesNet(u=dgm.Given(), z=dgm.Normal().given(lag("z"), "u"), y=dgm.Normal().given("z", lag("y")), plates=chain("u", "z", "y")), "y", "y"),
    "members": (
        dgm.BayesNet(z=dgm.Normal().given(lag("z")), y=dgm.Normal().given("z", lag("y")), plates={"time": dgm.Chain(["z", "y"]), "sensor": ["y"]}), "y", "y"),
}


def derived(net, observed="y", missing="y", **asked):
    return dgm.amortize(net, observed=[*observed], missing=[*missing], net=dgm.MLP(16, activation=torch.nn.Tanh), encoder=dgm.RecurrentState(12), **asked)


def holed(model, rows=5, steps=4, share=0.4):
    """Data of a model, inputs among them, and where cells are gone."""
    given = {name: torch.randn(rows, steps) for name in model.net.inputs}
    drawn = model.sample(rows, given=given, sizes={"time": steps, **({"sensor": 3} if "sensor" in model.net.plates else {})})
    return given | drawn, {name: torch.rand(drawn[name].shape) < share for name in "yx" if name in drawn}


@pytest.mark.parametrize("order", [{}, {"order": Topological()}], ids=["from the start", "from the end"])
@pytest.mark.parametrize("name", NETS)
def test_nothing_is_lost_and_no_arrow_is_needless(name, order):
    certificate = derived(*NETS[name], **order).certificate(3)
    assert certificate.sound and certificate.minimal and certificate.nats < 1e-6, str(certificate)


def test_what_is_read():
    guide = derived(LINE)
    assert guide.observed == ("y",) and guide.masks == {"y": "y_observed"} and guide.completed == {"y": "y_seen"}
    assert guide["after"].all_parents == ("after[+1]", "y_seen", "y_observed") and guide["z"].all_parents == ("z[-1]", "y[-1]", "after")
    assert repr(guide["y"]).startswith("Normal() where missing") and guide["y"].all_parents == ("y[-1]", "z", "after", "y_seen", "y_observed")


@pytest.mark.parametrize("name", NETS)
def test_what_stands_in_a_hole_changes_no_bit_and_what_is_there_stays(name):
    torch.manual_seed(0)
    net, observed, _ = NETS[name]
    model, guide = dgm.compile(net, seed=0), dgm.compile(derived(*NETS[name]), seed=1)
    data, gone = holed(model)
    bound, losses = dgm.ELBO(model, guide, particles=2), []
    columns = {key: data[key].float() for key in (*observed, *net.inputs)}
    for shift in (0, 1):
        batch = bound.prepare({key: value.masked_fill(gone[key], NAN) if key in gone else value for key, value in columns.items()})
        batch = {key: value + shift * gone[key].to(value.dtype) if key in gone else value for key, value in batch.items()}
        torch.manual_seed(1)
        losses.append(bound(batch))
    assert torch.equal(*losses) and losses[0].isfinite()
    losses[0].backward()
    assert all(one.grad.isfinite().all() for one in guide.parameters() if one.grad is not None)
    drawn = bound._drawn(bound.prepare({key: value.masked_fill(gone[key], NAN) if key in gone else value for key, value in columns.items()})).found["y"]
    there, kept = (model.layout.align("y", value).expand(drawn.shape) for value in (~gone["y"], data["y"]))
    assert torch.equal(drawn[there], kept[there].to(drawn.dtype))


def gaussian(y):
    """log p of what is there of each row of LINE and the posterior mean of z and y, by its covariance."""
    steps = y.shape[1]
    weights, noise = torch.zeros(2 * steps, 2 * steps, dtype=torch.float64), torch.tensor([0.36, 0.49] * steps, dtype=torch.float64)
    for step in range(steps):
        weights[2 * step + 1, 2 * step] = 1.0
        if step:
            weights[2 * step, 2 * step - 2], weights[2 * step, 2 * step - 1], weights[2 * step + 1, 2 * step - 1] = 0.8, 0.3, 0.5
    spread = torch.linalg.inv(torch.eye(2 * steps, dtype=torch.float64) - weights)
    covariance, scores, means = spread @ noise.diag() @ spread.T, [], []
    for row in y.double():
        seen = [2 * step + 1 for step in range(steps) if not row[step].isnan()]
        there, within = row[~row.isnan()], covariance[seen][:, seen]
        scores.append(torch.distributions.MultivariateNormal(torch.zeros_like(there), within).log_prob(there) if seen else there.new_zeros(()))
        means.append(covariance[:, seen] @ torch.linalg.solve(within, there))
    return torch.stack(scores), torch.stack(means)


def test_the_exact_posterior_is_reached():
    torch.manual_seed(0)
    model, guide = dgm.compile(LINE), dgm.compile(derived(LINE), seed=1)
    y = model.sample(300, sizes={"time": 4})["y"]
    y[torch.rand(y.shape) < 0.3] = NAN
    y[0] = NAN
    dgm.fit(dgm.ELBO(model, guide, gradient=dgm.StickingTheLanding()), {"y": y}, epochs=40, batch_size=60, optimizer=dgm.Adam(lr=2e-2), seed=0)
    score, mean = gaussian(y)
    assert -0.005 < (score - dgm.log_prob(model, {"y": y}, method=dgm.Bound(guide, samples=20)).value).mean() < 0.06
    found = dgm.posterior(model, {"y": y}, method=dgm.Amortized(guide, 400)).mean()
    assert (found["z"] - mean[:, 0::2]).abs().mean() < 0.07 and (found["y"] - mean[:, 1::2]).abs().mean() < 0.05
    torch.testing.assert_close(found["y"][~y.isnan()], y[~y.isnan()])
    few = {"y": y[:30]}                                                     # weights tell exactly what is missing of the guide
    torch.testing.assert_close(dgm.log_prob(model, few, method=dgm.Importance(guide, 4000)).value.double(), score[:30], atol=0.03, rtol=0)


def test_a_missing_cell_alone_is_something_to_infer():
    """An autoregression, whose only latent is the cell: log p of the rest is that of y_1 and y_3, by weights of any guide."""
    walk = dgm.BayesNet(y=dgm.Normal(loc=0.5 * lag("y", initial=0.0), scale=1.0), plates=chain("y"))
    model, guide = dgm.compile(walk), dgm.compile(derived(walk), seed=1)
    y = torch.tensor([[1.0, NAN, 2.0]])
    exact = torch.distributions.MultivariateNormal(torch.zeros(2), torch.tensor([[1.0, 0.25], [0.25, 1.3125]])).log_prob(torch.tensor([1.0, 2.0]))
    torch.manual_seed(0)
    torch.testing.assert_close(dgm.log_prob(model, {"y": y}, method=dgm.Importance(guide, 20_000)).value[0], exact, atol=0.03, rtol=0)
    found = dgm.posterior(model, {"y": y}, method=dgm.Importance(guide, 20_000)).mean()["y"]
    torch.testing.assert_close(found, torch.tensor([[1.0, (0.5 + 1.0) / 1.25, 2.0]]), atol=0.05, rtol=0)


@pytest.mark.parametrize("name", ["read by itself", "finite"])
def test_steps_behind_the_end_count_for_nothing(name):
    torch.manual_seed(0)
    net, *_ = NETS[name]
    model, guide = dgm.compile(net, seed=0).double(), dgm.compile(derived(*NETS[name]), seed=1).double()
    y, lengths = model.sample(4, sizes={"time": 5})["y"], torch.tensor([5, 2, 1, 3])
    other = y.clone()
    for row, length in enumerate(lengths.tolist()):
        other[row, length:] = (2 - other[row, length:]) if name == "finite" else 9.0
    padding_counts_for_nothing(model, guide, {"y": y}, {"y": other}, lengths)


def test_it_comes_back_from_a_file(tmp_path):
    guide = dgm.compile(derived(LINE), seed=0)
    dgm.save(guide, tmp_path / "guide.safetensors")
    loaded = dgm.load(tmp_path / "guide.safetensors")
    assert loaded.net == guide.net == copy.deepcopy(guide.net) and loaded.net.completed == {"y": "y_seen"} and loaded.net.certificate(3).sound
    bounds = [dgm.IWAE(dgm.compile(LINE), one, particles=3) for one in (guide, loaded)]
    found = []
    for bound in bounds:
        torch.manual_seed(0)
        found.append(bound(bound.prepare({"y": torch.tensor([[1.0, NAN, 2.0], [0.5, 1.0, NAN]])})))
    assert torch.equal(*found)


def test_a_flow_reads_at_the_first_step_what_it_reads_at_the_others():
    assert derived(LINE, missing="", families={"z": dgm.Flow(dgm.NSF())}).certificate(3).sound
    assert derived(LINE, families={"y": dgm.Flow(dgm.NSF())}).certificate(3).sound


def bounded(**asked):
    guide = dgm.compile(derived(LINE))
    return lambda: dgm.ELBO(dgm.compile(LINE), guide, **asked)


@pytest.mark.parametrize(("ask", "message"), [
    (lambda: bounded(kl_weight=0.5)().prepare({"y": torch.tensor([[1.0, NAN, 2.0]])}), "ELBO: kl_weight has no meaning here: missing cells of 'y' are drawn"),
    (lambda: dgm.compile(derived(NETS["read by itself"][0], families={"y": dgm.MultivariateNormal(2)})), "hang together"),
    (lambda: derived(dgm.BayesNet(
        y_seen=dgm.Normal(), y=dgm.Normal().given("y_seen", lag("y")), plates=chain("y_seen", "y"))), "the guide's input of 'y' would be called 'y_seen'"),
])
def test_what_cannot_be_is_said(ask, message):
    with pytest.raises(GraphError, match=re.escape(message)):
        ask()


def test_the_exact_answer_that_there_is_none_of_names_the_guide():
    with pytest.raises(GraphError, match=re.escape("dgm.amortize(net, observed=['y'], missing=['y'])")):
        dgm.log_prob(dgm.compile(LINE), {"y": torch.tensor([[1.0, NAN, 2.0]])})
