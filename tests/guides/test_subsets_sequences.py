"""One guide over a chain for whatever cells are there: held against the joint Gaussian of a line, trained on draws of the model and on data with holes."""

from __future__ import annotations

import pickle

import pytest
import torch

import dgm_ppl as dgm
from dgm_ppl.graph import GraphError

torch.set_num_threads(1)
lag, NAN = dgm.lag, float("nan")
LINE = dgm.BayesNet(
    z=dgm.Normal(loc=0.9 * lag("z", initial=0.0), scale=0.6), x=dgm.Normal(loc="z", scale=0.7), plates={"time": dgm.Chain(["z", "x"])})
ANY = dgm.AnySubset("z x", prob=0.7, cells=(0.0, 1.0))


def derived(net=LINE, subset=ANY, **asked):
    return dgm.amortize(net, observed=subset, net=dgm.MLP(16, activation=torch.nn.Tanh), encoder=dgm.RecurrentState(12), **asked)


def gaussian(z, x):
    """log p of what is there of each row of LINE, and the posterior mean of z, by its covariance."""
    steps = z.shape[1]
    powers = torch.tensor([[0.9 ** (row - column) if row >= column else 0.0 for column in range(steps)] for row in range(steps)], dtype=torch.float64)
    hidden = 0.36 * powers @ powers.T
    covariance = torch.cat([torch.cat([hidden, hidden], 1), torch.cat([hidden, hidden + 0.49 * torch.eye(steps, dtype=torch.float64)], 1)])
    scores, means = [], []
    for row in torch.cat([z, x], 1).double():
        seen = ~row.isnan()
        there, within = row[seen], covariance[seen][:, seen]
        scores.append(torch.distributions.MultivariateNormal(torch.zeros_like(there), within).log_prob(there) if len(there) else there.sum())
        means.append(covariance[:steps, seen] @ torch.linalg.solve(within, there))
    return torch.stack(scores), torch.stack(means)


@pytest.fixture(scope="module")
def trained():
    model, guide = dgm.compile(LINE), dgm.compile(derived(), seed=1)
    torch.manual_seed(0)
    dgm.fit(dgm.ForwardKL(model, guide), dgm.simulate(model, 2000, sizes={"time": 4}), steps=300, batch_size=200, optimizer=dgm.Adam(2e-2), seed=0, progress=False,
            schedule=lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 300))
    return model, guide


def holed(model, rows):
    torch.manual_seed(3)
    drawn = model.sample(rows, sizes={"time": 4})
    return {name: torch.where(torch.rand(rows, 4) < 0.5, NAN, drawn[name]) for name in "zx"}


def test_any_cells_may_be_there(trained):
    model, guide = trained
    data = holed(model, 60)
    score, mean = gaussian(data["z"], data["x"])
    gap = score - dgm.log_prob(model, data, method=dgm.Bound(guide, samples=50)).value
    assert -0.02 < gap.mean() < 0.1, gap.mean()
    torch.testing.assert_close(dgm.log_prob(model, data, method=dgm.Importance(guide, 4000)).value.double(), score, atol=0.05, rtol=0)
    assert (dgm.judge_weights(model, guide, data, samples=1000).effective > 700).float().mean() > 0.9
    found = dgm.posterior(model, data, method=dgm.Amortized(guide, 500)).mean()["z"]
    assert (found - mean).abs().mean() < 0.08
    torch.testing.assert_close(found[~data["z"].isnan()], data["z"][~data["z"].isnan()])


@pytest.mark.parametrize("name", ["z", "x"])
def test_a_column_may_be_left_out(trained, name):
    model, guide = trained
    data = holed(model, 20)
    only = {name: data[name]}
    other = torch.full((20, 4), NAN)
    score, mean = gaussian(*(data["z"], other) if name == "z" else (other, data["x"]))
    torch.testing.assert_close(dgm.log_prob(model, only, method=dgm.Importance(guide, 4000)).value.double(), score, atol=0.05, rtol=0)
    found = dgm.posterior(model, only, method=dgm.Importance(guide, 4000)).mean()
    assert (found["z"] - mean).abs().mean() < 0.08
    if name == "z":
        assert (found["x"] - mean).abs().mean() < 0.08                      # x is drawn from the model, around z


@pytest.mark.parametrize("objective", [
    lambda model, guide: dgm.ELBO(model, guide, gradient=dgm.StickingTheLanding()), lambda model, guide: dgm.IWAE(model, guide, particles=3), dgm.ForwardKL,
    dgm.SymmetricKL, lambda model, guide: dgm.ReweightedWakeSleep(model, guide, particles=3),
], ids=["ELBO", "IWAE", "ForwardKL", "SymmetricKL", "ReweightedWakeSleep"])
@pytest.mark.parametrize("columns", ["zx", "x", "z"])
def test_objectives_take_any_columns(objective, columns):
    torch.manual_seed(0)
    model, guide = dgm.compile(LINE, seed=0), dgm.compile(derived(), seed=1)
    bound = objective(model, guide)
    data = dgm.simulate(model, 6, sizes={"time": 4}) if isinstance(bound, dgm.ForwardKL) else {name: value for name, value in holed(model, 6).items() if name in columns}
    loss = bound(bound.prepare(data))
    loss.backward()
    assert loss.isfinite() and all(one.grad.isfinite().all() for one in guide.parameters() if one.grad is not None)
    assert sum(one.grad is not None for one in guide.parameters()) > 5


def test_its_structure_loses_nothing():
    net = dgm.BayesNet(
        s=dgm.Categorical(2).given(lag("s")), z=dgm.Normal(2).given(lag("z"), "s"), x=dgm.Normal(3).given("z"), y=dgm.Normal().given("x", lag("y")),
        plates={"time": dgm.Chain(["s", "z", "x", "y"])})
    for names in ("s x y", "z", "s z x y"):
        certificate = derived(net, dgm.AnySubset(names)).certificate(3)
        assert certificate.sound and certificate.nats < 1e-6, str(certificate)
        assert all(line.node.endswith("[2]") for line in certificate.lines if line.needless), str(certificate)     # the last step has no evidence ahead


def test_it_is_saved_and_pickled(trained, tmp_path):
    _, guide = trained
    dgm.save(guide, tmp_path / "guide.safetensors")
    for net in (dgm.load(tmp_path / "guide.safetensors").net, pickle.loads(pickle.dumps(guide.net))):
        assert net == guide.net and net.subset.to_dict() == ANY.to_dict()


@pytest.mark.parametrize(("ask", "message"), [
    (lambda: derived(subset=dgm.AnySubset("z q")), "no node 'q'"),
    (lambda: dgm.calibrate(dgm.compile(LINE), dgm.compile(derived()), worlds=50), "calibrate: the guide reads which cells of 'z', 'x' are there"),
    (lambda: derived(missing="x"), "leave missing out"),
    (lambda: dgm.FreeBits(dgm.compile(LINE), dgm.compile(derived()), 0.1).prepare({"x": torch.zeros(1, 3)}), "FreeBits: the divergence of 'z' cannot be told apart"),
    (lambda: derived(subset=dgm.AnySubset("z x"), collapse=True), "nothing is eliminated beside a guide yet"),
    (lambda: dgm.posterior(dgm.compile(LINE), {"z": torch.zeros(1, 3)}, method=dgm.Amortized(dgm.compile(derived(subset=dgm.AnySubset("z x", patterns=["x", "z x"]))))), r"not trained for the pattern 'z'"),
])
def test_refused(ask, message):
    with pytest.raises(GraphError, match=message):
        ask()
