"""A loss that is not finite ends the run with the parameters before the bad step."""

from functools import partial

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

import dgm_ppl.training as dgm
from dgm_ppl.training.checkpoint import read

from .toys import VAE, Adversaries, Regression, binary_data, regression_data

torch.set_num_threads(1)

BAD = 70  # the step, counted from 1, that goes wrong


class Breaking(VAE):
    """A VAE whose step `BAD` goes wrong in one of several ways, the same each time it is taken."""

    def __init__(self, how):
        super().__init__()
        self.how, self.bad, self.number = how, BAD, -1

    def begin_step(self, step):
        self.number = step

    def world_losses(self, batch):
        losses = super().world_losses(batch)
        if self.number != self.bad - 1:
            return losses
        if self.how == "gradient":
            zero = (self.model[0].weight * 0.0).sum()
            return losses + zero.sqrt()  # its value is 0, its gradient is not finite
        return losses * {"nan": float("nan"), "infinite": float("inf")}[self.how]


@pytest.mark.parametrize("how", ["nan", "infinite", "gradient"])
@pytest.mark.parametrize("optimizer", [dgm.Adam(lr=0.01), partial(torch.optim.SGD, lr=0.01, momentum=0.9)], ids=["Adam", "SGD"])
def test_the_parameters_are_those_before_the_bad_step(how, optimizer, tmp_path):
    what = "a gradient" if how == "gradient" else "a loss"
    options = {"batch_size": 12, "seed": 0, "optimizer": optimizer}
    objective, sound = Breaking(how), VAE()
    message = f"got {what} of player 'all' that is not at step 70 \\(epoch 14, batch 5\\); the parameters are those before"
    with pytest.raises(FloatingPointError, match=message):
        dgm.fit(objective, binary_data(), steps=200, checkpoint=tmp_path, **options)
    dgm.fit(sound, binary_data(), steps=BAD - 1, **options)
    assert all(torch.equal(*pair) for pair in zip(objective.state_dict().values(), sound.state_dict().values()))

    mended, whole = VAE(seed=5), VAE()  # the checkpoint holds the sound state too
    mended.declaration = objective.declaration
    dgm.fit(mended, binary_data(), steps=100, checkpoint=tmp_path, **options)
    dgm.fit(whole, binary_data(), steps=100, **options)
    assert all(torch.equal(*pair) for pair in zip(mended.state_dict().values(), whole.state_dict().values()))


def test_callbacks_see_each_step_once():
    seen, objective = [], Breaking("nan")
    with pytest.raises(FloatingPointError):
        dgm.fit(objective, binary_data(), steps=200, callbacks=lambda moment: seen.append(moment.step))
    assert seen == list(range(1, 100))  # losses are read every 50 steps


def test_an_optimizer_that_leaves_the_reals_is_found():
    objective = Regression()
    with pytest.raises(FloatingPointError, match="that is not at step|that are not, from a finite gradient, at step"):
        dgm.fit(objective, regression_data(), steps=300, optimizer=dgm.SGD(lr=1e30))
    assert all(parameter.isfinite().all() for parameter in objective.parameters())


def test_the_second_player_undoes_the_first():
    class Cursed(Adversaries):
        def begin_step(self, step):
            self.number = step

        def _critic_loss(self, batch):
            return super()._critic_loss(batch) * (float("nan") if self.number == 9 else 1.0)

    objective, sound = Cursed(), Adversaries()
    with pytest.raises(FloatingPointError, match="a loss of player 'critic' that is not at step 10"):
        dgm.fit(objective, binary_data(width=2), steps=20, seed=0)
    dgm.fit(sound, binary_data(width=2), steps=9, seed=0)
    assert torch.equal(objective.generator, sound.generator) and torch.equal(objective.critic.weight, sound.critic.weight)


def test_bad_rows_of_a_loader():
    class Rows(Dataset):
        def __len__(self):
            return 64

        def __getitem__(self, row):
            return {"x": torch.full((3,), float("nan") if row == 60 else 0.1 * row), "y": torch.tensor(0.0)}

    objective, sound = Regression(), Regression()
    with pytest.raises(FloatingPointError, match=r"step 31 \(epoch 1, batch 31\)"):
        dgm.fit(objective, DataLoader(Rows(), batch_size=2), epochs=2, optimizer=dgm.SGD(lr=1e-4))
    dgm.fit(sound, DataLoader(Rows(), batch_size=2), steps=30, optimizer=dgm.SGD(lr=1e-4))
    assert torch.equal(objective.model.weight, sound.model.weight)


def test_an_error_in_the_objective_undoes_the_step(tmp_path):
    class Failing(VAE):
        def begin_step(self, step):
            self.number = step

        def world_losses(self, batch):
            losses = super().world_losses(batch)  # draws noise and moves the baseline
            if self.number == 30:
                raise RuntimeError("out of luck")
            return losses

    objective, sound = Failing(), VAE()
    with pytest.raises(RuntimeError, match="out of luck"):
        dgm.fit(objective, binary_data(), steps=50, batch_size=12, seed=0, checkpoint=tmp_path)
    dgm.fit(sound, binary_data(), steps=30, batch_size=12, seed=0)
    assert read(tmp_path / "last.safetensors")["position"][0] == 30
    assert all(torch.equal(*pair) for pair in zip(objective.state_dict().values(), sound.state_dict().values()))
