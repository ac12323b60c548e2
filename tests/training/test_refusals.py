"""What fit refuses, before any work, and what it says."""

from functools import partial

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import dgm_ppl.training as dgm
from dgm_ppl.training.devices import find_device

from .toys import Adversaries, Regression, regression_data

torch.set_num_threads(1)

DATA = regression_data(8)
REFUSED = [
    ({"epochs": 0}, ValueError, "expected epochs of at least 1; got 0"),
    ({"steps": 2.5}, TypeError, "expected steps to be an integer; got 2.5"),
    ({"steps": 1, "batch_size": 0}, ValueError, "expected batch_size of at least 1; got 0; try batch_size=1"),
    ({"steps": 1, "batch_size": True}, TypeError, "expected batch_size to be an integer; got True"),
    ({"steps": 1, "devices": 0}, ValueError, "expected devices of at least 1"),
    ({"steps": 1, "clip": -1.0}, ValueError, "expected clip, the largest gradient norm, above 0; got -1.0; try clip=10.0"),
    ({"steps": 1, "precision": torch.float16}, ValueError, "expected precision to be one of None, torch.bfloat16"),
    ({"steps": 1, "stopping": dgm.EarlyStopping()}, ValueError, "expected validation data for stopping; got validation=None"),
    ({"steps": 1, "validate_every": 5}, ValueError, "expected validation data for validate_every"),
    ({"steps": 1, "device": "gpu"}, ValueError, "device: expected one of cpu.*; got 'gpu'; try device='auto'"),
    ({"steps": 1, "device": "cuda:9"}, ValueError, "device: expected one of cpu.*; got 'cuda:9'; try device='auto'"),
    (
        {"steps": 1, "optimizer": {"everyone": dgm.Adam()}},
        ValueError,
        "optimizer: expected an entry for each of the players all; got everyone; try {'all': ...}",
    ),
]


@pytest.mark.parametrize(("options", "error", "message"), REFUSED)
def test_arguments(options, error, message):
    objective = Regression()
    with pytest.raises(error, match=message):
        dgm.fit(objective, DATA, **options)
    assert not objective.model.weight.any()


def test_a_device_that_is_not_there(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: None)
    with pytest.raises(ValueError, match="device: expected one of cpu; got 'cuda'; try device='auto'"):
        find_device("cuda")
    with pytest.raises(ValueError, match="got 'cuda'"):
        find_device(torch.device("cuda"))


def test_the_accelerators_that_are_there(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("cuda"))
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)
    assert find_device("auto") == torch.device("cuda:0") and find_device("cuda") == torch.device("cuda")
    with pytest.raises(ValueError, match="expected one of cpu, cuda:0, cuda:1; got 'cuda:2'"):
        find_device("cuda:2")


def test_nothing_to_train():
    objective = Regression().requires_grad_(False)
    with pytest.raises(ValueError, match=r"expected player 'all' to have parameters to train; got none .*; try objective.score"):
        dgm.fit(objective, DATA, steps=1)


def test_a_player_with_nothing_to_train():
    objective = Adversaries()
    objective.critic.requires_grad_(False)
    with pytest.raises(ValueError, match="expected player 'critic' to have parameters to train"):
        dgm.fit(objective, {"x": torch.zeros(4, 2)}, steps=1)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"x": torch.zeros(3, 3), "y": torch.zeros(4)}, "columns of one length"),
        ({"x": torch.zeros(0, 3), "y": torch.zeros(0)}, "at least one row"),
        ({"x": torch.zeros(3, 3)}, "column 'y': expected in the data; got x"),
        (DataLoader([]), "at least one batch; got an empty DataLoader"),
    ],
)
def test_data(data, message):
    with pytest.raises(ValueError, match=message):
        dgm.fit(Regression(), data, steps=1)
    with pytest.raises(ValueError, match=message):
        dgm.fit(Regression(), DATA, validation=data, steps=1)


def test_data_of_another_kind():
    with pytest.raises(TypeError, match="expected a dict of columns, a DataFrame"):
        dgm.fit(Regression(), np.zeros((3, 3)), steps=1)
    with pytest.raises(TypeError, match="batches to be dicts; got list"):
        dgm.fit(Regression(), DataLoader(TensorDataset(torch.zeros(3))), steps=1)


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (lambda batch: {"x": batch["x"][:, :2]}, r"expected column 'x' to have shape"),
        (lambda batch: {"z": batch["x"]}, r"expected column 'z' to have one of x, y"),
    ],
)
def test_a_transform_that_gives_something_else(transform, message):
    class Fixed(Regression):
        def prepare(self, data):
            return {**super().prepare(data), "x": torch.as_tensor(data["x"])[:, [0, 1, 1]]}

    with pytest.raises(ValueError, match=message):
        dgm.fit(Fixed(), DATA, steps=1, transform=transform)


def test_early_stopping_and_checkpoint_arguments():
    with pytest.raises(ValueError, match="EarlyStopping: expected patience of at least 1; got 0"):
        dgm.EarlyStopping(patience=0)
    with pytest.raises(ValueError, match="Checkpoint: expected steps of at least 1; got 0"):
        dgm.Checkpoint("runs", steps=0)


def test_an_optimizer_that_refuses_says_so_itself():
    with pytest.raises(ValueError, match="Invalid learning rate"):
        dgm.fit(Regression(), DATA, steps=1, optimizer=partial(torch.optim.Adam, lr=-1.0))
