"""Ctrl-C ends after the step, with a checkpoint that resumes."""

import os
import signal

import pytest
import torch

import dgm_ppl.training as dgm

from .toys import VAE, binary_data

torch.set_num_threads(1)


def same(first, second):
    return all(torch.equal(*pair) for pair in zip(first.state_dict().values(), second.state_dict().values()))


class Pressed(VAE):
    """A VAE in the midst of whose tenth step somebody presses Ctrl-C."""

    def __init__(self, times=1):
        super().__init__()
        self.times, self.number = times, -1

    def begin_step(self, step):
        self.number = step

    def declaration(self):
        return VAE.declaration(VAE())

    def world_losses(self, batch):
        losses = super().world_losses(batch)
        if self.number == 9:
            for _ in range(self.times):
                os.kill(os.getpid(), signal.SIGINT)
        return losses


def test_the_step_is_finished_and_the_run_goes_on_later(tmp_path, capsys):
    before = signal.getsignal(signal.SIGINT)
    options = {"epochs": 4, "batch_size": 12, "seed": 0, "checkpoint": tmp_path}
    run = dgm.fit(Pressed(), binary_data(), **options)
    assert (run.stopped, run.step) == ("interrupted", 10) and signal.getsignal(signal.SIGINT) is before
    assert f"fit: interrupted after step 10; the same call resumes from '{tmp_path}'" in capsys.readouterr().err
    resumed, whole = VAE(seed=3), VAE()
    dgm.fit(resumed, binary_data(), **options)
    dgm.fit(whole, binary_data(), epochs=4, batch_size=12, seed=0)
    assert same(resumed, whole)


def test_without_a_checkpoint_the_parameters_stay(capsys):
    objective, sound = Pressed(), VAE()
    assert dgm.fit(objective, binary_data(), epochs=4, batch_size=12, seed=0).stopped == "interrupted"
    dgm.fit(sound, binary_data(), steps=10, batch_size=12, seed=0)
    assert same(objective, sound) and "nothing was stored" in capsys.readouterr().err


def test_a_second_one_raises_and_undoes_the_step():
    objective, sound = Pressed(times=2), VAE()
    with pytest.raises(KeyboardInterrupt):
        dgm.fit(objective, binary_data(), epochs=4, batch_size=12, seed=0)
    dgm.fit(sound, binary_data(), steps=9, batch_size=12, seed=0)
    assert same(objective, sound) and signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interrupt_that_code_raises_within_a_step_undoes_the_step(tmp_path):
    class Raising(Pressed):
        def world_losses(self, batch):
            losses = VAE.world_losses(self, batch)
            if self.number == 9:
                raise KeyboardInterrupt
            return losses

    options = {"epochs": 4, "batch_size": 12, "seed": 0, "checkpoint": tmp_path}
    assert dgm.fit(Raising(), binary_data(), **options).step == 9
    resumed, whole = VAE(seed=3), VAE()
    dgm.fit(resumed, binary_data(), **options)
    dgm.fit(whole, binary_data(), epochs=4, batch_size=12, seed=0)
    assert same(resumed, whole)


def test_a_handler_of_the_programs_own_is_left_alone():
    pressed = []
    before = signal.signal(signal.SIGINT, lambda number, frame: pressed.append(number))
    try:
        run = dgm.fit(Pressed(), binary_data(), steps=12, seed=0)
    finally:
        signal.signal(signal.SIGINT, before)
    assert run.stopped == "steps" and pressed == [signal.SIGINT]
