import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dgm_ppl.graph import DAG, GraphError, minimal_separator, minimal_separators

from .graphs import dags, subsets


@given(dags(4, 7), st.data())
@settings(deadline=None)
def test_separators_are_all_the_minimal_ones(dag, data):
    groups = data.draw(st.permutations(dag.nodes))
    cut = data.draw(st.integers(1, 2))
    a, b = set(groups[:cut]), set(groups[cut:cut + 1])
    within = data.draw(st.sets(st.sampled_from(dag.nodes))) - a - b
    separating = [set(one) for one in subsets(within) if dag.independent(a, b, one)]
    minimal = {frozenset(one) for one in separating if not any(other < one for other in separating)}
    found = list(map(frozenset, minimal_separators(dag, a, b, within=within)))
    assert set(found) == minimal and len(found) == len(minimal)
    one = minimal_separator(dag, a, b, within=within)
    theirs = nx.find_minimal_d_separator(dag.to_networkx(), a, b, restricted=within | a | b)
    assert (one is None) == (theirs is None) == (not minimal)


def test_the_empty_set_separates_what_is_independent():
    assert minimal_separator(DAG("a -> c <- b"), "a", "b") == ()
    assert list(minimal_separators(DAG("a, b"), "a", "b")) == [()]


def test_an_arrow_has_no_separator():
    assert minimal_separator(DAG("a -> b"), "a", "b") is None


def test_sides_may_not_overlap():
    with pytest.raises(GraphError, match="separators: .* got 'a' in both a and b"):
        minimal_separators(DAG("a -> b"), "a", ["a", "b"])
