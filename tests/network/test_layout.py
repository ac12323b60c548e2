"""Data against the declaration: what is taken, how it is encoded, and what is refused."""

import re

import numpy
import pandas
import pytest
import torch

import dgm_ppl as dgm
from dgm_ppl.network import Layout

MOOD = dgm.Categorical(["low", "mid", "high"])
NET = dgm.BayesNet(
    mood=MOOD, state=dgm.Categorical(4), wet=dgm.Bernoulli(), n=dgm.Poisson(), k=dgm.Binomial(total_count=5), w=dgm.Gamma(), u=dgm.Uniform(low=-1.0, high=1.0),
    p=dgm.Dirichlet(3), angle=dgm.VonMises(), x=dgm.Normal(2, 3), y=dgm.Normal(),
)
SCHOOLS = dgm.BayesNet(
    mu=dgm.Normal(), t=dgm.Given(), sigma=dgm.Given(), theta=dgm.Normal(2), y=dgm.Normal(loc="mu", scale="sigma"),
    plates={"school": ["theta", "sigma", "y"], "pupil": ["y"]},
)


def encode(data, net=NET, **options):
    return Layout(net).encode(data, **options)


LABELS = ["low", "high", "low"]


@pytest.mark.parametrize(
    "values",
    [
        LABELS, tuple(LABELS), numpy.array(LABELS), numpy.array(LABELS, dtype=object), pandas.Series(LABELS), pandas.Series(LABELS, dtype="string"),
        pandas.Series(LABELS, dtype="category"), pandas.Categorical(LABELS, categories=["high", "mid", "low"]), pandas.Series(LABELS, index=[7, 8, 9]), torch.tensor([0, 2, 0]),
        [0, 2, 0], numpy.array([0, 2, 0], dtype=numpy.uint8), torch.tensor([0.0, 2.0, 0.0]), pandas.Series([0, 2, 0], dtype="Int64"), numpy.array([0, 2, 0], dtype=object),
    ],
    ids=lambda values: f"{type(values).__module__}.{type(values).__name__} {getattr(values, 'dtype', '')}",
)
def test_states_of_every_kind_become_codes(values):
    found = encode({"mood": values})["mood"]
    assert torch.equal(found, torch.tensor([0, 2, 0])) and found.dtype is torch.long


@pytest.mark.parametrize(
    "values", [torch.tensor([True, False]), numpy.array([True, False]), [1, 0], torch.tensor([1, 0]), [1.0, 0.0], pandas.Series([True, False]), pandas.Series([True, False], dtype="boolean")],
    ids=lambda values: f"{type(values).__name__} {getattr(values, 'dtype', '')}",
)
def test_bernoullis_are_floats(values):
    found = encode({"wet": values})["wet"]
    assert torch.equal(found, torch.tensor([1.0, 0.0])) and found.dtype is torch.float


@pytest.mark.parametrize("values", [torch.tensor([3, 0]), [3, 0], numpy.array([3.0, 0.0]), torch.tensor([3, 0], dtype=torch.int16)], ids=repr)
def test_counts_are_floats(values):
    for name in ("n", "k"):
        found = encode({name: values})[name]
        assert torch.equal(found, torch.tensor([3.0, 0.0])) and found.dtype is torch.float


def test_numbers_take_the_models_dtype():
    like = torch.empty(0, dtype=torch.double)
    found = encode({"y": numpy.float32([1, 2]), "n": [1, 2], "mood": LABELS[:2]}, like=like)
    assert [found[name].dtype for name in ("y", "n", "mood")] == [torch.double, torch.double, torch.long]
    assert encode({"y": [1, 2]})["y"].dtype is torch.float


def test_data_stay_as_they_were():
    """Encoding neither changes nor aliases what it was given where it converts; read-only arrays are fine."""
    values = numpy.array([1.0, 2.0])
    values.setflags(write=False)
    found = encode({"y": values})["y"]
    found += 1
    assert values.tolist() == [1.0, 2.0]


@pytest.mark.parametrize("worlds", [(), (5,), (4, 5)])
def test_worlds_of_any_rank(worlds):
    data = {"mood": torch.zeros(worlds, dtype=torch.long), "x": torch.zeros(*worlds, 2, 3), "p": torch.full((*worlds, 3), 1 / 3)}
    layout = Layout(NET)
    assert layout.worlds(layout.encode(data)) == worlds


