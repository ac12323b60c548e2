"""Batches come in an order that the seed and the epoch fix, and can be taken again."""

import pandas as pd
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

import dgm_ppl.training as dgm
from dgm_ppl.training.feed import Resident, Stream

from .toys import VAE, Regression, binary_data, regression_data

torch.set_num_threads(1)


class Rows(Dataset):
    def __init__(self, data):
        self.data = data

    def __len__(self):
        return len(next(iter(self.data.values())))

    def __getitem__(self, row):
        return {name: column[row] for name, column in self.data.items()}


class Noisy(Rows):
    def __getitem__(self, row):
        return {"x": self.data["x"][row] + torch.rand(())}


def numbers(rows=10):
    return {"x": torch.arange(float(rows)), "y": torch.arange(rows)}


def stream(generator=None):
    loader = DataLoader(Noisy(numbers()), batch_size=3, shuffle=True, generator=generator)
    return Stream(loader, lambda columns: columns, seed=4)


FEEDS = {
    "resident": lambda: Resident(numbers(), 3, 4, shuffle=True),
    "in order": lambda: Resident(numbers(), 3, 4, shuffle=False),
    "stream": stream,
    "stream with a generator": lambda: stream(torch.Generator()),
}


@pytest.mark.parametrize("make", FEEDS.values(), ids=FEEDS)
def test_the_same_batches_from_anywhere(make):
    feed, epochs = make(), {}
    for epoch in range(2):
        index = 0
        while index == 0 or not feed.ends(epoch, index):
            epochs[epoch, index] = feed.take(epoch, index)["x"].clone()
            index += 1
            feed.keep()
    assert [len(batch) for batch in epochs.values()] == ([3, 3, 3, 1] if isinstance(feed, Stream) else [2, 3, 2, 3]) * 2
    torch.rand(3)
    other = make()
    for key in [(1, 2), (0, 1), (0, 2), (0, 3), (1, 0)]:
        assert torch.equal(other.take(*key)["x"], epochs[key])


@pytest.mark.parametrize(("rows", "most"), [(1347, 64), (10, 4), (9, 2), (7, 7), (5, 9), (64, 64), (65, 64)])
def test_rows_are_dealt_out_evenly_in_as_few_batches_as_allowed(rows, most):
    feed = Resident(numbers(rows), most, 0, shuffle=True)
    batches = [feed.take(0, index)["y"] for index in range(feed.batches)]
    sizes = [len(batch) for batch in batches]
    assert max(sizes) <= most and max(sizes) - min(sizes) <= 1 and len(sizes) == -(-rows // most)
    assert torch.equal(torch.cat(batches).sort().values, torch.arange(rows))


def test_columns_stay_together():
    batch = Resident(numbers(), 4, 0, shuffle=True).take(0, 1)
    assert torch.equal(batch["x"].long(), batch["y"])


def test_one_batch_of_all_rows_is_the_data_itself():
    data = numbers()
    assert Resident(data, None, 0, shuffle=True).take(3, 0)["x"] is data["x"]


def test_a_stream_leaves_the_global_generator():
    before, feed = torch.get_rng_state(), stream()
    feed.take(0, 0), feed.ends(0, 1)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_stream_takes_held_batches_again():
    feed = stream()
    first = [feed.take(0, index)["x"] for index in range(3)]
    again = [feed.take(0, index)["x"] for index in range(3)]
    assert all(torch.equal(*pair) for pair in zip(first, again))


def frame(data):
    return pd.DataFrame({"x0": data["x"][:, 0], "x1": data["x"][:, 1], "x2": data["x"][:, 2], "y": data["y"]})


def test_every_kind_of_data_trains_alike():
    class FromFrame(Regression):
        def prepare(self, data):
            x = torch.stack([torch.as_tensor(data[f"x{number}"]) for number in range(3)], 1)
            return super().prepare({"x": x, "y": data["y"]})

    data = regression_data(20)
    kinds = {
        "tensors": (Regression(), data),
        "arrays": (Regression(), {name: column.numpy() for name, column in data.items()}),
        "lists": (Regression(), {name: column.tolist() for name, column in data.items()}),
        "frame": (FromFrame(), frame(data)),
        "Dataset": (Regression(), Rows(data)),
    }
    for objective, given in kinds.values():
        dgm.fit(objective, given, epochs=3, batch_size=6, seed=0)
    expected = kinds["tensors"][0].model.weight
    assert all(torch.allclose(objective.model.weight, expected, atol=1e-6) for objective, _ in kinds.values())


def test_a_loader_trains():
    run = dgm.fit(VAE(), DataLoader(Rows(binary_data()), batch_size=12), epochs=2, seed=0)
    assert (run.step, run.epoch) == (10, 2)


def test_a_loader_validates_as_columns_do():
    values = []
    for validation in (binary_data(7), DataLoader(Rows(binary_data(7)), batch_size=3)):
        options = {"batch_size": 3, "steps": 1, "validate_every": 1, "seed": 0, "optimizer": dgm.SGD(lr=0.0)}
        values.append(dgm.fit(VAE(), binary_data(), validation=validation, **options).history["validation"][0])
    assert values[0] == pytest.approx(values[1], rel=1e-5)


def test_a_loader_with_a_transform():
    seen = []

    class Spy(VAE):
        def world_losses(self, batch):
            seen.append(batch["x"].clone())
            return super().world_losses(batch)

    loader = DataLoader(Rows({"x": torch.full((20, 8), 0.5)}), batch_size=20)
    dgm.fit(Spy(), loader, epochs=2, transform=lambda batch: {"x": torch.bernoulli(batch["x"])}, seed=0)
    assert set(seen[0].unique().tolist()) == {0.0, 1.0} and not torch.equal(seen[0], seen[1])
