"""One guide for any subset of evidence: its structure by d-separation, its answers against exact ones, rows of different patterns."""

from __future__ import annotations

import copy
import itertools
import math
import pickle
import random
import re

import pyro
import pytest
import torch

import dgm_ppl as dgm

torch.set_num_threads(1)
NAN = math.nan
GAUSSIAN = dgm.BayesNet(a=dgm.Normal(loc=0.0, scale=1.0), b=dgm.Normal(loc="a", scale=0.5), c=dgm.Normal(loc="b", scale=0.5), d=dgm.Normal(loc="b", scale=1.0))
MIXED = dgm.BayesNet(
    k=dgm.Categorical(3, probs=[0.2, 0.3, 0.5]), h=dgm.Normal(loc=0.0, scale=1.0), x=dgm.Normal(loc=dgm.Constant([-2.0, 0.0, 2.0])[dgm.Ref("k")] + dgm.Ref("h"), scale=0.7),
    b=dgm.Bernoulli(probs=[0.1, 0.5, 0.9]).given("k"),
)


def trained(net, subset, steps=900, rows=4000):
    model = dgm.compile(net, seed=0)
    guide = dgm.compile(dgm.amortize(net, observed=subset, net=dgm.MLP(32)), seed=1)
    torch.manual_seed(0)
    dgm.fit(dgm.ForwardKL(model, guide), dgm.simulate(model, rows), steps=steps, batch_size=200, optimizer=dgm.Adam(5e-3), schedule=lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps), device="cpu", seed=0, progress=False)
    return model, guide


def patterns(nodes):
    return [pattern for size in range(1, len(nodes)) for pattern in itertools.combinations(nodes, size)]


def test_what_is_read_is_sound_and_minimal_in_every_pattern():
    net = dgm.BayesNet(
        a=dgm.Normal(), b=dgm.Normal(), c=dgm.Normal().given("a", "b"), d=dgm.Normal().given("c"), e=dgm.Normal().given("c", "b"), f=dgm.Normal().given("d"),
    )
    recognition, nodes = dgm.amortize(net, observed=dgm.AnySubset("a b c d e f")), "abcdef"
    for pattern in patterns(nodes):
        seen = [*pattern]
        reads = recognition.reads(pattern)
        for name, read in reads.items():
            rest = set(seen) - set(read)
            assert set(read) <= set(seen)
            assert not rest or net.dag.independent(name, sorted(rest), given=read)
            for parent in read:
                assert not net.dag.independent(name, parent, given=[other for other in seen if other != parent])
            seen.append(name)
        above = set(net.dag.ancestors(*pattern))
        assert set(reads) == above - set(pattern)                           # the others take the model's own conditional
    certificate = recognition.certificate("d e")
    assert certificate.sound and certificate.minimal and tuple(recognition.at("f")["d"].parents) == ("f",)


def random_net(seed):
    chance = random.Random(seed)
    nodes, names = {}, [f"x{at}" for at in range(chance.randint(3, 8))]
    for at, name in enumerate(names):
        parents, kind = chance.sample(names[:at], min(at, chance.randint(0, 3))), chance.random()
        plain = dgm.Given() if not parents and kind < 0.2 else dgm.Delta() if parents and kind < 0.2 else dgm.Normal()
        nodes[name] = plain.given(*parents, net=dgm.MLP(2)) if parents else plain
    return dgm.BayesNet({**nodes, "end": dgm.Normal().given(*names[-2:])}), chance


@pytest.mark.parametrize("seed", range(40))
def test_many_patterns_at_once_read_what_the_inversion_of_each_says(seed):
    net, chance = random_net(seed)
    nodes = [name for name in net.order if not net[name].is_deterministic and not net[name].is_given]
    recognition = dgm.amortize(net, observed=dgm.AnySubset(nodes))
    for _ in range(5):
        present = [name for name in nodes if chance.random() < 0.5]
        if reads := recognition.reads(present):
            single = recognition.at(present)
            assert {name: set(read) for name, read in reads.items()} == {name: set(single[name].parents) for name in single.order if name not in (*single.own, *single.inputs) and not single[name].is_deterministic}
            assert single.certificate().sound and single.certificate().minimal


@pytest.fixture(scope="module")
def gaussian():
    return trained(GAUSSIAN, dgm.AnySubset("a b c d"))


