"""Declared is actual: every conditional passes, and each way of breaking the graph is named."""

import pytest
import torch
from cases import CONDITIONALS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

import dgm_ppl as dgm
from dgm_ppl.compile.verification import Finding

from .random_nets import nets, recognition

FEW = settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
OUTSIDE = torch.randn(100, generator=torch.Generator().manual_seed(0))


def verified(fn=None, net=None, plates=None, size=()):
    declared = dgm.Normal(*size, scale=1.0).given("z", fn=fn, net=net)
    return dgm.compile(dgm.BayesNet(z=dgm.Normal(*size), x=declared, plates=plates), seed=0)


@pytest.mark.parametrize("case", CONDITIONALS.values(), ids=CONDITIONALS.keys())
def test_every_conditional_depends_on_its_parents_alone(case):
    report = dgm.compile(case.net, seed=0).verify_structure()
    assert report.ok, report
    assert not [one for one in report.notes if "no influence" in one.text and one.node == case.node], report


@FEW
@given(nets())
def test_random_nets_do_what_they_declare(net):
    assert (report := dgm.compile(net, seed=0).verify_structure()).ok, report


@FEW
@given(nets(plated=False), st.data())
def test_so_do_their_guides(net, data):
    random = [name for name in net.order if not net[name].is_given and not net[name].is_deterministic]
    observed = data.draw(st.lists(st.sampled_from(random), min_size=1, max_size=2, unique=True))
    if len(observed) < len(random):
        assert (report := dgm.compile(recognition(net, observed), seed=0).verify_structure()).ok, report


def test_batch_normalisation_mixes_worlds_while_it_trains():
    net = nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2))
    model = verified(net=net, size=(2,))
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    report = model.verify_structure()
    assert [one.node for one in report.wrong] == ["x"]
    assert "depends on other rows of 'z': worlds are independent; try LayerNorm for BatchNorm, or model.eval()" in str(report)
    assert all(torch.equal(buffer, before[name]) for name, buffer in model.named_buffers())
    assert model.eval().verify_structure().ok


def test_a_tensor_read_row_by_row_through_a_closure():
    report = verified(fn=lambda z: z + OUTSIDE[: len(z)]).verify_structure()
    assert "node 'x' depends on the place of a row" in str(report) and not report.ok
    assert "reads 'OUTSIDE' (Tensor) from outside: it is not saved, moved or trained" in str(report)


def test_a_constant_from_outside_is_noted():
    factor = torch.tensor(2.0)
    report = verified(fn=lambda z: factor * z).verify_structure()
    assert report.ok and "note: node 'x' has a function that reads 'factor' (Tensor)" in str(report)


def test_a_value_handed_on_behind_the_graphs_back():
    held = {}

    def keep(z):
        held["z"] = z
        return z

    net = dgm.BayesNet(z=dgm.Normal(), a=dgm.Normal(scale=1.0).given("z", fn=keep), u=dgm.Normal(),
                       x=dgm.Normal(scale=1.0).given("u", fn=lambda u: u + held["z"]))
    report = dgm.compile(net).verify_structure()
    assert [str(one) for one in report.wrong] == ["node 'x' depends on 'z', which is no parent; try .given('z', ...)"]
    with pytest.raises(dgm.GraphError, match="the conditionals are not what the graph declares"):
        report.require()


def test_a_change_in_place():
    report = verified(fn=lambda z: z.mul_(2)).verify_structure()
    assert [str(one) for one in report.wrong] == ["node 'x' changes the value of its parent 'z' in place; try z.clone() first"]


def test_members_of_a_plate_that_are_mixed():
    model = verified(fn=lambda z: z - z.mean(-1, keepdim=True), plates={"p": ["z", "x"]})
    assert "node 'x' depends on other members of plate 'p' through 'z'" in str(model.verify_structure())


def test_worlds_that_are_mixed_by_a_function_of_its_parents():
    net = dgm.BayesNet(z=dgm.Normal(), m=dgm.Delta().given("z", fn=lambda z: z - z.mean(0)), x=dgm.Normal(loc="m", scale=1.0))
    report = dgm.compile(net).verify_structure()
    assert [one.node for one in report.wrong] == ["m"]


def test_an_answer_that_changes():
    asked = []

    def count(z):
        asked.append(1)
        return z + len(asked)

    report = verified(fn=count).verify_structure()
    assert "node 'x' gives another answer when it is asked again" in str(report)


def test_dropout_is_noted_and_not_taken_for_mixing():
    net = nn.Sequential(nn.Linear(2, 8), nn.Dropout(0.5), nn.Linear(8, 2))
    report = verified(net=net, size=(2,)).verify_structure()
    assert report.ok and "draws random numbers" in str(report)


def test_a_parent_without_influence_is_noted():
    report = verified(fn=lambda z: 0 * z).verify_structure()
    assert report.ok
    assert report.notes == (Finding("x", "has the parent 'z', which has no influence on it here", wrong=False),)


def test_verification_leaves_the_generator_and_takes_data():
    net = dgm.BayesNet(c=dgm.Given(states=["a", "b"]), x=dgm.Normal(2).given("c"))
    model = dgm.compile(net, seed=0)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    assert str(model.verify_structure({"c": ["a", "b", "a"]})) == "every conditional depends on its parents alone (2 nodes, 1 arrow)"
    assert torch.equal(torch.rand(1), expected)
    with pytest.raises(dgm.GraphError, match="no state 'q'"):
        model.verify_structure({"c": ["q"]})
