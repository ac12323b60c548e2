"""What every builder promises, on the table of `net_cases.py`."""

import json
import math

import pytest
import torch
from cpu_tensors import CpuTensors
from net_cases import CASES, DATA
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from dgm_ppl.nets import MLP, AttentionState, Bidirectional, ConvNet, ConvTransposeNet, DiT, Flat, Net, RecurrentState, ResNet, Shaped, SpectralNorm, UNet
from dgm_ppl.nets.sets import DeepSet, SetTransformer


def total(outputs):
    return sum(math.prod(shape) for shape in outputs)


def parents(net, inputs, batch, **options):
    shapes = [(total(inputs),)] if net.flatten else inputs
    return [torch.randn(*batch, *shape, **options) for shape in shapes]


def built(net, inputs, outputs, seed=0):
    torch.manual_seed(seed)
    return net.build(inputs, outputs)


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request):
    return request.param


@pytest.fixture(params=DATA.values(), ids=DATA.keys())
def data_case(request):
    return request.param


def test_keeps_the_leading_dimensions(case):
    net, inputs, outputs = case
    module = net.build(inputs, outputs)
    for batch in [(), (5,), (3, 4), (2, 1, 3), (0,)] if net.flatten else [(5,), (1,), (0,)]:
        assert module(*parents(net, inputs, batch)).shape == (*batch, total(outputs))


def test_rows_do_not_depend_on_each_other(case):
    net, inputs, outputs = case
    module = net.build(inputs, outputs).eval()
    rows = parents(net, inputs, (6,))
    alone = torch.cat([module(*(row[i : i + 1] for row in rows)) for i in range(6)])
    torch.testing.assert_close(module(*rows), alone)
    if net.flatten:
        torch.testing.assert_close(module(rows[0].unflatten(0, (2, 3))), alone.unflatten(0, (2, 3)))


def test_lays_parameters_out_one_after_another_in_c_order(data_case):
    net, inputs, outputs = data_case
    module = net.build(inputs, outputs)
    layers = [part for part in module.modules() if isinstance(part, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d))]
    if not layers or isinstance(net, AttentionState):
        pytest.skip("its outputs are a state, one number a unit, not a last layer's parameters")
    last = layers[-1]
    if is_parametrized(last):
        pytest.skip("its weights are computed from others")
    if isinstance(last, nn.Linear) and len(last.bias) < sum(math.prod(shape) for shape in outputs):
        pytest.skip("its last layer serves tokens")
    with torch.no_grad():
        last.weight.zero_()
        last.bias.copy_(torch.arange(len(last.bias)))
    found = module(*parents(net, inputs, (2,)))[0].split([math.prod(shape) for shape in outputs])
    image = isinstance(last, (nn.Conv2d, nn.ConvTranspose2d))
    start = 0
    for part, shape in zip(found, outputs):
        count = shape[0] if image else math.prod(shape)
        expected = torch.arange(start, start + count, dtype=torch.float)
        expected = expected.view(-1, 1, 1).expand(shape) if image else expected.view(shape)
        assert torch.equal(part.view(shape), expected)
        start += count