@pytest.mark.parametrize("pattern", patterns("abcd"), ids="".join)
def test_every_pattern_has_the_exact_posterior(gaussian, pattern):
    model, guide = gaussian
    evidence = {name: torch.tensor([0.7, -0.4]) for name in pattern}
    exact = dgm.posterior(model, evidence)
    found = dgm.posterior(model, evidence, method=dgm.Amortized(guide, samples=4000))
    for name in exact.mean():
        torch.testing.assert_close(found.mean()[name], exact.mean()[name], atol=0.12, rtol=0)
        torch.testing.assert_close(found.std()[name], exact.std()[name], atol=0.1, rtol=0)
    score = dgm.log_prob(model, evidence, method=dgm.Importance(guide, 4000))
    torch.testing.assert_close(score.value, dgm.log_prob(model, evidence).value.to(score.value), atol=0.05, rtol=0)


def test_rows_of_one_question_differ_in_what_is_there(gaussian):
    model, guide = gaussian
    rows = {"a": [NAN, 0.5, NAN], "c": [1.0, NAN, NAN], "d": [NAN, -1.0, 0.3]}
    found = dgm.posterior(model, rows, method=dgm.Importance(guide, 6000))
    exact = dgm.posterior(model, rows)
    for name in "abcd":
        torch.testing.assert_close(found.mean()[name], exact.mean()[name].to(found.mean()[name]), atol=0.1, rtol=0)
    assert found.sample(5)["a"].shape == (5, 3) and (found.sample(5)["a"][:, 1] == 0.5).all()
    one = dgm.posterior(model, {"a": [0.5], "d": [-1.0]}, method=dgm.Importance(guide, 6000))
    torch.testing.assert_close(one.log_evidence, found.log_evidence[1:2], atol=0.03, rtol=0)


def test_missing_values_have_no_influence(gaussian):
    model, guide = gaussian
    masks = guide.patterned({"a": torch.tensor([False, True]), "c": torch.tensor([True, True])}, 2)
    values = {name: torch.tensor([0.3, 0.7]) for name in "abcd"}
    torch.manual_seed(0)
    first = guide.draw(values, masks, (2,))
    torch.manual_seed(0)
    second = guide.draw({**values, "b": torch.tensor([9e5, -9e5]), "d": torch.tensor([7e7, 1.0]), "a": torch.tensor([-4e4, 0.7])}, masks, (2,))
    assert torch.equal(first[1], second[1]) and torch.equal(first[0]["b"], second[0]["b"])


def test_finite_and_real_nodes_together():
    model, guide = trained(MIXED, dgm.AnySubset("k h x b"))
    for evidence in ({"x": [0.5, 2.0]}, {"b": [1.0, 0.0], "x": [0.1, -1.0]}, {"x": [0.5, 0.5], "h": [1.0, -1.0]}, {"b": [1.0, NAN], "k": [NAN, 2], "x": [1.0, 1.0]}):
        exact = dgm.posterior(model, evidence)
        found = dgm.posterior(model, evidence, method=dgm.Importance(guide, 8000))
        for name in exact.mean():
            torch.testing.assert_close(found.mean()[name], exact.mean()[name].to(found.mean()[name]), atol=0.08, rtol=0)
        torch.testing.assert_close(found.log_evidence, exact.log_evidence.to(found.log_evidence), atol=0.05, rtol=0)


def test_cells_within_a_value_may_be_missing():
    """Of factor analysis, whose exact answer integrates them: evidence, posterior, and what is imputed."""
    torch.manual_seed(0)
    net = dgm.BayesNet(z=dgm.Normal(2, loc=0.0, scale=1.0), x=dgm.Normal(5, scale=0.5).given("z"))
    model = dgm.compile(net, seed=3)
    guide = dgm.compile(dgm.amortize(net, observed=dgm.AnySubset("x", prob=1.0, cells=0.6), net=dgm.MLP(32)), seed=1)
    dgm.fit(dgm.ForwardKL(model, guide), dgm.simulate(model, 3000), steps=600, batch_size=200, optimizer=dgm.Adam(5e-3), device="cpu", seed=0, progress=False)
    x = model.sample(4)["x"]
    holed = x.clone()
    holed[0, :3], holed[1, 4], holed[2, 0] = NAN, NAN, NAN
    found = dgm.posterior(model, {"x": holed}, method=dgm.Importance(guide, 20_000))
    exact = dgm.posterior(model, {"x": holed})
    torch.testing.assert_close(found.log_evidence, exact.log_evidence.to(found.log_evidence), atol=0.1, rtol=0)
    torch.testing.assert_close(found.mean()["z"], exact.mean()["z"].to(found.mean()["z"]), atol=0.1, rtol=0)
    torch.testing.assert_close(found.mean()["x"][0], exact.mean()["x"][0].to(x), atol=0.1, rtol=0)
    assert torch.equal(found.sample(3)["x"][:, 3], x[3].expand(3, 5))


