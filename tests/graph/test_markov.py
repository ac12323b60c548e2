import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dgm_ppl.graph import (DAG, GraphError, Independence, basis_set, elementary_statements, entails, markov_boundary,
                           pairwise_statements)

from .graphs import dags, subsets


@given(dags())
@settings(deadline=None)
def test_every_list_holds(dag):
    for statement in (*pairwise_statements(dag), *basis_set(dag), *dag.independencies()):
        assert dag.independent(statement.left, statement.right, statement.given)


@given(dags())
@settings(deadline=None)
def test_a_basis_set_has_one_statement_for_each_missing_arrow(dag):
    assert len(basis_set(dag)) == len(dag) * (len(dag) - 1) / 2 - len(dag.edges)


@given(dags(4, 6))
@settings(deadline=None, max_examples=30)
def test_the_local_list_is_enough_for_every_statement(dag):
    known = dag.independencies()
    assert all(entails(known, statement) for statement in elementary_statements(dag))


@given(dags(4, 6), st.integers(0, 3))
@settings(deadline=None, max_examples=50)
def test_elementary_statements_are_all_that_hold(dag, largest):
    slow = {Independence(a, b, rest) for index, a in enumerate(dag.nodes) for b in dag.nodes[index + 1:]
            for rest in subsets(set(dag) - {a, b}) if len(rest) <= largest and dag.independent(a, b, rest)}
    found = list(elementary_statements(dag, largest))
    assert set(found) == slow and len(found) == len(slow)
    assert [len(one.given) for one in found] == sorted(len(one.given) for one in found)


def test_statements_up_to_a_size():
    assert list(map(str, elementary_statements(DAG("a -> c <- b"), 0))) == ["a _||_ b"]
    assert list(elementary_statements(DAG("a -> b"))) == []
    with pytest.raises(GraphError, match="largest: expected 0 or more given nodes; got -1"):
        list(elementary_statements(DAG("a -> b"), -1))


@given(dags())
@settings(deadline=None)
def test_the_boundary_among_all_nodes_is_the_blanket(dag):
    assert all(markov_boundary(dag, node) == dag.markov_blanket(node) for node in dag)


@given(dags(4, 7), st.data())
@settings(deadline=None, max_examples=50)
def test_a_boundary_is_the_smallest_set_that_separates(dag, data):
    node = data.draw(st.sampled_from(dag.nodes))
    among = data.draw(st.sets(st.sampled_from(dag.nodes))) - {node}
    smallest = next(set(kept) for kept in subsets(sorted(among)) if dag.independent(node, among - set(kept), kept))
    assert set(markov_boundary(dag, node, among)) == smallest
