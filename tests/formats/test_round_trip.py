"""Writing and reading is the identity: tables bit for bit, names, states, parents' order, and properties within a format."""

import gzip
import itertools
import json

import numpy
import pytest
from hypothesis import HealthCheck, given, settings

from dgm_ppl import DAG, BayesNet, Bernoulli, Categorical, Normal, read, write
from dgm_ppl.formats import DOT, Document, read_document

from .networks import NETWORKS, READABLE, TABLES, data, described, nets, odd


def same(net, other):
    assert net == other and set(net) == set(other)
    for name in net:
        assert net[name].parents == other[name].parents and net[name].labels == other[name].labels
        assert net[name].fixed["probs"].array.tobytes() == other[name].fixed["probs"].array.tobytes()


@pytest.mark.parametrize("name", NETWORKS)
def test_real_networks(name, tmp_path):
    net = read(data("bn_networks") / f"{name}.bif.gz")
    for format in TABLES.values():
        path = tmp_path / f"{name}{format.suffixes[0]}"
        write(net, path)
        same(net, read(path))
    write(net, tmp_path / "graph.dot")
    assert read(tmp_path / "graph.dot") == net.dag


@pytest.mark.parametrize("format", READABLE.values(), ids=READABLE)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(net=nets())
def test_any_network(format, net, tmp_path):
    path = tmp_path / f"net{format.suffixes[0]}"
    write(net, path)
    if format is DOT:
        assert read(path) == net.dag
    else:
        same(net, read(path))


@pytest.mark.parametrize("format", READABLE.values(), ids=READABLE)
@pytest.mark.parametrize("net", [odd, described.net], ids=["odd", "plain"])
@pytest.mark.parametrize("compressed", ["", ".gz"], ids=["text", "gzip"])
def test_odd_names_and_compression(format, net, compressed, tmp_path):
    path = tmp_path / f"net{format.suffixes[0]}{compressed}"
    write(net, path)
    found = read(path)
    assert found == (net.dag if format is DOT else net)
    assert sorted(file.name.removeprefix(path.name.removesuffix(".gz")) for file in tmp_path.iterdir()) in (
        [[compressed]] if format.name != "UAI" else [[compressed, ".names.json"]])


@pytest.mark.parametrize("format", READABLE.values(), ids=READABLE)
def test_properties_settle_after_the_first_reading(format, tmp_path):
    first, second = tmp_path / f"a{format.suffixes[0]}", tmp_path / f"b{format.suffixes[0]}"
    write(described, first)
    document = read_document(first)
    write(document, second)
    assert read_document(second) == document and first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("format", ["BIF", "XMLBIF", "NET", "JSON"])
def test_properties_survive_where_there_is_a_place(format, tmp_path):
    path = tmp_path / f"net{TABLES[format].suffixes[0]}"
    write(described, path)
    assert read_document(path) == described


@pytest.mark.parametrize("format", ["BIF", "XMLBIF", "NET", "JSON", "XDSL", "UAI"])
def test_an_odd_name_of_the_network(format, tmp_path):
    path = tmp_path / f"net{TABLES[format].suffixes[0]}"
    write(Document(described.net, 'Größe & "more" {x}; y'), path)
    assert read_document(path).name == 'Größe & "more" {x}; y'


def test_json_holds_every_declaration(tmp_path):
    net = BayesNet(z=Normal(2, loc=0.0, scale=1.0), k=Categorical(3), x=Bernoulli(4).given("z", "k"), plates={"row": ["x"]})
    write(net, tmp_path / "net.json")
    assert read(tmp_path / "net.json") == net


def test_states_without_labels_are_numbered(tmp_path):
    write(BayesNet(a=Categorical(3, probs=[0.2, 0.3, 0.5]), b=Bernoulli(probs=[0.1, 0.2, 0.3]).given("a")), tmp_path / "net.bif")
    net = read(tmp_path / "net.bif")
    assert net["a"].labels == ("0", "1", "2") and net["b"].labels == ("0", "1")
    assert net["b"].fixed["probs"].array.tolist() == [[0.9, 0.1], [0.8, 0.2], [0.7, 0.3]]


def test_a_graph_alone(tmp_path):
    dag = DAG('"odd; name" -> b; c')
    write(dag, tmp_path / "graph.gv")
    assert read(tmp_path / "graph.gv") == dag
    write(dag, tmp_path / "graph.mmd")
    assert (tmp_path / "graph.mmd").read_text() == 'flowchart TD\n  n0["odd#59; name"]\n  n1["b"]\n  n2["c"]\n  n0 --> n1\n'


@pytest.mark.parametrize("name", ["asia", "cancer", "earthquake", "survey"])
def test_marginals_are_those_of_another_program(name):
    with gzip.open(data("bn_reference") / f"{name}.json.gz") as file:
        reference = json.load(file)
    net = read(data("bn_networks") / f"{name}.bif.gz")
    assert {node: list(net[node].labels) for node in net} == reference["states"]
    marginals = {node: numpy.zeros(net[node].size) for node in net}
    for codes in itertools.product(*(range(net[node].size) for node in net)):
        world = dict(zip(net, codes))
        weight = numpy.prod([net[node].fixed["probs"].array[(*(world[parent] for parent in net[node].parents), world[node])] for node in net])
        for node, code in world.items():
            marginals[node][code] += weight
    for node, expected in reference["prior"].items():
        assert marginals[node] == pytest.approx(expected, abs=1e-12)
