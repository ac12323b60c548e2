"""The interactive page: what it holds, and that its script knows d-separation."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from itertools import combinations

import networkx as nx
import numpy as np
import pytest

from dgm_ppl.drawing import draw
from dgm_ppl.drawing.page import page_data
from dgm_ppl.drawing.page_script import SCRIPT
from dgm_ppl.graph import DAG, cpdag, latent_projection

from . import nets

node = pytest.mark.skipif(shutil.which("node") is None, reason="needs node to run the page's script")


def run(program: str) -> object:
    """Run the page's functions, and `program` on them, outside any browser."""
    done = subprocess.run(["node", "-e", f"{SCRIPT}\n{program}"], capture_output=True, check=True, text=True)
    return json.loads(done.stdout)


def random_dag(seed: int, n: int) -> DAG:
    draws = np.random.default_rng(seed)
    return DAG([(f"v{i}", f"v{j}") for i, j in combinations(range(n), 2) if draws.random() < 0.35],
               nodes=[f"v{i}" for i in range(n)])


@node
def test_open_paths_are_those_of_d_separation():
    cases, expected = [], []
    for seed in range(40):
        dag = random_dag(seed, 7)
        data = page_data(draw(dag).figure)
        given = [i for i in range(1, 7) if (seed >> (i % 5)) & 1]
        names = data["names"]
        cases.append([data, given])
        source, known = names[0], {names[i] for i in given}
        known.discard(source)
        expected.append([i for i, name in enumerate(names) if name not in known | {source}
                         and not nx.is_d_separator(dag.to_networkx(), {source}, {name}, known)])
    program = f"""const cases = {json.dumps(cases)};
    console.log(JSON.stringify(cases.map(([graph, given]) => [...reach(graph, 0, new Set(given)).nodes])));"""
    assert [sorted(nodes) for nodes in run(program)] == expected


@node
def test_blankets_are_those_of_the_graph():
    dag = random_dag(3, 8)
    data = page_data(draw(dag).figure)
    found = run(f"const g = {json.dumps(data)}; console.log(JSON.stringify(g.names.map((_, i) => [...blanket(g, i)])));")
    assert [{data["names"][i] for i in group} for group in found] == [set(dag.markov_blanket(n)) for n in data["names"]]


@node
def test_a_collider_opens_when_it_is_known():
    data = page_data(draw(DAG("rain -> wet <- sprinkler")).figure)
    program = f"""const graph = {json.dumps(data)}, open = known => [...reach(graph, 0, new Set(known)).nodes];
    console.log(JSON.stringify([open([]), open([2])]));"""
    names = [[data["names"][i] for i in group] for group in run(program)]
    assert names == [["wet"], ["sprinkler"]]


def test_a_dependence_through_a_network_has_all_its_parts():
    data = page_data(draw(nets.labelled, guide=nets.labelled_guide).figure)
    assert data["names"] == ["y", "z", "x"] and data["known"] == [2]
    assert data["edges"] == [[0, 2], [1, 2]]
    assert data["parts"]["0 2"] == ["arrow0", "mark3", "arrow2"]


def test_cut_arrows_are_no_dependences():
    assert page_data(draw(nets.sprinkler, do="rain").figure)["edges"] == [[0, 1], [1, 3], [2, 3], [2, 4]]


def test_a_hidden_cause_is_a_node_that_is_not_shown():
    data = page_data(draw(latent_projection(DAG("u -> {x y}"), "u")).figure)
    assert (data["names"], data["shown"], data["edges"]) == (["x", "y", ""], 2, [[2, 0], [2, 1]])


def test_open_paths_need_directions():
    assert not page_data(draw(cpdag(nets.sprinkler)).figure)["directed"]
    assert page_data(draw(nets.labelled).figure)["directed"]


def test_groups_are_nodes():
    assert page_data(draw(nets.labelled, collapse={"latent": ["y", "z"]}).figure)["edges"] == [[0, 1]]


class Strict(HTMLParser):
    """Collects what a page would load, and its scripts."""

    def __init__(self):
        super().__init__()
        self.loads, self.scripts, self.tags = [], 0, []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.scripts += tag == "script"
        self.loads += [value for name, value in attributes if name in ("src", "href") and value]


def test_the_page_is_complete_in_itself():
    parser = Strict()
    parser.feed(draw(nets.odd).html())
    assert parser.loads == [] and parser.scripts == 1
    assert "title" in parser.tags and parser.tags.count("svg") == 1


def test_odd_names_stay_data():
    page = draw(nets.odd).html()
    data = json.loads(re.search(r"start\((\{.*\})\);\n</script>", page)[1])
    assert set(data["names"]) == set(nets.ODD_NAMES) and page.count("</script>") == 1


def test_parts_of_the_drawing_are_there():
    picture = draw(nets.labelled, guide=nets.labelled_guide)
    page, data = picture.html(), page_data(picture.figure)
    for part in {*data["marks"], *(part for parts in data["parts"].values() for part in parts)}:
        assert page.count(f'id="{part}"') == 1


def test_save(tmp_path):
    assert draw(nets.vae).save(tmp_path / "vae.html").read_text().startswith("<!DOCTYPE html>")
