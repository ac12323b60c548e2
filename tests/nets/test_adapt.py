"""A user's own module is called as it wants to be, and the dry run leaves no trace."""

import re

import pytest
import torch
from torch import nn

from dgm_ppl.nets import adapt


class Heads(nn.Module):
    """A module that returns its two heads in the given container."""

    def __init__(self, container):
        super().__init__()
        self.container, self.loc, self.scale = container, nn.Linear(4, 2), nn.Linear(4, 3)

    def forward(self, z):
        return self.container(self.loc(z), self.scale(z))


class Noisy(nn.Module):
    """A module that draws a number and counts its calls, even in evaluation mode."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        return x + torch.rand(())


def images(*sizes):
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 64, *sizes))


def test_flat_first():
    module = nn.Linear(68, 5)
    net, flatten = adapt(module, ((4,), (1, 8, 8)), ((2,), (3,)))
    x = torch.randn(2, 3, 68)
    assert flatten and torch.equal(net(x), module(x.flatten(0, 1)).unflatten(0, (2, 3)))
    assert net(x[0, 0]).shape == (5,)


def test_own_shapes_second():
    module = images(5).eval()
    net, flatten = adapt(module, ((1, 8, 8),), ((5,),))
    x = torch.randn(6, 1, 8, 8)
    assert not flatten and torch.equal(net(x), module(x))


def test_one_tensor_a_parent():
    module = nn.Bilinear(3, 4, 5)
    net, flatten = adapt(module, ((3,), (4,)), ((5,),))
    a, b = torch.randn(2, 6, 3), torch.randn(2, 6, 4)
    assert not flatten
    torch.testing.assert_close(net(a, b), module(a, b))


def test_a_module_for_one_leading_dimension_takes_any():
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Unflatten(1, (1, 2, 2)), nn.Conv2d(1, 2, 1))
    net, flatten = adapt(module, ((3,),), ((1, 2, 2), (1, 2, 2)))
    assert flatten and net(torch.randn(5, 4, 3)).shape == (5, 4, 8)  # (5, 4, 3) alone would normalise the wrong axis


@pytest.mark.parametrize(
    "container",
    [lambda a, b: (a, b), lambda a, b: [a, b], lambda a, b: {"scale": b, "loc": a}, lambda a, b: torch.cat([a, b], -1)],
    ids=["tuple", "list", "dict", "tensor"],
)
def test_one_tensor_a_parameter(container):
    module = Heads(container)
    net, _ = adapt(module, ((4,),), ((2,), (3,)), ("loc", "scale"))
    z = torch.randn(5, 6, 4)
    torch.testing.assert_close(net(z), torch.cat([module.loc(z), module.scale(z)], -1))


@pytest.mark.parametrize("training", [True, False])
def test_the_dry_run_leaves_no_trace(training):
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(), Noisy())
    module.train(training)
    module[2].eval()
    flags, saved = [part.training for part in module.modules()], {k: v.clone() for k, v in module.state_dict().items()}
    state = torch.get_rng_state()
    adapt(module, ((3,),), ((4,),))
    with pytest.raises(ValueError):
        adapt(module, ((3,),), ((5,),))
    assert torch.equal(state, torch.get_rng_state())
    assert [part.training for part in module.modules()] == flags
    assert all(torch.equal(saved[name], value) for name, value in module.state_dict().items())
    assert all(weight.grad is None and weight.requires_grad for weight in module.parameters())


@pytest.mark.filterwarnings("ignore:Lazy modules:UserWarning")
def test_lazy_modules_are_materialised_for_the_winner_with_weights_of_their_own():
    def lazy():
        return nn.Sequential(nn.LazyBatchNorm2d(), nn.LazyConv2d(4, 3), nn.Flatten(), nn.LazyLinear(5))

    torch.manual_seed(0)
    modules = lazy(), lazy()
    for module in modules:
        net, flatten = adapt(module, ((1, 8, 8),), ((5,),))
        assert not flatten and net(torch.randn(3, 1, 8, 8)).shape == (3, 5)
    assert not torch.equal(modules[0][3].weight, modules[1][3].weight)
    assert modules[0].training and modules[0][0].num_batches_tracked <= 1
    partly = nn.Sequential(nn.LazyLinear(4), nn.Conv1d(3, 4, 2), nn.Flatten())
    assert adapt(partly, ((3, 6),), ((12,),))[1] is False
    assert partly[0].in_features == 6  # the flat try saw 18


def test_dtype_follows_the_module():
    net, _ = adapt(nn.Linear(3, 2).double(), ((3,),), ((2,),))
    assert net(torch.zeros(1, 3, dtype=torch.float64)).dtype == torch.float64


@pytest.mark.parametrize(
    "module, inputs, message",
    [
        (
            nn.Linear(20, 10),
            ((20,),),
            "Linear: last layer must have 40 outputs: loc (20), scale (20); got 10 outputs for parents (20)",
        ),
        (
            nn.Linear(20, 10),
            ((2, 10),),
            "got 10 outputs for parents (20), and RuntimeError (mat1 and mat2 shapes cannot be multiplied",
        ),
        (
            nn.Linear(9, 40),
            ((20,),),
            "got RuntimeError (mat1 and mat2 shapes cannot be multiplied (7x20 and 9x40)) for parents (20)",
        ),
        (Heads(lambda a, b: (a, b)), ((4,),), "got 2 and 3 outputs for parents (4)"),
        (Heads(lambda a, b: {"mean": a, "scale": b}), ((4,),), "got KeyError ('loc') for parents (4)"),
        (Heads(lambda a, b: (a.tolist(), b)), ((4,),), "got outputs that are not tensors for parents (4)"),
        (Heads(lambda a, b: ()), ((4,),), "got no outputs for parents (4)"),
        (Heads(lambda a, b: a.sum(0)), ((4,),), "got an output that does not keep the first dimension for parents (4)"),
    ],
)
def test_a_module_that_does_not_fit(module, inputs, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        adapt(module, inputs, ((20,), (20,)), ("loc", "scale"))
