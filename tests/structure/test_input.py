"""Bad input is refused in words, and what cannot be tested says why."""

import numpy as np
import pandas
import pytest
import torch

import dgm_ppl as dgm
from dgm_ppl.structure import PartialCorrelation, TableTest, test_independences

from .samples import clinic, heights, sample

AGE = dgm.DAG("age -> {height words}")


def people(rows=200):
    random = np.random.default_rng(0)
    age = random.normal(size=rows)
    return pandas.DataFrame({"age": age, "height": age + random.normal(size=rows), "words": age + random.normal(size=rows)})


@pytest.mark.parametrize("change, message", [
    (lambda data: data.rename(columns={"height": "hight"}), r"node 'height': expected a column of the data; got none; did you mean 'hight'\?; try"),
    (lambda data: data.assign(words=data["words"].where(data["words"] > 0)), r"node 'words': .* got \d+ missing cells; try data.dropna\(\)"),
    (lambda data: data.assign(words=np.inf), "node 'words': expected finite numbers; got infinite ones"),
    (lambda data: data.assign(words=["a", None] * 100), "node 'words': .* got 100 missing cells"),
])
def test_bad_columns(change, message):
    with pytest.raises(dgm.GraphError, match=message):
        test_independences(AGE, change(people()))


def test_labels_outside_the_states():
    data = sample(clinic, 50, 0)
    lung = np.array(["no", "some", "bad"])[data["lung"]]
    assert len(test_independences(clinic, {**data, "lung": lung}).lines) == 6
    lung = np.where(np.arange(50) == 3, "awful", lung)
    with pytest.raises(dgm.GraphError, match="node 'lung' has no state 'awful'"):
        test_independences(clinic, {**data, "lung": lung})


@pytest.mark.parametrize("options, message", [
    ({"level": 5}, "level: expected a probability between 0 and 1; got 5; try level=0.05"),
    ({"latent": "agee"}, "latent: expected a node of the graph; got 'agee'; did you mean 'age'"),
    ({"latent": "age"}, "expected a graph that states an independence among what was measured"),
    ({"statements": ["height _||_ wodrs | age"]}, "statement height _||_ wodrs | age: .* did you mean 'words'"),
    ({"statements": "height _||_ words"}, r"statements: expected several; .* try statements=\['height _\|\|_ words'\]"),
    ({"test": TableTest()}, "TableTest: expected finite columns; got numbers in 'height'; try dgm.KernelTest"),
])
def test_bad_options(options, message):
    with pytest.raises(dgm.GraphError, match=message):
        test_independences(AGE, people(), **options)


def test_bad_graphs_and_tests():
    with pytest.raises(dgm.GraphError, match="expected a DAG or a BayesNet; got Model; try dgm.test_independences"):
        test_independences(dgm.compile(heights), {})
    with pytest.raises(dgm.GraphError, match="PartialCorrelation: expected numbers, or two states; got more states in 'lung'"):
        test_independences(clinic, sample(clinic, 50, 0), test=PartialCorrelation())
    with pytest.raises(ValueError, match="expected columns of one length"):
        test_independences(AGE, {"age": [1.0], "height": [1.0, 2.0], "words": [1.0]})


def test_what_cannot_be_tested_says_why():
    constant = test_independences(AGE, people().assign(height=1.0))
    assert list(constant.frame["note"]) == ["height has one value in these data"]
    assert constant.untested and not constant.rejected and np.isnan(constant.combined())
    few = test_independences(AGE, people(12))
    assert few.frame["note"][0] == "too few rows: 12; expected at least 50"
    copied = people()
    copied["height"] = 2 * copied["age"]
    for test in (None, PartialCorrelation()):
        assert "function of what is given" in test_independences(AGE, copied, test=test).frame["note"][0]
    table = test_independences(clinic, sample(clinic, 12, 0))
    assert "rows in strata" in " ".join(table.frame["note"]) or table.untested


def test_latents_leave_the_statements_among_what_was_measured():
    chain = dgm.DAG("z -> a; z -> b; a -> c -> d; b -> c")
    assert [str(one) for one in dgm.testable(chain, latent="z")] == ["a _||_ d | c", "b _||_ d | c"]
    random = torch.Generator().manual_seed(0)
    z, a, b, c, d = torch.randn(5, 300, generator=random)
    a, b = a + z, b + z
    c = c + a + b
    data = {"a": a, "b": b, "c": c, "d": c + d}
    with pytest.raises(dgm.GraphError, match=r"node 'z': expected a column .* or latent=\['z'\]"):
        test_independences(chain, data)
    assert not test_independences(chain, data, latent="z").rejected


def test_functions_of_their_parents_are_not_measured_and_inputs_say_nothing_of_each_other():
    net = dgm.BayesNet(
        dose=dgm.Given(), weight=dgm.Given(), ratio=dgm.Delta(v=dgm.Ref("dose") / dgm.Ref("weight")),
        effect=dgm.Normal(loc="ratio", scale=0.1),
    )
    assert [str(one) for one in dgm.testable(net)] == ["dose _||_ effect | ratio", "weight _||_ effect | ratio"]
    with pytest.raises(dgm.GraphError, match="states an independence among what was measured"):
        test_independences(net, {"dose": torch.ones(9), "weight": torch.ones(9), "effect": torch.ones(9)})


def test_plates_are_tested_as_one_row_of_members():
    random = torch.Generator().manual_seed(0)
    net = dgm.BayesNet(
        mean=dgm.Normal(loc=0.0, scale=1.0), y=dgm.Normal(loc="mean", scale=1.0), other=dgm.Normal(loc="mean", scale=1.0),
        plates={"member": ["y", "other"]},
    )
    mean = torch.randn(200, generator=random)
    data = {"mean": mean, "y": mean[:, None] + torch.randn(200, 4, generator=random),
            "other": mean[:, None] + torch.randn(200, 4, generator=random)}
    assert not test_independences(net, data).rejected
    data["other"] = data["other"] + data["y"]
    assert len(test_independences(net, data).rejected) == 1


def test_the_result_reads_well(tmp_path):
    found = test_independences(dgm.DAG("smoke; cold; lung; cough; xray"), sample(clinic, 800, 0))
    assert str(found).startswith(f"{len(found.rejected)} of 10 statements rejected at level 0.05 (benjamini_hochberg)\n  ")
    assert repr(found) == str(found) and "<table" in found.html()
    frame = found.frame
    assert list(frame.columns) == ["statement", "test", "rows", "statistic", "p", "adjusted", "effect", "verdict", "note"]
    assert (frame["adjusted"] >= frame["p"]).all() and frame["effect"].between(0, 1).all()
    figure = found.plot(tmp_path / "verdicts.png")
    assert (tmp_path / "verdicts.png").stat().st_size > 1000 and len(figure.axes) == 2
