"""Data that the structure tests make: samples of small nets whose graph is known."""

import torch

import dgm_ppl as dgm

clinic = dgm.BayesNet(
    smoke=dgm.Bernoulli(probs=0.3),
    cold=dgm.Bernoulli(probs=0.1),
    lung=dgm.Categorical(["no", "some", "bad"], probs=[[0.9, 0.08, 0.02], [0.5, 0.3, 0.2]]).given("smoke"),
    cough=dgm.Bernoulli(probs=[[0.05, 0.5, 0.9], [0.7, 0.8, 0.97]]).given("cold", "lung"),
    xray=dgm.Bernoulli(probs=[0.02, 0.6, 0.9]).given("lung"),
)
"""Finite, with states so rare that tables given two parents have cells of a tenth of a row."""

heights = dgm.BayesNet(
    age=dgm.Normal(loc=0.0, scale=1.0),
    height=dgm.Normal(loc="age", scale=1.0),
    words=dgm.Normal(loc="age", scale=0.5),
    score=dgm.Normal(loc="words", scale=1.0),
)
"""Linear and Gaussian."""


def mixed(rows: int, seed: int) -> dict[str, torch.Tensor]:
    """group -> curve, level -> curve, level -> flag; none of it linear."""
    random = torch.Generator().manual_seed(seed)
    group = torch.randint(0, 3, (rows,), generator=random)
    level = torch.randn(rows, generator=random)
    curve = torch.tensor([1.0, -1.0, 2.0])[group] * torch.sin(2 * level) + 0.5 * torch.randn(rows, generator=random)
    flag = (torch.rand(rows, generator=random) < torch.sigmoid(3 * level.abs() - 2)).long()
    return {"group": group, "level": level, "curve": curve, "flag": flag}


def sample(net: dgm.BayesNet, rows: int, seed: int) -> dict[str, torch.Tensor]:
    """Rows of a net whose tables are all given."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return dgm.compile(net).sample(rows)
