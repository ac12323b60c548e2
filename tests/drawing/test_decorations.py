"""Evidence, `do`, colours and lines without heads."""

import re

import pytest

from dgm_ppl.drawing import draw
from dgm_ppl.drawing.figure import Role
from dgm_ppl.graph import DAG, GraphError, MixedGraph, cpdag, latent_projection

from . import nets


def roles(picture):
    return {(arrow.tail, arrow.head): arrow.role for arrow in picture.figure.arrows}


def test_evidence_shades_and_writes_values():
    figure = draw(nets.vae, evidence={"x": [0.0, 1.0], "z": 0.123456}).figure
    assert figure.mark("x").shaded and figure.mark("x").captions[-1] == "= 2 values"
    assert figure.mark("z").captions[-1] == "= 0.1235"


def test_evidence_by_name_shades_alone():
    assert draw(nets.sprinkler, evidence="wet").figure == draw(nets.sprinkler, observed="wet").figure


def test_do_cuts_the_arrows_in_and_leaves_those_out():
    found = roles(draw(nets.sprinkler, do={"rain": "yes"}))
    assert {ends for ends, role in found.items() if role is Role.CUT} == {("cloudy", "rain")}


def test_do_cuts_the_network_too():
    picture = draw(nets.labelled, do="x")
    assert set(roles(picture).values()) == {Role.CUT}
    assert picture.figure.mark(("model", "x")).role is Role.CUT


def test_do_on_one_parent_leaves_the_network():
    assert set(roles(draw(nets.labelled, do={"z": 0.0})).values()) == {Role.MODEL}


def test_do_leaves_the_guides_arrows():
    assert roles(draw(nets.vae, guide=nets.vae_guide, do="z")) == {("z", "x"): Role.MODEL, ("x", "z"): Role.GUIDE}


def test_do_shows_value_and_cut():
    svg = draw(nets.sprinkler, do={"rain": "yes"}).svg()
    assert "do = yes" in svg and "×" in svg and svg.count("stroke-dasharray") == 1


def test_colors_run_from_white_to_blue_and_orange():
    figure = draw(nets.sprinkler, color_by={"rain": 2.0, "wet": -2.0, "cloudy": 0}, observed="wet").figure
    assert [figure.mark(name).color for name in ("rain", "wet", "cloudy")] == ["#4ca0d2", "#e69f3c", "#ffffff"]
    assert figure.mark("rain").captions == ("2",)


def test_equal_colors_when_all_numbers_are_zero():
    assert draw(nets.sprinkler, color_by={"rain": 0.0}).figure.mark("rain").color == "#ffffff"


def test_an_equivalence_class_has_lines_without_heads():
    dot = draw(cpdag(nets.sprinkler)).dot
    assert re.search("cloudy -> rain .*dir=none", dot) and dot.count("dir=none") == 3


def test_a_hidden_common_cause_is_dashed_with_two_heads():
    (arrow,) = draw(latent_projection(DAG("u -> {x y}"), "u")).figure.arrows
    assert (arrow.heads, arrow.role) == (2, Role.HIDDEN)
    svg = draw(latent_projection(DAG("u -> {x y}"), "u")).svg()
    assert svg.count("stroke-dasharray") == 1 and svg.count("<polygon") == 3


def test_mixed_graphs_come_out_in_the_same_order_always():
    graphs = [MixedGraph(("c", "b", "a"), undirected=[(x, y), (y, z)]) for x, y, z in ("abc", "cba")]
    assert draw(graphs[0]).dot == draw(graphs[1]).dot


@pytest.mark.parametrize("arguments, message", [
    ({"evidence": {"wte": 1}}, r"draw: evidence: .*got 'wte'; did you mean 'wet'\?"),
    ({"do": "rian"}, r"draw: do: .*did you mean 'rain'\?"),
    ({"color_by": {"rian": 1.0}}, r"draw: color_by: .*did you mean 'rain'\?"),
    ({"color_by": {"rain": float("nan")}}, r"node 'rain': expected a finite number; got nan; try leaving the node out"),
    ({"color_by": {"rain": "much"}}, r"node 'rain': expected a finite number; got 'much'"),
    ({"posterior": {"rian": [0.5, 0.5]}}, r"draw: posterior: .*did you mean 'rain'\?"),
])
def test_what_the_graph_lacks(arguments, message):
    with pytest.raises(GraphError, match=message):
        draw(nets.sprinkler, **arguments)


def test_a_guide_beside_its_model():
    figure = draw(nets.schools, guide=nets.schools_guide, apart=True).figure
    own = [arrow for arrow in figure.arrows if arrow.role.value == "guide"]
    over = [arrow for arrow in draw(nets.schools, guide=nets.schools_guide).figure.arrows if arrow.role.value == "guide"]
    assert len(own) == len(over) and all(arrow.tail[0].startswith("guide") and arrow.head[0].startswith("guide") for arrow in own)
    assert [mark.title for mark in figure.marks].count("theta") == 2 and [box.label for box in figure.boxes] == ["school (8)", "school"]
    assert figure.mark("y").shaded and figure.mark(("guide copy", "y")).shaded and figure.mark("sigma").shaded
    assert draw(nets.schools, guide=nets.schools_guide, apart=True, evidence={"y": 1.0}, sizes={"school": 3}).svg().count("school (3)") >= 2


@pytest.mark.parametrize("suffix", [".svg", ".pdf", ".tex", ".mmd", ".html"])
def test_a_guide_beside_its_model_in_every_format(suffix, tmp_path):
    for net, guide in ((nets.labelled, nets.labelled_guide), (nets.movies, DAG("r -> {u v}")), (nets.triangle, DAG("ab -> {a b}"))):
        assert draw(net, guide=guide, apart=True).save(tmp_path / f"both{suffix}").stat().st_size > 300