@pytest.mark.parametrize("objective", [dgm.ELBO, dgm.IWAE], ids=lambda each: each.__name__)
def test_a_model_is_learned_from_rows_with_missing_cells(objective):
    """The bound approaches the exact likelihood of what is there."""
    torch.manual_seed(0)
    truth = dgm.BayesNet(z=dgm.Normal(loc=0.0, scale=1.0), x=dgm.Normal(loc="z", scale=0.5), y=dgm.Normal(loc=2.0 * dgm.Ref("z"), scale=0.5))
    data = {name: value for name, value in dgm.compile(truth).sample(600).items() if name != "z"}
    for name in data:
        data[name] = torch.where(torch.rand(600) < 0.3, NAN, data[name])
    kept = ~(data["x"].isnan() & data["y"].isnan())
    data = {name: value[kept] for name, value in data.items()}
    net = dgm.BayesNet(z=dgm.Normal(loc=0.0, scale=1.0), x=dgm.Normal().given("z"), y=dgm.Normal().given("z"))
    model, guide = dgm.compile(net, seed=0), dgm.compile(dgm.amortize(net, observed=dgm.AnySubset("x y"), net=dgm.MLP(16)), seed=1)
    bound = objective(model, guide, particles=5)
    dgm.fit(bound, data, steps=500, batch_size=100, optimizer=dgm.Adam(1e-2), device="cpu", seed=0, progress=False)
    reached = bound.score(bound.prepare(data)).mean().item()
    best = dgm.log_prob(dgm.compile(truth), data).value.mean().item()
    assert best - 0.1 < reached < best + 0.05
    assert dgm.log_prob(model, data).value.mean().item() > reached - 0.02


def test_the_doubly_reparameterized_gradient_is_that_of_the_bound():
    """In expectation, for rows of three patterns, one with a latent that another one reads; with less noise in the guide's."""
    model = dgm.compile(GAUSSIAN, seed=0)
    guide = dgm.compile(dgm.amortize(GAUSSIAN, observed=dgm.AnySubset("a b c d"), net=dgm.MLP(3, activation=torch.nn.Tanh)), seed=1)
    data = {"c": torch.tensor([0.7, NAN, 1.5]), "d": torch.tensor([NAN, 0.4, 0.2])}
    data = {name: column.repeat(400) for name, column in data.items()}
    means, noises = [], []
    for gradient in (None, dgm.DoublyReparameterized()):
        bound = dgm.IWAE(model, guide, particles=8, gradient=gradient)
        batch, found = bound.prepare(data), []
        for seed in range(30):
            torch.manual_seed(seed)
            found.append(torch.cat([part.flatten() for part in torch.autograd.grad(bound(batch), [*guide.parameters()], allow_unused=True, materialize_grads=True)]))
        means.append(torch.stack(found).mean(0))
        noises.append(torch.stack(found).std(0))
        torch.manual_seed(0)
        first = bound.world_losses(batch)
        torch.manual_seed(0)
        torch.testing.assert_close(first.detach(), -bound.score(batch))
    moved = means[0].abs() > 0
    assert moved.sum() > 30
    error = ((noises[0].square() + noises[1].square()) / 30).sqrt()[moved]
    assert (((means[0] - means[1])[moved] / error).abs() < 4.5).all()
    assert noises[1][moved].norm() < 0.7 * noises[0][moved].norm()


def test_patterns_and_their_probabilities():
    torch.manual_seed(0)
    share = dgm.AnySubset("a b", prob={"a": 0.9}).draw(4000).float().mean(0)
    torch.testing.assert_close(share, torch.tensor([0.9, 0.5]), atol=0.03, rtol=0)
    sizes = dgm.AnySubset("a b c", prob=(0.0, 1.0)).draw(8000).sum(1).bincount()
    torch.testing.assert_close(sizes / 8000, torch.full((4,), 0.25), atol=0.03, rtol=0)
    drawn = dgm.AnySubset("a b c", patterns={"a": 3.0, "b c": 1.0}).draw(4000)
    torch.testing.assert_close(drawn.float().mean(0), torch.tensor([0.75, 0.25, 0.25]), atol=0.03, rtol=0)
    assert (drawn[:, 0] != drawn[:, 1]).all()


