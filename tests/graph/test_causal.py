"""Adjustment and identification, checked with numbers: random tables, what is done and what is only seen."""

from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dgm_ppl.graph import (DAG, Fraction, GraphError, MixedGraph, Probability, Product, Sum, adjustment_sets,
                           backdoor_sets, frontdoor_sets, identify, is_adjustment, is_backdoor, is_frontdoor,
                           latent_projection)

from .graphs import dags, subsets

KNOWN = {
    "no confounding": ("x -> y", (), "P(y | x)"),
    "back door": ("z -> {x y}; x -> y", (), "sum_z P(z) P(y | z, x)"),
    "front door": ("u -> {x y}; x -> m -> y", "u", "sum_m P(m | x) (sum_x' P(x') P(y | x', m))"),
    "no effect": ("u -> {x y}", "u", "P(y)"),
    "M bias": ("u -> {x m}; v -> {m y}; x -> y", "u v", "P(y | x)"),
    "bow": ("u -> {x y}; x -> y", "u", None),
    "instrument": ("u -> {x y}; w -> x -> y", "u", None),
    "confounded mediator": ("u -> {x y}; x -> m -> y; v -> {x m}", "u v", None),
    "two districts": ("u -> {x m}; v -> {m y}; x -> m -> y", "u v", None),
    "napkin": ("w1 -> w2 -> x -> y; u -> {w1 x}; v -> {w1 y}", "u v",
               "[sum_w1 P(w1) P(x | w1, w2) P(y | w1, w2, x)] / [sum_w1 P(w1) P(x | w1, w2)], for any w2"),
}


@pytest.mark.parametrize(("text", "latent", "formula"), KNOWN.values(), ids=KNOWN)
def test_known_effects(text, latent, formula):
    effect = identify(DAG(text), "y", "x", latent=latent.split() if latent else ())
    assert effect.identified == (formula is not None)
    if formula:
        assert str(effect) == f"P(y | do(x)) = {formula}"
    else:
        assert str(effect).startswith("P(y | do(x)) is not identified: hidden common causes join {")


def test_a_hedge_is_named():
    assert identify(DAG("u -> {x y}; x -> y"), "y", "x", latent="u").hedge == (frozenset("xy"), frozenset("y"))


def test_an_effect_given_what_is_seen():
    assert str(identify(DAG("z -> {x y}; x -> y"), "y", "x", given="z")) == "P(y | do(x), z) = P(y | z, x)"
    assert str(identify(DAG("x -> y"), "y", ())) == "P(y) = P(y)"
    assert str(identify(DAG("a -> b"), "a", (), given="b")) == "P(a | b) = P(a | b)"


def test_a_mixed_graph_is_taken_too():
    graph = MixedGraph(("x", "m", "y"), directed=[("x", "m"), ("m", "y")], bidirected=[("x", "y")])
    assert str(identify(graph, "y", "x")).endswith("sum_m P(m | x) (sum_x' P(x') P(y | x', m))")


def test_questions_are_checked():
    with pytest.raises(GraphError, match="identify: expected a node of the graph; got 'z'"):
        identify(DAG("x -> y"), "y", "z")
    with pytest.raises(GraphError, match="identify: .* got 'u' in both do and latent"):
        identify(DAG("u -> y"), "y", "u", latent="u")
    with pytest.raises(GraphError, match="identify: expected an outcome; got none"):
        identify(DAG("u -> y"), (), "u")
    with pytest.raises(GraphError, match="adjustment: .* got 'x' in both cause and effect"):
        is_backdoor(DAG("x -> y"), "x", "x")


# Numbers. Every node is binary; a table's axes are the nodes in the graph's order of declaration.

def joint(dag, random, set_=()):
    """The joint table of a random model and, for nodes that are set, of what happens for each of their values."""
    table = np.ones((2,) * len(dag))
    for index, node in enumerate(dag):
        chance = random.dirichlet([1, 1], size=(2,) * len(dag.parents(node)))
        if node not in set_:
            axes = [dag.nodes.index(one) for one in (*dag.parents(node), node)]
            order = np.argsort(axes)
            shape = [2 if position in axes else 1 for position in range(len(dag))]
            table = table * chance.transpose(order).reshape(shape)
    return table


def marginal(table, nodes, kept):
    """Sum all but `kept` out, leaving their axes with one entry."""
    return table.sum(axis=tuple(index for index, node in enumerate(nodes) if node not in kept), keepdims=True)


def value(expression, table, nodes):
    """The value of a formula for every value of its free names, by broadcasting."""
    match expression:
        case Probability(of, given_):
            return marginal(table, nodes, {*of, *given_}) / marginal(table, nodes, given_)
        case Product(factors):
            return prod((value(one, table, nodes) for one in factors), start=np.ones((1,) * len(nodes)))
        case Sum(over, body):
            inner = value(body, table, nodes)
            axes = tuple(map(nodes.index, over))
            full = np.broadcast_to(inner, [2 if index in axes else size for index, size in enumerate(inner.shape)])
            return full.sum(axis=axes, keepdims=True)
        case Fraction(top, bottom):
            return value(top, table, nodes) / value(bottom, table, nodes)


def truth(dag, seed, outcome, do, given_=()):
    done = joint(dag, np.random.default_rng(seed), do)
    both, seen = marginal(done, dag.nodes, {*outcome, *do, *given_}), marginal(done, dag.nodes, {*do, *given_})
    return both / seen


