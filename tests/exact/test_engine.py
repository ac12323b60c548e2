"""Elimination against the joint table, on random nets with zeros."""

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import dgm_ppl as dgm
from dgm_ppl.exact import Engine, Evidence

from . import brute


def case(seed, dtype=torch.float64, learned=False):
    """A model, its joint table, some of its nodes, and the engine."""
    torch.manual_seed(seed)
    model = dgm.compile(brute.random_net(seed, learned=learned)).to(dtype)
    names = list(model.net.order)
    seen = random.Random(seed).sample(names, random.Random(seed + 1).randint(0, min(3, len(names) - 1)))
    return model, brute.joint(model), names, seen, Engine(model)


def difference(one, two):
    """The largest difference of two gradients, of which either may be missing, which is zero."""
    found = [0.0 if gradient is None else gradient for gradient in (one, two)]
    return float(abs(torch.as_tensor(found[0] - found[1])).max())


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.booleans())
def test_evidence_and_marginals_for_every_row(seed, single):
    model, table, names, seen, engine = case(seed, torch.float32 if single else torch.float64)
    rows = brute.configurations(model, seen) if seen else [{}]
    evidence = brute.rows_of(rows, model) if seen else Evidence({}, {}, 1)
    hidden = [name for name in names if name not in seen]
    queries = [(name,) for name in hidden] + ([tuple(hidden[:2])] if len(hidden) > 1 else [])
    with torch.no_grad():
        answer = engine.answer(evidence, queries)
    tolerance = 1e-5 if single else 1e-12
    for position, row in enumerate(rows):
        exact = brute.conditioned(table, names, row)
        assert answer.log_evidence[position].exp() == pytest.approx(exact.sum().item(), abs=tolerance)
        for query in queries:
            wanted = brute.marginal(exact, names, query) / exact.sum() if exact.sum() > 0 else torch.zeros(answer.marginals[query].shape[1:], dtype=table.dtype)
            assert (answer.marginals[query][position] - wanted).abs().max() < tolerance


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6))
def test_most_probable_states(seed):
    model, table, names, seen, engine = case(seed)
    rows = brute.configurations(model, seen) if seen else [{}]
    evidence = brute.rows_of(rows, model) if seen else Evidence({}, {}, 1)
    hidden = [name for name in names if name not in seen]
    codes, logs = engine.most_probable(evidence, hidden)
    for position, row in enumerate(rows):
        exact = brute.conditioned(table, names, row)
        assert logs[position].exp() == pytest.approx(exact.max().item(), abs=1e-12)
        if exact.max() > 0:
            state = tuple(row[name] if name in row else int(codes[name][position]) for name in names)
            assert exact[state] == pytest.approx(exact.max().item(), rel=1e-12)


def test_samples_have_the_posterior_frequencies():
    model, table, names, seen, engine = case(5)
    seen = names[-1:]
    rows = brute.configurations(model, seen)
    torch.manual_seed(0)
    drawn = engine.sample(brute.rows_of(rows, model), names[:-1], 20_000)
    for position, row in enumerate(rows):
        exact = brute.conditioned(table, names, row)
        if exact.sum() == 0:
            continue
        wanted = brute.marginal(exact, names, tuple(names[:-1])).flatten() / exact.sum()
        code = torch.zeros(20_000, dtype=torch.long)
        for name in names[:-1]:
            code = code * model.net[name].space.cardinality + drawn[name][:, position]
        found = code.bincount(minlength=len(wanted)) / 20_000
        assert not found[wanted == 0].any()
        assert ((found - wanted).square() / wanted.clamp_min(1e-12))[wanted > 0].sum() * 20_000 < 3 * len(wanted) + 60       # chi-square, far in its tail


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_gradients_are_those_of_the_joint_table(seed):
    model, table, names, seen, engine = case(seed, learned=True)
    rows = brute.configurations(model, seen) if seen else [{}]
    evidence = brute.rows_of(rows, model) if seen else Evidence({}, {}, 1)
    parameters = list(model.parameters())
    weights = torch.rand(len(rows), dtype=torch.float64)
    wanted = sum(weight * brute.conditioned(table, names, row).sum().log() for weight, row in zip(weights, rows))
    ours = (weights * engine.log_evidence(evidence)).sum()
    if not seen:
        assert not ours.requires_grad or not any(gradient.abs().max() > 1e-10 for gradient in torch.autograd.grad(ours, parameters, allow_unused=True) if gradient is not None)
        return
    for one, two in zip(torch.autograd.grad(ours, parameters, allow_unused=True), torch.autograd.grad(wanted, parameters, allow_unused=True)):
        assert difference(one, two) < 1e-10


