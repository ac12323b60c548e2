"""One guide for any subset over plates: structure by the inversion of each pattern, answers against exact ones, members that are missing."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

import dgm_ppl as dgm

from .plated import NETS, drawn

NAN = math.nan
X = torch.tensor([[0.5, 1.0, -0.3, 2.0], [1.0, -1.0, 0.0, 0.2]])


@pytest.fixture(scope="module")
def hierarchy():
    model = dgm.compile(NETS["hierarchical"][0])
    guide = dgm.compile(dgm.amortize(model.net, observed=dgm.AnySubset("mu z x", cells={"x": 0.7}), net=dgm.MLP(32)), seed=0)
    torch.manual_seed(0)
    steps = 700
    dgm.fit(dgm.ForwardKL(model, guide), dgm.simulate(model, 4000, sizes={"n": 4}), steps=steps, batch_size=200, optimizer=dgm.Adam(5e-3), schedule=lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps), device="cpu", seed=0, progress=False)
    return model, guide


@pytest.mark.parametrize("name", ["hierarchical", "schools", "three levels", "told apart", "covariates"])
def test_what_is_read_in_every_pattern_is_certified(name):
    net, _ = NETS[name]
    nodes = [node for node in net.order if not net[node].is_deterministic and not net[node].is_given]
    recognition = dgm.amortize(net, observed=dgm.AnySubset(nodes))
    for pattern in (chosen for size in range(1, len(nodes)) for chosen in itertools.combinations(nodes, size)):
        reads = recognition.reads(pattern)
        if reads:
            single = recognition.at(pattern)
            assert single.certificate().sound and single.certificate().minimal
            assert all(set(single[node].parents) == set(read) for node, read in reads.items())


@pytest.mark.parametrize("name", ["hierarchical", "schools", "three levels", "told apart", "covariates"])
def test_the_guide_of_one_pattern_scores_alike(name):
    net, observed = NETS[name]
    guide, values = dgm.compile(dgm.amortize(net, observed=dgm.AnySubset(observed + [node for node in net.order if node in ("mu", "t")]), net=dgm.MLP(8)), seed=0), drawn(dgm.compile(net), observed)
    layout = dgm.compile(net).layout
    masks = guide.patterned({node: torch.ones(4, dtype=torch.bool) for node in observed}, 4)
    view = guide.at(observed)
    ours = {node: value for node, value in values.items() if node in view.net}
    terms = view.log_densities(view.layout.align_all(ours), view.layout.sizes(ours))
    expected = -sum(term for node, term in terms.items() if node not in view.net.own)
    torch.testing.assert_close(guide.surprisals(layout.align_all(values), masks), expected)


@pytest.mark.parametrize("evidence", [{"x": X}, {"z": X}, {"mu": torch.tensor([0.5, -0.5]), "x": X}], ids=lambda evidence: " ".join(evidence))
def test_answers_are_exact_ones(hierarchy, evidence):
    model, guide = hierarchy
    exact, found = dgm.posterior(model, evidence), dgm.posterior(model, evidence, method=dgm.Importance(guide, 6000))
    torch.testing.assert_close(found.log_evidence, exact.log_evidence.to(X), atol=0.03, rtol=0)
    for name, mean in exact.mean().items():
        torch.testing.assert_close(found.mean()[name], mean.to(X), atol=0.06, rtol=0)
    assert dgm.judge_weights(model, guide, evidence).khat.max() < 0.6


def test_members_of_a_plate_may_be_missing(hierarchy):
    model, guide = hierarchy
    holed = X.clone()
    holed[0, 1], holed[1, :2] = NAN, NAN
    exact, found = dgm.posterior(model, {"x": holed}), dgm.posterior(model, {"x": holed}, method=dgm.Importance(guide, 6000))
    torch.testing.assert_close(found.log_evidence, exact.log_evidence.to(X), atol=0.03, rtol=0)
    for name in ("mu", "z", "x"):
        torch.testing.assert_close(found.mean()[name], exact.mean()[name].to(X), atol=0.06, rtol=0)
    assert (found.sample(3)["x"][:, 0, 2] == holed[0, 2]).all()
    with pytest.raises(dgm.GraphError, match="node 'z': members of its plate 'n' are missing, and 'x' depends on it"):
        dgm.posterior(model, {"z": holed}, method=dgm.Importance(guide, 10))


def test_missing_members_have_no_influence(hierarchy):
    model, guide = hierarchy
    masks = guide.patterned({"x": torch.tensor([True, True])}, 2)
    gone = torch.zeros(2, 4, dtype=torch.bool)
    gone[0, 1] = True
    values = {"mu": torch.zeros(2, 1), "z": torch.zeros(2, 4), "x": X}
    other = {**values, "x": torch.where(gone, 7e5, X), "mu": torch.full((2, 1), 3e4)}
    drawings = []
    for given in (values, other):
        torch.manual_seed(0)
        drawings.append(guide.draw(given, masks, (3, 2), {"x": ~gone.unsqueeze(-1)}, sizes={"n": 4}))
    assert torch.equal(drawings[0][1], drawings[1][1]) and torch.equal(drawings[0][0]["z"], drawings[1][0]["z"])


def test_calibration_saving_and_bounds(hierarchy, tmp_path):
    model, guide = hierarchy
    assert dgm.calibrate(model, guide, observed="x", worlds=60, sizes={"n": 4}).calibrated
    dgm.save(guide, tmp_path / "guide.safetensors")
    same = dgm.load(tmp_path / "guide.safetensors")
    values, masks = model.layout.align_all({"mu": torch.zeros(2), "z": X, "x": X}), guide.patterned({"x": torch.tensor([True, False]), "z": torch.tensor([False, True])}, 2)
    assert torch.equal(same.surprisals(values, masks), guide.surprisals(values, masks))
    bound = dgm.IWAE(model, guide, particles=2000)
    torch.testing.assert_close(bound.score(bound.prepare({"x": X})), dgm.log_prob(model, {"x": X}).value.to(X), atol=0.05, rtol=0)


@pytest.mark.parametrize("name, coupled", [("items", "'v' over the plate 'item'"), ("mixture", "'mu' over the plate 'k'")])
def test_copies_that_stay_coupled_are_refused(name, coupled):
    net, observed = NETS[name]
    with pytest.raises(dgm.GraphError, match=f"the copies of {coupled} stay coupled"):
        dgm.amortize(net, observed=dgm.AnySubset(observed))


def test_too_many_patterns_are_refused():
    nodes = {f"x{at}": dgm.Normal(loc="m") for at in range(9)}
    net = dgm.BayesNet({"m": dgm.Normal(), **nodes}, plates={"n": list(nodes)})
    with pytest.raises(dgm.GraphError, match=r"over plates, expected up to 8 nodes that come and go; got 9; name the subsets that occur"):
        dgm.amortize(net, observed=dgm.AnySubset(list(nodes)))
    assert dgm.amortize(net, observed=dgm.AnySubset(list(nodes), patterns=["x0 x1", "x2"])).at("x2")["m"].parents == ("x2",)


def test_a_view_that_would_not_know_a_plate_is_refused():
    net = dgm.BayesNet(top=dgm.Normal(), mu=dgm.Normal(loc="top"), x=dgm.Normal(loc="mu"), plates={"n": ["x"]})
    guide = dgm.compile(dgm.amortize(net, observed=dgm.AnySubset("mu x"), net=dgm.MLP(4), order=["top", "mu", "x"]))
    with pytest.raises(dgm.GraphError, match="'top' reads nothing of a plate whose size it is told"):
        guide.at("mu x")
    found = dgm.posterior(dgm.compile(net), {"mu": [0.3], "x": [[0.1, 0.2]]}, method=dgm.Amortized(guide, samples=10))
    assert found.sample(3)["top"].shape == (3, 1)
