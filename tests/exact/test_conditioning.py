"""Maxima over some nodes, cutsets, reports and pruning against the joint table."""

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import dgm_ppl as dgm
from dgm_ppl.exact import Engine, Evidence
from dgm_ppl.exact.conditioning import Conditioned

from . import brute
from .test_engine import case, difference


def tight(model, evidence, queries=(), wanted=(), maximized=()):
    """An engine that is allowed so little memory that it has to go through a cutset, or the whole one where nothing is left to cut."""
    whole = Engine(model)
    needed = whole.report(evidence, queries, wanted, maximized=maximized).bytes
    for share in (0.5, 0.7, 0.9):
        engine = Engine(model, memory=int(share * needed))
        if engine.report(evidence, queries, wanted, maximized=maximized).fits:
            return engine
    return whole


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_most_probable_states_of_some_nodes_with_the_others_summed_out(seed):
    model, table, names, seen, engine = case(seed)
    rows = brute.configurations(model, seen) if seen else [{}]
    evidence = brute.rows_of(rows, model) if seen else Evidence({}, {}, 1)
    hidden = [name for name in names if name not in seen]
    asked = random.Random(seed).sample(hidden, random.Random(seed + 2).randint(1, len(hidden)))
    for one in (engine, tight(model, evidence, maximized=asked)):
        codes, logs = one.most_probable(evidence, asked)
        for position, row in enumerate(rows):
            exact = brute.marginal(brute.conditioned(table, names, row), names, tuple(asked))
            assert logs[position].exp() == pytest.approx(exact.max().item(), abs=1e-12)
            if exact.max() > 0:
                assert exact[tuple(int(codes[name][position]) for name in asked)] == pytest.approx(exact.max().item(), rel=1e-12)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.booleans())
def test_a_cutset_gives_the_same_answers(seed, learned):
    model, table, names, seen, engine = case(seed, learned=learned)
    rows = brute.configurations(model, seen) if seen else [{}]
    evidence = brute.rows_of(rows, model) if seen else Evidence({}, {}, 1)
    hidden = [name for name in names if name not in seen]
    soft = {hidden[0]: torch.rand(len(rows), model.net[hidden[0]].space.cardinality, dtype=torch.float64)}
    evidence = Evidence(evidence.values, soft, evidence.rows)
    queries = [(name,) for name in hidden] + ([tuple(hidden[:2])] if len(hidden) > 1 else [])
    small = tight(model, evidence, queries)
    ours, wanted = small.answer(evidence, queries), engine.answer(evidence, queries)
    assert torch.equal(ours.log_evidence.isinf(), wanted.log_evidence.isinf())
    assert (ours.log_evidence.exp() - wanted.log_evidence.exp()).abs().max() < 1e-12
    for query in queries:
        assert (ours.marginals[query] - wanted.marginals[query]).abs().max() < 1e-12
    if learned and (seen or soft):
        parameters, weights = list(model.parameters()), torch.rand_like(wanted.marginals[queries[-1]])
        one, two = (
            torch.autograd.grad((answer.marginals[queries[-1]] * weights).sum() + answer.log_evidence.sum(), parameters, allow_unused=True) for answer in (ours, wanted)
        )
        for mine, other in zip(one, two):
            assert difference(mine, other) < 1e-10


def ladder(rungs=6, states=3):
    """Two chains side by side, whose cliques hold three nodes."""
    generator = torch.Generator().manual_seed(0)

    def node(*parents):
        probs = torch.rand((*[states] * len(parents), states), generator=generator, dtype=torch.float64)
        variable = dgm.Categorical(states, probs=(probs / probs.sum(-1, keepdim=True)).numpy())
        return variable.given(*parents) if parents else variable
    net = {"a0": node(), "b0": node("a0")}
    for rung in range(1, rungs):
        net[f"a{rung}"] = node(f"a{rung - 1}")
        net[f"b{rung}"] = node(f"b{rung - 1}", f"a{rung}")
    return dgm.compile(dgm.BayesNet(net)).double()


