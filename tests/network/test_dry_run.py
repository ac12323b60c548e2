"""`net.check`: the table that it prints, or the first error."""

import re

import pandas
import pytest
import torch
from cases import CONDITIONALS
from torch import nn

import dgm_ppl as dgm


def table(text):
    return text.splitlines()


def test_prints_shapes_parameters_and_device_of_every_node():
    net = dgm.BayesNet(
        z=dgm.Normal(2, loc=0.0, scale=1.0), t=dgm.Given(3), x=dgm.Normal(3, scale=1.0).given("z", "t", net=dgm.MLP(100)), d=dgm.Delta(v=dgm.Ref("z")[0]),
        plates={"p": dgm.Plate(["t", "x"], size=5)},
    )
    assert table(net.check()) == [
        "node  worlds  plates  event  parameters  device",
        "z     (4,)    ()      (2,)   0           cpu",
        "t     (4,)    (5,)    (3,)   0           cpu",
        "x     (4,)    (5,)    (3,)   903         cpu",
        "d     (4,)    ()      ()     0           cpu",
    ]
    data = {"z": torch.zeros(50, 2), "t": torch.zeros(5, 3), "x": torch.zeros(50, 5, 3)}
    assert table(net.check(data))[2] == "t     (4,)    (5,)    (3,)   0           cpu"
    assert table(net.check({"t": torch.zeros(5, 3)}))[1].split() == ["z", "()", "()", "(2,)", "0", "cpu"]
    assert "(2,)" in net.check({"t": torch.zeros(2, 5, 3)})


@pytest.mark.parametrize("case", CONDITIONALS.values(), ids=CONDITIONALS.keys())
def test_checks_every_kind_of_node(case):
    torch.manual_seed(0)
    text = case.net.check()
    drawn = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(drawn, torch.rand(1))
    assert [line.split()[0] for line in table(text)[1:]] == list(case.net)
    built = dgm.compile(case.net).conditional(case.node)
    counted = f"{sum(parameter.numel() for parameter in built.parameters()):,}"
    assert next(line for line in table(text) if line.startswith(case.node + " ")).split()[-2] == counted


def test_takes_a_frame():
    net = dgm.BayesNet(mood=dgm.Categorical(["low", "high"]), y=dgm.Normal().given("mood"))
    frame = pandas.DataFrame({"mood": ["low", "high", "low"], "y": [1, 2, 3]})
    assert table(net.check(frame))[1].split() == ["mood", "(3,)", "()", "()", "2", "cpu"]
    with pytest.raises(dgm.GraphError, match="node 'mood' has no state 'lwo'; did you mean 'low'"):
        net.check(frame.replace("low", "lwo"))


def test_sizes_are_unlike_any_event():
    """With as many rows as the event is long, a sum over the event would pass for one value an element."""
    for size in range(1, 8):
        net = dgm.BayesNet(z=dgm.Normal(size), x=dgm.Normal(size, scale=1.0).given("z", fn=lambda z: z.sum(-1)))
        if size > 1:
            with pytest.raises(dgm.GraphError, match="node 'x': parameter 'loc' from fn: expected the shape"):
                net.check()


def test_leaves_modules_as_they_were():
    net = nn.Sequential(nn.Linear(2, 4), nn.BatchNorm1d(4), nn.Dropout())
    net[2].eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    dgm.BayesNet(z=dgm.Normal(2), x=dgm.Normal(2).given("z", net=net)).check({"z": torch.randn(9, 2)})
    assert net.training and not net[2].training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize(
    "net, data, message",
    [
        (dgm.BayesNet(z=dgm.Normal(2)), {"z": torch.zeros(5, 3)}, "node 'z': expected the shape (*worlds, 2); got (5, 3)"),
        (dgm.BayesNet(z=dgm.Normal(2)), {"x": torch.zeros(5, 2)}, "data: no node 'x'; known names: z"),
        (dgm.BayesNet(t=dgm.Given(), z=dgm.Normal(loc="t")), {"z": torch.zeros(5)}, "node 't' needs a value, it is a Given input"),
        (dgm.BayesNet(z=dgm.Normal(2), x=dgm.Normal(4).given("z", net=nn.Linear(2, 4))), None, "node 'x': Linear: last layer must have 8 outputs: loc (4), scale (4); got 4 outputs"),
        (dgm.BayesNet(z=dgm.Normal(2)), {}, None),
    ],
)
def test_says_the_first_error(net, data, message):
    if message is None:
        assert net.check(data).startswith("node  worlds")
        return
    with pytest.raises(dgm.GraphError, match=re.escape(message)):
        net.check(data)
