"""A declaration as JSON data and back: the identity, and nothing that a damaged or hostile document can do but be refused."""

import builtins
import json
import os
import re

import numpy
import pytest
import torch
from cases import CONDITIONALS, FAMILIES, USERS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

import dgm_ppl as dgm
from dgm_ppl.families import Constant, Operation, Ref
from dgm_ppl.formats import describe, restore
from dgm_ppl.network import RecognitionNet

NAMES = ["z", "x y", "class", "β", "n.m", "'"]
LINEAR, FUNCTION = nn.Linear(2, 4), torch.sin
MODEL = dgm.BayesNet(z=dgm.Normal(2), w=dgm.Normal().given("z"), x=dgm.Normal(3).given("z", net=dgm.MLP(4)))
GUIDE = dgm.amortize(MODEL, observed="x", net=dgm.MLP(4))


def through_json(net, **code):
    return restore(json.loads(json.dumps(describe(net), allow_nan=False)), families=USERS, **code)


def code_of(net):
    """The code that a net holds, as `restore` asks for it."""
    nets = {name: variable.net for name, variable in net.variables.items() if isinstance(variable.net, nn.Module | dgm.Shaped | dgm.Flat)}
    return {"nets": nets, "functions": {name: variable.fn for name, variable in net.variables.items() if variable.fn is not None}}


# ---- random nets with every kind of thing in them


@st.composite
def expressions(draw, parents):
    leaf = st.sampled_from([*map(Ref, parents), Constant(draw(st.floats(allow_nan=False))), Constant([[1.0], [2.0]]), Constant(3)])
    return draw(st.recursive(
        leaf,
        lambda below: st.one_of(
            st.builds(lambda name, a, b: Operation(name, (a, b)), st.sampled_from(["+", "-", "*", "/", "**", "@"]), below, below),
            st.builds(lambda name, a: Operation(name, (a,)), st.sampled_from(["exp", "log", "softplus", "sigmoid", "neg"]), below),
            st.builds(lambda a, *rest: Operation("[]", (a, *rest)), below, st.sampled_from([Constant(0), Constant(-1)]), below),
        ),
        max_leaves=6,
    ))


ROOTS = st.sampled_from([
    *FAMILIES.values(), dgm.Given(), dgm.Given(2, 3), dgm.Given(states=4), dgm.Given(2, states=["a", "b c"]), dgm.Given(space=dgm.Interval(-1.0, 2.0)), dgm.Given(space=dgm.Counts(3)),
    dgm.Normal(2, 3), dgm.Categorical(["low", "hi gh"], 2), dgm.Normal(2, scale=dgm.free([0.1, 0.2])), dgm.MultivariateNormal(3, rank=2), dgm.Uniform(low=-1e300, high=1e-300),
    dgm.Categorical(2, logits=[-numpy.inf, 0.0]), dgm.Bernoulli(probs=0.1 + 0.2), dgm.Normal(loc=2**53 + 1), dgm.Poisson(rate=numpy.uint8(3)), dgm.Normal(12, loc=numpy.arange(12)),
])
BUILDERS = st.sampled_from([
    dgm.MLP(3), dgm.MLP(4, 5, activation=nn.Tanh, dropout=0.1, norm=True), dgm.ConvNet(3, hidden=(4,)), dgm.ConvTransposeNet(3), dgm.ResNet(4, blocks=1), LINEAR, dgm.Shaped(LINEAR),
])


@st.composite
def variables(draw, parents):
    kind = draw(st.sampled_from(["root", "given", "net", "fn", "expression", "set"] if parents else ["root"]))
    if kind == "root":
        return draw(ROOTS)
    if kind == "set":
        return dgm.BayesNet(a=dgm.Categorical(["u", "v"])).do(a="v")["a"]
    some = draw(st.lists(st.sampled_from(parents), unique=True, min_size=1, max_size=3))
    if kind == "expression":
        free = draw(st.sampled_from([{}, {"scale": dgm.free()}, {"scale": dgm.free(0.3)}, {"scale": 2.0}]))
        return dgm.Normal(loc=draw(expressions(some)), **free)
    opened = dgm.Normal(2) if kind != "given" else draw(st.sampled_from([dgm.Normal(2), dgm.Categorical(["a", "b"]), dgm.StudentT(df=3.0), dgm.Bernoulli()]))
    return opened.given(*some, net=draw(BUILDERS) if kind == "net" else None, fn=FUNCTION if kind == "fn" else None)


@st.composite
def random_nets(draw):
    declared = {}
    for name in NAMES[: draw(st.integers(1, len(NAMES)))]:
        declared[name] = draw(variables(list(declared)))
    members = draw(st.lists(st.sampled_from(list(declared)), unique=True))
    plates = {"p q": dgm.Plate(members, size=draw(st.sampled_from([None, 3])))} if members else {}
    try:
        return dgm.BayesNet(declared, plates=plates)
    except dgm.GraphError:                                                  # random things do not always fit; fewer of them do
        return dgm.BayesNet(declared | {name: dgm.Normal() for name in declared})


