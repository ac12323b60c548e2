"""Nets as other libraries' objects."""

import networkx as nx
import numpy
import pytest

from dgm_ppl import DAG, BayesNet, Categorical
from dgm_ppl.formats import FormatError, from_networkx, from_pgmpy, to_networkx

from .networks import GRASS, lawn, odd


@pytest.mark.parametrize("net", [lawn, odd], ids=["lawn", "odd"])
def test_networkx_and_back(net):
    graph = to_networkx(net)
    assert DAG(graph) == net.dag and from_networkx(graph) == net
    assert [graph.nodes[name]["parents"] for name in net] == [net[name].parents for name in net]


def test_networkx_arrows_are_the_parents_where_nothing_else_says():
    graph = to_networkx(lawn)
    del graph.nodes["sprinkler"]["parents"]
    graph.nodes["grass"]["probs"] = GRASS.tolist()
    assert from_networkx(graph) == lawn


def _without(key):
    graph = to_networkx(lawn)
    del graph.nodes["season"][key]
    return graph


def _with(**held):
    graph = to_networkx(lawn)
    graph.nodes["grass"].update(held)
    return graph


WRONG = {
    "kind": (nx.Graph(), "expected a networkx DiGraph; got Graph"),
    "table": (_without("probs"), "networkx graph: node 'season': expected the attribute 'probs'; got \\['parents', 'states'\\]; try DAG\\(graph\\)"),
    "shape": (_with(probs=GRASS.reshape(3, 2, 3)), "node 'grass': expected probs of the shape \\(2, 3, 3\\); got \\(3, 2, 3\\)"),
    "parents": (_with(parents=("season",)), "node 'grass': expected the parents \\['season', 'sprinkler'\\]; got the attribute \\('season',\\)"),
    "sum": (_with(probs=GRASS * 2), "node 'grass', given sprinkler='on', season='dry': the probabilities sum to 1.99"),
    "names": (nx.DiGraph([(1, 2)]), "expected nodes named by strings; got 1; try nx.relabel_nodes\\(graph, str\\)"),
}


@pytest.mark.parametrize("case", WRONG.values(), ids=WRONG)
def test_a_graph_that_does_not_fit(case):
    graph, message = case
    with pytest.raises(FormatError, match=message):
        from_networkx(graph)


class _Cpd:
    """What is read of a pgmpy TabularCPD."""

    def __init__(self, variables, states, values):
        self.variables, self.state_names, self.values = variables, states, numpy.array(values)


class _Model:
    def __init__(self, **cpds):
        self.cpds = cpds

    def nodes(self):
        return list(self.cpds)

    def get_cpds(self, name):
        return self.cpds[name]


def test_from_pgmpy_puts_the_own_states_last():
    states = {"a": ["x", "y"], "b": ["u", "v", "w"]}
    model = _Model(a=_Cpd(["a"], states, [0.5, 0.5]), b=_Cpd(["b", "a"], states, [[0.1, 0.2], [0.3, 0.3], [0.6, 0.5]]))
    assert from_pgmpy(model) == BayesNet(
        a=Categorical(["x", "y"], probs=[0.5, 0.5]), b=Categorical(["u", "v", "w"], probs=[[0.1, 0.3, 0.6], [0.2, 0.3, 0.5]]).given("a"))


def test_from_pgmpy_without_a_table():
    with pytest.raises(FormatError, match="pgmpy model: node 'a': expected a TabularCPD; got none"):
        from_pgmpy(_Model(a=None))
