import copy
import pickle

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dgm_ppl.graph import DAG, GraphError, Independence

from .graphs import connected, dags, small_dags, subsets

SAME = {
    "text": "a -> b, a -> c",
    "backwards": "b <- a; c <- a",
    "lines": "\n a -> b\n a -> c\n",
    "braces": "a -> {b c}",
    "braces over lines": "a -> {b,\n c}",
    "chain": "b <- a -> c",
    "unicode arrows": "a → b, c ← a",
    "no spaces": "a->b,a->c",
    "pairs": [("a", "b"), ("a", "c")],
    "iterator": iter([("a", "b"), ("a", "c")]),
    "parents": {"a": [], "b": ["a"], "c": "a"},
    "networkx": nx.DiGraph([("a", "b"), ("a", "c")]),
    "another": DAG("a -> b, a -> c"),
}

WRONG = {
    "cycle": ("a -> b -> c -> a", "expected no cycle; got a -> b -> c -> a"),
    "loop": ("a -> a", "node 'a': expected parents other than itself; got a -> a"),
    "arrow twice": ("a -> b, a -> b", "expected each arrow once; got a -> b twice"),
    "arrow twice in braces": ("{a b} -> c <- a", "got a -> c twice"),
    "node twice": ("a, b, a", "expected each node once; got 'a' twice"),
    "both directions": ("a <-> b", "expected arrows '->' and '<-'; got '<->'"),
    "no direction": ("a -- b", "got '--'"),
    "long arrow": ("a --> b", "got '-->'"),
    "no name": ("a -> ", "expected a name on each side of an arrow; got 'a ->'"),
    "no arrow": ("a b", "expected an arrow or a comma before 'b'; got 'a b'"),
    "empty braces": ("{} -> b", "expected names between '{' and '}'"),
    "open braces": ("{a -> b", "expected names between '{' and '}'"),
    "odd character": ("a | b", "got '|'"),
    "empty name": ('"" -> b', "expected a name; got ''"),
    "bad quotes": (r'"\q" -> b', "expected a quoted name"),
    "name is a number": ([("a", 3)], "expected a name (str); got 3 (int)"),
    "networkx numbers": (nx.DiGraph([(1, 2)]), "try nx.relabel_nodes(graph, str)"),
    "undirected": (nx.Graph([("a", "b")]), "expected a networkx DiGraph; got Graph"),
    "multigraph": (nx.MultiDiGraph([("a", "b")]), "got MultiDiGraph"),
    "not pairs": (["a -> b"], "expected arrows as pairs (parent, child); got 'a -> b'"),
    "triple": ([("a", "b", "c")], "expected arrows as pairs"),
    "parent twice": ({"c": ["a", "a"]}, "node 'c': expected each parent once"),
    "no parents": ({"c": None}, "node 'c': expected a name or several names; got None"),
    "number": (3, "expected text, pairs (parent, child)"),
}


@pytest.mark.parametrize("declaration", SAME.values(), ids=SAME)
def test_every_form_of_declaration_gives_the_same_graph(declaration):
    dag = DAG(declaration)
    assert dag == DAG("a -> b, a -> c") and dag.children("a") == ("b", "c")
    assert dag.edges == (("a", "b"), ("a", "c"))


