"""Networks, functions and expressions as parameterizations."""

import copy
import re

import pytest
import torch
from torch import nn

import dgm_ppl as dgm

STANDARD = dgm.Normal(2, loc=0.0, scale=1.0)


def conditional(net, name="x"):
    return dgm.compile(net, seed=0).conditional(name)


def test_a_network_reads_each_parent_as_its_space_says():
    """One-hot states, Bernoulli as it is, logarithms of positives and counts, cosine and sine of angles, intervals scaled to [-1, 1]; in order."""
    net = dgm.BayesNet(
        s=dgm.Categorical(3), b=dgm.Bernoulli(), w=dgm.Gamma(), n=dgm.Poisson(), v=dgm.VonMises(), u=dgm.Uniform(low=0.0, high=4.0), z=dgm.Normal(2),
        x=dgm.Normal(11, scale=1.0).given("s", "b", "w", "n", "v", "u", "z", net=nn.Identity()),
    )
    values = [torch.tensor(1), torch.tensor(1.0), torch.tensor(2.0).exp(), torch.tensor(3.0).expm1(), torch.tensor(0.0), torch.tensor(3.0), torch.tensor([7.0, 8.0])]
    found = conditional(net).parameters_of(*values)["loc"]
    torch.testing.assert_close(found, torch.tensor([0.0, 1.0, 0.0, 1.0, 2.0, 3.0, 1.0, 0.0, 0.5, 7.0, 8.0]))


def test_images_reach_an_image_network_in_their_own_shape():
    seen = []

    class Spy(nn.Module):
        def forward(self, image, vector):
            seen.append((image.shape, vector.shape))
            return image.flatten(1).sum(1, keepdim=True) + vector.sum(1, keepdim=True)

    net = dgm.BayesNet(i=dgm.Normal(1, 4, 4), z=STANDARD, x=dgm.Normal(scale=1.0).given("i", "z", net=dgm.Shaped(Spy())))
    found, seen[:] = conditional(net), []
    image, z = torch.randn(3, 5, 1, 4, 4), torch.randn(5, 2)
    torch.testing.assert_close(found.parameters_of(image, z)["loc"], image.sum((-1, -2, -3)) + z.sum(-1))
    assert seen == [((15, 1, 4, 4), (15, 2))]


def test_parameters_are_cut_from_the_output_in_the_order_of_the_signature():
    net = dgm.BayesNet(z=dgm.Normal(6), x=dgm.StudentT(2).given("z", net=nn.Identity()))
    found = conditional(net).parameters_of(torch.arange(6.0))
    torch.testing.assert_close(found["df"], torch.tensor([0.0, 1.0]).exp())
    torch.testing.assert_close(found["loc"], torch.tensor([2.0, 3.0]))
    torch.testing.assert_close(found["scale"], torch.tensor([4.0, 5.0]).exp())


def test_nodes_given_the_same_builder_share_its_weights():
    net = dgm.MLP(4)
    model = dgm.compile(dgm.BayesNet(z=STANDARD, x=dgm.Normal(2).given("z", net=net), y=dgm.Normal(2).given("z", net=net)))
    assert list(model.conditional("x").parameters()) == list(model.conditional("y").parameters())
    equal = dgm.compile(dgm.BayesNet(z=STANDARD, x=dgm.Normal(2).given("z", net=dgm.MLP(4)), y=dgm.Normal(2).given("z", net=dgm.MLP(4))))
    assert not set(equal.conditional("x").parameters()) & set(equal.conditional("y").parameters())
    twin = copy.deepcopy(model)
    assert list(twin.conditional("x").parameters()) == list(twin.conditional("y").parameters())


def test_one_net_in_two_shapes_is_refused():
    net = dgm.MLP(4)
    declared = dgm.BayesNet(z=STANDARD, x=dgm.Normal(2).given("z", net=net), y=dgm.Normal(3).given("z", net=net))
    with pytest.raises(dgm.GraphError, match=re.escape(
        "node 'y': shares the net MLP(4) with a node of other sizes ((2,) -> (2,) + (2,) against (2,) -> (3,) + (3,)); pass an object of its own to each node: net=MLP(4)"
    )):
        dgm.compile(declared)


def test_a_builder_that_is_gone_lends_its_weights_to_nobody():
    """Identity is by object; an object made where an old one lay must not be taken for it."""
    model = dgm.compile(dgm.BayesNet(z=STANDARD, x=dgm.Normal(2).given("z", net=dgm.MLP(4))))
    kept = model.do(x=torch.zeros(2))
    del model
    for _ in range(20):
        other = dgm.compile(dgm.BayesNet(z=STANDARD, x=dgm.Normal(2).given("z", net=dgm.MLP(4))), share=kept)
        assert len(list(other.parameters())) == 4 and not {id(p) for p in other.parameters()} & {id(module) for module, *_ in kept.shared.values()}
        assert all(p is not q for p in other.parameters() for module, *_ in kept.shared.values() for q in module.parameters())


