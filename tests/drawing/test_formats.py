"""The formats besides SVG and PNG."""

import re

import pytest

from dgm_ppl.drawing import draw, draw_difference
from dgm_ppl.drawing.dot import write_dot
from dgm_ppl.drawing.layout import lay_out
from dgm_ppl.drawing.plates import drawable
from dgm_ppl.graph import DAG, cpdag

from . import nets

CASES = {
    "vae": lambda: draw(nets.vae, guide=nets.vae_guide), "labelled": lambda: draw(nets.labelled, guide=nets.labelled_guide),
    "schools": lambda: draw(nets.schools, observed="y"), "movies": lambda: draw(nets.movies), "line": lambda: draw(nets.line),
    "triangle": lambda: draw(nets.triangle), "do": lambda: draw(nets.sprinkler, do={"rain": "yes"}),
    "posterior": lambda: draw(nets.sprinkler, posterior={"rain": [0.3, 0.7], "wet": [1.5, 2.5]}, color_by={"cloudy": 1.0}),
    "difference": lambda: draw_difference(DAG("a -> b"), DAG("b -> a, a -> c")),
    "undirected": lambda: draw(cpdag(nets.sprinkler)),
}


@pytest.fixture(params=CASES)
def picture(request):
    return CASES[request.param]()


def test_the_layout_has_every_part(picture):
    layout, figure = lay_out(write_dot(picture.figure)), drawable(picture.figure)
    assert len(layout.marks) == len(figure.marks) and len(layout.boxes) == len(figure.boxes) == len(layout.labels)
    assert len(layout.lines) == len(figure.arrows)


def test_arrow_heads_are_where_they_should_be(picture):
    layout, figure = lay_out(write_dot(picture.figure)), picture.figure
    places = {mark.key: rectangle for mark, rectangle in zip(figure.marks, layout.marks)}
    for arrow, line in zip(figure.arrows, layout.lines):
        tip = line.start or line.end
        assert (tip is not None) == bool(arrow.heads)
        if tip:
            left, bottom, right, top = places[arrow.head]
            assert left - 3 <= tip[0] <= right + 3 and bottom - 3 <= tip[1] <= top + 3


def test_plates_hold_their_members_in_the_layout(picture):
    layout, figure = lay_out(write_dot(picture.figure)), drawable(picture.figure)
    for box, (left, bottom, right, top) in zip(figure.boxes, layout.boxes):
        for mark, (x0, y0, x1, y1) in zip(figure.marks, layout.marks):
            apart = x1 < left or x0 > right or y1 < bottom or y0 > top
            inside = left <= x0 and x1 <= right and bottom <= y0 and y1 <= top
            assert inside if mark.key in box.members else apart


def test_tikz_has_a_node_for_each_mark_and_a_line_for_each_arrow(picture):
    text = picture.tikz()
    assert len(re.findall(r"\\node\[[^]]*\] \(mark\d+\)", text)) == len(picture.figure.marks)
    assert len(re.findall(r"\\draw\[bn-(?!plate)", text)) == len(picture.figure.arrows)
    assert text.count(r"\draw[bn-plate]") == len(drawable(picture.figure).boxes)


def test_tikz_braces_balance(picture):
    plain = re.sub(r"\\[{}]", "", picture.tikz())
    depths = [plain[:i].count("{") - plain[:i].count("}") for i in range(len(plain) + 1)]
    assert min(depths) == 0 and depths[-1] == 0


def test_tikz_escapes_odd_names():
    text = draw(nets.odd).tikz()
    assert r"back\textbackslash{}slash\textbackslash{}N" in text and r"\textless{}b\textgreater{}\&amp;" in text
    assert r"$\theta$" in text and r"`\$\{x\}`" in text


def test_tikz_sets_letters_as_mathematics():
    text = draw(nets.movies).tikz()
    assert "$s_{u}$" in text and "$r$" in text
    assert r"$\mu$" in draw(nets.schools).tikz()


def test_tikz_draws_headless_lines_and_dashed_guides():
    assert r"\draw[bn-model, -]" in CASES["undirected"]().tikz()
    assert r"\draw[bn-guide, <-]" in CASES["vae"]().tikz()


def test_mermaid_has_a_node_for_each_mark_and_a_line_for_each_arrow(picture):
    lines = picture.mermaid().splitlines()
    assert lines[0] == "flowchart TD"
    assert sum(bool(re.match(r"\s+n\d+[(\[]", line)) for line in lines) == len(picture.figure.marks)
    assert sum(bool(re.match(r"\s+n\d+ [-=.>]+(\|\".*\"\|)? n\d+$", line)) for line in lines) == len(picture.figure.arrows)
    assert sum(line.strip() == "end" for line in lines) == sum("subgraph" in line for line in lines)


def test_mermaid_subgraphs_nest():
    assert re.search(r'subgraph p0\["class \(12\)"\].*subgraph p1\["pupil"\].*end\n\s+end', draw(nets.classes).mermaid(), re.S)


def test_mermaid_writes_crossing_plates_on_their_members():
    text = draw(nets.movies).mermaid()
    assert text.count("subgraph") == 1 and text.count("plate movie (1682)") == 2


def test_mermaid_escapes_odd_names():
    text = draw(nets.odd).mermaid()
    assert "<b>a #34;quoted#34; name</b>" in text and "<b>#60;#47;svg#62;</b>" in text


def test_mermaid_dots_guides_and_thickens_additions():
    assert '-.->|"MLP(300)"|' in CASES["vae"]().mermaid()
    assert "==>" in CASES["difference"]().mermaid()


def test_pdf_is_the_same_each_time(picture):
    assert picture.pdf().startswith(b"%PDF") and picture.pdf() == picture.pdf()


def test_pdf_says_which_letters_it_lacks():
    with pytest.warns(UserWarning, match="missing from font"):
        draw(DAG("変数 -> x")).pdf()


@pytest.mark.parametrize("suffix, start", [("tex", b"% Needs"), ("mmd", b"flowchart"), ("pdf", b"%PDF")])
def test_save(tmp_path, suffix, start):
    assert draw(nets.vae).save(tmp_path / f"vae.{suffix}").read_bytes().startswith(start)