def test_it_is_copied_pickled_and_restored(gaussian, tmp_path):
    model, guide = gaussian
    values = model.sample(3)
    masks = guide.patterned({"c": torch.tensor([True, False, True])}, 3)
    other = dgm.compile(dgm.amortize(GAUSSIAN, observed=dgm.AnySubset("a b c d"), net=dgm.MLP(32)), seed=9)
    other.load_state_dict(guide.state_dict())
    for same in (copy.deepcopy(guide), pickle.loads(pickle.dumps(guide)), other):
        assert torch.equal(same.surprisals(values, masks), guide.surprisals(values, masks))


def test_it_works_in_double_precision(gaussian):
    model, guide = (copy.deepcopy(each).double() for each in gaussian)
    evidence = {"c": torch.tensor([0.7, NAN], dtype=torch.float64), "a": torch.tensor([NAN, 0.2], dtype=torch.float64)}
    found = dgm.posterior(model, evidence, method=dgm.Importance(guide, 4000))
    torch.testing.assert_close(found.log_evidence, dgm.log_prob(model, evidence).value, atol=0.05, rtol=0)


def test_it_is_saved_and_loaded(tmp_path):
    net = dgm.BayesNet(k=dgm.Categorical(["low", "high"]), x=dgm.Normal(2).given("k"), y=dgm.Normal().given("x"))
    subset = dgm.AnySubset("k x y", patterns={"y": 1.0, "k y": 2.0}, cells={"y": (0.2, 1.0)})
    guide = dgm.compile(dgm.amortize(net, observed=subset, net=dgm.MLP(8), families={"x": dgm.Flow(2)}), seed=1)
    dgm.save(guide, tmp_path / "guide.safetensors")
    same, values = dgm.load(tmp_path / "guide.safetensors"), dgm.compile(net, seed=0).sample(3)
    masks = guide.patterned({"y": torch.tensor([True]), "k": torch.tensor([True, False, True])}, 3)
    assert torch.equal(same.surprisals(values, masks), guide.surprisals(values, masks)) and repr(same) == repr(guide)
    with pytest.raises(dgm.GraphError, match=r"not trained for the pattern 'x'"):
        same.at("x")
    with pytest.raises(dgm.GraphError, match=r"save that guide, and take the pattern once it is loaded"):
        dgm.save(guide.at("y"), tmp_path / "view.safetensors")


def test_the_guide_of_one_pattern_is_an_ordinary_guide(gaussian):
    model, guide = gaussian
    view, data = guide.at("c d"), {"c": torch.tensor([0.7, -0.2]), "d": torch.tensor([1.0, 0.5])}
    values = {**data, "a": torch.tensor([0.1, 0.3]), "b": torch.tensor([0.2, -0.4])}
    present = {"c": torch.tensor([True]), "d": torch.tensor([True])}
    torch.testing.assert_close(-sum(view.log_densities(values).values()), guide.surprisals(values, guide.patterned(present, 2)))
    assert not {id(parameter) for parameter in view.parameters()} - {id(parameter) for parameter in guide.parameters()}
    refined = dgm.posterior(model, data, method=dgm.Refined(view, samples=4000, seed=0))
    assert (dgm.log_prob(model, data).value - refined.bound < 0.03).all()
    loss = pyro.infer.Trace_ELBO(num_particles=200, vectorize_particles=True).loss(model, view, data)
    assert -dgm.log_prob(model, data).value.sum() - 0.1 < loss < -dgm.log_prob(model, data).value.sum() + 0.3


