"""The moving average of the parameters, beside the run."""

from __future__ import annotations

import pytest
import torch

import dgm_ppl as dgm

from .toys import Regression


def data(rows=40):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(rows, 3, generator=generator)
    return {"x": x, "y": x.sum(1)}


def run(**arguments):
    objective = Regression()
    return dgm.fit(objective, data(), batch_size=10, seed=0, device="cpu", optimizer=dgm.SGD(lr=0.1), **arguments)


def test_it_is_the_exponential_average_of_the_parameters_after_each_step():
    seen = []
    found = run(steps=7, average=0.8, callbacks=lambda moment: seen.append(moment.objective.model.weight.detach().clone()))
    expected = seen[0]
    for weight in seen[1:]:
        expected = 0.8 * expected + 0.2 * weight
    torch.testing.assert_close(found.averaged.model.weight, expected)
    assert not torch.equal(found.averaged.model.weight, found.model.weight)
    assert run(steps=7).averaged is None


def test_an_interrupted_run_has_the_same_average(tmp_path):
    whole = run(steps=9, average=0.8)
    run(steps=4, average=0.8, checkpoint=tmp_path)
    resumed = run(steps=9, average=0.8, checkpoint=tmp_path)
    assert torch.equal(resumed.averaged.model.weight, whole.averaged.model.weight)
    with pytest.raises(ValueError, match="average"):
        run(steps=12, average=0.9, checkpoint=tmp_path)


def test_a_decay_outside_its_range():
    with pytest.raises(ValueError, match=r"fit: expected average.*between 0 and 1; got 1.5; try average=0.999"):
        run(steps=1, average=1.5)