def test_draws_and_maxima_by_cases_are_those_of_the_whole():
    model = ladder(4)
    evidence = Evidence({"b3": torch.tensor([0, 2])}, {}, 2)
    hidden = [name for name in model.net.order if name != "b3"]
    whole = Engine(model)
    needed = whole.report(evidence, (), hidden, maximized=hidden).bytes
    small = Engine(model, memory=int(0.6 * needed))
    assert isinstance(small.program(evidence, (), hidden, maximized=hidden), Conditioned)
    (codes, logs), (wanted, total) = small.most_probable(evidence, hidden), whole.most_probable(evidence, hidden)
    assert (logs - total).abs().max() < 1e-12 and all(torch.equal(codes[name], wanted[name]) for name in hidden)
    torch.manual_seed(0)
    drawn = small.sample(evidence, hidden, 40_000)
    assert isinstance(small.program(evidence, (), hidden), Conditioned)
    joint = whole.answer(evidence, [("a0", "b2")]).marginals[("a0", "b2")]
    for row in range(2):
        found = (drawn["a0"][:, row] * 3 + drawn["b2"][:, row]).bincount(minlength=9) / 40_000
        assert ((found - joint[row].flatten()).square() / joint[row].flatten()).sum() * 40_000 < 8 + 6 * 4           # chi-square with 8 degrees, 6 deviations


def test_reports_are_what_the_answer_takes():
    engine = Engine(ladder())
    evidence = Evidence({"b5": torch.tensor([1])}, {}, 1)
    report = engine.report(evidence, [("a0",)])
    assert report.width == 2 and report.largest == 27 and len(report.clique) == 3 and report.fits and not report.cutset
    assert set(report.eliminated) == {name for name in engine.model.net if name != "b5"} and report.pruned == ()
    assert "width 2, largest clique 27 states" in str(report)
    pruned = engine.report(engine.requisite(Evidence({name: torch.tensor([1]) for name in ("a3", "b3", "b5")}, {}, 1), ("a1",)), [("a1",)])
    assert set(pruned.pruned) == {"a4", "b4", "a5", "b5"}
    small = Engine(engine.model, memory=report.bytes // 3)
    cut = small.report(evidence, [("a0",)])
    assert cut.cutset and cut.cases == 3 ** len(cut.cutset) and cut.fits and "cases: every state of" in str(cut)
    assert not Engine(engine.model, memory=10, cases=1).report(evidence, [("a0",)]).fits


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_a_marginal_from_what_it_depends_on(seed):
    model, table, names, seen, engine = case(seed)
    rows = brute.configurations(model, seen) if seen else [{}]
    evidence = brute.rows_of(rows, model) if seen else Evidence({}, {}, 1)
    hidden = [name for name in names if name not in seen]
    query = tuple(random.Random(seed).sample(hidden, min(2, len(hidden))))
    found = engine.marginal(evidence, query)
    for position, row in enumerate(rows):
        exact = brute.conditioned(table, names, row)
        if exact.sum() > 0:
            assert (found[position] - brute.marginal(exact, names, query) / exact.sum()).abs().max() < 1e-12
    assert found.isfinite().all()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.booleans(), st.integers(1, 12))
def test_few_rows_and_many_are_the_same(seed, learned, count):
    model, table, names, seen, engine = case(seed, learned=learned)
    seen = seen or names[-1:]
    rows = random.Random(seed).choices(brute.configurations(model, seen), k=count)
    evidence, hidden = brute.rows_of(rows, model), [name for name in names if name not in seen]
    soft = {name: torch.rand(count, model.net[name].space.cardinality, dtype=torch.float64) for name in hidden[:1]}
    evidence, queries = Evidence(evidence.values, soft, count), [(name,) for name in hidden] + [tuple(hidden[:3])]
    with torch.no_grad():
        few = engine.answer(evidence, queries)
    engine.program(evidence, queries)._small = False
    many = engine.answer(evidence, queries)
    assert torch.equal(few.log_evidence.isinf(), many.log_evidence.isinf())
    assert (few.log_evidence.exp() - many.log_evidence.exp()).abs().max() < 1e-13
    assert all((few.marginals[query] - many.marginals[query]).abs().max() < 1e-12 for query in queries)
