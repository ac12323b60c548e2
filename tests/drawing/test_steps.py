"""Eliminations and inversions, a panel for each step."""

import pytest

import dgm_ppl as dgm
from dgm_ppl.drawing import draw_steps
from dgm_ppl.graph import DAG, GraphError, Topological, invert
from dgm_ppl.graph.elimination import MinFill, eliminate

from . import nets

LOOP = DAG("a -> {b c}; b -> d; c -> e; {d e} -> f")


def drawn(picture):
    """Each panel's lines by their roles, as sets of names."""
    panels = {}
    for arrow in picture.figure.arrows:
        ends = frozenset((arrow.tail[1], arrow.head[1]))
        panels.setdefault(arrow.tail[0], {}).setdefault(arrow.role.value, set()).add(ends)
    return list(panels.values())


def pairs(text):
    return {frozenset(pair) for pair in text.split()}


def test_every_step_shows_what_it_joins_and_what_goes():
    panels = drawn(draw_steps(LOOP, order=list("fabcde")))
    assert panels[0] == {"model": pairs("ab ac bd ce df ef")}
    assert panels[1] == {"model": pairs("ab ac bd ce df ef"), "joined": pairs("de")}
    assert panels[2] == {"model": pairs("ab ac bd ce de"), "gone": pairs("df ef")}
    assert panels[3] == {"model": pairs("bd ce de"), "joined": pairs("bc"), "gone": pairs("ab ac")}
    assert panels[4] == {"model": pairs("ce de"), "joined": pairs("cd"), "gone": pairs("bc bd")}
    assert panels[-1] == {"model": pairs("ab ac bd ce df ef"), "joined": pairs("de bc cd")}


def test_the_last_panel_of_an_elimination_is_chordal():
    import networkx as nx

    for order in (MinFill(), Topological()):
        last = drawn(draw_steps(LOOP, order=order))[-1]
        graph = nx.Graph(map(tuple, set().union(*last.values())))
        assert nx.is_chordal(graph)
        assert max(map(len, nx.find_cliques(graph))) == max(len(step.neighbours) + 1 for step in eliminate(LOOP, LOOP.nodes, order))


def test_an_inversion_ends_in_the_guides_graph():
    inversion = invert(DAG("z2 -> z1 -> x; z1 -> spare"), "x")
    picture = draw_steps(inversion)
    last = [arrow for arrow in picture.figure.arrows if arrow.tail[0] == f"panel {len(picture.figure.boxes)}"]
    assert {(arrow.tail[1], arrow.head[1]) for arrow in last} == set(inversion.graph.edges)
    assert {arrow.role.value for arrow in last if arrow.head[1] == "spare"} == {"model"}
    assert picture.figure.boxes[0].label == "1. the graph" and picture.figure.boxes[-1].label.endswith("the inverse")


def test_guides_and_deterministic_nodes():
    guide = dgm.amortize(nets.vae, observed="x", net=dgm.MLP(3))
    assert [box.label for box in draw_steps(guide).figure.boxes] == ["1. the graph", "2. moral graph", "3. z goes", "4. the inverse"]
    gone = [mark.role.value for mark in draw_steps(invert(DAG("a -> m -> x"), "x", deterministic="m")).figure.marks if mark.title == "m"]
    assert gone == ["model", "gone", "gone", "gone"]


def test_every_panel_has_every_node_at_the_same_place_and_frames_do_not_touch():
    figure = draw_steps(LOOP, columns=3).figure
    frames = list(figure.placement.rectangles.values())
    for one, other in zip(figure.boxes, figure.boxes[1:]):
        shifts = {(round(figure.placement.centres[b][0] - figure.placement.centres[a][0], 6), round(figure.placement.centres[b][1] - figure.placement.centres[a][1], 6))
                  for a, b in zip(one.members, other.members)}
        assert len(shifts) == 1 and {key[1] for key in one.members} == set(LOOP)
    for i, (left, bottom, right, top) in enumerate(frames):
        for x0, y0, x1, y1 in frames[i + 1:]:
            assert right < x0 or x1 < left or top < y0 or y1 < bottom
    assert len({bottom for _, bottom, _, _ in frames}) == -(-len(frames) // 3)
    for box, (left, bottom, right, top) in zip(figure.boxes, frames):
        assert all(left < figure.placement.centres[key][0] < right and bottom < figure.placement.centres[key][1] < top for key in box.members)


@pytest.mark.parametrize("suffix", [".svg", ".png", ".pdf", ".dot", ".tex", ".mmd", ".html"])
def test_in_every_format(suffix, tmp_path):
    assert draw_steps(invert(DAG("z -> {x y}"), ["x", "y"])).save(tmp_path / f"steps{suffix}").stat().st_size > 300


@pytest.mark.parametrize("what, options, message", [
    (LOOP, {"order": ["a", "b"]}, r"draw_steps: order: expected every node; got none of \['c', 'd', 'e', 'f'\]"),
    (LOOP, {"order": ["a", "q"]}, "got 'q'"),
    (LOOP, {"columns": 0}, "expected one or more panels in a row; got columns=0"),
])
def test_wrong_questions(what, options, message):
    with pytest.raises(GraphError, match=message):
        draw_steps(what, **options)


def test_what_has_no_steps():
    with pytest.raises(TypeError, match="expected an inversion, a guide, a DAG or a net; got str"):
        draw_steps("a -> b")
