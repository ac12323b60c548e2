"""Plates in exact answers: a net with plates is the net with every member written out."""

from __future__ import annotations

import pytest
import torch

import dgm_ppl as dgm

torch.set_num_threads(1)
DOUBLE = torch.float64


def agree(plated: dgm.BayesNet, data: dict, unrolled: dgm.BayesNet, flat: dict, asked: dict[str, list[str]]):
    """Evidence and moments of both nets; `asked` maps a node to its members' names in the order of its flattened value."""
    one, other = (dgm.posterior(dgm.compile(net).double(), values) for net, values in ((plated, data), (unrolled, flat)))
    assert torch.allclose(one.log_evidence, other.log_evidence)
    for name, members in asked.items():
        for left, right in ((one.mean(), other.mean()), (one.std(), other.std())):
            rows = one.worlds
            assert torch.allclose(left[name].reshape(*rows, -1), torch.stack([right[member].reshape(*rows, -1) for member in members], -2).reshape(*rows, -1))
    return one, other


def test_a_child_that_reads_all_members():
    theta, m = dgm.refs("theta m")
    plated = dgm.BayesNet(
        m=dgm.Normal(loc=0.0, scale=1.0), theta=dgm.Normal(loc="m", scale=0.5), y=dgm.Normal(loc=torch.tensor([1.0, 2.0, -1.0]) @ theta, scale=0.3),
        plates={"member": dgm.Plate(["theta"], size=3)},
    )
    a, b, c = dgm.refs("a b c")
    unrolled = dgm.BayesNet(
        m=dgm.Normal(loc=0.0, scale=1.0), a=dgm.Normal(loc=m, scale=0.5), b=dgm.Normal(loc=m, scale=0.5), c=dgm.Normal(loc=m, scale=0.5), y=dgm.Normal(loc=a + 2 * b - c, scale=0.3),
    )
    y = torch.tensor([0.3, -2.0], dtype=DOUBLE)
    one, other = agree(plated, {"y": y}, unrolled, {"y": y}, {"theta": ["a", "b", "c"], "m": ["m"]})
    assert torch.allclose(one.covariance("theta", "m"), other.covariance("a", "b", "c", "m"))
    assert one.marginals["theta"].event_shape == (3,) and one.sample(4)["theta"].shape == (4, 2, 3)


def test_nested_and_crossing_plates():
    u, v = dgm.refs("u v")
    plated = dgm.BayesNet(
        m=dgm.Normal(loc=0.0, scale=1.0), u=dgm.Normal(loc="m", scale=0.5), v=dgm.Normal(2, loc=0.0, scale=0.7), y=dgm.Normal(2, loc=u + v, scale=0.3),
        plates={"row": ["u", "y"], "column": ["v", "y"]},
    )
    unrolled = {"m": dgm.Normal(loc=0.0, scale=1.0)}
    for i in range(2):
        unrolled[f"u{i}"] = dgm.Normal(loc="m", scale=0.5)
    for j in range(3):
        unrolled[f"v{j}"] = dgm.Normal(2, loc=0.0, scale=0.7)
    for i in range(2):
        for j in range(3):
            unrolled[f"y{i}{j}"] = dgm.Normal(2, loc=dgm.Ref(f"u{i}") + dgm.Ref(f"v{j}"), scale=0.3)
    torch.manual_seed(0)
    y = torch.randn(4, 2, 3, 2, dtype=DOUBLE)
    flat = {f"y{i}{j}": y[:, i, j] for i in range(2) for j in range(3)}
    one, _ = agree(plated, {"y": y}, dgm.BayesNet(unrolled), flat, {"u": ["u0", "u1"], "v": ["v0", "v1", "v2"]})
    assert one.marginals["v"].event_shape == (3, 2) and one.marginals["v"].mean.shape == (4, 3, 2) and one.marginals["v"].log_prob(one.mean()["v"]).shape == (4,)
    holed = y.clone()
    holed[1, 0, 1, 0], holed[2, 1] = torch.nan, torch.nan
    agree(plated, {"y": holed}, dgm.BayesNet(unrolled), {f"y{i}{j}": holed[:, i, j] for i in range(2) for j in range(3)}, {"u": ["u0", "u1"], "v": ["v0", "v1", "v2"]})


def test_members_with_latents_of_their_own_are_solved_each_by_itself():
    """A mixture of factor analysers whose points are a plate: small systems, not one large one."""
    net = dgm.BayesNet(k=dgm.Categorical(2), z=dgm.Normal(1, loc=0.0, scale=1.0), x=dgm.Normal(3).given("z", "k"), plates={"point": ["k", "z", "x"]})
    rows = dgm.BayesNet(k=dgm.Categorical(2), z=dgm.Normal(1, loc=0.0, scale=1.0), x=dgm.Normal(3).given("z", "k"))
    plated, one = dgm.compile(net, seed=0).double(), dgm.compile(rows, seed=0).double()
    torch.manual_seed(0)
    x = torch.randn(2, 5, 3, dtype=DOUBLE)
    post, alone = dgm.posterior(plated, {"x": x}), dgm.posterior(one, {"x": x.reshape(10, 3)})
    assert torch.allclose(post.log_evidence, alone.log_evidence.reshape(2, 5).sum(1))
    assert torch.allclose(post.probabilities("k"), alone.probabilities("k").reshape(2, 5, 2)) and torch.allclose(post.mean()["z"], alone.mean()["z"].reshape(2, 5, 1))
    assert post.marginals["z"].batch_shape == (2, 5) and post.sample(6)["z"].shape == (6, 2, 5, 1)
    assert plated.plan(observed="x", sizes={"point": 5})["z"].cost == "1 unknown solved for, each member of point by itself, in 2 configurations of k"


def test_what_would_take_every_combination_is_refused():
    net = dgm.BayesNet(
        m=dgm.Normal(2, loc=0.0, scale=1.0), k=dgm.Categorical(2), x=dgm.Normal(loc=dgm.Ref("m")[dgm.Ref("k")], scale=1.0), plates={"point": ["k", "x"]},
    )
    model = dgm.compile(net)
    with pytest.raises(dgm.GraphError, match="node 'm' .*'k', which is summed out, has 2 states for each member of the plate 'point', and all their combinations would have to be integrated"):
        dgm.posterior(model, {"x": torch.zeros(3)})
    assert model.plan(observed="x").amortized == ("m",) and model.plan(observed=["x", "k"]).integrated == ("m",)
    pooled = dgm.BayesNet(k=dgm.Bernoulli(), y=dgm.Normal(scale=1.0).given("k", fn=lambda k: k.sum(-1)), plates={"point": dgm.Plate(["k"], size=3)})
    with pytest.raises(dgm.GraphError, match="node 'k' .*'y' reads its values of all members of the plate 'point', whose states would have to be combined"):
        dgm.posterior(dgm.compile(pooled), {"y": 0.0})
