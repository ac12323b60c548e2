"""Groups of nodes as one mark, given or found."""

import pytest

from dgm_ppl.drawing import draw
from dgm_ppl.drawing.figure import Shape
from dgm_ppl.graph import DAG, GraphError

from . import nets

LARGE = DAG([(f"n{i - step}", f"n{i}") for i in range(3, 300) for step in (1, 3) if (i * step) % 4])


def lines(picture):
    return {(arrow.tail, arrow.head): arrow.label for arrow in picture.figure.arrows}


def test_a_group_is_one_mark_and_its_arrows_are_counted():
    picture = draw(nets.sprinkler, collapse={"causes": ["sprinkler", "rain"]})
    group = ("group", "causes")
    assert lines(picture) == {("cloudy", group): "2 arrows", (group, "wet"): "2 arrows", (group, "slippery"): ""}
    assert "2 nodes" in picture.svg() and "causes: sprinkler, rain" in picture.svg()


def test_a_group_swallows_its_networks():
    picture = draw(nets.labelled, collapse={"latent": ["y", "z"], "data": ["x"]})
    assert lines(picture) == {(("group", "latent"), ("group", "data")): "2 arrows"}


def test_a_network_of_a_child_outside_stays():
    picture = draw(nets.labelled, collapse={"latent": ["y", "z"]})
    assert lines(picture) == {(("group", "latent"), ("model", "x")): "2 arrows", (("model", "x"), "x"): ""}


def test_groups_may_depend_on_each_other():
    picture = draw(DAG("a -> b -> c -> d"), collapse={"odd": ["a", "c"], "even": ["b", "d"]})
    assert lines(picture) == {(("group", "odd"), ("group", "even")): "2 arrows", (("group", "even"), ("group", "odd")): ""}
    assert "<svg" in picture.svg()


def test_groups_that_depend_on_each_other_find_places_among_crossing_plates():
    assert "<svg" in draw(nets.movies, collapse={"scales": ["s_u", "s_v", "s_r"]}).svg()


def test_a_group_stands_in_its_members_plate():
    (box,) = draw(nets.schools, collapse={"data": ["y", "sigma"]}).figure.boxes
    assert set(box.members) == {"theta", ("group", "data")}


def test_a_large_graph_shrinks_to_about_as_many_marks_as_asked():
    figure = draw(LARGE, collapse=20).figure
    assert 5 <= len(figure.marks) <= 20
    inside = sum(int(mark.captions[0].split()[0]) for mark in figure.marks if mark.shape is Shape.GROUP)
    assert inside + len(figure.names) == len(LARGE)


def test_a_small_graph_stays():
    assert draw(nets.sprinkler, collapse=20) == draw(nets.sprinkler)


def test_found_groups_keep_to_their_plates():
    assert {box.name for box in draw(nets.movies, collapse=3).figure.boxes} == {"user", "movie"}


def test_nodes_without_arrows_are_one_group():
    (mark,) = draw(DAG(nodes=[f"n{i}" for i in range(50)]), collapse=5).figure.marks
    assert mark.captions == ("50 nodes",)
    joined = [(f"a{i}", f"a{i + 1}") for i in range(60)] + [(f"b{i}", f"b{i + 1}") for i in range(3)]
    marks = draw(DAG(joined, nodes=[f"n{i}" for i in range(50)]), collapse=8).figure.marks
    assert 3 < len(marks) <= 8 and ("50 nodes",) in [mark.captions for mark in marks]


@pytest.mark.parametrize("groups, message", [
    ({"g": ["rian"]}, r"draw: collapse: group 'g': .*did you mean 'rain'\?"),
    ({"g": ["rain"], "h": ["rain", "wet"]}, r"expected groups without a common node; got 'rain' in both 'g' and 'h'"),
])
def test_groups_that_cannot_be(groups, message):
    with pytest.raises(GraphError, match=message):
        draw(nets.sprinkler, collapse=groups)


def test_no_marks_at_all():
    with pytest.raises(GraphError, match="draw: collapse: expected one or more marks; got 0; try collapse=50"):
        draw(nets.sprinkler, collapse=0)


def test_a_group_across_a_plate():
    with pytest.raises(GraphError, match=r"group 'g': expected members inside the same plates; got some in plate 'school'"):
        draw(nets.schools, collapse={"g": ["mu", "theta"]})