def test_inputs_may_lack_worlds_and_are_required():
    data = {"t": 1.0, "sigma": torch.ones(3), "y": torch.zeros(6, 3, 2)}
    layout = Layout(SCHOOLS)
    values = layout.encode(data)
    assert layout.worlds(values) == (6,) and layout.sizes(values) == {"school": 3, "pupil": 2}
    assert layout.worlds(layout.encode(data | {"sigma": torch.ones(6, 3)})) == (6,)


def test_aligned_values_have_singletons_for_absent_plates():
    layout = Layout(SCHOOLS)
    values = {"mu": torch.zeros(6), "theta": torch.zeros(6, 3, 2), "y": torch.zeros(6, 3, 4), "t": torch.zeros(()), "sigma": torch.ones(3)}
    aligned = layout.align_all(layout.encode(values))
    assert {name: tuple(value.shape) for name, value in aligned.items()} == {"mu": (6, 1, 1), "theta": (6, 3, 1, 2), "y": (6, 3, 4), "t": (1, 1), "sigma": (3, 1)}
    for name, value in aligned.items():
        assert torch.equal(layout.release(name, value), values[name])


def test_names_that_are_allowed_are_left_out():
    assert set(encode({"y": [1.0], "other": [2.0]}, allow=["other"])) == {"y"}


X = torch.zeros(4, 2, 3)
BAD = {
    "no dict": ([1.0], "data: expected a dict of node names to tensors; got list; try {'x': x}"),
    "misspelt name": ({"angel": [0.0]}, "data: no node 'angel'; did you mean 'angle'?"),
    "label outside": ({"mood": ["low", "hihg"]}, "node 'mood' has no state 'hihg'; did you mean 'high'?"),
    "labels without names": ({"state": ["a", "b"]}, "node 'state': expected numbers; got 'a'; labels need named states: Categorical(['low', 'high'])"),
    "labels for numbers": ({"y": ["a", "b"]}, "node 'y': expected numbers; got 'a'"),
    "dates for numbers": ({"y": pandas.Series(pandas.to_datetime(["2020-01-01"]))}, "node 'y': expected numbers; got "),
    "code outside": ({"mood": [0, 3]}, "node 'mood': Categorical(['low', 'mid', 'high']) has values in {0, ..., 2}, the codes of ['low', 'mid', 'high']; got 3"),
    "negative code": ({"state": [-1]}, "node 'state': Categorical(4) has values in {0, ..., 3}; got -1"),
    "half a code": ({"state": [0.5]}, "node 'state': Categorical(4) has values in {0, ..., 3}; got 0.5, which is not whole"),
    "a 2 for a Bernoulli": ({"wet": [0, 2]}, "node 'wet': Bernoulli() has values in {0, 1}; got 2"),
    "grey for a Bernoulli": ({"wet": [0.5, 0.25]}, "node 'wet': Bernoulli() has values in {0, 1}; got 0.5, 0.25"),
    "half a count": ({"n": [0.5]}, "node 'n': Poisson() has values in the whole numbers from 0; got 0.5"),
    "negative count": ({"n": [-1]}, "node 'n': Poisson() has values in the whole numbers from 0; got -1"),
    "count beyond": ({"k": [6]}, "node 'k': Binomial(total_count=5) has values in the whole numbers from 0 to 5; got 6"),
    "negative for a Gamma": ({"w": [1.0, -2.0]}, "node 'w': Gamma() has values in the numbers from 0; got -2"),
    "beyond the bounds": ({"u": [1.5]}, "node 'u': Uniform(low=-1.0, high=1.0) has values in [-1, 1]; got 1.5"),
    "beyond the circle": ({"angle": [4.0]}, "node 'angle': VonMises() has values in the angles from -pi to pi; got 4"),
    "no simplex": ({"p": [[0.5, 0.6, 0.0]]}, "node 'p': Dirichlet(3) has values in the simplex: numbers from 0 that sum to one along the last dimension; got 0.5, 0.6, 0"),
    "NaN": ({"y": [1.0, float("nan")]}, "node 'y' has missing cells (NaN or None), which cannot be handled here: drop the rows or fill them in; a guide that reads values and holes is dgm.amortize(net, observed=dgm.AnySubset('y')), over a chain dgm.amortize(net, 'y', missing='y')"),
    "None": ({"y": [1.0, None]}, "node 'y' has missing cells"),
    "missing label": ({"mood": ["low", None]}, "node 'mood' has missing cells"),
    "NaN among labels": ({"mood": pandas.Series(["low", float("nan")])}, "node 'mood' has missing cells"),
    "NA among labels": ({"mood": pandas.Series(["low", None], dtype="string")}, "node 'mood' has missing cells"),
    "NA among codes": ({"mood": pandas.Series([1, None], dtype="Int64")}, "node 'mood' has missing cells"),
    "NaN among codes": ({"mood": [0.0, float("nan")]}, "node 'mood' has missing cells"),
    "infinity": ({"y": [1.0, float("inf")]}, "node 'y': expected finite numbers; got inf"),
    "flat images": ({"x": torch.zeros(4, 6)}, "node 'x': expected the shape (*worlds, 2, 3); got (4, 6); try x.reshape(-1, 2, 3)"),
    "another event": ({"x": torch.zeros(4, 3, 2)}, "node 'x': expected the shape (*worlds, 2, 3); got (4, 3, 2); the event shape is declared as Normal(2, 3)"),
    "too few dimensions": ({"x": torch.zeros(3)}, "node 'x': expected the shape (*worlds, 2, 3); got (3,)"),
    "ragged rows": ({"x": [[1.0], [1.0, 2.0]]}, "node 'x': expected rows of one shape; got rows that differ; pad them to one shape"),
    "no rows": ({"y": []}, "node 'y' is empty: got the shape (0,); give at least one row"),
    "mixed lengths": ({"y": [1.0, 2.0], "x": X}, "data: 'y' has the worlds (2,), 'x' has (4,); expected the same rows in every column"),
    "a row among rows": ({"y": 1.0, "x": X}, "data: 'y' has the worlds (), 'x' has (4,); expected the same rows in every column"),
}


