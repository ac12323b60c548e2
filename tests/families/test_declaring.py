"""Variables are frozen values, and a wrong one is refused where it is written."""

import copy
import pickle
import re

import numpy
import pandas
import pyro.distributions as dist
import pytest
import torch
from cases import FAMILIES, USERS

import dgm_ppl as dgm


@pytest.mark.parametrize("variable", FAMILIES.values(), ids=FAMILIES.keys())
def test_a_variable_is_a_value(variable):
    names = {**vars(dgm), **USERS}
    again = eval(repr(variable), names)
    assert again == variable and hash(again) == hash(variable) and repr(again) == repr(variable)
    assert copy.deepcopy(variable) is variable
    with pytest.raises(AttributeError):
        variable.shape = (3,)


@pytest.mark.parametrize("variable", FAMILIES.values(), ids=FAMILIES.keys())
def test_a_variable_survives_pickling(variable):
    again = pickle.loads(pickle.dumps(variable))
    assert repr(again) == repr(variable) and again.space == variable.space
    assert again == variable or variable.family_name in USERS
    assert all(not value.array.flags.writeable for _, value in again.parameters)


def test_parameters_have_one_order_and_numbers_one_value():
    assert dgm.Normal(scale=1, loc=0) == dgm.Normal(loc=0.0, scale=1.0) == dgm.Normal(loc=-0.0, scale=True)
    assert len({dgm.Normal(scale=1, loc=0), dgm.Normal(loc=0.0, scale=1.0), dgm.Normal(loc=-0.0, scale=1)}) == 1
    assert dgm.Normal(loc=0.0) != dgm.Normal(loc=[0.0]) != dgm.Normal(loc=0.1)


def test_fixed_parameters_do_not_follow_the_array_they_came_from():
    array = numpy.array([1.0, 2.0])
    tensor = torch.tensor([1.0, 2.0])
    variables = dgm.Normal(2, loc=array), dgm.Normal(2, loc=tensor)
    array[0] = tensor[0] = 9.0
    assert repr(variables[0]) == repr(variables[1]) == "Normal(2, loc=[1.0, 2.0])"


def test_whole_numbers_and_labels_of_any_kind():
    assert dgm.Normal(numpy.int64(3), torch.tensor(2)).shape == (3, 2)
    assert dgm.Categorical(numpy.int32(3)) == dgm.Categorical(3)
    for labels in (["low", "high"], ("low", "high"), numpy.array(["low", "high"]), pandas.Index(["low", "high"])):
        assert dgm.Categorical(labels).labels == ("low", "high")


@pytest.mark.parametrize(
    "variable, shown",
    [
        (dgm.Given(), "Given()"),
        (dgm.Given(2, 3), "Given(2, 3)"),
        (dgm.Given(2, states=3), "Given(2, states=3)"),
        (dgm.Given(states=["a", "b"]), "Given(states=['a', 'b'])"),
        (dgm.Given(space=dgm.Positive()), "Given(space=Positive(closed=False))"),
        (dgm.MultivariateNormal(4, rank=2), "LowRankMultivariateNormal(4, rank=2)"),
        (dgm.Normal(3, scale=dgm.free()), "Normal(3, scale=free())"),
        (dgm.Normal(3, loc="z").given("y"), "Normal(3, loc=z) | y"),
        (dgm.Categorical(["a", "b"], 5).given("y", net=dgm.MLP(4)), "Categorical(['a', 'b'], 5) | y, MLP(4)"),
        (dgm.Normal(9, loc=numpy.zeros(9)), "Normal(9, loc=array(9,))"),
    ],
)
def test_is_shown_as_it_is_written(variable, shown):
    assert repr(variable) == shown


def test_a_family_of_a_users_own_takes_three_lines():
    laplace = dgm.family(dist.AsymmetricLaplace)
    net = dgm.BayesNet(z=dgm.Normal(2), x=laplace(3).given("z", net=dgm.MLP(4)))
    model = dgm.compile(net, seed=0)
    assert model.sample(5)["x"].shape == (5, 3) and bool(model.log_prob(model.sample(5)).isfinite().all())
    assert laplace.linear == ("loc",)


def test_a_family_whose_events_are_vectors():
    family = USERS["MultivariateStudentT"]
    model = dgm.compile(dgm.BayesNet(z=dgm.Normal(2), x=family(4, 3).given("z")), seed=0)
    assert model.sample(5)["x"].shape == (5, 4, 3) and model.log_prob(model.sample(5)).shape == (5,)
    assert {name: family(4, 3).parameter_shape(name) for name in ("df", "loc", "scale_tril")} == {"df": (4,), "loc": (4, 3), "scale_tril": (4, 3, 3)}


