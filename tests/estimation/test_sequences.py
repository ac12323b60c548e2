"""Estimation from sequences: expected counts and cases by enumeration, a likelihood that never falls, hmmlearn, and Markov chains by counting."""

from __future__ import annotations

import numpy
import pytest
import torch
from chains.nets import FINITE, assignments, chain, lag
from torch import Tensor

import dgm_ppl as dgm

torch.set_num_threads(1)
NAN = float("nan")
NETWORKS = {"driven by inputs"}
MARKOV = dgm.BayesNet(z=dgm.Categorical(3).given(lag("z")), x=dgm.Categorical(2).given("z"), plates=chain("z", "x"))


def compiled(net, seed=0):
    """A model whose tables are far from uniform."""
    model = dgm.compile(net, seed=seed).double()
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for one in model.parameters():
            one.add_(torch.randn(one.shape, generator=generator, dtype=one.dtype))
    return model


def parameters(model) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.named_parameters()}


def observations(model, hidden, rows, steps, seed=0):
    torch.manual_seed(seed)
    drawn = model.sample(rows, sizes={"time": steps})
    return {name: value for name, value in drawn.items() if name not in hidden and not model.net[name].is_deterministic}


def by_enumeration(model, data, hidden, steps, lengths=None):
    """One step of EM: complete data of every assignment of the hidden nodes, each weighted by its posterior probability."""
    rows = len(next(iter(data.values())))
    every = assignments(model.net, hidden, rows, steps)
    more = {} if lengths is None else {"time": lengths}
    logs = torch.stack([model.log_prob({**data, **values, **more}) for values in every]).detach()
    weights = logs.softmax(0)                                               # behind the end all assignments are alike, and share the weight
    together = {name: torch.cat([{**data, **more, **values}[name] for values in every]) for name in (*data, *more, *hidden)}
    found = dgm.estimate(model, together, weights=weights.flatten(), method=dgm.EM())
    assert found.stopped == "closed form"
    return parameters(model)


@pytest.mark.parametrize("ragged", [False, True], ids=["equal", "several lengths"])
@pytest.mark.parametrize("name", [name for name in FINITE if name not in NETWORKS])
def test_a_step_is_that_of_enumeration(name, ragged):
    net, hidden = FINITE[name]
    rows, steps = 15, 3
    model = compiled(net)
    data = observations(model, hidden, rows, steps)
    lengths = torch.tensor([3, 2, 3, 1, 3] * 3) if ragged else None
    wanted = by_enumeration(compiled(net), data, hidden, steps, lengths)
    more = {"time": lengths} if ragged else {}
    before = dgm.log_prob(model, {**data, **more}).value.sum()
    found = dgm.estimate(model, {**data, **more}, method=dgm.EM(steps=1, tolerance=0.0))
    torch.testing.assert_close(found.history[0] * rows, float(before), atol=1e-9, rtol=0)
    for key, value in parameters(model).items():
        torch.testing.assert_close(value, wanted[key], atol=1e-5, rtol=1e-5, msg=lambda text, key=key: f"{key}: {text}")


def test_expected_counts_are_those_of_enumeration():
    model, steps = compiled(MARKOV), 4
    data = {"x": torch.tensor([[0, 1, 1, 0], [1, 1, 0, 0], [1, 0, 1, 1]]).double(), "time": torch.tensor([4, 2, 3])}
    data["x"][0, 1] = data["x"][2, 2] = NAN
    weights = torch.tensor([1.0, 2.0, 0.5], dtype=torch.float64)
    start, move, emit = (model.conditionals["z"].beginnings[0].prepare()[0].softmax(-1), *(_table(model, name) for name in ("z", "x")))
    wanted = {"z[0]": torch.zeros(3).double(), "z": torch.zeros(3, 3).double(), "x": torch.zeros(3, 2).double()}
    total = 0.0
    for row, length in enumerate([4, 2, 3]):
        paths = torch.cartesian_prod(*[torch.arange(3)] * length)
        logs = []
        for path in paths.tolist():
            p = start[path[0]]
            for step in range(length):
                p = p * (move[path[step - 1], path[step]] if step else 1.0)
                if not data["x"][row, step].isnan():
                    p = p * emit[path[step], int(data["x"][row, step])]
            logs.append(p)
        probability = torch.stack(logs).detach()
        total += float(weights[row] * probability.sum().log())
        for path, share in zip(paths.tolist(), weights[row] * probability / probability.sum()):
            wanted["z[0]"][path[0]] += share
            for step in range(length):
                if step:
                    wanted["z"][path[step - 1], path[step]] += share
                if not data["x"][row, step].isnan():
                    wanted["x"][path[step], int(data["x"][row, step])] += share
    found = dgm.estimate(model, data, weights=weights, method=dgm.EM(steps=1, tolerance=1e9))
    assert found.history[0] == pytest.approx(total / 3.5, abs=1e-9)
    again = compiled(MARKOV)
    one = dgm.estimate(again, data, weights=weights, method=dgm.EM(steps=1))
    assert one.history[1] > one.history[0]
    torch.testing.assert_close(_table(again, "z"), wanted["z"] / wanted["z"].sum(1, keepdim=True))
    torch.testing.assert_close(_table(again, "x"), wanted["x"] / wanted["x"].sum(1, keepdim=True))
    torch.testing.assert_close(again.conditionals["z"].beginnings[0].prepare()[0].detach().softmax(-1), wanted["z[0]"] / 3.5)


