"""Bayesian networks as values: named, compared, printed, changed into others, and refused where they are wrong."""

import copy
import pickle
import re

import numpy
import pytest
import torch
from cases import CONDITIONALS
from torch import nn

import dgm_ppl as dgm

ODD = {"a b": dgm.Normal(), "c.d": dgm.Normal(loc="a b"), "class": dgm.Normal().given("c.d"), "β→": dgm.Bernoulli().given("class", net=dgm.MLP(3))}
RESERVED = ("forward", "type", "plates", "self", "training", "net", "data", "rows", "model", "p(x)", "__class__", "None", "0", "a/b", "a\nb", "'")


def chain(**plates):
    return dgm.BayesNet(mu=dgm.Normal(), x=dgm.Normal(loc="mu"), y=dgm.Normal().given("x"), plates=plates)


def test_by_keyword_by_dict_and_on_a_graph_it_is_the_same_net():
    z, x = dgm.Normal(2), dgm.Normal(3).given("z", net=dgm.MLP(4))
    plain = dgm.BayesNet(z=z, x=x)
    dag = dgm.DAG("z -> x")
    for other in (
        dgm.BayesNet({"z": z, "x": x}), dgm.BayesNet({"x": x}, z=z), dgm.BayesNet(dag, z=z, x=dgm.Normal(3).given(net=dgm.MLP(4))),
        dgm.BayesNet(dag, {"x": x}, z=z), dgm.BayesNet({"x": x}, dag, z=z),
    ):
        assert other == plain and hash(other) == hash(plain) and other.dag == dag


def test_arrows_of_the_graph_are_the_parents():
    dag = dgm.DAG("a -> x, b -> x, b -> y")
    net = dgm.BayesNet(dag, a=dgm.Normal(), b=dgm.Normal(), x=dgm.Normal(), y=dgm.Normal(loc="b"))
    assert {name: net[name].all_parents for name in net} == {"a": (), "x": ("a", "b"), "b": (), "y": ("b",)}
    mixed = dgm.BayesNet(dag, a=dgm.Normal(), b=dgm.Normal(), x=dgm.Normal(loc="a"), y=dgm.Normal())
    assert mixed["x"].parents == ("b",) and mixed["x"].all_parents == ("b", "a")


def test_any_text_names_a_node():
    model = dgm.compile(dgm.BayesNet(ODD), seed=0)
    sample = model.sample(3)
    assert set(sample) == set(ODD) and bool(model.log_prob(sample).isfinite().all())
    assert model.load_state_dict(model.state_dict())


@pytest.mark.parametrize("name", RESERVED)
def test_words_with_other_meanings_name_nodes(name):
    net = dgm.BayesNet({name: dgm.Normal(loc=0.0), "y": dgm.Normal().given(name)})
    model = dgm.compile(net, seed=0)
    assert bool(model.log_prob(model.sample(2)).isfinite().all())
    assert net.replace({name: dgm.Normal(loc=1.0)})[name] == dgm.Normal(loc=1.0)
    assert dgm.compile(net.do({name: 0.5})).sample(2)[name].tolist() == [0.5, 0.5]


def test_prints_one_line_a_node():
    net = dgm.MLP(4)
    printed = repr(dgm.BayesNet(
        z=dgm.Normal(20, loc=0.0, scale=1.0), x=dgm.Bernoulli(1, 28, 28).given("z", net=net), y=dgm.Normal(loc=dgm.Ref("z")[0]), w=dgm.Bernoulli(1, 28, 28).given("z", net=net),
        s=dgm.Given(), k=dgm.Categorical(["low", "high"]).given("x", fn=str), v=dgm.Normal().given("z", net=nn.Linear(20, 2)), plates={"row": dgm.Plate(["x", "s"], size=3), "q": ["k"]},
    ))
    assert printed.splitlines() == [
        "z ~ Normal(20, loc=0.0, scale=1.0)", "x | z ~ Bernoulli(1, 28, 28), MLP(4) shared with w", "y | z ~ Normal(loc=z[0])",
        "w | z ~ Bernoulli(1, 28, 28), MLP(4) shared with x", "s ~ Given()", "k | x ~ Categorical(['low', 'high']), str", "v | z ~ Normal(), Linear",
        "plate row (3): x, s", "plate q: k",
    ]