def test_gradients_of_marginals_with_respect_to_learned_tables():
    model, table, names, seen, engine = case(11, learned=True)
    query, row = (names[0],), {names[-1]: 1}
    exact = brute.conditioned(table, names, row)
    wanted = torch.autograd.grad((brute.marginal(exact, names, query) / exact.sum())[0], list(model.parameters()), allow_unused=True)
    ours = torch.autograd.grad(engine.answer(brute.rows_of([row], model), [query]).marginals[query][0, 0], list(model.parameters()), allow_unused=True)
    for one, two in zip(ours, wanted):
        assert difference(one, two) < 1e-10


def test_gradients_through_zeros_and_impossible_rows_are_numbers():
    logits = torch.nn.Parameter(torch.tensor([0.3, -0.2], dtype=torch.float64))

    def table(parent):
        rows = torch.stack([torch.stack([torch.ones_like(logits[0]), torch.zeros_like(logits[0])]), logits.softmax(0)])
        return rows[parent.long()]
    net = dgm.BayesNet(a=dgm.Categorical(2, probs=[1.0, 0.0]), b=dgm.Categorical(2).given("a", fn=lambda a: {"logits": table(a).log()}), c=dgm.Categorical(2, probs=[[1.0, 0.0], [0.0, 1.0]]).given("b"))
    engine = Engine(dgm.compile(net).double())
    logs = engine.log_evidence(Evidence({"c": torch.tensor([0, 1])}, {}, 2))
    assert logs.tolist() == [0.0, -torch.inf]
    (gradient,) = torch.autograd.grad(logs[0] + logs[1].clamp_min(-50), [logits], allow_unused=True)
    assert gradient is None or gradient.isfinite().all()


def test_soft_evidence_reweighs():
    model, table, names, seen, engine = case(3)
    name = names[0]
    likelihood = torch.rand(4, model.net[name].space.cardinality, dtype=torch.float64)
    answer = engine.answer(Evidence({}, {name: likelihood}, 4), [(names[-1],)])
    weighted = table.unsqueeze(0) * likelihood.reshape(4, -1, *(1 for _ in names[1:]))
    assert (answer.log_evidence.exp() - weighted.flatten(1).sum(1)).abs().max() < 1e-12
    wanted = torch.stack([brute.marginal(one, names, (names[-1],)) / one.sum() for one in weighted])
    assert (answer.marginals[(names[-1],)] - wanted).abs().max() < 1e-12


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_four_hundred_children_do_not_underflow(dtype):
    children = {f"x{index}": dgm.Bernoulli(probs=[1e-3, 2e-3]).given("z") for index in range(400)}
    model = dgm.compile(dgm.BayesNet({"z": dgm.Bernoulli(probs=0.5), **children})).to(dtype)
    evidence = Evidence({name: torch.ones(1, dtype=dtype) for name in children}, {}, 1)
    found = Engine(model).log_evidence(evidence).item()
    low, high = torch.tensor([1e-3, 2e-3], dtype=torch.float64).log() * 400
    assert found == pytest.approx(torch.logaddexp(low, high).item() - 0.6931471805599453, rel=1e-6 if dtype is torch.float32 else 1e-12)


def test_repeated_rows_are_computed_once_and_pieces_join(monkeypatch):
    model, table, names, seen, engine = case(8)
    row = {names[0]: 0}
    evidence = brute.rows_of([row, {names[0]: 1}] * 500, model)
    distinct, inverse = engine._distinct(evidence)
    assert distinct.rows == 2 and len(inverse) == 1000
    monkeypatch.setattr("dgm_ppl.exact.engine.CELLS", 1)
    found = engine.answer(evidence, [(names[-1],)])
    assert found.log_evidence[0::2].unique().numel() == 1 and found.log_evidence[0].exp() == pytest.approx(brute.conditioned(table, names, row).sum().item())
