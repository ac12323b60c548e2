"""Many draws of a finite net, from its tables: frequencies, zeros, seeds, what is given."""

import pytest
import torch

import dgm_ppl as dgm
from exact import brute

ROWS = 200_000


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("seed", [1, 4, 9])
def test_frequencies_are_those_of_the_joint_table(seed, learned):
    torch.manual_seed(seed)
    model = dgm.compile(brute.random_net(seed, learned=learned, largest=5)).double()
    joint = brute.joint(model).detach().flatten()
    drawn, code = model.sample(ROWS), torch.zeros(ROWS, dtype=torch.long)
    for name in model.net.order:
        assert drawn[name].dtype == (torch.long if model.net[name].space.integer else torch.float64)
        code = code * model.net[name].space.cardinality + drawn[name].long()
    counts, possible = code.bincount(minlength=len(joint)).double(), joint > 0
    assert not counts[~possible].any()
    kept = possible & (joint * ROWS > 5)
    statistic, freedom = ((counts - joint * ROWS).square() / (joint * ROWS))[kept].sum().item(), int(kept.sum())
    assert statistic < freedom + 5 * (2 * freedom) ** 0.5 + 10                                                    # chi-square, far in its tail


def test_the_seed_the_shape_and_what_is_given():
    torch.manual_seed(0)
    model = dgm.compile(dgm.BayesNet(a=dgm.Categorical(3), b=dgm.Bernoulli().given("a"), c=dgm.Categorical(2).given("a", "b")))
    torch.manual_seed(5)
    one = model.sample((4, 5000))
    torch.manual_seed(5)
    two = model.sample((4, 5000))
    assert all(torch.equal(one[name], two[name]) and one[name].shape == (4, 5000) for name in "abc")
    given = model.sample(40_000, given={"a": 2})
    assert (given["a"] == 2).all() and given["a"].shape == (40_000,)
    wanted = model.conditionals["b"](torch.tensor(2)).probs.item()
    assert abs(given["b"].mean().item() - wanted) < 5 * (wanted * (1 - wanted) / 40_000) ** 0.5
    rows = torch.arange(20_000) % 3
    assert torch.equal(model.sample(20_000, given={"a": rows})["a"], rows)
    assert (model.do(b=1.0).sample(20_000)["b"] == 1).all()