# ---- the identity


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(random_nets())
def test_write_then_read_is_the_identity(net):
    again = through_json(net, **code_of(net))
    assert again == net and hash(again) == hash(net) and repr(again) == repr(net) and list(again) == list(net)
    assert describe(again) == describe(net)


@pytest.mark.parametrize("case", CONDITIONALS.values(), ids=CONDITIONALS.keys())
def test_every_conditional_comes_back(case):
    again = through_json(case.net, **code_of(case.net))
    assert again == case.net and repr(again) == repr(case.net)
    ours, theirs = dgm.compile(case.net, seed=0).state_dict(), dgm.compile(again, seed=0).state_dict()
    assert list(ours) == list(theirs) and all(torch.equal(ours[name], theirs[name]) for name in ours)


@pytest.mark.parametrize("variable", FAMILIES.values(), ids=FAMILIES.keys())
def test_every_family_comes_back(variable):
    assert through_json(dgm.BayesNet(x=variable)) == dgm.BayesNet(x=variable)


def test_shared_nets_are_shared_again():
    shared = dgm.MLP(3)
    net = dgm.BayesNet(z=dgm.Normal(2), x=dgm.Normal().given("z", net=shared), y=dgm.Normal().given("z", net=shared), w=dgm.Normal().given("z", net=dgm.MLP(3)))
    again = through_json(net)
    assert again["x"].net is again["y"].net and again["w"].net is not again["x"].net


def test_a_guide_comes_back_with_its_model():
    again = through_json(GUIDE)
    assert isinstance(again, RecognitionNet) and again == GUIDE and again.model == MODEL and str(again.certificate()) == str(GUIDE.certificate())


def test_what_is_written_is_plain_data():
    written = describe(dgm.BayesNet(z=dgm.Categorical(["a", "b"]), x=dgm.Normal(loc=-dgm.Ref("t"), scale=dgm.free(0.5)), t=dgm.Given()))
    assert written == {
        "format": "dgm_ppl net", "version": 1, "nets": [], "plates": {},
        "nodes": {
            "z": {"family": "Categorical", "shape": [], "size": 2, "labels": ["a", "b"]},
            "x": {"family": "Normal", "shape": [], "parameters": {
                "loc": {"operator": "neg", "operands": [{"ref": "t"}]}, "scale": {"free": {"dtype": "float64", "value": 0.5}},
            }},
            "t": {"family": "Given", "shape": [], "space": {"space": "Real"}},
        },
    }


# ---- what is refused


def document(**changes):
    return {**json.loads(json.dumps(describe(dgm.BayesNet(z=dgm.Normal(2), x=dgm.Categorical(["a", "b"]).given("z", net=dgm.MLP(3)), plates={"p": ["x"]})))), **changes}


def node(name="z", **changes):
    nodes = document()["nodes"]
    return document(nodes=nodes | {name: nodes[name] | changes})


WITH_CODE = dgm.BayesNet(z=dgm.Normal(2), x=dgm.Normal(2).given("z", net=LINEAR), y=dgm.Normal(2, scale=1.0).given("z", fn=FUNCTION))
BAD = {
    "another format": (document(format="bif"), "expected a dgm_ppl net, version 1; got format 'bif', version 1"),
    "another version": (document(version=2), "expected a dgm_ppl net, version 1; got format 'dgm_ppl net', version 2"),
    "no format": ({}, "expected a dgm_ppl net, version 1; got format None, version None"),
    "no nodes": ({key: value for key, value in document().items() if key != "nodes"}, "the document is damaged (KeyError: 'nodes'); write it again"),
    "a list": ([], "the document is damaged (AttributeError: "),
    "an unknown family": (node(family="Nromal"), "node 'z': no family 'Nromal'; did you mean 'Normal'?; supply it: families={'Nromal': ...}"),
    "an unknown parameter": (node(parameters={"lco": {"ref": "x"}}), "Normal: no parameter 'lco'; did you mean 'loc'?"),
    "an unknown parent": (node(parents=["y"]), "node 'z': no parent 'y'"),
    "a cycle": (node(parents=["x"]), "expected no cycle"),
    "an unknown operator": (node(parameters={"loc": {"operator": "system", "operands": []}}), "expression: no operator 'system'"),
    "too few operands": (node(parameters={"loc": {"operator": "+", "operands": [{"ref": "x"}]}}), "expression: '+' takes 2 operands; got 1"),
    "an unknown space": (node(space={"space": "Space"}), "node 'z' is damaged (KeyError: 'Space')"),
    "a space of text": (node(space={"space": "Interval", "low": "0"}), "node 'z' is damaged (TypeError: expected a number for low; got '0')"),
    "a shape of text": (node(shape=["2"]), "Normal: an event shape is made of positive whole numbers; got '2'"),
    "a shape that is none": (node(shape=None), "node 'z' is damaged (TypeError: "),
    "a value of text": (node(parameters={"loc": {"dtype": "float64", "value": "zero"}}), "node 'z' is damaged (ValueError: could not convert string to float: 'zero')"),
    "a value of objects": (node(parameters={"loc": {"dtype": "object", "value": [None]}}), "node 'z' is damaged (TypeError: "),
    "an unknown dtype": (node(parameters={"loc": {"dtype": "os.system", "value": 0}}), "node 'z' is damaged (TypeError: "),
    "labels of another number": (node("x", labels=["a", "b", "c"]), "node 'x': expected 3 states, one a label; got 2"),
    "labels twice": (node("x", labels=["a", "a"]), "node 'x': a state is named twice"),
    "no number of states": (document(nodes={"x": {"family": "Categorical", "shape": []}}), "Categorical: expected the number of states; got none"),
    "a size of text": (node("x", labels=None, size="2"), "node 'x' is damaged"),
    "a net beyond the list": (node("x", net=5), "node 'x' is damaged (IndexError: "),
    "a net by name": (node("x", net="MLP"), "node 'x' is damaged (TypeError: "),
    "an unknown builder": (document(nets=[{"net": "System"}]), "the document is damaged (ValueError: net 'System': expected one of "),
    "an unknown activation": (document(nets=[{"net": "MLP", "hidden": [3], "activation": "eval"}]), "activation 'eval': expected the name of a module class in torch.nn"),
    "an unknown member": (document(plates={"p": {"nodes": ["y"], "size": None}}), "plate 'p': no node 'y'"),
    "a plate of text": (document(plates={"p": {"nodes": "x", "size": None}}), "Plate: expected a list of node names; got 'x'"),
    "a module that is not supplied": (describe(WITH_CODE), "node 'x' has the module Linear, which is code; supply it: nets={'x': module}"),
}


