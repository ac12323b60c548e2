"""What pictures show, as text that a reader or a program gets."""

import re
from xml.etree import ElementTree

import pytest
from torch import nn

from dgm_ppl.drawing import draw
from dgm_ppl.drawing.render import programs
from dgm_ppl.families import Normal
from dgm_ppl.nets import MLP
from dgm_ppl.network import BayesNet

from . import nets

SVG = "{http://www.w3.org/2000/svg}"
CASES = {
    "vae": lambda: draw(nets.vae, guide=nets.vae_guide), "labelled": lambda: draw(nets.labelled, guide=nets.labelled_guide),
    "schools": lambda: draw(nets.schools, guide=nets.schools_guide), "line": lambda: draw(nets.line, observed="y"),
    "classes": lambda: draw(nets.classes), "movies": lambda: draw(nets.movies, observed="r"),
    "triangle": lambda: draw(nets.triangle), "sprinkler": lambda: draw(nets.sprinkler), "odd": lambda: draw(nets.odd),
}


@pytest.fixture(params=list(programs()))
def program(request, monkeypatch):
    """Each program that can draw here, alone."""
    monkeypatch.setattr("dgm_ppl.drawing.render.programs", lambda: iter([request.param]))


@pytest.fixture(params=CASES)
def picture(request):
    return CASES[request.param]()


def texts(picture) -> list[str]:
    return [element.text for element in ElementTree.fromstring(picture.svg()).iter(f"{SVG}text")]


def test_every_name_family_label_and_plate_is_written(picture, program):
    shown = texts(picture)
    written = {word for mark in picture.figure.marks for word in (mark.title, *mark.captions)}
    written |= {arrow.label for arrow in picture.figure.arrows if arrow.label}
    written |= {box.label for box in picture.figure.boxes}
    if "plate C" not in shown:
        assert {word.strip() for word in shown} == written


def test_the_same_picture_is_the_same_bytes(picture, program):
    assert picture.svg() == picture.svg() and picture.png() == picture.png()


def test_png(picture, program):
    assert picture.png(dpi=50).startswith(b"\x89PNG") and len(picture.png(dpi=50)) < len(picture.png(dpi=200))


def test_odd_names_come_out_as_they_went_in(program):
    assert sorted(texts(draw(nets.odd))) == sorted(nets.ODD_NAMES)


def test_odd_names_come_out_as_tooltips(program):
    titles = re.findall('xlink:title="([^"]*)"', draw(nets.odd).svg())
    shown = [ElementTree.fromstring(f"<t>{title}</t>").text for title in titles]
    assert set(nets.ODD_NAMES) <= set(shown)


def test_guide_arrows_are_dashed_and_labelled(program):
    svg = draw(nets.vae, guide=nets.vae_guide).svg()
    assert svg.count("stroke-dasharray") == 1
    assert texts(draw(nets.vae, guide=nets.vae_guide)).count(" MLP(300) ") == 1


def test_the_guides_arrow_ends_in_the_latent():
    assert "z -> x" in draw(nets.vae, guide=nets.vae_guide).dot
    assert re.search(r"z -> x \[.*dir=back.*style=dashed", draw(nets.vae, guide=nets.vae_guide).dot)


def test_a_plate_is_one_box_with_its_name_and_size(program):
    svg = draw(nets.schools).svg()
    assert svg.count('class="cluster"') == 1 and "school (8)" in svg


def test_an_open_plate_has_its_name_alone():
    assert "point" in texts(draw(nets.line)) and "point (20)" in texts(draw(nets.line, sizes={"point": 20}))


def test_crossing_plates_are_two_boxes_and_no_clone(program):
    svg = draw(nets.movies).svg()
    assert svg.count('class="cluster"') == 2
    assert svg.count('class="node"') == len(draw(nets.movies).figure.marks)


def test_observed_nodes_are_shaded_and_deterministic_ones_double(program):
    svg = draw(nets.line, observed="y").svg()
    assert svg.count('<ellipse fill="#d3d3d3"') == 1
    assert svg.count("<ellipse") == 5


def test_inputs_are_boxes():
    assert re.search(r't \[.*shape=box', draw(nets.line).dot)


def test_tooltips_say_the_declaration():
    assert "theta ~ Normal(loc=mu, scale=tau)" in draw(nets.schools).svg()


def test_tooltips_say_what_a_network_is_beyond_its_label():
    net = BayesNet(z=Normal(2), x=Normal(2).given("z", net=nn.Linear(2, 4)), y=Normal().given("z", "x", net=MLP(8, dropout=0.1)))
    svg = draw(net).svg()
    assert "Linear(in_features=2, out_features=4, bias=True)" in svg and "MLP(8, dropout=0.1)" in svg


@pytest.mark.parametrize("suffix, start", [("svg", b"<?xml"), ("png", b"\x89PNG"), ("dot", b"// dot"), ("gv", b"// dot"),
                                           ("SVG", b"<?xml")])
def test_save_writes_what_the_suffix_says(tmp_path, suffix, start):
    path = draw(nets.vae).save(tmp_path / f"vae.{suffix}")
    assert path.read_bytes().startswith(start)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("name", ["vae.jpg", "vae"])
def test_save_names_the_formats_that_work(tmp_path, name):
    with pytest.raises(ValueError, match=rf"expected a path that ends in .svg, .png, .*; got '{name}'; "
                                         r"try picture.save\('vae.svg'\)"):
        draw(nets.vae).save(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = draw(nets.vae).save(tmp_path / "vae.svg")
    before = path.read_bytes()
    monkeypatch.setattr("dgm_ppl.drawing.render.programs", lambda: iter(()))
    with pytest.raises(RuntimeError, match=r"expected a program that draws svg; got none; try pip install graphviz-pure"):
        draw(nets.line).save(path)
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_notebooks_show_the_svg():
    picture = draw(nets.vae)
    assert picture._repr_mimebundle_() == {"image/svg+xml": picture.svg(), "text/plain": "Picture(2 nodes, 1 arrow)"}
    assert picture._repr_svg_() == picture.svg()


def test_the_systems_program_is_preferred(tmp_path, monkeypatch):
    (tmp_path / "dot").write_text("#!/bin/sh\necho drawn by the system\n")
    (tmp_path / "dot").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert draw(nets.vae).svg() == "drawn by the system\n"


def test_a_program_that_fails_is_followed_by_the_next(tmp_path, monkeypatch):
    (tmp_path / "dot").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "dot").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert draw(nets.vae).svg().startswith("<?xml")


def test_labels_are_anchored_in_the_middle_of_their_nodes(program):
    tree = ElementTree.fromstring(draw(nets.schools, observed="y").svg())
    for group in tree.iter(f"{SVG}g"):
        if group.get("class") == "node" and (ellipse := group.find(f".//{SVG}ellipse")) is not None:
            for text in group.iter(f"{SVG}text"):
                assert text.get("text-anchor") == "middle" and abs(float(text.get("x")) - float(ellipse.get("cx"))) < 0.01
