import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dgm_ppl.graph import DAG, GraphError, MixedGraph, cpdag, latent_projection

from .graphs import dags, subsets


@given(dags(4, 8), st.data())
@settings(deadline=None, max_examples=60)
def test_projection_keeps_the_independences_among_what_is_seen(dag, data):
    hidden = data.draw(st.sets(st.sampled_from(dag.nodes), max_size=len(dag) - 2))
    graph = latent_projection(dag, hidden)
    seen, again = graph.nodes, graph.canonical()
    assert seen == tuple(node for node in dag if node not in hidden)
    a, b = seen[:2]
    assert all(dag.independent(a, b, rest) == again.independent(a, b, rest) for rest in subsets(seen[2:]))


@given(dags(4, 8), st.data())
@settings(deadline=None, max_examples=60)
def test_projection_keeps_ancestors_and_does_not_mind_the_order_of_hiding(dag, data):
    hidden = data.draw(st.permutations(dag.nodes))[:data.draw(st.integers(0, len(dag) - 1))]
    graph = latent_projection(dag, hidden)
    assert graph == latent_projection(dag, list(reversed(hidden)))
    for node in graph.nodes:
        assert graph.arrows().ancestors(node) == tuple(one for one in dag.ancestors(node) if one not in hidden)


def test_a_projection_prints_and_answers():
    graph = latent_projection(DAG("u -> {x y}; v -> {y z}; x -> m -> y; w"), ["u", "v", "m"])
    assert str(graph) == "x -> y\nx <-> y\ny <-> z\nw"
    assert graph.parents("y") == ("x",) and graph.children("x") == ("y",)
    assert graph.spouses("y") == ("x", "z") and graph.districts == (frozenset("xyz"), frozenset("w"))
    assert str(graph.subgraph(["x", "y"])) == "x -> y\nx <-> y"


def test_equality_is_of_nodes_and_edges():
    one, other = cpdag(DAG("a -> b, c")), cpdag(DAG("c, b -> a"))
    assert one == other and hash(one) == hash(other) and one.lines("a") == ("b",)
    assert one != cpdag(DAG("a -> b")) and one != "a -- b"


def test_a_mixed_graph_is_checked():
    with pytest.raises(GraphError, match="MixedGraph: expected a node of the graph; got 'c'"):
        MixedGraph(("a", "b"), directed=[("a", "c")])
    with pytest.raises(GraphError, match="MixedGraph: expected edges between two nodes; got .'a'."):
        MixedGraph(("a", "b"), bidirected=[("a", "a")])
    with pytest.raises(GraphError, match=r"MixedGraph: expected arrows and <-> alone; got a -- b; try a member"):
        cpdag(DAG("a -> b")).canonical()


def test_surgery_takes_away_the_arrows_into_what_is_set():
    assert DAG("a -> b -> c; a -> c").do("b", "c") == DAG("a, b, c")
    assert DAG("b; a -> b").do("b").nodes == ("b", "a")
    with pytest.raises(GraphError, match="do: expected a node of the graph; got 'd'"):
        DAG("a -> b").do("d")


def test_a_graph_projects_itself():
    dag = DAG("u -> {x y}; x -> m -> y")
    assert dag.latent_projection("u") == latent_projection(dag, "u") == MixedGraph(("x", "y", "m"), [("x", "m"), ("m", "y")], bidirected=[("x", "y")])
    with pytest.raises(GraphError, match="latent: expected a node of the graph; got 'v'"):
        dag.latent_projection("v")
