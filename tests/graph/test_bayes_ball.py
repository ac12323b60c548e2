import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dgm_ppl.graph import DAG, GraphError, connected, contract, requisite

from .graphs import dags


def _question(dag, data):
    nodes = data.draw(st.sets(st.sampled_from(dag.nodes), min_size=1, max_size=2))
    return nodes, data.draw(st.sets(st.sampled_from(dag.nodes))) - nodes


@given(dags(), st.data())
@settings(deadline=None)
def test_connected_is_separation(dag, data):
    nodes, conditions = _question(dag, data)
    met = connected(dag, nodes, conditions)
    assert all((other in met) != dag.independent(nodes, other, conditions)
               for other in dag if other not in nodes and other not in conditions)


def _tables(dag, random):
    return {node: random.dirichlet([1, 1], size=(2,) * len(dag.parents(node))) for node in dag}


def _answer(dag, tables, nodes, conditions):
    letters = {node: chr(97 + index) for index, node in enumerate(dag)}
    inputs = ",".join("".join(letters[one] for one in (*dag.parents(node), node)) for node in dag)
    joint = np.einsum(f"{inputs}->{''.join(letters[node] for node in (*nodes, *conditions))}", *tables.values())
    return joint / joint.sum(axis=tuple(range(len(nodes))), keepdims=True)


@given(dags(4, 7), st.data(), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=60)
def test_only_requisite_conditionals_and_observations_matter(dag, data, seed):
    nodes, conditions = map(sorted, _question(dag, data))
    needed, random = requisite(dag, nodes, conditions), np.random.default_rng(seed)
    tables = _tables(dag, random)
    before = _answer(dag, tables, nodes, conditions)
    changed = {node: tables[node] if node in needed.probabilities else table
               for node, table in _tables(dag, random).items()}
    assert np.allclose(before, _answer(dag, changed, nodes, conditions))
    idle = tuple(index + len(nodes) for index, node in enumerate(conditions) if node not in needed.observations)
    assert np.allclose(before, before.mean(axis=idle, keepdims=True))


@given(dags(4, 7), st.data(), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=60)
def test_everything_requisite_does_matter(dag, data, seed):
    nodes, conditions = map(sorted, _question(dag, data))
    needed, random = requisite(dag, nodes, conditions), np.random.default_rng(seed)
    tables, other = _tables(dag, random), _tables(dag, random)
    before = _answer(dag, tables, nodes, conditions)
    for node in needed.probabilities:
        changed = _answer(dag, {**tables, node: other[node]}, nodes, conditions)
        assert not np.allclose(before, changed, atol=1e-12, rtol=0)
    for node in needed.observations:
        axis = len(nodes) + conditions.index(node)
        assert not np.allclose(before, before.mean(axis=axis, keepdims=True), atol=1e-12, rtol=0)


def test_a_function_of_given_nodes_counts_as_given():
    dag = DAG("x -> half -> {y w}")
    assert connected(dag, "y", "x") == ("half", "w") and connected(dag, "y", "x", deterministic="half") == ()
    assert connected(dag, "y", deterministic="half") == ("x", "half", "w")


@given(dags(), st.data())
@settings(deadline=None)
def test_functions_separate_no_less_than_their_contraction(dag, data):
    functions = data.draw(st.sets(st.sampled_from(dag.nodes), max_size=3))
    kept = [node for node in dag if node not in functions]
    start, *conditions = data.draw(st.permutations(kept))[:data.draw(st.integers(1, len(kept)))]
    met = connected(dag, start, conditions, functions)
    small = connected(contract(dag, functions), start, conditions)
    assert set(small) == set(met).difference(functions)


def test_requisite_sets_print():
    assert str(requisite(DAG("a -> b -> c"), "c", "b")).splitlines() == [
        "observations needed: b", "conditionals needed: c", "irrelevant: a, b"]


def test_questions_are_checked():
    with pytest.raises(GraphError, match="given: expected a node of the graph; got 'd'"):
        requisite(DAG("a -> b"), "a", "d")
    with pytest.raises(GraphError, match="Bayes ball: .* got 'a' in both nodes and given"):
        connected(DAG("a -> b"), "a", "a")
