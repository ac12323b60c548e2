"""Pictures of chains: two slices, or all steps."""

import pytest

import dgm_ppl as dgm
from dgm_ppl.drawing.relations import relate

from .nets import FINITE, chain, lag

NET = FINITE["hidden Markov"][0]


def test_two_slices_show_the_arrow_from_the_step_before():
    said = relate(NET, observed="x")
    assert [(node.name, node.observed) for node in said.nodes] == [("z[-1]", False), ("z", False), ("x", True)]
    assert {(one.parents, one.child) for one in said.dependences} == {(("z[-1]",), "z"), (("z",), "x")}
    assert said.plates[0].members == ("z", "x")
    assert "z, one step before" in dgm.draw(NET).dot


def test_what_was_observed_a_step_before_is_shaded_too():
    said = relate(FINITE["autoregressive observations"][0], observed="x")
    assert {node.name for node in said.nodes if node.observed} == {"x", "x[-1]"}


def test_unrolled():
    picture = dgm.draw(NET, unroll=3)
    assert repr(picture) == "Picture(6 nodes, 5 arrows)"
    with pytest.raises(dgm.GraphError, match="draw: unroll: expected a net with a chain; got DAG"):
        dgm.draw(NET.dag, unroll=3)


def test_a_guide_over_the_chain():
    guide = dgm.BayesNet(
        x=dgm.Given(2), h=dgm.Delta(4).given(lag("h", initial=0.0), "x", net=dgm.MLP(8)), z=dgm.Categorical(3).given(lag("z"), "h", net=dgm.MLP(3)), plates=chain("x", "h", "z"))
    said = relate(NET, guide=guide)
    assert {"h", "h[-1]", "z[-1]"} <= set(said.names)


def test_a_table_has_a_row_for_each_state_before():
    net = dgm.BayesNet(z=dgm.Categorical(["a", "b"], probs=[[0.9, 0.1], [0.2, 0.8]]).given(lag("z")), plates=chain("z"))
    assert relate(net).nodes[-1].table == ("z[-1]=a: 0.9, 0.1", "z[-1]=b: 0.2, 0.8")