@pytest.mark.parametrize("case", CONDITIONALS.values(), ids=CONDITIONALS.keys())
def test_is_a_value(case):
    net = case.net
    rebuilt = dgm.BayesNet(dict(net.variables), plates=dict(net.plates))
    assert rebuilt == net and hash(rebuilt) == hash(net) and repr(rebuilt) == repr(net)
    assert copy.deepcopy(net) is net
    if not isinstance(net[case.node].net, nn.Module | dgm.Shaped):
        again = pickle.loads(pickle.dumps(net))
        assert again == net and repr(again) == repr(net)


def test_order_matters_for_plates_and_not_for_nodes():
    a, b = dgm.Normal(), dgm.Normal(loc="a")
    assert dgm.BayesNet(a=a, b=b) == dgm.BayesNet(b=b, a=a)
    crossed = {"p": ["x"], "q": ["x"]}
    assert dgm.BayesNet(x=a, plates=crossed) != dgm.BayesNet(x=a, plates=dict(reversed(crossed.items())))
    assert dgm.BayesNet(x=a, plates={"p": ["x"]}) != dgm.BayesNet(x=a) != "x"


def test_is_frozen():
    net = chain()
    for change in (lambda: setattr(net, "dag", None), lambda: setattr(net, "anything", 1)):
        with pytest.raises(AttributeError, match="a net is frozen"):
            change()
    with pytest.raises(TypeError):
        net.variables["x"] = dgm.Normal()
    with pytest.raises(AttributeError):
        net["x"].shape = (3,)


def test_reading():
    net = chain(p=["x", "y"])
    assert list(net) == ["mu", "x", "y"] and len(net) == 3 and "x" in net and "q" not in net
    assert net["x"] == dgm.Normal(loc="mu") and net.order == ("mu", "x", "y") and net.plates_of("x") == ("p",) and net.plates_of("mu") == ()
    assert dgm.BayesNet(t=dgm.Given(), m=dgm.Delta(v="t")).inputs == ("t",) and dgm.BayesNet(t=dgm.Given(), m=dgm.Delta(v="t")).deterministic == ("m",)


def test_replace_add_remove_return_other_nets():
    net = chain(p=["x"])
    larger = net.replace(mu=dgm.Normal(3)).replace(x=dgm.Normal(3, loc="mu")).add(w=dgm.Normal().given("y"), plates={"p": ["w"], "q": ["w"]})
    assert larger["mu"].shape == (3,) and larger.plates_of("w") == ("p", "q") and larger.plates_of("x") == ("p",)
    assert list(net) == ["mu", "x", "y"] and net["mu"].shape == ()
    assert larger.remove("w") == net.replace(mu=dgm.Normal(3)).replace(x=dgm.Normal(3, loc="mu"))
    assert net.remove("y", "x") == dgm.BayesNet(mu=dgm.Normal())
    assert net.replace() == net.add() == net.remove() == net.do() == net
    assert net.add({"a b": dgm.Normal()})["a b"] == dgm.Normal()


def test_do_sets_values_and_cuts_arrows():
    sky = dgm.Categorical(["clear", "grey"])
    net = dgm.BayesNet(sky=sky, warm=dgm.Normal().given("sky"), wet=dgm.Bernoulli().given("sky", "warm"))
    for asked in ({"sky": "grey"}, {"sky": 1}, {"sky": torch.tensor(1)}, {"sky": numpy.array("grey")}):
        cut = net.do(asked)
        assert repr(cut["sky"]) == "Delta(v=1)" and cut["sky"].space == sky.space and cut["sky"].labels == sky.labels
    cut = net.do(warm=3.0)
    assert cut.dag.parents("warm") == () and cut.dag.parents("wet") == ("sky", "warm")
    sample = dgm.compile(net.do(sky="grey")).sample(4)
    assert sample["sky"].tolist() == [1, 1, 1, 1] and sample["sky"].dtype is torch.long
    assert repr(net.do(warm=0.1)["warm"]) == "Delta(v=0.1)"


