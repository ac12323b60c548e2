"""Minimal I-maps of data."""

import pytest

import dgm_ppl as dgm

from .samples import clinic, heights, mixed, sample


@pytest.mark.parametrize("net", [clinic, heights], ids=["finite", "linear"])
def test_along_an_order_of_the_graph_data_give_the_graph_back(net):
    oracle = dgm.DataOracle(sample(net, 4000, 3), level=0.001)
    assert dgm.DAG.from_independencies(oracle, order=net.dag.order) == net.dag


def test_along_another_order_data_give_what_the_graph_gives():
    order = list(heights.dag.order)[::-1]
    oracle = dgm.DataOracle(sample(heights, 3000, 2), level=0.001, test=dgm.PartialCorrelation())
    assert dgm.DAG.from_independencies(oracle, order=order) == dgm.DAG.from_independencies(heights.dag, order=order)


def test_columns_of_any_kind_and_sets_of_them():
    oracle = dgm.DataOracle(mixed(1500, 0))
    assert oracle("group", ["level", "flag"]) and not oracle("curve", ["group", "flag"]) and oracle({"group"}, {"flag"}, {"level"})
    assert oracle.outcome("curve", "level", "group").effect > 0.1


def test_what_cannot_be_tested_counts_as_dependent():
    assert not dgm.DataOracle({"a": [0.1, 0.2, 0.3], "b": [1.0, 2.0, 2.5]})("a", "b")


@pytest.mark.parametrize("ask, message", [
    (lambda: dgm.DataOracle({"a": [1.0]}, level=2), "level: expected a probability between 0 and 1; got 2"),
    (lambda: dgm.DataOracle({"a": [0, 1], "b": [0, 1]})("a", "c"), "expected a node of the graph; got 'c'"),
    (lambda: dgm.DataOracle({"a": [0, 1], "b": [0, 1]})("a", "a"), "got 'a' in both a and b"),
    (lambda: dgm.DataOracle({"a": [0.0, float("nan")], "b": [0, 1]})("a", "b"), "node 'a': expected a value in every row; got 1 missing cells"),
])
def test_refusals(ask, message):
    with pytest.raises(dgm.GraphError, match=message):
        ask()
