"""Files written by hand from each format's specification, all of one network whose tables no transposition leaves alone."""

import pytest

from dgm_ppl import DAG, read
from dgm_ppl.formats import read_document

from .networks import GOLDEN, GRASS, lawn


@pytest.mark.parametrize("file", ["lawn.bif", "lawn.xmlbif", "lawn.xdsl", "lawn.net", "lawn.uai", "lawn.json"])
def test_every_format_says_the_same(file):
    document = read_document(GOLDEN / file)
    assert document.net == lawn and list(document.net) == list(lawn) and document.name == "Lawn"
    assert (document.net["grass"].fixed["probs"].array == GRASS).all()
    assert document.net["grass"].parents == ("sprinkler", "season")


def test_rows_in_any_order_with_a_default():
    net = read(GOLDEN / "lawn_rows.bif")
    assert net == lawn


def test_what_bif_says_beside():
    document = read_document(GOLDEN / "lawn.bif")
    assert document.properties == ('"author = by hand"', "version = 1.0")
    assert document.node_properties == {"season": ('"position = (73, 165)"',)}
    assert document.table_properties == {"grass": ('"source = table 2"',)}


def test_what_xmlbif_says_beside():
    document = read_document(GOLDEN / "lawn.xmlbif")
    assert document.properties == ("author = by hand",)
    assert document.node_properties == {"season": ("position = (73, 165)",)}
    assert document.table_properties == {"grass": ("source = table 2",)}


def test_what_xdsl_says_beside():
    document = read_document(GOLDEN / "lawn.xdsl")
    *attributes, extensions = document.properties
    assert attributes == ["@numsamples = 10000", "@discsamples = 10000"]
    assert extensions.startswith("<extensions>") and "<name>Séason</name>" in extensions
    assert document.node_properties == {"season": ("@2.fault = true", "unit = mm < 5"), "sprinkler": ("@diagtype = observation",)}


def test_what_net_says_beside():
    document = read_document(GOLDEN / "lawn.net")
    assert document.properties == ("node_size = (80 40)",)
    assert document.node_properties == {"season": (r'label = "Season of \"rain\""', "position = (73 165)"), "grass": ('HR_Desc = ""',)}
    assert document.table_properties == {"grass": ("experience = (10 20 30 40 50 60)",)}


def test_a_class_with_numbered_states():
    document = read_document(GOLDEN / "lawn_class.net")
    assert document.name == "Lawn" and document.net["season"].labels == ("0", "1", "2")
    assert document.net["grass"].fixed["probs"].array.tolist() == [[0.6, 0.4], [0.3, 0.7], [0.05, 0.95]]
    assert document.node_properties["season"] == ("subtype = number", "state_values = (0 1 2)")


def test_uai_without_its_names(tmp_path):
    (tmp_path / "lawn.uai").write_bytes((GOLDEN / "lawn.uai").read_bytes())
    net = read(tmp_path / "lawn.uai")
    assert list(net) == ["x0", "x1", "x2"] and net["x2"].labels == ("0", "1", "2") and net["x2"].parents == ("x1", "x0")
    assert (net["x2"].fixed["probs"].array == GRASS).all()


def test_dot_is_a_graph():
    document = read_document(GOLDEN / "lawn.dot")
    assert document.net == DAG("season -> {sprinkler grass}; sprinkler -> grass") and document.name == "Lawn"
    assert document.properties == ("rankdir = LR",)
    assert document.node_properties == {"season": ("label = <<B>Season</B> &lt; 5>", '"URL" = "ab"')}


def test_a_deterministic_node_of_genie(tmp_path):
    (tmp_path / "or.xdsl").write_text("""<smile id="Or"><nodes>
        <cpt id="a"><state id="no"/><state id="yes"/><probabilities>0.9 0.1</probabilities></cpt>
        <cpt id="b"><state id="no"/><state id="yes"/><state id="maybe"/><probabilities>0.7 0.2 0.1</probabilities></cpt>
        <deterministic id="c"><state id="no"/><state id="yes"/><parents>a b</parents><resultingstates>no yes no yes yes yes</resultingstates></deterministic>
    </nodes></smile>""")
    assert read(tmp_path / "or.xdsl")["c"].fixed["probs"].array[..., 1].tolist() == [[0, 1, 0], [1, 1, 1]]