def test_do_on_a_deterministic_node_a_vector_and_a_plate():
    net = dgm.BayesNet(a=dgm.Normal(), d=dgm.Delta(v="a"), z=dgm.Normal(3, loc="d"), plates={"p": ["z"]})
    assert dgm.compile(net.do(d=2.0)).sample(given={"z": torch.zeros(4, 3)})["d"].tolist() == 2.0
    assert net.do(z=0.0)["z"].fixed["v"].shape == (3,)
    each = net.do(z=numpy.arange(6.0).reshape(2, 3))
    assert each.plates["p"].size == 2 and dgm.compile(each).sample()["z"].tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]


def test_plates_take_their_size_from_values_given_a_member():
    net = dgm.BayesNet(theta=dgm.Normal(), y=dgm.Normal(loc="theta", scale=[15.0, 10.0, 16.0]), plates={"school": ["theta", "y"]})
    assert net.plates["school"].size == 3 and repr(net).endswith("plate school (3): theta, y")
    assert dgm.compile(net).sample(5)["y"].shape == (5, 3)
    crossed = {"p": ["x"], "q": ["x"]}
    assert {name: plate.size for name, plate in dgm.BayesNet(x=dgm.Normal(2, loc=numpy.zeros((3, 1, 2))), plates=crossed).plates.items()} == {"p": 3, "q": None}


def test_nested_and_crossed_plates_have_their_dimensions_in_order():
    net = dgm.BayesNet(
        c=dgm.Normal(loc=0.0, scale=1.0), s=dgm.Normal(loc="c", scale=1.0), i=dgm.Normal(loc=0.0, scale=1.0), y=dgm.Normal(2, loc=dgm.Ref("s") + dgm.Ref("i"), scale=1.0),
        plates={"city": dgm.Plate(["c", "s", "y"], size=2), "school": dgm.Plate(["s", "y"], size=3), "item": dgm.Plate(["i", "y"], size=4)},
    )
    model = dgm.compile(net)
    sample = model.sample(5)
    assert {name: tuple(value.shape) for name, value in sample.items()} == {"c": (5, 2), "s": (5, 2, 3), "i": (5, 4), "y": (5, 2, 3, 4, 2)}
    normal, (c, s, i, y) = torch.distributions.Normal, sample.values()
    expected = normal(0, 1).log_prob(c).sum(-1) + normal(c[..., None], 1).log_prob(s).sum((-1, -2)) + normal(0, 1).log_prob(i).sum(-1)
    expected += normal((s[..., None] + i[:, None, None])[..., None], 1).log_prob(y).sum((-1, -2, -3, -4))
    torch.testing.assert_close(model.log_prob(sample), expected)