BAD = {
    "near miss of a parameter": (lambda: dgm.Normal(3, locs=0.0), "Normal: no parameter 'locs'; did you mean 'loc'?"),
    "no such parameter": (lambda: dgm.Bernoulli(weight=0.5), "Bernoulli: no parameter 'weight'; known names: probs, logits"),
    "two parameterizations": (lambda: dgm.Bernoulli(probs=0.5, logits=0.0), "Bernoulli: the parameters ['logits', 'probs'] do not go together; expected (logits) or (probs)"),
    "two covariances": (
        lambda: dgm.MultivariateNormal(2, scale_tril=numpy.eye(2), precision_matrix=numpy.eye(2)),
        "expected (loc, scale_tril) or (loc, covariance_matrix) or (loc, precision_matrix)",
    ),
    "not a number": (lambda: dgm.Normal(loc=None), "Normal: parameter 'loc': expected a number, an array, a node's name or an expression; got None"),
    "complex": (lambda: dgm.Normal(loc=1j), "Normal: parameter 'loc': expected a number"),
    "ragged": (lambda: dgm.Normal(2, loc=[[1.0], [1.0, 2.0]]), "Normal: parameter 'loc': expected a number, an array"),
    "a float as shape": (lambda: dgm.Normal(0.5), "Normal: an event shape is made of positive whole numbers; got 0.5; parameters go by name: Normal(3, loc=0.0)"),
    "a tuple as shape": (lambda: dgm.Normal((28, 28)), "got (28, 28); try Normal(28, 28)"),
    "an empty dimension": (lambda: dgm.Normal(0), "positive whole numbers; got 0"),
    "a bool as shape": (lambda: dgm.Normal(True), "positive whole numbers; got True"),
    "no states": (lambda: dgm.Categorical(), "Categorical: expected the number of states or their labels first; try Categorical(10)"),
    "one state": (lambda: dgm.Categorical(1), "Categorical: expected at least two states; got 1"),
    "one label": (lambda: dgm.Categorical(["a"]), "Categorical: expected at least two states; got 1"),
    "a label twice": (lambda: dgm.Categorical(["a", "b", "a"]), "Categorical: a state is named twice in ['a', 'b', 'a']"),
    "a word for labels": (lambda: dgm.Categorical("low"), "Categorical: expected the number of states or a list of labels; got 'low'; try Categorical(10)"),
    "numbers as labels": (lambda: dgm.Categorical([1, 2]), "labels are strings, as numbers in data are codes; got 1; try Categorical(['1', '2'])"),
    "no event for vectors": (lambda: dgm.Dirichlet(), "Dirichlet: expected at least 1 event dimension; got the shape (); try Dirichlet(3)"),
    "no rank": (lambda: dgm.LowRankMultivariateNormal(3), "expected a positive whole number for rank; got None; try rank=2"),
    "rank zero": (lambda: dgm.MultivariateNormal(3, rank=0), "expected a positive whole number for rank; got 0"),
    "parents of an input": (lambda: dgm.Given().given("z"), "given: a Given node is an input and has no parents"),
    "parents not by name": (lambda: dgm.Normal().given(dgm.Ref("z")), "given: parents are named by string; got z; try .given('z')"),
    "a parent twice": (lambda: dgm.Normal().given("z", "z"), "given: a parent is named twice in ('z', 'z')"),
    "net and fn": (lambda: dgm.Normal().given("z", net=dgm.MLP(3), fn=abs), "given: expected net= or fn=, not both"),
    "net by name": (lambda: dgm.Normal().given("z", net="MLP"), "given: net is an object such as dgm.MLP(400); got 'MLP'"),
    "net not called": (lambda: dgm.Normal().given("z", net=dgm.MLP), "given: net is an object such as dgm.MLP(400); got <class"),
    "fn that is none": (lambda: dgm.Normal().given("z", fn=3), "given: fn is a function of the parents; got 3"),
    "space that is none": (lambda: dgm.Given(space="positive"), "Given: expected states= or a space such as dgm.Positive(); got states=None, space='positive'"),
    "states and space": (lambda: dgm.Given(states=3, space=dgm.Real()), "Given: expected states= or a space"),
    "no support": (lambda: dgm.family(dist.Uniform), "family Uniform: its support depends on its parameters; say where values live: family(..., space=Real())"),
}


@pytest.mark.parametrize("wrong, message", BAD.values(), ids=BAD.keys())
def test_bad_declarations_say_what_is_wrong(wrong, message):
    with pytest.raises(dgm.GraphError, match=re.escape(message)):
        wrong()