def test_a_module_of_the_users_own_is_used_itself():
    layer = nn.Linear(2, 4)
    found = conditional(dgm.BayesNet(z=STANDARD, x=dgm.Normal(2).given("z", net=layer)))
    assert list(found.parameters()) == list(layer.parameters())


def test_compiling_leaves_no_trace_in_a_module():
    layer = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Dropout(0.5), nn.Linear(3, 4))
    before = copy.deepcopy(layer.state_dict())
    torch.manual_seed(0)
    dgm.compile(dgm.BayesNet(z=STANDARD, x=dgm.Normal(2).given("z", net=layer)))
    drawn = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(drawn, torch.rand(1))
    assert layer.training and all(part.training for part in layer)
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())


@pytest.mark.parametrize("size", [1, 4, 9])
def test_a_function_pools_a_plate_of_any_size(size):
    net = dgm.BayesNet(z=dgm.Normal(loc=0.0, scale=1.0), x=dgm.Normal(scale=1.0).given("z", fn=lambda z: z.sum(-1)), plates={"p": ["z"]})
    z, x = torch.randn(6, size), torch.randn(6)
    expected = torch.distributions.Normal(0, 1).log_prob(z).sum(-1) + torch.distributions.Normal(z.sum(-1), 1).log_prob(x)
    torch.testing.assert_close(dgm.compile(net).log_prob({"z": z, "x": x}), expected)


def test_a_network_over_a_plate_of_known_size():
    net = dgm.BayesNet(z=dgm.Normal(2), x=dgm.Normal(8, scale=1.0).given("z", net=nn.Identity()), plates={"p": dgm.Plate(["z"], size=4)})
    model = dgm.compile(net)
    z = torch.randn(5, 4, 2)
    step = model.schedule[1]
    assert torch.equal(step.conditional.parameters_of(*step.receive({"z": z}))["loc"].reshape(5, 8), z.flatten(1))


def test_group_members_by_index():
    """A node in one plate reads a node of another through an index: the multilevel model."""
    theta, group = dgm.refs("theta group")
    net = dgm.BayesNet(
        theta=dgm.Normal(loc=0.0, scale=1.0), group=dgm.Given(states=3), y=dgm.Normal(loc=theta[group], scale=1.0),
        plates={"school": ["theta"], "pupil": ["group", "y"]},
    )
    model = dgm.compile(net)
    theta, y, group = torch.randn(4, 3), torch.randn(4, 5), torch.tensor([0, 2, 1, 1, 0])
    expected = torch.distributions.Normal(0, 1).log_prob(theta).sum(-1) + torch.distributions.Normal(theta[:, group], 1).log_prob(y).sum(-1)
    torch.testing.assert_close(model.log_prob({"theta": theta, "y": y, "group": group}), expected)
    torch.testing.assert_close(model.log_prob({"theta": theta, "y": y, "group": group.expand(4, 5)}), expected)


def test_index_across_plates_and_within_the_event():
    theta, group = dgm.refs("theta group")
    net = dgm.BayesNet(
        theta=dgm.Normal(2, loc=0.0, scale=1.0), group=dgm.Given(states=3), y=dgm.Normal(loc=theta[group, 1], scale=1.0),
        plates={"school": dgm.Plate(["theta"], size=3), "pupil": ["group", "y"]},
    )
    step = dgm.compile(net).schedule[1]
    theta, group = torch.randn(4, 3, 1, 2), torch.randint(3, (4, 1, 5))
    found = step.conditional.parameters_of(*step.receive({"theta": theta, "group": group}))["loc"]
    torch.testing.assert_close(found.reshape(4, 5), theta[:, :, 0, 1].gather(1, group[:, 0]))


