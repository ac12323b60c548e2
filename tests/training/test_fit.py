"""One loop trains every objective."""

import pytest
import torch
from toys import VAE, Adversaries, Regression, binary_data, regression_data

import dgm_ppl.training as dgm

torch.set_num_threads(1)


def test_regression_comes_to_least_squares():
    data = regression_data()
    objective = Regression()
    run = dgm.fit(objective, data, steps=400, optimizer=dgm.Adam(lr=0.05))
    design = torch.cat([data["x"], torch.ones(64, 1)], 1)
    exact = torch.linalg.lstsq(design, data["y"][:, None]).solution.squeeze()
    torch.testing.assert_close(objective.model.weight.detach().squeeze(), exact[:3], atol=1e-3, rtol=0)
    assert run.stopped == "steps" and run.step == 400 and run.model is objective.model