def _table(model, name):
    conditional = model.conditionals[name]
    main = conditional.main
    return main.prepare(torch.arange(3))[0].detach().softmax(-1)


@pytest.mark.parametrize("prior", [None, dgm.PseudoCounts(0.7)], ids=["likelihood", "prior"])
def test_the_objective_never_falls(prior):
    truth = compiled(MARKOV, 3)
    torch.manual_seed(0)
    data = {"x": truth.sample(40, sizes={"time": 8})["x"].double(), "time": torch.randint(2, 9, (40,))}
    data["x"][torch.rand(40, 8) < 0.2] = NAN
    found = dgm.estimate(compiled(MARKOV, 1), data, prior=prior, method=dgm.EM(steps=60))
    assert len(found.history) > 5 and bool((torch.tensor(found.history).diff() > -1e-12).all())


def test_it_ends_where_the_gradient_does():
    net = dgm.BayesNet(z=dgm.Categorical(2).given(lag("z")), x=dgm.Normal().given("z"), n=dgm.Poisson().given("z"), plates=chain("z", "x", "n"))
    truth = compiled(net, 2)
    torch.manual_seed(1)
    data = {name: value for name, value in truth.sample(60, sizes={"time": 10}).items() if name != "z"}
    data["x"][torch.rand(60, 10) < 0.2] = NAN
    data["time"] = torch.randint(3, 11, (60,))
    by_steps, by_gradient = compiled(net, 2), compiled(net, 2)
    found = dgm.estimate(by_steps, data, method=dgm.EM(tolerance=1e-9))
    dgm.fit(dgm.MaximumLikelihood(by_gradient), data, steps=300, optimizer=dgm.Adam(lr=0.03), seed=0)
    reached = dgm.log_prob(by_gradient, data).value.mean()
    assert found.stopped == "convergence"
    assert found.log_likelihood / 60 == pytest.approx(float(reached), abs=1e-3)
    assert found.log_likelihood == pytest.approx(float(dgm.log_prob(by_steps, data).value.sum()), abs=1e-6)


def test_steps_are_those_of_hmmlearn():
    hmm = pytest.importorskip("hmmlearn.hmm", reason="hmmlearn is not installed")
    net = dgm.BayesNet(z=dgm.Categorical(2).given(lag("z")), x=dgm.Normal(2).given("z"), plates=chain("z", "x"))
    model = compiled(net, 4)
    torch.manual_seed(0)
    data, lengths = model.sample(20, sizes={"time": 9})["x"], torch.randint(2, 10, (20,))
    start, conditional = model.conditionals["z"].beginnings[0], model.conditionals["x"].main
    peer = hmm.GaussianHMM(2, covariance_type="diag", n_iter=5, tol=-1.0, init_params="", min_covar=0.0, covars_prior=0.0, covars_weight=0.0, means_weight=0.0)
    peer.startprob_ = start.prepare()[0].detach().softmax(-1).numpy()
    peer.transmat_ = model.conditionals["z"].main.prepare(torch.arange(2))[0].detach().softmax(-1).numpy()
    loc, scale = (one.detach() for one in conditional.prepare(torch.arange(2))[:2])
    peer.means_, peer.covars_ = loc.numpy(), scale.square().numpy()
    stacked = numpy.concatenate([row[:n] for row, n in zip(data.numpy(), lengths.tolist())])
    assert dgm.log_prob(model, {"x": data, "time": lengths}).value.sum() == pytest.approx(peer.score(stacked, lengths.numpy()), abs=1e-8)
    peer.fit(stacked, lengths.numpy())
    dgm.estimate(model, {"x": data, "time": lengths}, method=dgm.EM(steps=5, tolerance=0.0))
    loc, scale = (one.detach() for one in conditional.prepare(torch.arange(2))[:2])
    numpy.testing.assert_allclose(model.conditionals["z"].main.prepare(torch.arange(2))[0].detach().softmax(-1).numpy(), peer.transmat_, atol=1e-6)
    numpy.testing.assert_allclose(loc.numpy(), peer.means_, atol=1e-6)


