"""What every network over an event promises, on the table of `causal_cases.py`."""

import copy
import json

import pytest
import torch
from causal_cases import CAUSAL
from cpu_tensors import CpuTensors
from torch import nn

import dgm_ppl.nets as nets
from dgm_ppl.nets import Net
from dgm_ppl.nets.causal import Naive


@pytest.fixture(params=CAUSAL.values(), ids=CAUSAL.keys())
def case(request):
    return request.param


class Built:
    """A network of the table in double precision, with values and parents for it."""

    def __init__(self, case, rows=3, seed=0):
        net, self.event, self.parents = case
        torch.manual_seed(seed)
        self.module = net.causal(self.event, self.parents).double().eval()
        for weight in self.module.parameters():                             # also what starts at zero or one must not break the order
            nn.init.normal_(weight, std=0.7)
        self.values, self.given = self.draw(rows), [torch.randn(rows, *shape, dtype=torch.double) for shape in self.parents]

    def draw(self, rows):
        event = self.event
        if event.states:
            return torch.randint(event.states, (rows, *event.shape))
        return torch.randn(rows, *event.shape, event.width, dtype=torch.double)

    def context(self):
        return self.module.context(*self.given) if self.given else ()

    def outputs(self, values=None):
        """Every element's outputs `(rows, size, outputs)`."""
        values = self.values if values is None else values
        return self.module(values, self.context()).reshape(len(values), self.event.size, self.event.outputs)

    def flat(self, values):
        return values.reshape(len(values), self.event.size, *values.shape[1 + len(self.event.shape):])


def test_outputs_have_the_event_s_shape(case):
    built = Built(case)
    assert built.module(built.values, built.context()).shape == (3, *built.event.shape, built.event.outputs)


@torch.no_grad()
def test_elements_read_what_the_adjacency_says_and_nothing_else(case):
    built = Built(case, rows=40)
    base, moved = built.outputs(), torch.zeros(built.event.size, built.event.size, dtype=torch.bool)
    other = built.flat(built.draw(40))
    for element in range(built.event.size):
        values = built.flat(built.values).clone()
        values[:, element] = other[:, element]
        moved[:, element] = (built.outputs(values.reshape(built.values.shape)) - base).abs().amax((0, 2)) > 0
    assert torch.equal(moved, built.module.adjacency())


def test_the_schedule_is_an_order_of_the_adjacency(case):
    built = Built(case)
    groups, known = built.module.schedule(), set()
    for group in groups:
        assert all(set(built.module.adjacency()[element].nonzero().flatten().tolist()) <= known for element in group)
        known |= set(group)
    assert sorted(element for group in groups for element in group) == list(range(built.event.size))
    assert len({len(group) for group in groups}) == 1


@torch.no_grad()
@pytest.mark.parametrize("kind", ["own", "naive"])
def test_steps_give_what_the_whole_evaluation_gives(case, kind):
    built = Built(case)
    module, whole = built.module, built.outputs()
    stepper = module.stepper(built.context(), 3) if kind == "own" else Naive(module, built.context(), 3)
    previous, values = None, built.flat(built.values)
    for turn, group in enumerate(module.schedule()):
        torch.testing.assert_close(stepper.step(turn, previous), whole[:, group])
        previous = values[:, group]


def test_every_net_has_a_stepper_of_its_own(case):
    built = Built(case)
    assert type(built.module.stepper(built.context(), 3)) is not Naive


@torch.no_grad()
def test_steps_go_on_with_the_rows_that_were_taken(case):
    built = Built(case)
    module, rows, values = built.module, torch.tensor([2, 0, 0, 1]), built.flat(built.values)
    expected, schedule = built.outputs()[rows], module.schedule()
    stepper, half = module.stepper(built.context(), 3), len(schedule) // 2
    for turn in range(len(schedule)):
        if turn == half:
            stepper.take(rows)
        previous = values[:, schedule[turn - 1]] if turn else None
        found = stepper.step(turn, previous if turn < half or previous is None else previous[rows])
        if turn >= half:
            torch.testing.assert_close(found, expected[:, schedule[turn]])


def test_gradients_pass_through_steps_where_it_says_so(case):
    built = Built(case)
    if not built.module.differentiable:
        pytest.skip("draws carry no gradient")
    stepper, previous, total = built.module.stepper(built.context(), 3), None, 0.0
    for turn, group in enumerate(built.module.schedule()):
        total = total + stepper.step(turn, previous).sin().sum()
        previous = built.flat(built.values)[:, group]
    by_steps = torch.autograd.grad(total, list(built.module.parameters()))
    at_once = torch.autograd.grad(built.outputs().sin().sum(), list(built.module.parameters()))
    torch.testing.assert_close(by_steps, at_once)


@torch.no_grad()
def test_every_output_reads_every_parent(case):
    built = Built(case, rows=20)
    if not built.given:
        pytest.skip("no parents")
    base, given = built.outputs(), list(built.given)
    for place, parent in enumerate(given):
        built.given = [*given[:place], parent + torch.randn_like(parent), *given[place + 1:]]
        assert ((built.outputs() - base).abs() > 0).any(0).all()     # rectified units may rest in some rows


@torch.no_grad()
def test_rows_do_not_depend_on_each_other(case):
    built = Built(case)
    whole, values, given = built.outputs(), built.values, built.given
    for row in range(3):
        built.given = [parent[row: row + 1] for parent in given]
        torch.testing.assert_close(built.outputs(values[row: row + 1]), whole[row: row + 1])


def test_gradients_reach_every_parameter(case):
    built = Built(case, rows=16)
    built.outputs().square().sum().backward()
    assert not [name for name, weight in built.module.named_parameters() if weight.grad is None or not weight.grad.any()]


def test_is_written_and_read_through_json(case):
    net = case[0]
    again = Net.from_dict(json.loads(json.dumps(net.to_dict())))
    assert again == net and type(again) is type(net) and hash(again) == hash(net)
    assert eval(repr(net), {"nn": nn, **{name: getattr(nets, name) for name in nets.__all__}}) == net


def test_the_seed_decides_the_weights(case):
    def weights(seed):
        torch.manual_seed(seed)
        return case[0].causal(*case[1:]).state_dict()
    first, second, other = map(weights, (1, 1, 2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


@torch.no_grad()
def test_copies_step_by_their_own_weights(case):
    built = Built(case)
    twin = copy.deepcopy(built.module)
    with torch.no_grad():
        for weight in twin.parameters():
            weight.zero_()
    assert not twin.stepper(twin.context(*built.given) if built.given else (), 3).step(0, None).any()


def test_makes_no_tensor_on_the_default_device(case):
    built = Built(case)
    module, values = built.module.to("meta"), built.values.to("meta")
    given, schedule = [parent.to("meta") for parent in built.given], built.module.schedule()
    with CpuTensors() as cpu:
        context = module.context(*given) if given else ()
        module(values, context).sum().backward()
        with torch.no_grad():
            stepper, previous = module.stepper(context, 3), None
            for turn, group in enumerate(schedule):
                found = stepper.step(turn, previous)
                previous = built.flat(values)[:, group]
    assert cpu.made == [] and found.device.type == "meta" and found.dtype == torch.double


def test_says_where_it_belongs():
    with pytest.raises(ValueError, match=r"reads the event itself.*try dgm.Autoregressive\(\.\.\., net=MADE\(4\)\)"):
        nets.MADE(4).build(((2,),), ((5,),))