def test_gradients_reach_every_parameter_and_every_parent(case):
    net, inputs, outputs = case
    module = built(net, inputs, outputs)
    values = parents(net, inputs, (16,), requires_grad=True)
    module(*values).square().sum().backward()
    unreached = [name for name, weight in module.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert not unreached
    assert all(value.grad.any() for value in values)


def test_is_written_and_read_through_json(data_case):
    net = data_case[0]
    again = Net.from_dict(json.loads(json.dumps(net.to_dict())))
    assert again == net and type(again) is type(net)


def test_is_a_value(data_case):
    net = data_case[0]
    again = Net.from_dict(net.to_dict())
    assert hash(again) == hash(net) and repr(again) == repr(net)
    assert eval(repr(net), {"nn": nn, **{c.__name__: c for c in (MLP, AttentionState, Bidirectional, ConvNet, ConvTransposeNet, DiT, RecurrentState, ResNet, SpectralNorm, UNet, DeepSet, SetTransformer)}}) == net
    with pytest.raises(AttributeError):
        net.activation = nn.Tanh
    with pytest.raises(AttributeError):
        net.anything = 1


def test_different_builders_differ():
    nets = [net for net, _, _ in DATA.values()]
    assert len(set(nets)) == len(set(map(repr, nets)))
    assert ConvNet(4, 8) != ConvTransposeNet(4, 8) != ConvTransposeNet(8, 4)
    assert MLP(16) != MLP(16, activation=nn.Tanh)


def test_allocates_nothing_before_build(data_case):
    assert not [leaf for leaf in vars(data_case[0]).values() if isinstance(leaf, (nn.Module, torch.Tensor))]


def test_the_seed_decides_the_weights(data_case):
    net, inputs, outputs = data_case
    first, second, other = (built(net, inputs, outputs, seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_state_dict_carries_the_whole_module(data_case):
    net, inputs, outputs = data_case
    module, other = built(net, inputs, outputs, 1).eval(), built(net, inputs, outputs, 2).eval()
    other.load_state_dict(module.state_dict())
    values = parents(net, inputs, (3,))
    assert torch.equal(module(*values), other(*values))


def test_makes_no_tensor_on_the_default_device(data_case):
    net, inputs, outputs = data_case
    module = net.build(inputs, outputs).to("meta", torch.float64)
    values = parents(net, inputs, (3,), device="meta", dtype=torch.float64)
    with CpuTensors() as cpu:
        found = module(*values)
        found.sum().backward()
    assert cpu.made == [] and found.device.type == "meta" and found.dtype == torch.float64


@pytest.mark.parametrize(
    "net, label, shown",
    [
        (MLP(), "MLP()", "MLP()"),
        (MLP(400), "MLP(400)", "MLP(400)"),
        (MLP(4, 2, activation=nn.Tanh, norm=True), "MLP(4, 2)", "MLP(4, 2, activation=nn.Tanh, norm=True)"),
        (ConvNet(32, 64, hidden=(9,)), "ConvNet(32, 64)", "ConvNet(32, 64, hidden=(9,))"),
        (ResNet(16, blocks=3), "ResNet(16)", "ResNet(16, blocks=3)"),
        (Flat(nn.Sequential()), "Flat(Sequential)", "Flat(Sequential)"),
        (Shaped(nn.Linear(2, 2)), "Shaped(Linear)", "Shaped(Linear)"),
    ],
)
def test_is_shown_as_it_is_written(net, label, shown):
    assert (net.label(), repr(net)) == (label, shown)


def test_saved_form_is_complete():
    assert ConvNet(4).to_dict() == {
        "net": "ConvNet",
        "channels": [4],
        "hidden": [],
        "kernel": 3,
        "stride": 2,
        "activation": "ReLU",
    }


def test_mlp_is_a_plain_sequence_with_the_default_last_layer():
    module = built(MLP(400, activation=nn.Tanh), ((20,),), ((3,),))
    assert [type(layer) for layer in module] == [nn.Linear, nn.Tanh, nn.Linear]
    torch.manual_seed(0)
    assert torch.equal(nn.Linear(20, 400).weight, module[0].weight)
    assert torch.equal(nn.Linear(400, 3).weight, module[2].weight)


@pytest.mark.parametrize("side", range(1, 34))
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_transposed_convolutions_reach_every_size(side, stride):
    if side == 1 and stride > 1:
        pytest.skip("nothing to grow")
    outputs = ((1, side, max(1, side - 3)),)
    assert ConvTransposeNet(2, stride=stride).build(((2,),), outputs)(torch.zeros(1, 2)).shape == (1, total(outputs))


def test_wrappers_hold_the_module_itself():
    module = nn.Linear(3, 2)
    assert Flat(module) == Flat(module) != Flat(nn.Linear(3, 2))
    assert hash(Flat(module)) == hash(Flat(module))
    assert list(Flat(module).build(((3,),), ((2,),)).parameters()) == list(module.parameters())