def test_it_is_judged_row_by_row_and_calibrated_by_pattern(gaussian):
    model, guide = gaussian
    rows = {"a": [NAN, 0.5, NAN], "c": [1.0, NAN, NAN], "d": [NAN, -1.0, 0.3]}
    judged = dgm.judge_weights(model, guide, rows, samples=2000)
    assert judged.khat.shape == (3,) and (judged.effective > 1500).all()
    single = dgm.judge_weights(model, guide.at("a d"), {"a": torch.tensor([0.5]), "d": torch.tensor([-1.0])}, samples=2000)
    torch.testing.assert_close(judged.effective[1:2], single.effective, rtol=0.05, atol=0)
    assert dgm.calibrate(model, guide, observed="c d", worlds=100).calibrated
    crude = dgm.compile(dgm.amortize(GAUSSIAN, observed=dgm.AnySubset("a b c d"), net=dgm.MLP(4)), seed=0)
    assert not dgm.calibrate(model, crude, observed="c d", worlds=100).calibrated
    with pytest.raises(dgm.GraphError, match=r"one pattern at a time; say which: observed='b c d'"):
        dgm.calibrate(model, guide)


def test_what_is_learned_by_regression_is_trained_so():
    model, guide = dgm.compile(GAUSSIAN), dgm.compile(dgm.amortize(GAUSSIAN, observed=dgm.AnySubset("c d"), net=dgm.MLP(8), families={"a": dgm.FlowMatching(net=dgm.MLP(8))}))
    objective = dgm.ForwardKL(model, guide)
    losses = objective.world_losses(objective.prepare(dgm.simulate(model, 50)))
    assert losses.shape == (50,) and losses.isfinite().all() and guide.parts["a"].regressed
    with pytest.raises(dgm.GraphError, match="train the guide on draws of the model"):
        dgm.ELBO(model, guide).prepare({"c": torch.zeros(2)})


def test_a_pattern_is_drawn(gaussian):
    recognition = gaussian[1].net
    assert "<svg" in dgm.draw(GAUSSIAN, guide=recognition.at("c d")).svg()
    assert repr(recognition).startswith("observed: AnySubset('a b c d')")


REFUSED = {
    "an unknown node": (lambda: dgm.amortize(GAUSSIAN, observed=dgm.AnySubset("a q")), "no node 'q'"),
    "no node": (lambda: dgm.AnySubset(""), "expected names of nodes"),
    "a probability": (lambda: dgm.AnySubset("a", prob=1.5), "between 0 and 1"),
    "a word": (lambda: dgm.AnySubset("a", prob="often"), "between 0 and 1 for 'a', or a range"),
    "a range turned round": (lambda: dgm.AnySubset("a", cells=(0.9, 0.1)), "cells: expected a probability"),
    "a weight": (lambda: dgm.AnySubset("a b", patterns={"a": -1.0}), "expected positive weights; got -1.0 for 'a'"),
    "no pattern at all": (lambda: dgm.AnySubset("a b", patterns=[]), "expected at least one pattern"),
    "a stray pattern": (lambda: dgm.AnySubset("a b", patterns=["a z"]), "a pattern names 'z'"),
    "two ways": (lambda: dgm.AnySubset("a b", prob=0.2, patterns=["a"]), "give one of them"),
    "cells that others read": (
        lambda: dgm.amortize(dgm.BayesNet(x=dgm.Normal(2), y=dgm.Normal().given("x")), observed=dgm.AnySubset("x y", cells=0.5)), "hides cells of 'x', on which 'y' depends",
    ),
    "another structure": (lambda: dgm.amortize(GAUSSIAN, observed=dgm.AnySubset("a"), structure=dgm.MeanField()), "faithful structure for each pattern"),
    "an option of others": (lambda: dgm.amortize(GAUSSIAN, observed=dgm.AnySubset("a"), collapse=True), "collapse does not go with AnySubset"),
    "an anchored family": (lambda: dgm.amortize(GAUSSIAN, observed=dgm.AnySubset("a"), family=dgm.PriorAnchored()), "anchored to the model's own conditional"),
    "nothing to infer": (lambda: dgm.amortize(GAUSSIAN, observed=dgm.AnySubset("a b c d")).at("a b c d"), "no latent needs a guide"),
    "another gradient": (
        lambda: dgm.IWAE(dgm.compile(GAUSSIAN), dgm.compile(dgm.amortize(GAUSSIAN, observed=dgm.AnySubset("c d"), net=dgm.MLP(4))), gradient=dgm.VIMCO()),
        r"trained by the bound's own gradient or by gradient=dgm.DoublyReparameterized\(\); got VIMCO\(\)",
    ),
    "missing that is not observed": (lambda: dgm.amortize(GAUSSIAN, observed=["c", "d"], missing="a"), "missing names 'a', which is no observed random node"),
    "missing beside any subset": (lambda: dgm.amortize(GAUSSIAN, observed=dgm.AnySubset("c d"), missing="c"), "leave missing out, or name what is observed"),
    "missing with an option of others": (lambda: dgm.amortize(GAUSSIAN, observed=["c", "d"], missing="c", collapse=True), "collapse does not go with missing"),
    "missing in a program": (lambda: dgm.amortize(lambda: None, observed="x", missing="x"), "a Pyro program observes whole sites"),
    "an order that lacks nodes": (lambda: dgm.amortize(GAUSSIAN, observed=dgm.AnySubset("a"), order=["a"]), "a list of all random nodes"),
}