# ---- complete sequences


def test_markov_chains_are_counted():
    net = dgm.BayesNet(z=dgm.Categorical(["a", "b", "c"]).given(lag("z")), plates=chain("z"))
    generator = numpy.random.default_rng(0)
    lengths = generator.integers(1, 30, 50)
    paths = [generator.integers(0, 3, n) for n in lengths]
    found = dgm.estimate(dgm.compile(net), {"z": paths}, prior=dgm.PseudoCounts(1.0))
    moves = sum(numpy.bincount(3 * path[:-1] + path[1:], minlength=9) for path in paths).reshape(3, 3)
    first = numpy.bincount([path[0] for path in paths], minlength=3)
    numpy.testing.assert_array_equal(found.counts["z"].numpy(), moves)
    numpy.testing.assert_array_equal(found.counts["z[0]"].numpy().reshape(-1), first)
    assert found.stopped == "closed form"
    numpy.testing.assert_allclose(found.posterior.mean()["z"].numpy(), (moves + 1) / (moves + 1).sum(1, keepdims=True))
    again = dgm.compile(found.net)
    data = {"z": paths}
    assert dgm.log_prob(again, data).value.sum() == pytest.approx(found.log_likelihood, rel=1e-5)


def test_autoregressions_are_least_squares_from_complete_sequences():
    net = dgm.BayesNet(s=dgm.Categorical(2).given(lag("s")), x=dgm.Normal().given(lag("x"), "s"), plates=chain("s", "x"))
    generator = numpy.random.default_rng(1)
    x, s = generator.normal(size=(30, 12)).cumsum(1), generator.integers(0, 2, (30, 12))
    x[:, 3::4] = numpy.where(generator.random((30, 3)) < 0.5, x[:, 3::4], x[:, 3::4] + 1)
    model = dgm.compile(net).double()
    assert dgm.estimate(model, {"s": s, "x": x}).stopped == "closed form"
    for state in range(2):
        chosen = s[:, 1:] == state
        features = numpy.stack([x[:, :-1][chosen], numpy.ones(chosen.sum())], 1)
        slope, level = numpy.linalg.lstsq(features, x[:, 1:][chosen], rcond=None)[0]
        loc = model.conditionals["x"].main.prepare(torch.tensor([0.0, 1.0]).double(), torch.tensor([state, state]))[0].detach()
        numpy.testing.assert_allclose(loc.numpy(), [level, level + slope], atol=1e-6)


def test_a_missing_step_of_a_markov_chain():
    net = dgm.BayesNet(z=dgm.Categorical(2).given(lag("z")), plates=chain("z"))
    model = compiled(net)
    table = model.conditionals["z"].main.prepare(torch.arange(2))[0].detach().softmax(-1)
    found = dgm.estimate(model, {"z": [[0, NAN, 1]]}, method=dgm.EM(steps=1, tolerance=1e9))
    between = table[0] * table[:, 1] / (table[0] * table[:, 1]).sum()
    again = model.conditionals["z"].main.prepare(torch.arange(2))[0].detach().softmax(-1)
    moves = torch.tensor([[between[0], between[1] + between[0]], [0.0, between[1]]]).double()
    torch.testing.assert_close(again, moves / moves.sum(1, keepdim=True))
    assert found.counts["z"].sum() == pytest.approx(2.0)


# ---- refusals


