"""Other programs read what is written here, and the other way round, wherever they follow the specification.

Where they do not: pgmpy's UAI has the child's states outermost, pyAgrum's UAI and XDSL have the first parent's states
inside the last's, and pyAgrum keeps tables from BIF and NET in single precision.
"""

import numpy
import pytest

import dgm_ppl as dgm
from dgm_ppl import read, write
from dgm_ppl.formats import BIF, NET, XDSL, XMLBIF, from_pgmpy, to_pgmpy

from .networks import data, lawn

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def gum():
    return pytest.importorskip("pyagrum")


@pytest.fixture
def pgmpy_formats():
    pytest.importorskip("pgmpy")
    from pgmpy import readwrite

    return {
        BIF: (readwrite.BIFReader, readwrite.BIFWriter), NET: (readwrite.NETReader, readwrite.NETWriter),
        XMLBIF: (readwrite.XMLBIFReader, readwrite.XMLBIFWriter), XDSL: (readwrite.XDSLReader, readwrite.XDSLWriter),
    }


def gum_table(network, name):
    cpt = network.cpt(name)
    axes = list(cpt.names)[::-1]
    return numpy.transpose(cpt.toarray(), [axes.index(axis) for axis in (*lawn[name].parents, name)])


@pytest.mark.parametrize("format, suffix", [(BIF, ".bif"), (XMLBIF, ".bifxml"), (NET, ".net")], ids=str)
def test_pyagrum(format, suffix, gum, tmp_path):
    write(lawn, tmp_path / f"ours{suffix}", format)
    theirs = gum.loadBN(str(tmp_path / f"ours{suffix}"))
    for name in lawn:
        assert list(theirs.variable(name).labels()) == list(lawn[name].labels)
        assert gum_table(theirs, name) == pytest.approx(lawn[name].fixed["probs"].array, abs=1e-7)
    gum.saveBN(theirs, str(tmp_path / f"theirs{suffix}"))
    back = read(tmp_path / f"theirs{suffix}", format, normalise=True)
    for name in lawn:                                                       # pyAgrum writes the parents in another order
        axes = [*back[name].parents, name]
        table = numpy.transpose(back[name].fixed["probs"].array, [axes.index(axis) for axis in (*lawn[name].parents, name)])
        assert back[name].labels == lawn[name].labels and table == pytest.approx(lawn[name].fixed["probs"].array, abs=1e-6)


@pytest.mark.parametrize("format", [BIF, XMLBIF, NET, XDSL], ids=str)
def test_pgmpy(format, pgmpy_formats, tmp_path):
    reader, writer = pgmpy_formats[format]
    path = tmp_path / f"ours{format.suffixes[0]}"
    write(lawn, path)
    assert from_pgmpy(reader(path=str(path)).get_model()) == lawn
    theirs = writer(to_pgmpy(lawn))
    path = tmp_path / f"theirs{format.suffixes[0]}"
    for method in ("write", f"write_{format.name.lower()}"):
        if hasattr(theirs, method):
            getattr(theirs, method)(str(path))
            break
    assert read(path) == lawn


def test_pgmpy_models(pgmpy_formats):
    model = to_pgmpy(lawn)
    assert model.check_model() and from_pgmpy(model) == lawn


@pytest.fixture
def answered(request):
    """A real network with evidence, and the exact marginals of everything else."""
    net = read(data("bn_networks") / f"{request.param}.bif.gz")
    evidence = {name: net[name].labels[-1] for name in net.dag.leaves[:2]}
    return net, evidence, dgm.posterior(dgm.compile(net), evidence).marginals


@pytest.mark.parametrize("answered", ["asia", "sachs", "survey", "alarm", "insurance", "win95pts"], indirect=True)
@pytest.mark.parametrize("format", [BIF, XMLBIF, NET], ids=str)
def test_marginals_of_real_networks_are_those_of_pyagrum(answered, format, gum, tmp_path):
    net, evidence, marginals = answered
    write(net, tmp_path / f"net{format.suffixes[0]}".replace(".xmlbif", ".bifxml"), format)
    (path,) = tmp_path.iterdir()
    inference = gum.LazyPropagation(gum.loadBN(str(path)))
    inference.setEvidence(evidence)
    inference.makeInference()
    for name in net:
        if name not in evidence:
            assert inference.posterior(name).toarray() == pytest.approx(marginals[name].probs.numpy(), abs=5e-7)


@pytest.mark.parametrize("answered", ["asia", "sachs", "alarm"], indirect=True)
@pytest.mark.parametrize("format", [BIF, XMLBIF, NET, XDSL], ids=str)
def test_marginals_of_real_networks_are_those_of_pgmpy(answered, format, pgmpy_formats, tmp_path):
    from pgmpy.inference import VariableElimination

    net, evidence, marginals = answered
    path = tmp_path / f"net{format.suffixes[0]}"
    write(net, path)
    inference = VariableElimination(pgmpy_formats[format][0](path=str(path)).get_model())
    for name in [name for name in net if name not in evidence][:5]:
        found = inference.query([name], evidence=evidence, show_progress=False)
        assert dict(zip(found.state_names[name], found.values)) == pytest.approx(dict(zip(net[name].labels, marginals[name].probs.tolist())), abs=5e-7)