@pytest.mark.parametrize("call, message", REFUSED.values(), ids=REFUSED)
def test_refused(call, message):
    with pytest.raises(dgm.GraphError, match=message):
        call()


def test_missing_nodes_are_the_patterns_in_which_they_come_and_go():
    """`c` may be missing and `d` not: one guide, exact in both patterns, over the model's own posterior."""
    torch.manual_seed(0)
    recognition = dgm.amortize(GAUSSIAN, observed=["c", "d"], missing="c", net=dgm.MLP(32))
    assert recognition.subset.allows({"d"}) and recognition.subset.allows({"c", "d"}) and not recognition.subset.allows({"c"})
    model, guide = dgm.compile(GAUSSIAN), dgm.compile(recognition, seed=1)
    dgm.fit(dgm.ForwardKL(model, guide), dgm.simulate(model, 3000), steps=500, batch_size=200, optimizer=dgm.Adam(5e-3), device="cpu", seed=0, progress=False)
    rows = {"c": [1.0, NAN], "d": [0.3, -1.0]}
    found, exact = dgm.posterior(model, rows, method=dgm.Importance(guide, 4000)), dgm.posterior(model, rows)
    for name in "abc":
        torch.testing.assert_close(found.mean()[name], exact.mean()[name].to(found.mean()[name]), atol=0.1, rtol=0)
    torch.testing.assert_close(found.log_evidence, exact.log_evidence.to(found.log_evidence), atol=0.05, rtol=0)


def test_missing_cells_of_a_vector_or_of_members_come_and_go():
    factors = dgm.BayesNet(z=dgm.Normal(loc=0.0, scale=1.0), x=dgm.Normal(3).given("z"), y=dgm.Normal().given("z"))
    subset = dgm.amortize(factors, observed=["x", "y"], missing="x").subset
    assert subset.cells == {"x": (0.0, 1.0)} and subset.prob == {"x": (0.0, 1.0), "y": 1.0}
    schools = dgm.BayesNet(mu=dgm.Normal(), theta=dgm.Normal(loc="mu"), y=dgm.Normal(loc="theta"), plates={"school": ["theta", "y"]})
    model, guide = dgm.compile(schools, seed=0), dgm.compile(dgm.amortize(schools, observed="y", missing="y", net=dgm.MLP(8)), seed=1)
    bound = dgm.ELBO(model, guide)
    assert bound(bound.prepare({"y": torch.tensor([[1.0, NAN, 2.0], [NAN, NAN, NAN], [0.1, 0.2, 0.3]])})).isfinite()


def test_nodes_that_are_always_there_are_not_counted_as_patterns():
    """Ten observed nodes in a plate, one of which may be missing."""
    names = [f"x{at}" for at in range(10)]
    net = dgm.BayesNet({"z": dgm.Normal(), **{name: dgm.Normal().given("z") for name in names}}, plates={"row": ["z", *names]})
    assert len(dgm.amortize(net, observed=names, missing="x3").subset.every()) == 2


THERE = torch.ones(3, dtype=torch.bool)