def same(left, right):
    return np.allclose(*np.broadcast_arrays(left, right))


def _split(dag, data, *sizes):
    names, groups = list(data.draw(st.permutations(dag.nodes))), []
    for smallest, largest in sizes:
        size = data.draw(st.integers(smallest, min(largest, max(smallest, len(names) - 1))))
        groups.append(names[:size])
        names = names[size:]
    return groups


@given(dags(4, 8), st.data(), st.integers(0, 1000))
@settings(deadline=None, max_examples=200)
def test_an_estimand_is_the_effect(dag, data, seed):
    outcome, do, given_, latent = _split(dag, data, (1, 2), (1, 2), (0, 1), (0, 4))
    effect = identify(dag, outcome, do, given_, latent=latent)
    if effect.identified:
        assert effect.estimand.free.isdisjoint(latent)
        table = marginal(joint(dag, np.random.default_rng(seed)), dag.nodes, set(dag) - set(latent))
        assert same(value(effect.estimand, table, dag.nodes), truth(dag, seed, outcome, do, given_))


@given(dags(3, 7), st.data())
@settings(deadline=None, max_examples=60)
def test_everything_is_identified_where_nothing_is_hidden(dag, data):
    outcome, do, given_ = _split(dag, data, (1, 2), (1, 2), (0, 1))
    assert identify(dag, outcome, do, given_).identified


@given(dags(4, 8), st.data())
@settings(deadline=None, max_examples=100)
def test_what_can_be_adjusted_for_is_identified(dag, data):
    (y,), (x,), latent = _split(dag, data, (1, 1), (1, 1), (0, 4))
    if any(True for sets in (adjustment_sets, frontdoor_sets) for _ in sets(dag, x, y, latent=latent)):
        assert identify(dag, y, x, latent=latent).identified


@given(dags(4, 7), st.data(), st.integers(0, 1000))
@settings(deadline=None, max_examples=100)
def test_adjusting_gives_the_effect_exactly_where_the_criterion_says(dag, data, seed):
    effect, cause, adjust = _split(dag, data, (1, 1), (1, 2), (0, 3))
    table = joint(dag, np.random.default_rng(seed))
    z = Product((Probability((*effect,), (*cause, *adjust)), Probability((*adjust,))))
    formula = Sum(tuple(adjust), z) if adjust else Probability((*effect,), (*cause,))
    adjusted = value(formula, table, dag.nodes)
    assert is_adjustment(dag, cause, effect, adjust) == same(adjusted, truth(dag, seed, effect, cause))
    assert is_adjustment(dag, cause, effect, adjust) or not is_backdoor(dag, cause, effect, adjust)


@given(dags(4, 7), st.data(), st.integers(0, 1000))
@settings(deadline=None, max_examples=100)
def test_a_front_door_gives_the_effect(dag, data, seed):
    (y,), (x,), through = _split(dag, data, (1, 1), (1, 1), (0, 2))
    if is_frontdoor(dag, x, y, through):
        inner = Sum((x,), Product((Probability((x,)), Probability((y,), (x, *through)))))
        formula = Product((Probability((*through,), (x,)), inner)) if through else Sum((x,), Probability((x, y)))
        table = joint(dag, np.random.default_rng(seed))
        assert same(value(Sum(tuple(through), formula), table, dag.nodes), truth(dag, seed, [y], [x]))


CRITERIA = {"back door": (is_backdoor, backdoor_sets), "adjustment": (is_adjustment, adjustment_sets),
            "front door": (is_frontdoor, frontdoor_sets)}


@pytest.mark.parametrize(("criterion", "sets"), CRITERIA.values(), ids=CRITERIA)
@given(dag=dags(4, 7), data=st.data())
@settings(deadline=None, max_examples=60)
def test_the_sets_found_are_all_the_minimal_ones(criterion, sets, dag, data):
    (y,), (x,), latent = _split(dag, data, (1, 1), (1, 1), (0, 3))
    right = [set(one) for one in subsets(set(dag) - {x, y, *latent}) if criterion(dag, x, y, one)]
    minimal = {frozenset(one) for one in right if not any(other < one for other in right)}
    found = list(map(frozenset, sets(dag, x, y, latent=latent)))
    assert set(found) == minimal and len(found) == len(minimal)


def test_verdicts_are_those_of_y0():
    graphs = pytest.importorskip("y0.graph")
    from y0.algorithm.identify import identify_outcomes
    from y0.dsl import Variable
    names = "abcd"
    pairs = [(a, b) for index, a in enumerate(names) for b in names[index + 1:]]
    random = np.random.default_rng(0)
    for _ in range(150):
        directed = [edge for edge in pairs if random.random() < 0.5]
        joined = [edge for edge in pairs if random.random() < 0.35]
        theirs = graphs.NxMixedGraph.from_str_adj(
            nodes=list(names), directed={a: [d for c, d in directed if c == a] for a in names},
            undirected={a: [d for c, d in joined if c == a] for a in names})
        ours = identify(MixedGraph(tuple(names), directed, (), [set(edge) for edge in joined]), "d", "a")
        found = identify_outcomes(theirs, treatments={Variable("a")}, outcomes={Variable("d")})
        assert ours.identified == (found is not None)


def test_the_projection_of_a_model_answers_as_the_model_does():
    dag = DAG("u -> {x y}; x -> m -> y")
    assert identify(dag, "y", "x", latent="u") == identify(latent_projection(dag, "u"), "y", "x")
