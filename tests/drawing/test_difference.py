"""Two graphs in one picture."""

from dgm_ppl.drawing import draw_difference
from dgm_ppl.graph import DAG

from . import nets


def found(before, after):
    figure = draw_difference(before, after).figure
    return {(arrow.tail, arrow.head): arrow.role.value for arrow in figure.arrows}


def test_added_removed_turned_and_kept():
    assert found(DAG("a -> b, b -> c, c -> d"), DAG("b -> a, b -> c, a -> d")) == {
        ("b", "a"): "turned", ("b", "c"): "model", ("a", "d"): "added", ("c", "d"): "removed"}


def test_nodes_come_and_go():
    figure = draw_difference(DAG("a -> b"), DAG("a -> c")).figure
    assert [(mark.key, mark.role.value) for mark in figure.marks] == [("a", "model"), ("c", "added"), ("b", "removed")]


def test_equal_graphs_need_no_legend():
    assert draw_difference(nets.sprinkler, nets.sprinkler).figure.legend == ()


def test_nets_are_compared_by_their_graphs():
    assert found(nets.vae, nets.vae_guide) == {("x", "z"): "turned"}


def test_the_legend_names_what_is_there():
    svg = draw_difference(DAG("a -> b"), DAG("b -> a, a -> c")).svg()
    assert "added" in svg and "turned" in svg and "removed" not in svg


def test_a_cycle_of_old_and_new_arrows_is_drawable():
    assert "<svg" in draw_difference(DAG("a -> b -> c"), DAG("c -> a")).svg()