@pytest.mark.parametrize("data, message", BAD.values(), ids=BAD.keys())
def test_bad_data_say_what_is_wrong(data, message):
    with pytest.raises(dgm.GraphError, match=re.escape(message)):
        encode(data)


GIVEN = {"t": 0.0, "sigma": torch.ones(3)}
BAD_PLATES = {
    "no input": ({"y": torch.zeros(3, 2)}, "data: node 't' needs a value, it is a Given input; add 't' to the data"),
    "no plate": (GIVEN | {"theta": torch.zeros(2)}, "node 'theta': expected the shape (*worlds, school, 2); got (2,)"),
    "plates of two sizes": (GIVEN | {"y": torch.zeros(4, 2)}, "data: plate 'school' has 3 members by 'sigma', 4 by 'y'"),
    "inputs of other worlds": (GIVEN | {"t": torch.zeros(7), "mu": torch.zeros(6)}, "data: 't' has the worlds (7,), 'mu' has (6,); expected the same rows in every column"),
}


@pytest.mark.parametrize("data, message", BAD_PLATES.values(), ids=BAD_PLATES.keys())
def test_bad_data_in_plates_say_what_is_wrong(data, message):
    message = message.replace("data: node 't'", "node 't'")
    with pytest.raises(dgm.GraphError, match=re.escape(message)):
        encode(data, SCHOOLS)


def test_a_declared_plate_size_binds_the_data():
    net = dgm.BayesNet(y=dgm.Normal(), plates={"p": dgm.Plate(["y"], size=3)})
    with pytest.raises(dgm.GraphError, match=re.escape("data: plate 'p' has 3 members by the declaration, 2 by 'y'")):
        encode({"y": torch.zeros(5, 2)}, net)


def test_a_deterministic_node_cannot_be_observed():
    net = dgm.BayesNet(a=dgm.Normal(), d=dgm.Delta(v="a"))
    with pytest.raises(dgm.GraphError, match=re.escape("node 'd' is deterministic and cannot be observed; observe a noisy child of it instead")):
        encode({"d": [1.0]}, net)


def test_a_required_name_is_asked_for():
    with pytest.raises(dgm.GraphError, match=re.escape("node 'y' needs a value; add 'y' to the data")):
        encode({}, require=["y"])


def test_an_unknown_plate_size_says_how_to_give_it():
    with pytest.raises(dgm.GraphError, match=re.escape("plate 'p': its size is not known; give it (plates={'p': dgm.Plate([...], size=8)}) or give values")):
        dgm.compile(dgm.BayesNet(y=dgm.Normal(), plates={"p": ["y"]})).sample()


@pytest.mark.parametrize("count", [2, 10, 300])
def test_what_the_model_samples_is_taken_back(count):
    """Rounding must not push a sample out of its own support: a simplex of 300 numbers still sums to one."""
    net = dgm.BayesNet(p=dgm.Dirichlet(count, concentration=0.5), v=dgm.VonMises(loc=3.0, concentration=1.0), u=dgm.Uniform(low=0.0, high=1.0), b=dgm.Beta(concentration1=1.0, concentration0=1.0))
    model = dgm.compile(net)
    torch.manual_seed(0)
    assert bool(model.log_prob(model.sample(2000)).isfinite().all())
