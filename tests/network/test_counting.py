"""What independence buys, in numbers."""

import pytest
import torch

import dgm_ppl as dgm
from dgm_ppl.network.counting import ParameterCount


def test_a_chain_of_coins_against_its_joint_table():
    names = [f"c{i}" for i in range(20)]
    chain = dgm.BayesNet({name: dgm.Bernoulli().given(*names[max(i - 1, 0):i]) for i, name in enumerate(names)})
    count = chain.num_parameters()
    assert int(count) == count.total == 1 + 19 * 2 and count.joint == 2**20 - 1
    assert str(count).splitlines()[-1] == "39 in all; the full joint table takes 1,048,575"
    assert isinstance(count, ParameterCount) and repr(count) == str(count)


def test_states_configurations_and_elements():
    net = dgm.BayesNet(
        a=dgm.Categorical(3, probs=[0.2, 0.3, 0.5]), b=dgm.Bernoulli().given("a"),
        c=dgm.Categorical(4, 2).given("a", "b"), k=dgm.Given(states=5), d=dgm.Bernoulli().given("k"),
    )
    count = net.num_parameters()
    assert dict(count.nodes) == {"a": 2, "b": 3, "c": 3 * 2 * 2 * 3, "k": 0, "d": 5}
    assert count.joint == 5 * (3 * 2 * 4**2 * 2 - 1)


def test_what_is_learned_elsewhere_is_what_compile_makes():
    mlp = dgm.MLP(5)
    net = dgm.BayesNet(
        z=dgm.Normal(2, loc=0.0, scale=1.0), x=dgm.Normal(3).given("z", net=mlp), y=dgm.Normal(3).given("z", net=mlp),
        w=dgm.Normal(3, scale=1.0).given("z"), s=dgm.Delta(3, v=dgm.Ref("w") * 2),
    )
    count = net.num_parameters()
    assert count.joint is None and str(count).endswith(f"{count.total:,} in all")
    assert count.total == sum(one.numel() for one in dgm.compile(net).parameters())
    assert count.nodes["x"] == count.nodes["y"] and count.total < sum(count.nodes.values())
    assert count.nodes["z"] == count.nodes["s"] == 0 and count.nodes["w"] == 9


def test_plates_and_large_joints():
    net = dgm.BayesNet(a=dgm.Bernoulli(), b=dgm.Bernoulli().given("a"), plates={"p": dgm.Plate(["b"], size=3)})
    assert net.num_parameters().joint == 2**4 - 1 and int(net.num_parameters()) == 3
    opened = dgm.BayesNet(a=dgm.Bernoulli(), b=dgm.Bernoulli().given("a"), plates={"p": ["b"]})
    assert opened.num_parameters().joint is None
    wide = dgm.BayesNet(x=dgm.Bernoulli(1, 100, 200))
    assert str(wide.num_parameters()).endswith("the full joint table takes about 10^6020")


def test_counting_leaves_the_generator():
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    dgm.BayesNet(x=dgm.Normal(2).given("z", net=dgm.MLP(3)), z=dgm.Normal()).num_parameters()
    assert torch.equal(torch.rand(2), expected)


@pytest.mark.parametrize("probs", [None, [0.1, 0.9]])
def test_given_tables_count_as_learned_ones(probs):
    table = dgm.Bernoulli() if probs is None else dgm.Bernoulli(probs=probs)
    assert dgm.BayesNet(a=dgm.Bernoulli(), b=table.given("a")).num_parameters().nodes["b"] == 2
