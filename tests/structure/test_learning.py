"""Graphs learned from data: the class of the truth, arrows that are kept, and refusals in words."""

import sys
from itertools import combinations, permutations, product

import numpy as np
import pandas
import pytest

import dgm_ppl as dgm
from dgm_ppl.graph import MixedGraph, cpdag, members
from dgm_ppl.structure import causal_learn, compare
from dgm_ppl.structure.causal_learn import local_scores
from dgm_ppl.structure.greedy import greedy_search

from .samples import clinic, heights, mixed, sample

def dgm_dag(edges) -> dgm.DAG | None:
    try:
        return dgm.DAG([pair for some in edges for pair in some], nodes=list("abcd"))
    except dgm.GraphError:
        return None


GAUSSIAN = dgm.DAG("a -> c <- b; c -> d; d -> e")


def gaussian(rows: int = 1500, seed: int = 0) -> pandas.DataFrame:
    random = np.random.default_rng(seed)
    noise = {name: random.normal(size=rows) for name in GAUSSIAN}
    for name in GAUSSIAN.order:
        noise[name] = noise[name] + sum(noise[parent] for parent in GAUSSIAN.parents(name))
    return pandas.DataFrame(noise)


DAGS = [dag for dag in (dgm_dag(edges) for edges in product(*([(), (pair,), (pair[::-1],)] for pair in combinations("abcd", 2)))) if dag is not None]


def every_dag(names: str, seed: int) -> dgm.DAG:
    """Some DAG over these names."""
    random = np.random.default_rng(seed)
    order = random.permutation(list(names))
    return dgm.DAG([(str(a), str(b)) for a, b in combinations(order, 2) if random.random() < 0.5], nodes=list(names))


def linear(dag: dgm.DAG, rows: int, seed: int) -> pandas.DataFrame:
    random = np.random.default_rng(seed)
    values = {}
    for name in dag.order:
        values[name] = random.normal(size=rows) + sum(random.choice([-1, 1]) * random.uniform(0.6, 1.2) * values[parent] for parent in dag.parents(name))
    return pandas.DataFrame({name: values[name] for name in dag.nodes})


def score(dag: dgm.DAG, local) -> float:
    return sum(local(node, frozenset(dag.parents(node))) for node in dag)


@pytest.fixture
def library():
    return pytest.importorskip("causallearn")


@pytest.mark.parametrize("method", [dgm.PC(), dgm.PC(test=dgm.PartialCorrelation()), dgm.GES()], ids=str)
def test_a_linear_graph_is_found_up_to_equivalence(library, method):
    assert dgm.learn_structure(gaussian(), method=method) == cpdag(GAUSSIAN)


@pytest.mark.parametrize("method", [dgm.PC(), dgm.GES()], ids=str)
def test_a_finite_graph_is_found_up_to_equivalence(library, method):
    found = dgm.learn_structure(sample(clinic, 5000, seed=0), method=method)
    assert compare(found, clinic.dag).distance <= 2
    assert all(set(dag.nodes) == set(clinic) for dag in members(found))


def test_a_mixed_graph_is_found_by_the_kernel_test(library):
    found = dgm.learn_structure(mixed(800, seed=0))
    assert compare(found, dgm.DAG("group -> curve <- level -> flag")).distance == 0


def test_required_and_forbidden_arrows_are_kept(library):
    data = sample(heights, 800, seed=0)
    plain = dgm.learn_structure(data)
    assert frozenset(("age", "height")) in plain.undirected
    told = dgm.learn_structure(data, required="age -> height")
    assert {("age", "height"), ("age", "words"), ("words", "score")} - told.directed <= {("age", "words"), ("words", "score")}
    assert ("age", "height") in told.directed
    turned = dgm.learn_structure(data, forbidden=[("age", "height")])
    assert ("height", "age") in turned.directed and ("age", "words") in turned.directed
    apart = dgm.learn_structure(data, forbidden=[("age", "height"), ("height", "age")])
    assert not {("age", "height"), ("height", "age")} & apart.directed and frozenset(("age", "height")) not in apart.undirected
    unlikely = dgm.learn_structure(data, required=[("height", "score")])
    assert ("height", "score") in unlikely.directed


def test_greedy_search_keeps_to_arrows_that_the_data_speak_against(library):
    data = gaussian()
    assert ("d", "e") in dgm.learn_structure(data, method=dgm.GES(), required="d -> e").directed
    assert ("a", "e") in dgm.learn_structure(data, method=dgm.GES(), required="a -> e").directed
    turned = dgm.learn_structure(data, method=dgm.GES(), required="c -> a; c -> b")
    assert {("c", "a"), ("c", "b")} <= turned.directed and frozenset(("a", "b")) in turned.undirected | {frozenset(arrow) for arrow in turned.directed}
    without = dgm.learn_structure(data, method=dgm.GES(), forbidden=[("a", "c")])
    assert ("a", "c") not in without.directed and frozenset(("a", "c")) not in without.undirected