N, S = dgm.Normal(), dgm.Categorical(3)
BAD = {
    "nothing": (lambda: dgm.BayesNet(), "BayesNet: expected at least one node; got none; try BayesNet(z=dgm.Normal(2, loc=0.0, scale=1.0))"),
    "misspelt parent": (lambda: dgm.BayesNet(height=N, x=dgm.Normal().given("hieght")), "node 'x': no parent 'hieght'; did you mean 'height'?"),
    "misspelt name in a parameter": (lambda: dgm.BayesNet(height=N, x=dgm.Normal(loc="hieght")), "node 'x': no parent 'hieght'; did you mean 'height'?"),
    "misspelt name in an expression": (lambda: dgm.BayesNet(height=N, x=dgm.Normal(loc=1 + dgm.Ref("heigth"))), "node 'x': no parent 'heigth'; did you mean 'height'?"),
    "cycle": (lambda: dgm.BayesNet(a=dgm.Normal(loc="b"), b=dgm.Normal(loc="c"), c=dgm.Normal(loc="a")), "DAG: expected no cycle; got a -> c -> b -> a"),
    "loop": (lambda: dgm.BayesNet(a=dgm.Normal(loc="a")), "node 'a': expected parents other than itself"),
    "a family not called": (lambda: dgm.BayesNet(a=dgm.Normal), "node 'a': expected a declaration such as dgm.Normal(2); got Normal; call it: dgm.Normal()"),
    "a number": (lambda: dgm.BayesNet(a=3.0), "node 'a': expected a declaration such as dgm.Normal(2); got 3.0"),
    "a name that is none": (lambda: dgm.BayesNet({"": N}), "BayesNet: nodes are named by non-empty strings; got ''"),
    "a name of blanks": (lambda: dgm.BayesNet({" ": N}), "BayesNet: nodes are named by non-empty strings; got ' '"),
    "a name that is no string": (lambda: dgm.BayesNet({3: N}), "BayesNet: nodes are named by non-empty strings; got 3"),
    "text for a graph": (lambda: dgm.BayesNet("a -> b"), "BayesNet: expected a DAG, a dict of declarations, or keywords; got 'a -> b'"),
    "declared twice": (lambda: dgm.BayesNet({"a": N}, a=N), "BayesNet: ['a'] declared twice, by dict and by keyword"),
    "not in the graph": (lambda: dgm.BayesNet(dgm.DAG("age"), age=N, agee=N), "node 'agee': not in the DAG; did you mean 'age'?"),
    "graph without declaration": (lambda: dgm.BayesNet(dgm.DAG("a -> b"), a=N), "BayesNet: the DAG's nodes ['b'] have no declaration; try BayesNet(dag, b=dgm.Normal(1), ...)"),
    "a parent against the graph": (lambda: dgm.BayesNet(dgm.DAG("a, b"), a=N, b=dgm.Normal(loc="a")), "node 'b': 'a' is a parent here but not in the DAG"),
    "parents of .given against the graph": (lambda: dgm.BayesNet(dgm.DAG("a -> x, b -> x"), a=N, b=N, x=dgm.Normal().given("a")), "leave the names out: .given(net=...)"),
    "an input with arrows": (lambda: dgm.BayesNet(dgm.DAG("a -> t"), a=N, t=dgm.Given()), "node 't': a Given node is an input and has no parents"),
    "a net without parents": (lambda: dgm.BayesNet(a=dgm.Normal().given(net=dgm.MLP(3))), "node 'a': a net or fn needs parents; try .given('z', net=...)"),
    "a net that is none": (lambda: dgm.BayesNet(z=N, x=dgm.Normal().given("z", net=3)), "node 'x': net is a builder or a torch module; got 3; try net=dgm.MLP(400)"),
    "a function as net": (lambda: dgm.BayesNet(z=N, x=dgm.Normal().given("z", net=abs)), "node 'x': net is a builder or a torch module; got <built-in function abs>"),
    "parents without a use": (
        lambda: dgm.BayesNet(z=N, x=dgm.Normal(loc=0.0, scale=1.0).given("z")), "node 'x': ['z'] are parents, but every parameter of Normal is given, so nothing is left to compute",
    ),
    "a Delta of nothing": (lambda: dgm.BayesNet(x=dgm.Delta()), "node 'x': Delta needs a value: Delta(v=...), an expression, or .given('z', fn=...)"),
    "a parameter that cannot be learned": (lambda: dgm.BayesNet(x=dgm.Binomial()), "node 'x': Binomial's parameter 'total_count' cannot be learned; give it: Binomial(total_count=...)"),
    "a free parameter that cannot be learned": (lambda: dgm.BayesNet(x=dgm.Uniform(low=dgm.free(), high=1.0)), "node 'x': Uniform's parameter 'low' cannot be learned"),
    "a shape that does not fit": (lambda: dgm.BayesNet(x=dgm.Normal(3, loc=[0.0, 1.0])), "node 'x': parameter 'loc': expected the shape (3,); got the shape (2,)"),
    "rows that do not fit": (
        lambda: dgm.BayesNet(s=S, x=dgm.Normal(loc=[0.0, 1.0]).given("s")), "node 'x': parameter 'loc': expected a number, or (3,) with a row for each state of ['s']; got the shape (2,)",
    ),
    "members that do not fit": (
        lambda: dgm.BayesNet(x=dgm.Normal(2, loc=numpy.zeros((4, 2))), plates={"p": dgm.Plate(["x"], size=3)}),
        "node 'x': parameter 'loc': expected the shape (2,), or (3, 2) with a value for each plate member; got the shape (4, 2)",
    ),
    "members that disagree": (
        lambda: dgm.BayesNet(x=dgm.Normal(loc=[0.0, 1.0], scale=[1.0, 2.0, 3.0]), plates={"p": ["x"]}), "plate 'p': expected one size; got 2 members by 'loc' of 'x', 3 by 'scale' of 'x'",
    ),
    "a negative scale": (lambda: dgm.BayesNet(x=dgm.Normal(scale=-1.0)), "node 'x': parameter 'scale' = -1.0 is outside its range: expected a positive number"),
    "probabilities beyond one": (lambda: dgm.BayesNet(x=dgm.Bernoulli(probs=1.5)), "node 'x': parameter 'probs' = 1.5 is outside its range: expected a probability"),
    "probabilities that sum to more": (
        lambda: dgm.BayesNet(s=S, x=dgm.Categorical(2, probs=[[0.5, 0.5], [0.5, 0.6], [1.0, 0.0]]).given("s")), "expected probabilities that sum to one along the last dimension",
    ),
    "a number for a matrix": (
        lambda: dgm.BayesNet(x=dgm.MultivariateNormal(2, scale_tril=1.0)), "parameter 'scale_tril' = 1.0, filled to the shape (2, 2), is outside its range: expected a lower triangular",
    ),
    "a number for a simplex": (lambda: dgm.BayesNet(x=dgm.Categorical(3, probs=0.2)), "parameter 'probs' = 0.2, filled to the shape (3,), is outside its range"),
    "a matrix that is no covariance": (
        lambda: dgm.BayesNet(x=dgm.MultivariateNormal(2, covariance_matrix=[[1.0, 2.0], [2.0, 1.0]])), "is outside its range: expected a positive definite matrix",
    ),
    "cutpoints out of order": (lambda: dgm.BayesNet(x=dgm.OrderedLogistic(3, cutpoints=[1.0, 0.0])), "is outside its range: expected increasing numbers"),
    "half a trial": (lambda: dgm.BayesNet(x=dgm.Binomial(total_count=2.5)), "is outside its range: expected a whole number from 0"),
    "NaN": (lambda: dgm.BayesNet(x=dgm.Normal(loc=float("nan"))), "node 'x': parameter 'loc' = nan is outside its range: expected a number"),
    "infinity": (lambda: dgm.BayesNet(x=dgm.Normal(loc=float("inf"))), "node 'x': parameter 'loc' = inf is not finite"),
    "bounds that contradict": (lambda: dgm.BayesNet(x=dgm.Uniform(low=1.0, high=0.0)), "node 'x': Uniform: expected low < high; got low=1.0, high=0.0"),
    "a start outside": (lambda: dgm.BayesNet(x=dgm.Normal(scale=dgm.free(-1.0))), "node 'x': parameter 'scale' = -1.0 is outside its range: expected a positive number"),
    "a start of another shape": (lambda: dgm.BayesNet(x=dgm.Normal(scale=dgm.free([1.0, 2.0]))), "parameter 'scale' = free([1.0, 2.0]): expected a number, one value for all parents"),
    "a real node as a scale": (
        lambda: dgm.BayesNet(a=N, x=dgm.Normal(scale="a")),
        "node 'x': parameter 'scale': expected a positive number; got 'a' ~ Normal(), with values in the real numbers; try scale=dgm.exp(dgm.refs('a'))",
    ),
    "a real node as a probability": (lambda: dgm.BayesNet(a=N, x=dgm.Bernoulli(probs="a")), "expected a probability; got 'a' ~ Normal()"),
    "a gamma as a probability": (lambda: dgm.BayesNet(a=dgm.Gamma(), x=dgm.Bernoulli(probs="a")), "try probs=dgm.sigmoid(dgm.refs('a'))"),
    "a vector as probabilities": (lambda: dgm.BayesNet(a=dgm.Normal(3), x=dgm.Categorical(3, probs="a")), "declare 'a' as a Dirichlet"),
    "an index without states": (
        lambda: dgm.BayesNet(m=dgm.Normal(3), a=N, x=dgm.Normal(loc=dgm.Ref("m")[dgm.Ref("a")])),
        "node 'x': parameter 'loc' = m[a]: expected an index with states; got 'a' ~ Normal(), with values in the real numbers; try Categorical(...) or Given(states=...) for 'a'",
    ),
    "misspelt plate member": (lambda: dgm.BayesNet(theta=N, plates={"school": ["tehta"]}), "plate 'school': no node 'tehta'; did you mean 'theta'?"),
    "a word for plate members": (lambda: dgm.BayesNet(theta=N, plates={"school": "theta"}), "plate 'school': expected a list of node names; got 'theta'; try ['theta']"),
    "a list of plates": (lambda: dgm.BayesNet(theta=N, plates=["theta"]), "plates: expected a dict of plate names to node names; got ['theta']"),
    "a plate named as a node": (lambda: dgm.BayesNet(theta=N, plates={"theta": ["theta"]}), "plates: 'theta' is the name of a node already; name the plate otherwise"),
    "a plate named as the rows": (lambda: dgm.BayesNet(theta=N, plates={"rows": ["theta"]}), "plates: 'rows' is kept for the rows of a batch; name the plate otherwise"),
    "an empty plate": (lambda: dgm.BayesNet(theta=N, plates={"p": []}), "plate 'p': expected one or more nodes, each once; got []"),
    "a member twice": (lambda: dgm.BayesNet(theta=N, plates={"p": ["theta", "theta"]}), "plate 'p': expected one or more nodes, each once"),
    "a plate of no size": (lambda: dgm.Plate(["theta"], size=0), "Plate: expected a positive whole number for size; got 0; try size=8"),
    "no such node": (lambda: chain()["z"], "no node 'z'; known names: mu, x, y"),
    "no such node to replace": (lambda: chain().replace(xx=N), "no node 'xx'; did you mean 'x'?"),
    "a node to add that is there": (lambda: chain().add(x=N), "add: the net has a node 'x' already; try net.replace(x=...)"),
    "another size for a plate": (
        lambda: chain(p=dgm.Plate(["x"], size=3)).add(w=N, plates={"p": dgm.Plate(["w"], size=4)}), "add: plate 'p' has 3 members; got size=4; leave the size out",
    ),
    "a parent to remove": (lambda: chain().remove("mu"), "remove: 'mu' is a parent of 'x', which stays; remove both, or declare 'x' anew first: net.replace(...)"),
    "a value without a name": (lambda: chain().do(3.0), "do: expected a dict of node names, or keywords; got 3.0; try net.do(x=...)"),
    "no such node to set": (lambda: chain().do(z=1.0), "no node 'z'"),
    "a label outside the states": (lambda: dgm.BayesNet(s=dgm.Categorical(["low", "high"])).do(s="hihg"), "node 's' has no state 'hihg'; did you mean 'high'?"),
    "a state outside": (lambda: dgm.BayesNet(s=dgm.Bernoulli()).do(s=2), "node 's': Bernoulli() has values in {0, 1}; got 2"),
    "values of many worlds": (lambda: chain().do(x=[1.0, 2.0]), "node 'x': expected one value, (); got the shape (2,); set other values in other nets"),
    "a value of another shape": (lambda: dgm.BayesNet(z=dgm.Normal(2)).do(z=[1.0, 2.0, 3.0]), "node 'z': expected the shape (*worlds, 2); got (3,)"),
}


