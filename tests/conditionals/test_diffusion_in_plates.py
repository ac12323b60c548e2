"""Members of a plate that share one denoiser and a parent outside: the same as each member by itself."""

from __future__ import annotations

import pytest
import torch

import dgm_ppl as dgm

torch.set_num_threads(1)

NODES = {
    "diffusion": dgm.Diffusion(3, net=dgm.MLP(8), sampler=dgm.DDIM(4)),
    "masked diffusion": dgm.MaskedDiffusion(3, 4, net=dgm.MLP(8), sampler=dgm.Unmasking(4)),
}


def pair(node):
    y = dgm.Normal(2, loc=0.0, scale=1.0)
    plated = dgm.compile(dgm.BayesNet(y=y, x=node.given("y"), plates={"p": dgm.Plate(["x"], size=5)}), seed=0).eval()
    single = dgm.compile(dgm.BayesNet(y=y, x=node.given("y"))).eval()
    single.load_state_dict(plated.state_dict())
    return plated, single


def apart(one, other):
    """The difference of two means in standard errors."""
    return (one.mean(0) - other.mean(0)) / (one.var(0) / len(one) + other.var(0) / len(other)).sqrt()


@pytest.mark.parametrize("node", NODES.values(), ids=NODES)
def test_the_bound_of_a_plate_is_the_sum_of_its_members(node):
    torch.manual_seed(0)
    plated, single = pair(node)
    values = plated.sample(6)
    y, x = values["y"], values["x"]
    shared = torch.distributions.Normal(0.0, 1.0).log_prob(y).sum(1)
    members = {"y": y.repeat_interleave(5, 0), "x": x.flatten(0, 1)}
    with torch.no_grad():
        whole = torch.stack([plated.log_prob(values) for _ in range(400)])
        summed = torch.stack([single.log_prob(members).reshape(6, 5).sum(1) - 4 * shared for _ in range(400)])
    assert bool((apart(whole, summed).abs() < 4.5).all())


@pytest.mark.parametrize("node", NODES.values(), ids=NODES)
def test_members_are_drawn_as_if_alone(node):
    torch.manual_seed(0)
    plated, single = pair(node)
    y = torch.tensor([1.5, -1.0])
    drawn = plated.sample(2000, given={"y": y.expand(2000, 2)})["x"].double()
    alone = single.sample(4000, given={"y": y.expand(4000, 2)})["x"].double()
    assert all(bool((apart(drawn[:, member], alone).abs() < 4.5).all()) for member in range(5))