BAD = {
    "wrong size": (dgm.Normal(2).given("z", net=nn.Linear(2, 3)), "node 'x': Linear: last layer must have 4 outputs: loc (2), scale (2); got 3 outputs for parents (2)"),
    "no image to read": (dgm.Normal(2).given("z", net=dgm.ConvNet(4)), "node 'x': ConvNet(4): expected an image (channels, height, width) among the parents; got (2)"),
    "no image to write": (dgm.Normal(2).given("z", net=dgm.ConvTransposeNet(4)), "node 'x': ConvTransposeNet(4): expected the computed parameters to be images"),
    "fn of nothing": (dgm.Normal(2, scale=1.0).given("z", fn=lambda z: None), "node 'x': fn must return tensors or numbers; got NoneType for 'loc'; does it return?"),
    "fn of too few": (
        dgm.Normal(2).given("z", fn=lambda z: z),
        "node 'x': fn must return 2 parameters ['loc', 'scale']; got 1; return dict(loc=..., scale=...), or fix or free the others: scale=dgm.free()",
    ),
    "fn of too many": (dgm.Normal(2, scale=1.0).given("z", fn=lambda z: (z, z)), "node 'x': fn must return 1 parameters ['loc']; got 2"),
    "fn of other names": (
        dgm.Normal(2).given("z", fn=lambda z: {"loc": z, "sd": z}), "node 'x': fn must return the parameters ['loc', 'scale']; got ['loc', 'sd']; try dict(loc=..., scale=...)",
    ),
    "fn of other parents": (dgm.Normal(2, scale=1.0).given("z", fn=lambda a, b: a), "node 'x': its parameters could not be computed: "),
    "fn that fails": (dgm.Normal(2, scale=1.0).given("z", fn=lambda z: z @ torch.ones(3, 2)), "(parents: z (3, 2))"),
    "fn of another event": (dgm.Normal(3, scale=1.0).given("z", fn=lambda z: z), "node 'x': parameter 'loc' from fn: expected the shape (4, 3), worlds and plates (4,) before (3,)"),
    "fn that sums an event away": (
        dgm.Normal(2, scale=1.0).given("z", fn=lambda z: z.sum(-1)),
        "node 'x': parameter 'loc' from fn: expected the shape (3, 2), worlds and plates (3,) before (2,), or one that broadcasts to it; got (3,) (parents: z (3, 2))",
    ),
    "expression of a larger event": (
        dgm.Normal(loc="z"),
        "node 'x': parameter 'loc' = z has 1 event dimensions; expected at most 0 for the event shape (); declare the node's shape: Normal(n, ...)",
    ),
    "expression of another event": (dgm.Normal(3, loc="z", scale=1.0), "node 'x': parameter 'loc' = z: expected the shape (4, 3), worlds and plates (4,) before (3,)"),
    "index beyond": (dgm.Normal(loc=dgm.Ref("z")[5]), "node 'x': its parameters could not be computed: "),
    "index of a scalar": (dgm.Normal(loc=dgm.Ref("z")[0][0]), "too many indices: the indexed value has no event dimension left (parents: z (3, 2))"),
    "matmul of a scalar": (dgm.Normal(loc=dgm.Ref("z")[0] @ dgm.Ref("z")), "matmul needs operands with at least one event dimension"),
}


@pytest.mark.parametrize("variable, message", BAD.values(), ids=BAD.keys())
def test_bad_parameterizations_are_found_before_any_work(variable, message):
    net = dgm.BayesNet(z=STANDARD, x=variable)
    for ask in (dgm.compile, dgm.BayesNet.check):
        with pytest.raises(dgm.GraphError, match=re.escape(message)):
            ask(net)


def test_an_index_beyond_the_indexed_event_is_found_by_the_dry_run():
    net = dgm.BayesNet(g=dgm.Categorical(4), m=dgm.Normal(3), x=dgm.Normal(loc=dgm.Ref("m")[dgm.Ref("g")]))
    with pytest.raises(dgm.GraphError, match="node 'x': its parameters could not be computed: index 3 is out of bounds"):
        dgm.compile(net)


def test_pooling_without_a_size_says_how():
    plates = {"p": ["z"]}
    with pytest.raises(dgm.GraphError, match=re.escape("node 'x': its network reads all members of a plate through 'z', so the plate needs a size")):
        dgm.compile(dgm.BayesNet(z=STANDARD, x=dgm.Normal().given("z", net=dgm.MLP(3)), plates=plates))
    with pytest.raises(dgm.GraphError, match=re.escape("node 'x': its parent 'z' is in the plate 'p' and 'x' is not, so 'x' depends on all members; say how")):
        dgm.compile(dgm.BayesNet(z=STANDARD, x=dgm.Normal().given("z"), plates=plates))


class OutOfOrder(torch.nn.Module):
    """Returns its parameters by name, in an order of its own."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 3)

    def forward(self, z):
        loc = self.layer(z)
        return {"scale": 0 * loc - 5, "loc": loc}


@pytest.mark.parametrize("wrap", [dgm.Flat, dgm.Shaped, lambda module: module])
def test_a_dict_of_outputs_goes_by_name(wrap):
    model = dgm.compile(dgm.BayesNet(z=dgm.Normal(2, loc=0.0, scale=1.0), x=dgm.Normal(3).given("z", net=wrap(OutOfOrder()))))
    torch.testing.assert_close(model.conditional("x")(torch.randn(4, 2)).stddev, torch.full((4, 3), -5.0).exp())
