"""Declared is actual: every conditional passes, and each way of breaking the graph is named."""

import pytest
import torch
from cases import CONDITIONALS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

import dgm_ppl as dgm
from dgm_ppl.compile.verification import Finding
from dgm_ppl.conditionals import Conditional

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


# ---- the order of an event's elements


class Ordered(Conditional):
    """x_i ~ Normal or Bernoulli around z and W x, of which `mask` leaves what is before i; it says `adjacency` of itself."""

    def __init__(self, like, mask, adjacency=None, sneaked=0.0):
        super().__init__(like.name, like.variable, like.ports)
        size = len(mask)
        self.register_buffer("weights", torch.linspace(0.5, 1.5, size * size).reshape(size, size) * mask)
        self.adjacency, self.sneaked = mask.bool() if adjacency is None else adjacency, sneaked

    @property
    def event_adjacency(self):
        return self.adjacency

    def prepare(self, z):
        return z

    def residuals(self, value, prepared):
        location = prepared + (value.flatten(-len(self.variable.shape)) @ self.weights.T).reshape(value.shape)
        kind = torch.distributions.Bernoulli(logits=location) if self.variable.family_name == "Bernoulli" else torch.distributions.Normal(location, 1.0)
        return -kind.log_prob(value)

    def surprisals(self, value, prepared):
        flat = value.flatten(-len(self.variable.shape))
        return self.residuals(value, prepared).flatten(-len(self.variable.shape)).sum(-1) + self.sneaked * flat[..., 0] * flat[..., -1]

    def draw(self, batch, prepared, noise):
        value = torch.zeros(*batch, *self.variable.shape)
        return torch.bernoulli(value + 0.5) if self.variable.family_name == "Bernoulli" else torch.randn_like(value)


def ordered(mask, *, family=dgm.Normal, shape=None, **said):
    model = dgm.compile(dgm.BayesNet(z=dgm.Normal(*(shape or (len(mask),))), x=family(*(shape or (len(mask),))).given("z")), seed=0)
    model.conditionals.add_module("p(x)", Ordered(model.conditionals["x"], mask, **said))
    model._schedule()
    return model.verify_structure()


TRIANGLE = torch.ones(4, 4).tril(-1)
CHAIN = torch.ones(4, 4).tril(-1).triu(-1)


@pytest.mark.parametrize("family", [dgm.Normal, dgm.Bernoulli])
def test_elements_that_keep_their_order(family):
    shuffled = TRIANGLE[[2, 0, 3, 1]][:, [2, 0, 3, 1]]
    for mask in (TRIANGLE, CHAIN, shuffled, torch.zeros(4, 4)):
        assert (report := ordered(mask, family=family)).ok, report
    assert ordered(TRIANGLE, family=family, shape=(2, 2)).ok


@pytest.mark.parametrize("family", [dgm.Normal, dgm.Bernoulli])
def test_an_element_that_sees_a_later_one_is_named(family):
    leaking = TRIANGLE.clone()
    leaking[1, 3] = 1
    report = ordered(leaking, adjacency=TRIANGLE.bool(), family=family, shape=(2, 2))
    assert [str(one) for one in report.wrong] == ["node 'x' has an element (0, 1) that depends on element (1, 1), which its order does not allow"]


@pytest.mark.parametrize("family", [dgm.Normal, dgm.Bernoulli])
def test_every_single_leak_is_caught_and_every_allowed_arrow_passes(family):
    for i in range(4):
        for j in range(4):
            mask = CHAIN.clone()
            if i != j and not mask[i, j]:
                mask[i, j] = 0.3
                (wrong,) = [one for one in ordered(mask, adjacency=CHAIN.bool(), family=family).wrong if "element (" in one.text]
                assert f"element ({i},) that depends on element ({j},)" in wrong.text


def test_a_density_in_which_elements_meet_that_should_not():
    assert "in which elements (0,) and (3,) meet, though its order lets no element read both" in str(ordered(CHAIN, sneaked=0.2))
    assert ordered(TRIANGLE, sneaked=0.2).ok                                 # the last element may read the first


def test_an_order_that_is_none():
    assert "depend on each other in a cycle" in str(ordered(TRIANGLE + TRIANGLE.T))
    assert "in a matrix of shape (3, 3) and type torch.bool; expected (4, 4)" in str(ordered(TRIANGLE, adjacency=torch.ones(3, 3).bool()))
    assert "type torch.float32; expected (4, 4) and torch.bool" in str(ordered(TRIANGLE, adjacency=TRIANGLE))


def test_of_a_large_event_some_elements_are_tried():
    report = ordered(torch.ones(100, 100).tril(-1) / 100)
    assert report.ok and "has 100 elements, 64 of which were held against their order" in str(report)


ORDERED = [
    dgm.MAF(1, hidden=(8,)), dgm.MAF(1, hidden=(8,), random_order=True), dgm.MAF(1, hidden=(8,), passes=2), dgm.IAF(1, hidden=(8,)),
    dgm.NSF(1, bins=4, hidden=(8,)), dgm.NAF(1, signal=4, hidden=(8,), network=(8,)), dgm.BPF(1, degree=4, hidden=(8,)),
]


@pytest.mark.parametrize("kind", ORDERED, ids=str)
def test_a_flow_of_one_transformation_keeps_its_order(kind):
    model = dgm.compile(dgm.BayesNet(z=dgm.Normal(2), x=dgm.Flow(2, 2, kind, space=dgm.Positive()).given("z")), seed=0)
    assert model.verify_structure().ok
    adjacency = model.conditionals["x"].event_adjacency
    assert 0 < adjacency.sum() <= 6 and not (adjacency & adjacency.T).any()
    model.conditionals["x"].flow.transform.register_forward_hook(lambda module, inputs, made: _Mixed(made))
    assert "which its order does not allow" in str(model.verify_structure())


class _Mixed:
    """A transformation after which every number has a little of the last."""

    def __init__(self, made):
        self.made = made

    def __call__(self, x):
        return self.made(x) + 0.1 * self.made(x)[..., -1:].sum(-1, keepdim=True) + 0.1 * x.sum(-1, keepdim=True)

    inv = __call__

    def call_and_ladj(self, x):
        return self.made.call_and_ladj(x)


@pytest.mark.parametrize("kind", [dgm.MAF(2, hidden=(8,)), dgm.RealNVP(2, hidden=(8,)), dgm.GF(1)], ids=str)
def test_other_flows_have_no_order(kind):
    model = dgm.compile(dgm.BayesNet(x=dgm.Flow(4, kind)), seed=0)
    assert model.conditionals["x"].event_adjacency is None and model.verify_structure().ok