@pytest.mark.parametrize("written, message", BAD.values(), ids=BAD.keys())
def test_bad_documents_say_what_is_wrong(written, message):
    with pytest.raises(dgm.GraphError, match=re.escape(message)):
        restore(written)


def test_a_function_that_is_not_supplied():
    with pytest.raises(dgm.GraphError, match=re.escape("node 'y' has the function 'sin', which is code; supply it: functions={'y': fn}")):
        restore(describe(WITH_CODE), nets={"x": LINEAR})
    assert restore(describe(WITH_CODE), nets={"x": LINEAR}, functions={"y": FUNCTION}) == WITH_CODE


def test_a_family_of_a_users_own_is_asked_for():
    written = describe(dgm.BayesNet(x=USERS["MyGumbel"]()))
    with pytest.raises(dgm.GraphError, match=re.escape("node 'x': no family 'MyGumbel'")):
        restore(written)
    assert restore(written, families=USERS)["x"].family is USERS["MyGumbel"]


def places(value, path=()):
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in items:
        yield from places(child, (*path, key))


WHOLE = json.loads(json.dumps(describe(GUIDE.replace(z=dgm.Normal(2, scale=dgm.exp(dgm.Ref("x")[0]) + [1.0, 2.0]).given("x", net=dgm.MLP(4))))))
JUNK = st.sampled_from([None, [], {}, "", "x", "__import__('os')", -1, 0, 3, 1e400, True, [[]], {"ref": "x"}, {"free": 1}, [None], {"": None}])


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(list(places(WHOLE))), JUNK, st.booleans())
def test_any_damage_is_refused_in_words_or_harmless(path, junk, cut):
    written = json.loads(json.dumps(WHOLE))
    if path:
        parent = written
        for key in path[:-1]:
            parent = parent[key]
        if cut:
            del parent[path[-1]]
        else:
            parent[path[-1]] = junk
    else:
        written = junk
    try:
        net = restore(written)
    except dgm.GraphError:
        return
    assert isinstance(net, dgm.BayesNet) and repr(net)


def test_reading_executes_nothing(monkeypatch):
    """Names are looked up in tables: neither imported nor evaluated, whatever they say."""
    def forbidden(*args, **kwargs):
        raise AssertionError(f"executed: {args}")

    text = "__import__('os').system('true')"
    documents = [
        node(family=text), node(parameters={text: {"ref": "x"}}), node(parameters={"loc": {"ref": text}}), node(parameters={"loc": {"operator": text, "operands": [{"ref": "x"}] * 2}}),
        node(parameters={"loc": {"dtype": text, "value": 0}}), node(parameters={"loc": {"dtype": "float64", "value": text}}), node(space={"space": text}),
        document(nets=[{"net": text}]), document(nets=[{"net": "MLP", "hidden": [3], "activation": text}]), document(nets=[{"module": text}]), node("x", labels=[text, text]),
    ]
    for name in ("eval", "exec", "compile"):
        monkeypatch.setattr(builtins, name, forbidden)
    monkeypatch.setattr(os, "system", forbidden)
    for written in documents:
        with pytest.raises(dgm.GraphError):
            restore(written)