@pytest.mark.parametrize(("net", "data", "message"), [
    (dgm.BayesNet(z=dgm.Normal().given(lag("z")), x=dgm.Normal().given("z"), plates=chain("z", "x")), {"x": [[0.0, 1.0]]}, "node 'z' ~ .* is hidden; in a chain finite nodes"),
    (MARKOV, {"x": [[NAN, NAN]]}, "node 'x': every cell of its column is missing"),
    (dgm.BayesNet(x=dgm.Normal().given(lag("x", initial=dgm.free())), plates=chain("x")), {"x": [[0.0, 1.0]]}, "what stands before the first step is learned"),
    (dgm.BayesNet(a=dgm.Categorical(2).given(lag("a")), b=dgm.Categorical(2).given(lag("b")), plates={"s": dgm.Chain(["a"]), "t": dgm.Chain(["b"])}),
     {"a": [[0, 1]], "b": [[0, 1, 1]]}, "expected one chain"),
    (FINITE["driven by inputs"][0], {"u": torch.zeros(1, 2, 2), "x": [[0.0, 1.0]]}, "node 'z' has a network, MLP"),
    (MARKOV, {"z": [[0, 1]], "x": [[0, 1]], "time": [0]}, "length zero"),
], ids=["hidden Gaussian", "no cell", "free initial", "two chains", "network", "no step"])
def test_what_is_refused(net, data, message):
    with pytest.raises(dgm.GraphError, match=message):
        dgm.estimate(dgm.compile(net), data)


def test_impossible_sequences_are_named():
    net = dgm.BayesNet(
        z=dgm.Categorical(2, probs=[[1.0, 0.0], [0.0, 1.0]]).given(lag("z")).starting(dgm.Categorical(2, probs=[1.0, 0.0])), x=dgm.Categorical(2, probs=[[1.0, 0.0], [0.0, 1.0]]).given("z"),
        y=dgm.Categorical(2).given("z"), plates=chain("z", "x", "y"),
    )
    with pytest.raises(dgm.GraphError, match="1 rows have probability zero .* row 1;"):
        dgm.estimate(dgm.compile(net), {"x": [[0, 0], [0, 1]], "y": [[0, 1], [0, 1]]})


def test_rows_in_pieces_are_all_rows(monkeypatch):
    data = {"x": compiled(MARKOV, 3).sample(7, sizes={"time": 5})["x"], "time": torch.tensor([5, 4, 3, 2, 1, 5, 5])}
    whole, parts = compiled(MARKOV), compiled(MARKOV)
    one = dgm.estimate(whole, data, method=dgm.EM(steps=3, tolerance=0.0))
    monkeypatch.setattr("dgm_ppl.estimation.sequences.CELLS", 2 * 5 * 9)
    other = dgm.estimate(parts, data, method=dgm.EM(steps=3, tolerance=0.0))
    assert one.history == pytest.approx(other.history, abs=1e-12)
    torch.testing.assert_close(parameters(whole), parameters(parts))


def test_zeros_of_a_table_stay_and_nothing_is_nan():
    model = dgm.compile(MARKOV).double()
    dgm.estimate(model, {"z": [[0, 1, 2, 0, 1], [0, 0, 1]], "x": [[0, 1, 1, 0, 1], [1, 0, 1]]})
    found = dgm.estimate(model, {"x": [[0, 1, 1, 0, 1], [1, 0, 1]]}, method=dgm.EM(steps=20))
    assert bool((torch.tensor(found.history).diff() > -1e-12).all()) and bool(_table(model, "z").isfinite().all())
    assert _table(model, "z")[1].tolist() == [0.0, 0.0, 1.0] and found.counts["z"][1, 0] == 0.0


def test_each_part_has_a_prior_of_its_own():
    priors = {"z": dgm.BDeu(9), "z[0]": dgm.PseudoCounts(2.0)}
    mean = dgm.estimate(dgm.compile(MARKOV), {"z": [[0, 1, 2]], "x": [[0, 1, 1]]}, prior=priors).posterior.mean()
    torch.testing.assert_close(mean["z[0]"], torch.tensor([3.0, 2.0, 2.0]).double() / 7)
    torch.testing.assert_close(mean["z"][0], torch.tensor([1.0, 2.0, 1.0]).double() / 4)
    with pytest.raises(dgm.GraphError, match="no node 'z\\[1\\]' with a table"):
        dgm.estimate(dgm.compile(MARKOV), {"z": [[0, 1, 2]], "x": [[0, 1, 1]]}, prior={"z[1]": dgm.BDeu(9)})