@pytest.mark.parametrize("present, message", [
    ({"q": THERE}, "guide: 'q' is not among the nodes that may be observed"),
    ({"b": THERE}, "'b' is not among the nodes that may be observed; known names: a, c; derive one for it: dgm.AnySubset('a c b')"),
    ({"u": THERE}, "guide: present: 'u' is a Given input, which is always there; leave it out"),
    ({"a": THERE[None]}, "guide: present: expected for 'a' a mask of shape (3,), one for each row, or one for all: (); got shape (1, 3); try mask.reshape(-1)"),
    ({"a": THERE[:2]}, "got shape (2,); try torch.ones(3, dtype=torch.bool)"),
    ({"a": THERE[:0]}, "got shape (0,)"),
    ({"a": THERE.float()}, "expected for 'a' a boolean tensor of shape (3,), True in the rows where it is observed; got a tensor of torch.float32; try torch.as_tensor(mask).bool()"),
    ({"a": [True, False, True]}, "got list [True, False, True]; try torch.as_tensor(mask).bool()"),
])
def test_a_wrong_mask_is_refused(present, message):
    net = dgm.BayesNet(u=dgm.Given(), a=dgm.Normal(loc="u", scale=1.0), b=dgm.Normal(loc="a", scale=1.0), c=dgm.Normal(loc="b", scale=1.0))
    guide = dgm.compile(dgm.amortize(net, observed=dgm.AnySubset("a c"), net=dgm.MLP(4)))
    with pytest.raises(dgm.GraphError, match=re.escape(message)):
        guide.patterned(present, 3)


def test_one_mask_serves_all_rows(gaussian):
    _, guide = gaussian
    masks = [guide.patterned({"a": torch.ones(shape, dtype=torch.bool)}, 3) for shape in ((), (1,), (3,))]
    assert all(torch.equal(one.present["a"], THERE) and torch.equal(one.reads["b"], masks[0].reads["b"]) for one in masks)


def test_what_the_guide_was_not_trained_for_is_refused():
    model = dgm.compile(GAUSSIAN)
    guide = dgm.compile(dgm.amortize(GAUSSIAN, observed=dgm.AnySubset("c d", patterns=["c", "c d"]), net=dgm.MLP(4)))
    with pytest.raises(dgm.GraphError, match=r"not trained for the pattern 'd'.*patterns=\[\.\.\., 'd'\]"):
        dgm.posterior(model, {"d": [0.1]}, method=dgm.Amortized(guide))
    with pytest.raises(dgm.GraphError, match=r"'a' is not among the nodes that may be observed.*derive one for it: dgm.AnySubset\('c d a'\)"):
        dgm.posterior(model, {"a": [0.1]}, method=dgm.Amortized(guide))
    with pytest.raises(dgm.GraphError, match=r"dgm.Amortized\(guide\) or dgm.Importance.*Refined\(guide.at\('c'\)\)"):
        dgm.Refined(guide)
    with pytest.raises(dgm.GraphError, match=r"take the guide of one pattern: guide.at\('c'\)"):
        dgm.gaps(model, guide, {"c": torch.zeros(1)})
    with pytest.raises(TypeError, match=r"a graph for each pattern; try draw\(net, guide=recognition.at\('c'\)\)"):
        dgm.draw(GAUSSIAN, guide=guide)
    with pytest.raises(dgm.GraphError, match=r"ReweightedWakeSleep: a guide for any subset is trained by dgm.ForwardKL"):
        dgm.ReweightedWakeSleep(model, guide)
    with pytest.raises(dgm.GraphError, match=r"another net than the model's"):
        dgm.ForwardKL(dgm.compile(MIXED), guide)
    vector = dgm.BayesNet(z=dgm.Normal(loc=0.0, scale=1.0), x=dgm.MultivariateNormal(2).given("z"))
    guide = dgm.compile(dgm.amortize(vector, observed=dgm.AnySubset("x", prob=1.0), net=dgm.MLP(4)))
    with pytest.raises(dgm.GraphError, match=r"node 'x' ~ MultivariateNormal\(2\): cells are missing within its value, whose elements hang together"):
        dgm.posterior(dgm.compile(vector), {"x": [[0.1, NAN], [0.3, 0.2]]}, method=dgm.Amortized(guide))
    with pytest.raises(dgm.GraphError, match=r"which is one pattern; take its guide: guide.at\('x'\)"):
        guide({"x": torch.zeros(1, 2)})
    mixed = dgm.compile(MIXED)
    finite = dgm.compile(dgm.amortize(MIXED, observed=dgm.AnySubset("x b"), net=dgm.MLP(4)))
    with pytest.raises(dgm.GraphError, match=r"node 'k' ~ Categorical\(3\) is unobserved in some rows and not reparameterized; train the guide on draws.*ForwardKL"):
        dgm.ELBO(mixed, finite).prepare({"x": [0.1, 0.2]})
    with pytest.raises(dgm.GraphError, match=r"node 'k' has no column"):
        dgm.ForwardKL(mixed, finite).prepare({"x": torch.zeros(2)})