@pytest.mark.parametrize("wrong, message", BAD.values(), ids=BAD.keys())
def test_bad_nets_say_what_is_wrong(wrong, message):
    with pytest.raises(dgm.GraphError, match=re.escape(message)):
        wrong()


@pytest.mark.parametrize(
    "net",
    [
        dgm.BayesNet(sigma=dgm.Given(), y=dgm.Normal(scale="sigma")), dgm.BayesNet(tau=dgm.HalfCauchy(), y=dgm.Normal(scale="tau")),
        dgm.BayesNet(a=N, d=dgm.Delta(v=dgm.exp(dgm.Ref("a"))), y=dgm.Normal(scale="d")), dgm.BayesNet(p=dgm.Beta(), y=dgm.Bernoulli(probs="p")),
        dgm.BayesNet(p=dgm.Dirichlet(3), y=dgm.Categorical(3, probs="p")), dgm.BayesNet(u=dgm.Uniform(low=0.5, high=2.0), y=dgm.Normal(scale="u")),
        dgm.BayesNet(n=dgm.Poisson(), y=dgm.Normal(loc="n")), dgm.BayesNet(b=dgm.Bernoulli(), y=dgm.Normal(loc="b")), dgm.BayesNet(g=dgm.Gamma(3), y=dgm.Dirichlet(3, concentration="g")),
    ],
    ids=repr,
)
def test_nodes_that_fit_a_parameter_are_taken(net):
    given = {name: torch.ones(2) for name in net.inputs}
    assert bool(dgm.compile(net, seed=0).sample(2, given=given)["y"].isfinite().all())