@pytest.mark.parametrize(("declaration", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_declaration_says_what_is_wrong(declaration, message):
    with pytest.raises(GraphError) as error:
        DAG(declaration)
    assert message in str(error.value) and "; try " in str(error.value)


def test_nodes_come_first_and_may_stand_alone():
    assert DAG("a -> b", nodes=["c", "b"]).nodes == ("c", "b", "a")
    assert DAG("c; a -> b").nodes == ("c", "a", "b")
    assert DAG(nodes="only").nodes == ("only",)
    with pytest.raises(GraphError, match="nodes: expected each node once"):
        DAG("a -> b", nodes=["a", "a"])


def test_odd_names_stand_in_quotes():
    dag = DAG([("odd name", "b"), ("b", 'a "quoted" \\ one\n'), ("b", "dash-ed"), ("b", "-first"), ("é|β", "b")])
    assert DAG('"odd name" -> b').nodes == ("odd name", "b")
    assert eval(repr(dag)) == dag and DAG(str(dag)) == dag


def test_relatives():
    dag = DAG("season -> {rain sprinkler}; {rain sprinkler} -> wet -> slippery")
    assert dag.parents("wet") == ("rain", "sprinkler") and dag.children("season") == ("rain", "sprinkler")
    assert dag.ancestors("wet") == ("season", "rain", "sprinkler") and dag.ancestors("season") == ()
    assert dag.ancestors("rain", "wet") == ("season", "rain", "sprinkler")
    assert dag.descendants("rain") == ("wet", "slippery")
    assert dag.roots == ("season",) and dag.leaves == ("slippery",)
    assert dag.markov_blanket("rain") == ("season", "sprinkler", "wet")
    assert dag.order == ("season", "rain", "sprinkler", "wet", "slippery")
    assert "rain" in dag and "snow" not in dag and len(dag) == 5 and list(dag) == list(dag.nodes)


def test_order_is_topological_and_otherwise_as_declared():
    assert DAG("c; b -> a; d").order == ("c", "b", "a", "d")


def test_order_of_parents_is_as_declared():
    assert DAG({"y": ["b", "a"], "a": [], "b": "a"}).parents("y") == ("b", "a")


@pytest.mark.parametrize("ask", [
    lambda dag: dag.parents("hieght"), lambda dag: dag.children("hieght"), lambda dag: dag.ancestors("hieght"),
    lambda dag: dag.descendants("age", "hieght"), lambda dag: dag.markov_blanket("hieght"),
    lambda dag: dag.independent("age", "hieght"), lambda dag: dag.independent("age", "height", given=["hieght"]),
    lambda dag: dag.subgraph(["hieght"])])
def test_an_unknown_name_gets_its_near_miss(ask):
    with pytest.raises(GraphError, match="got 'hieght'; did you mean 'height'?"):
        ask(DAG("age -> {height vocabulary}"))


def test_questions_about_sets_that_overlap_are_refused():
    with pytest.raises(GraphError, match="got 'age' in both a and given"):
        DAG("age -> height").independent("age", "height", given="age")


def test_a_question_about_something_that_is_no_name_is_refused():
    with pytest.raises(GraphError, match="independent: expected a name or several names; got 3"):
        DAG("a -> b").independent("a", 3)
    with pytest.raises(GraphError, match="expected a node of the graph; got 3"):
        DAG("a -> b").parents(3)


def test_the_graph_does_not_change():
    dag = DAG("a -> b")
    with pytest.raises(AttributeError, match="expected a graph to stay as it is"):
        dag.nodes = ()
    copied = dag.to_networkx()
    copied.add_edge("b", "c")
    assert "c" not in dag and dag.to_networkx().number_of_edges() == 1


def test_equality_ignores_the_order_of_declaration():
    assert DAG("a -> b, c") == DAG("c, a -> b") and hash(DAG("a -> b, c")) == hash(DAG("c, a -> b"))
    assert DAG("a -> b") != DAG("b -> a") and DAG("a -> b") != DAG("a -> b, c") and DAG("a") != "a"


def test_moral_graph_marries_parents():
    assert set(map(frozenset, DAG("a -> c <- b").moral().edges)) == {frozenset("ac"), frozenset("bc"), frozenset("ab")}


def test_subgraph_keeps_the_arrows_between_its_nodes():
    assert DAG("a -> b -> c, a -> c").subgraph(["c", "a"]) == DAG("a -> c")


@given(dags())
@settings(deadline=None)
def test_what_is_printed_reads_back(dag):
    again = eval(repr(dag))
    assert again == dag and again.nodes == dag.nodes and again.edges == dag.edges
    assert DAG(str(dag)) == dag
    assert pickle.loads(pickle.dumps(dag)) == dag == copy.deepcopy(dag)


@given(dags(), st.data())
@settings(deadline=None)
def test_separation_is_the_definition(dag, data):
    a, b = data.draw(st.lists(st.sampled_from(dag.nodes), min_size=2, max_size=2, unique=True))
    conditions = data.draw(st.sets(st.sampled_from(dag.nodes))) - {a, b}
    assert dag.independent(a, b, conditions) != connected(dag, a, b, conditions)


def test_separation_is_the_definition_on_every_graph_of_four():
    for dag in small_dags(4):
        assert all(dag.independent("a", "b", rest) != connected(dag, "a", "b", rest) for rest in subsets("cd"))


@given(dags())
@settings(deadline=None)
def test_local_statements_hold_and_give_the_graph_back(dag):
    statements = dag.independencies()
    assert all(dag.independent(one.left, one.right, one.given) for one in statements)
    assert DAG.from_independencies(statements, order=dag.order) == dag
    assert DAG.from_independencies(dag, order=dag.order) == dag
    assert DAG.from_independencies(dag.independent, order=dag.order) == dag


@given(dags(4, 7), st.data())
@settings(deadline=None, max_examples=50)
def test_a_minimal_imap_along_any_order_is_sound_and_minimal(dag, data):
    order = data.draw(st.permutations(dag.nodes))
    made = DAG.from_independencies(dag.independencies(), order=order)
    assert made == DAG.from_independencies(dag, order=order)
    assert made.order == tuple(order)
    assert all(dag.independent(one.left, one.right, one.given) for one in made.independencies())
    for parent, child in made.edges:
        before, kept = set(order[:order.index(child)]), set(made.parents(child)) - {parent}
        assert not dag.independent(child, before - kept, kept)


def test_minimal_imap_of_a_large_recursive_list():
    chain = DAG([(f"z{index}", f"z{index + 1}") for index in range(40)])
    assert DAG.from_independencies(chain.independencies(), order=chain.order) == chain
    with pytest.raises(GraphError, match="expected at most 12 nodes, or statements that each tell"):
        DAG.from_independencies([*chain.independencies(), "z0 _||_ z2 | z40"], order=chain.order)


def test_no_statement_means_every_arrow():
    assert DAG.from_independencies([], order=["a", "b", "c"]) == DAG("a -> b, a -> c, b -> c")


def test_minimal_imap_refuses_unknown_names_and_repeats():
    with pytest.raises(GraphError, match=r"statement 'a _\|\|_ d' with this order: .* got 'd'; known names: a, b"):
        DAG.from_independencies(["a _||_ d"], order=["a", "b"])
    with pytest.raises(GraphError, match="order: expected each node once"):
        DAG.from_independencies([], order=["a", "a"])


def test_local_statements_of_the_design():
    assert DAG("age -> {height vocabulary}").independencies() == (
        Independence("height", "vocabulary", "age"), Independence("vocabulary", "height", "age"))
