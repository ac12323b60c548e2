"""Every command, run as a user runs it, and what it says about mistakes."""

import json

import numpy
import pandas
import pytest
import torch
from click.testing import CliRunner

import dgm_ppl as dgm
from dgm_ppl.cli import main

MODEL = '''
import torch
import dgm_ppl as dgm

vae = dgm.BayesNet(z=dgm.Normal(2, loc=0.0, scale=1.0), x=dgm.Bernoulli(4).given("z", net=dgm.MLP(3)))
guide = dgm.amortize(vae, observed="x", net=dgm.MLP(3))
rain = dgm.BayesNet(
    rain=dgm.Categorical(["no", "yes"], probs=[0.8, 0.2]),
    sprinkler=dgm.Bernoulli(probs=[0.4, 0.01]).given("rain"),
    wet=dgm.Bernoulli(probs=[[0.01, 0.9], [0.8, 0.99]]).given("rain", "sprinkler"),
)
schools = dgm.BayesNet(
    mu=dgm.Normal(loc=0.0, scale=1.0), y=dgm.Normal(loc="mu", scale=1.0), plates={"school": ["y"]},
)
conditional = dgm.BayesNet(c=dgm.Given(), x=dgm.Normal(loc="c", scale=0.001))
shape = dgm.DAG("rain -> wet <- sprinkler; wet -> slippery")
other = dgm.DAG("rain -> wet <- sprinkler; slippery")
mixing = dgm.BayesNet(z=dgm.Normal(), x=dgm.Normal(scale=1.0).given("z", fn=lambda z: z - z.mean(0)))
number = 3
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("cli")
    (path / "model.py").write_text(MODEL)
    (path / "broken.py").write_text("1 / 0")
    (path / "empty.py").write_text("x = 1")
    net = dgm.BayesNet(
        rain=dgm.Categorical(["no", "yes"], probs=[0.8, 0.2]),
        wet=dgm.Categorical(["1", "2"], probs=[[0.9, 0.1], [0.2, 0.8]]).given("rain"),
        slip=dgm.Categorical(["None", "some"], probs=[[0.9, 0.1], [0.3, 0.7]]).given("wet"),
    )
    dgm.write(net, path / "rain.bif")
    torch.manual_seed(0)
    drawn = dgm.compile(net).sample(600)
    frame = pandas.DataFrame({name: numpy.array(net[name].labels)[values] for name, values in drawn.items()})
    frame.to_csv(path / "rain.csv", index=False)
    frame.assign(slip=frame["wet"].where(frame["rain"] == "yes", "None").replace({"1": "some", "2": "None"})).to_csv(path / "wrong.csv", index=False)
    frame.to_csv(path / "rain.tsv", index=False, sep="\t")
    dgm.save(dgm.compile(net), path / "rain.safetensors")
    return path


@pytest.fixture
def run(folder, monkeypatch):
    monkeypatch.chdir(folder)

    def call(*arguments, status=0):
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == status, result.output + repr(result.exception)
        return result.output

    return call


def test_help_shows_every_command(run):
    told = run("--help")
    for name in ("draw", "info", "query", "test", "verify", "sample", "convert"):
        assert f"  {name} " in told
        assert "Usage:" in run(name, "--help") and "TARGET is FILE.py:NAME" in run(name, "--help")
    assert main.commands.keys() >= {"draw", "test"}


# ---- targets


@pytest.mark.parametrize("target, message", [
    ("model.py", "model.py: say which net, for example model.py:net"),
    ("nothing.py:net", "no file nothing.py"),
    ("nothing.bif", 'no file nothing.bif; expected FILE.py:NAME, a network file, a saved model, or a graph such as "a -> b"'),
    ("model.py:vea", "model.py: 'vea' is not there; did you mean 'vae'?"),
    ("model.py:number", "model.py: 'number' is a int, not a net"),
    ("empty.py:x", "the file defines no net at its top level"),
    ("broken.py:x", "broken.py could not be run: ZeroDivisionError: division by zero"),
    ("rain.csv", "not a safetensors file"),
    ("a -> b -> a", "expected no cycle"),
])
def test_bad_targets(run, target, message):
    assert message in run("info", target, status=1)


def test_a_file_that_is_no_network(run, folder):
    (folder / "bad.bif").write_text("network unknown {\n}\nvariable x {\n type discrete [ 2 ] { a };\n}\n")
    assert run("info", "bad.bif", status=1).startswith("Error: bad.bif, line 4")


# ---- info and verify


def test_info_of_a_net(run):
    told = run("info", "model.py:rain")
    assert "wet | rain, sprinkler ~ Bernoulli" in told
    assert "parameters: 7 in all; the full joint table takes 7" in told
    assert "3 nodes, 3 arrows, at most 2 parents, treewidth at most 2" in told and told.endswith("no independencies\n")


def test_info_of_a_graph_a_guide_and_a_saved_model(run):
    assert "rain _||_ sprinkler" in run("info", "model.py:shape")
    assert "certificate:" in run("info", "model.py:guide")
    assert "slip _||_ rain | wet" in run("info", "rain.safetensors")
    assert "2 nodes, 1 arrows" in run("info", "a -> b")


def test_info_of_a_large_graph_is_cut_unless_asked(run):
    chain = "; ".join(f"n{i} -> n{i + 1}" for i in range(40))
    assert "more; --all)" in run("info", chain) and "more; --all)" not in run("info", chain, "--all")


def test_verify(run):
    assert run("verify", "model.py:vae") == "every conditional depends on its parents alone (2 nodes, 1 arrow)\n"
    assert "depends on other rows of 'z'" in run("verify", "model.py:mixing", status=1)
    assert "a DAG has no distributions to verify" in run("verify", "model.py:shape", status=1)


# ---- query


def test_query_explains_an_independence(run):
    told = run("query", "model.py:shape", "rain _||_ sprinkler | slippery")
    assert told.startswith("rain and sprinkler are dependent given slippery\n  rain -> wet <- sprinkler: open")
    assert "are independent given b\n" in run("query", "a -> b -> c", "a ⊥ c | b")
    assert "slip and rain are independent given wet" in run("query", "rain.bif", "slip _||_ rain | wet") or "rain and slip are" in run("query", "rain.bif", "slip _||_ rain | wet")


def test_query_gives_moments_of_gaussian_nodes(run, folder):
    (folder / "pair.py").write_text('import dgm_ppl as dgm\npair = dgm.BayesNet(a=dgm.Normal(2, loc=0.0, scale=1.0), b=dgm.Normal(loc=dgm.Ref("a")[0], scale=1.0), y=dgm.Normal(loc="b", scale=1.0))')
    assert run("query", "pair.py:pair", "b, a | y=3") == "b: mean 2, standard deviation 0.8165\na: mean [1, 0], standard deviation [0.8165, 1]\n"


def test_query_gives_marginals(run):
    assert run("query", "rain.bif", "rain, slip | wet=2") == "rain: no 0.3333, yes 0.6667\nslip: None 0.3, some 0.7\n"
    assert run("query", "rain.bif", "rain") == "rain: no 0.8, yes 0.2\n"
    assert run("query", "model.py:rain", "sprinkler | rain=yes") == "sprinkler: 0 0.99, 1 0.01\n"


@pytest.mark.parametrize("target, question, message", [
    ("rain.bif", "rian | wet=2", "did you mean 'rain'?"),
    ("rain.bif", "rain | wet=3", "no state '3'"),
    ("rain.bif", "rain | wet", "evidence wet: expected NODE=VALUE"),
    ("rain.bif", "rain _||_ slop | wet", "expected a node of the graph; got 'slop'"),
    ("rain.bif", "rain _||_ | wet", "expected names on both sides"),
    ("a -> b", "a | b=1", "a DAG has no probabilities"),
])
def test_bad_questions(run, target, question, message):
    assert message in run("query", target, question, status=1)


# ---- test


def test_the_independences_hold(run):
    assert run("test", "rain.bif", "rain.csv") == "0 of 1 statements rejected at level 0.05 (benjamini_hochberg)\n"
    assert run("test", "rain.bif", "rain.tsv").startswith("0 of 1")
    assert run("test", "rain -> wet -> slip", "rain.csv").startswith("0 of 1")


def test_a_wrong_graph_is_rejected(run, folder):
    told = run("test", "rain.bif", "wrong.csv", "--all", "-o", "verdicts.csv", "--plot", "verdicts.png")
    assert told.startswith("1 of 1 statements rejected at level 0.05") and "TableTest" in told
    assert pandas.read_csv(folder / "verdicts.csv")["verdict"][0] == "rejected"
    assert (folder / "verdicts.png").stat().st_size > 1000
    assert run("test", "rain -> wet; slip", "rain.csv", "--statement", "rain _||_ slip", "--correction", "holm", "--test", "tables").startswith("1 of 1")
    assert "(no correction)" in run("test", "rain -> wet; slip", "rain.csv", "--correction", "none", "--latent", "wet", "--level", "0.01")


@pytest.mark.parametrize("arguments, message", [
    (("rain -> wet -> slop", "rain.csv"), "node 'slop': expected a column of the data"),
    (("rain.bif", "rain.csv", "--statement", "rain _||_ nothing"), "got 'nothing'"),
    (("model.py:rain", "rain.csv"), "node 'sprinkler': expected a column of the data"),
])
def test_bad_tables(run, arguments, message):
    assert message in run("test", *arguments, status=1)


def test_a_missing_table_is_a_usage_error(run, folder):
    assert "does not exist" in run("test", "rain.bif", "nothing.csv", status=2)
    (folder / "uneven.csv").write_text("rain,wet,slip\nno,1,None\nno,1\n")
    assert "uneven.csv, line 3: expected 3 cells; got 2" in run("test", "rain.bif", "uneven.csv", status=1)


def test_cells_that_are_numbers_are_numbers(run, folder):
    random = numpy.random.default_rng(0)
    a, b = random.normal(size=(2, 200))
    pandas.DataFrame({"a": a, "b": a + b, "c": b}).to_csv(folder / "numbers.csv.gz", index=False)
    assert "KernelTest" in run("test", "a -> b; c", "numbers.csv.gz", "--all")
    (folder / "gaps.csv").write_text("a,b\n1,2\n1,NA\n")
    assert "node 'b': expected a value in every row; got 1 missing cells" in run("test", "a; b", "gaps.csv", status=1)


# ---- draw


@pytest.mark.parametrize("arguments", [
    ("model.py:vae", "-o", "vae.svg", "--guide", "model.py:guide"),
    ("model.py:shape", "-o", "shape.dot", "--observed", "wet", "--do", "rain"),
    ("model.py:shape", "-o", "values.svg", "--evidence", "wet=1", "--do", "rain=0"),
    ("rain.bif", "-o", "marginals.svg", "--evidence", "wet=2", "--posterior"),
    ("model.py:schools", "-o", "schools.svg", "--size", "school=8"),
    ("model.py:shape", "-o", "changes.svg", "--compare", "model.py:other"),
    ("model.py:shape", "-o", "class.svg", "--class"),
    ("model.py:vae", "-o", "apart.svg", "--guide", "model.py:guide", "--apart"),
    ("model.py:shape", "-o", "steps.svg", "--steps"),
    ("model.py:shape", "-o", "inversion.svg", "--steps", "--observed", "wet"),
    ("rain.bif", "-o", "page.html"),
    ("rain.safetensors", "-o", "model.png"),
    ("; ".join(f"n{i} -> n{i + 1}" for i in range(30)), "-o", "groups.svg", "--collapse", "5"),
], ids=lambda arguments: arguments[2])
def test_draw(run, folder, arguments):
    assert run("draw", *arguments) == f"wrote {arguments[2]}\n"
    assert (folder / arguments[2]).stat().st_size > 200


def test_draw_by_number(run, folder):
    (folder / "scores.json").write_text(json.dumps({"rain": 0.5, "wet": 2.0}))
    run("draw", "rain.bif", "-o", "scores.svg", "--color-by", "scores.json")
    assert (folder / "scores.svg").is_file()


@pytest.mark.parametrize("arguments, message", [
    (("model.py:shape", "-o", "picture.jpeg"), "save: expected a path that ends in .svg"),
    (("model.py:shape", "--observed", "wett"), "did you mean 'wet'?"),
    (("rain.bif", "--posterior", "--evidence", "wet"), "--posterior: expected values of the evidence; got names alone; try --evidence wet=VALUE"),
    (("model.py:shape", "--posterior"), "a DAG has no distributions to draw marginals of"),
    (("model.py:schools", "--size", "school"), "--size school: expected NODE=VALUE"),
])
def test_bad_pictures(run, arguments, message):
    assert message in run("draw", *arguments, status=1)


# ---- sample and convert


def test_sample(run, folder):
    worlds = [json.loads(line) for line in run("sample", "rain.bif", "-n", "4", "--seed", "1").splitlines()]
    assert len(worlds) == 4 and {world["rain"] for world in worlds} <= {"no", "yes"}
    assert run("sample", "rain.bif", "-n", "4", "--seed", "1") == run("sample", "rain.bif", "-n", "4", "--seed", "1")
    assert json.loads(run("sample", "model.py:conditional", "--given", "c=5"))["x"] == pytest.approx(5, abs=0.1)
    assert json.loads(run("sample", "rain.bif", "--given", "rain=yes"))["rain"] == "yes"
    assert "wrote worlds.npz: z (3, 2), x (3, 4)" in run("sample", "model.py:vae", "-n", "3", "-o", "worlds.npz")
    with numpy.load(folder / "worlds.npz", allow_pickle=False) as archive:
        assert archive["x"].shape == (3, 4)


@pytest.mark.parametrize("arguments, message", [
    (("model.py:shape",), "a DAG has no distributions to sample from; give a BayesNet or a saved model"),
    (("model.py:conditional",), "node 'c' needs a value"),
    (("rain.bif", "--given", "rain"), "--given rain: expected NODE=VALUE, for example --given rain=1"),
    (("rain.bif", "--given", "wet=2"), "its ancestor 'rain' is not"),
])
def test_bad_samples(run, arguments, message):
    assert message in run("sample", *arguments, status=1)


@pytest.mark.parametrize("suffix", [".xdsl", ".xmlbif", ".uai", ".net", ".json", ".bif"])
def test_convert_and_read_back(run, folder, suffix):
    assert run("convert", "rain.bif", f"copy{suffix}") == f"wrote copy{suffix}\n"
    back = dgm.read(folder / f"copy{suffix}")
    numbers = [back[name].fixed["probs"].array.sum() for name in back]
    assert len(back) == 3 and numbers == pytest.approx([1.0, 2.0, 2.0])


def test_convert_to_source_and_pictures(run, folder):
    run("convert", "model.py:vae", "vae_source.py")
    assert "pyro.sample" in (folder / "vae_source.py").read_text()
    run("convert", "a -> b", "graph.dot")
    run("convert", "graph.dot", "graph.mmd")
    assert "graph" in (folder / "graph.mmd").read_text() or "flowchart" in (folder / "graph.mmd").read_text()
    assert "Pyro source: expected a net with distributions" in run("convert", "a -> b", "source.py", status=1)
    assert "graph.bif" in run("convert", "a -> b", "graph.bif", status=1)
