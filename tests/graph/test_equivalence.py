from collections import defaultdict

import networkx as nx
import pytest
from hypothesis import given, settings

from dgm_ppl.graph import DAG, GraphError, MixedGraph, cpdag, equivalent, members, orient, skeleton, v_structures

from .graphs import dags, small_dags, subsets


def _statements(dag):
    nodes = dag.nodes
    return frozenset((a, b, rest) for index, a in enumerate(nodes) for b in nodes[index + 1:]
                     for rest in subsets(set(nodes) - {a, b}) if dag.independent(a, b, rest))


@pytest.mark.parametrize(("size", "classes"), [(3, 11), (4, 185)])  # Gillispie and Perlman, 2002
def test_classes_are_those_of_equal_statements(size, classes):
    by_statements, by_class = defaultdict(set), defaultdict(set)
    for dag in small_dags(size):
        by_statements[frozenset(map(repr, _statements(dag)))].add(dag)
        by_class[cpdag(dag)].add(dag)
    assert set(map(frozenset, by_statements.values())) == set(map(frozenset, by_class.values()))
    assert len(by_class) == classes
    for graph, class_ in by_class.items():
        found = list(members(graph))
        assert set(found) == class_ and len(found) == len(class_)
        assert graph.directed == frozenset.intersection(*(frozenset(dag.edges) for dag in class_))


@given(dags(4, 7))
@settings(deadline=None, max_examples=40)
def test_members_are_equivalent_and_distinct(dag):
    found = [one for one, _ in zip(members(dag), range(200))]
    assert len(set(found)) == len(found) and all(equivalent(one, dag) for one in found)
    assert dag in found or len(found) == 200


@given(dags(4, 5))
@settings(deadline=None, max_examples=25)
def test_knowing_an_arrow_narrows_the_class_to_the_members_that_have_it(dag):
    graph = cpdag(dag)
    for edge in dag.edges:
        narrowed = orient(graph, [edge])
        kept = {one for one in members(graph) if edge in one.edges}
        assert set(members(narrowed)) == kept
        assert narrowed.directed == frozenset.intersection(*(frozenset(one.edges) for one in kept))


def test_meek_rule_four_needs_background_knowledge():
    lines = [("a", "b"), ("a", "c"), ("a", "d"), ("b", "c"), ("c", "d")]
    square = MixedGraph(("a", "b", "c", "d"), undirected=[set(one) for one in lines])
    assert ("a", "b") in orient(square, [("d", "c"), ("c", "b")]).directed


def test_an_arrow_against_the_class_is_refused():
    with pytest.raises(GraphError, match="orient: expected a line of the class; got c -> b"):
        orient(cpdag(DAG("a -> b -> c")), [("a", "b"), ("c", "b")])
    with pytest.raises(GraphError, match="orient: expected a line of the class; got a -> c"):
        orient(cpdag(DAG("a -> b -> c")), [("a", "c")])


@given(dags())
@settings(deadline=None)
def test_v_structures_and_skeleton_are_networkx(dag):
    graph = dag.to_networkx()
    theirs = {(frozenset((a, b)), c) for a, c, b in nx.dag.v_structures(graph)}
    assert {(frozenset((a, b)), c) for a, c, b in v_structures(dag)} == theirs
    assert set(map(frozenset, skeleton(dag).edges)) == set(map(frozenset, dag.edges))


def test_a_class_prints():
    assert str(cpdag(DAG("a -> b -> c; d"))) == "a -- b\nb -- c\nd"


def test_cpdag_of_pgmpy():
    base = pytest.importorskip("pgmpy.base")
    for dag in list(small_dags(4))[::7]:
        theirs = base.DAG()
        theirs.add_nodes_from(dag.nodes)
        theirs.add_edges_from(dag.edges)
        assert set(theirs.to_pdag().directed_edges) == cpdag(dag).directed