def test_without_knowledge_the_two_greedy_searches_agree(library):
    for seed in range(4):
        rows = linear(every_dag("abcde", seed), 400, seed)
        names = list(rows)
        scores = local_scores(names, rows.to_numpy(), finite=False)
        assert greedy_search(names, scores) == dgm.learn_structure(rows, method=dgm.GES())


@pytest.mark.parametrize("finite", [False, True], ids=["numbers", "states"])
def test_greedy_search_finds_the_best_of_all_graphs_that_agree_with_what_is_known(library, finite):
    """Against every DAG over four nodes."""
    reached = 0
    for seed in range(12):
        rows = linear(every_dag("abcd", seed), 2000, seed)
        rows = rows > rows.mean() if finite else rows
        random = np.random.default_rng(100 + seed)
        required = [tuple(map(str, random.permutation(list("abcd"))[:2]))]
        forbidden = [pair for pair in permutations("abcd", 2) if random.random() < 0.3 and pair not in required]
        found = dgm.learn_structure(rows, method=dgm.GES(), required=required, forbidden=forbidden)
        local = local_scores(list("abcd"), rows.to_numpy(dtype=float), finite=finite)
        best = max(score(dag, local) for dag in DAGS if set(required) <= set(dag.edges) and not set(forbidden) & set(dag.edges))
        member = next(members(found))
        assert set(required) <= set(member.edges) and not set(forbidden) & set(member.edges)
        reached += score(member, local) > best - 1e-6
    assert reached >= 11                                                    # greedy: it may end in a local optimum


def test_names_may_be_odd_and_columns_in_any_order(library):
    data = gaussian().rename(columns={"a": "two words", "b": "X1", "c": "β"})
    found = dgm.learn_structure(data[reversed(list(data))])
    assert {("two words", "β"), ("X1", "β"), ("β", "d"), ("d", "e")} == found.directed


def test_a_statement_that_cannot_be_tested_separates_nothing(library):
    random = np.random.default_rng(0)
    a = random.normal(size=300)
    data = pandas.DataFrame({"a": a, "copy": a, "b": a + random.normal(size=300)})
    found = dgm.learn_structure(data)
    assert frozenset(("a", "copy")) in found.undirected | {frozenset(arrow) for arrow in found.directed}


@pytest.mark.parametrize("change, options, message", [
    (lambda data: data.assign(a=1.0), {}, r"node 'a': expected a column that varies; got one value; try data.drop\(columns='a'\)"),
    (lambda data: data[["a"]], {}, r"data: expected two columns or more; got \['a'\]"),
    (lambda data: data.assign(a=np.nan), {}, "node 'a': expected a value in every row"),
    (lambda data: data, {"method": "PC"}, "method: expected an object such as dgm.PC"),
    (lambda data: data, {"required": "a -> q"}, "required: expected a node of the graph; got 'q'"),
    (lambda data: data, {"required": "a -> b", "forbidden": "a -> b"}, "required: expected arrows that are not forbidden; got a -> b"),
    (lambda data: data, {"required": "a -> b; b -> a"}, "expected no cycle"),
    (lambda data: data, {"method": dgm.PC(level=2)}, "PC: expected a level between 0 and 1; got 2"),
    (lambda data: data.assign(a=["u", "v"] * 750), {"method": dgm.GES()}, "GES: expected columns that are all finite or all single numbers"),
    (lambda data: (data[["a", "b"]] > 0), {"method": dgm.GES()}, "GES: expected three finite columns or more"),
])
def test_refusals(change, options, message):
    with pytest.raises(dgm.GraphError, match=message):
        dgm.learn_structure(change(gaussian()), **options)


def test_without_the_library_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "causallearn.utils.cit", None)
    causal_learn._test.cache_clear()
    with pytest.raises(dgm.GraphError, match=r"causal-learn is not installed; try pip install 'dgm-ppl\[structure\]'"):
        dgm.learn_structure(gaussian(50))


def test_comparison_counts_edges_and_marks():
    found = compare(dgm.DAG("a -> b; c -> d"), dgm.DAG("a -> b -> c; d"))
    assert (found.precision, found.recall, found.distance) == (0.5, 0.5, 2)
    same = compare(MixedGraph(("a", "b"), undirected=[("a", "b")]), dgm.DAG("b -> a"))
    assert str(same) == "edges: precision 1.00, recall 1.00; structural Hamming distance 0"
    with pytest.raises(dgm.GraphError, match="compare: expected graphs over the same nodes; got 'b' in one alone"):
        compare(dgm.DAG("a -> b"), dgm.DAG("a -> z"))
