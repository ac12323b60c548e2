"""Two processes give what one gives for the same global batches, up to rounding."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

import dgm_ppl.training as dgm
from dgm_ppl.graph import GraphError
from dgm_ppl.training.together import share_of

from .toys import VAE, Adversaries, Regression, binary_data, regression_data

pytest.importorskip("lightning_fabric")
torch.set_num_threads(1)
pytestmark = pytest.mark.skipif(torch.accelerator.is_available(), reason="beside an accelerator processes are spawned")


def assert_close(first, second):
    for name, value in first.state_dict().items():
        torch.testing.assert_close(value, second.state_dict()[name], atol=1e-5, rtol=1e-5, msg=lambda text, name=name: f"{name}: {text}")


CASES = {
    "uneven batches, down to a single row": (VAE, lambda: binary_data(9), {"batch_size": 2}),
    "full batch": (VAE, lambda: binary_data(11), {}),
    "two players": (Adversaries, lambda: binary_data(20, width=2), {"batch_size": 7}),
    "clip and transform": (
        VAE,
        lambda: {"x": torch.full((20, 8), 0.4)},
        {"batch_size": 8, "clip": 0.1, "transform": lambda batch: {"x": torch.bernoulli(batch["x"])}},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_two_processes_equal_one(case):
    make, data, options = CASES[case]
    options = {"epochs": 3, "seed": 0, "optimizer": dgm.Adam(lr=0.01), **options}
    validation = {"x": data()["x"][:5].round()}
    alone, together = make(), make()
    first = dgm.fit(alone, data(), validation=validation, **options)
    second = dgm.fit(together, data(), validation=validation, devices=2, **options)
    assert_close(alone, together)
    torch.testing.assert_close(
        torch.tensor(first.history.drop(columns="seconds").to_numpy(float)),
        torch.tensor(second.history.drop(columns="seconds").to_numpy(float)),
        atol=1e-4,
        rtol=1e-4,
    )
    assert (second.stopped, second.step, second.best.step) == (first.stopped, first.step, first.best.step)


def test_a_loader_is_shared_too():
    class Rows(Dataset):
        def __len__(self):
            return 21

        def __getitem__(self, row):
            return {"x": binary_data(21)["x"][row]}

    alone, together = VAE(), VAE()
    for objective, devices in ((alone, 1), (together, 2)):
        dgm.fit(objective, DataLoader(Rows(), batch_size=4, shuffle=True), epochs=2, seed=0, devices=devices)
    assert_close(alone, together)


def test_a_run_of_one_goes_on_with_two(tmp_path):
    options = {"batch_size": 8, "seed": 0, "checkpoint": tmp_path}
    dgm.fit(VAE(), binary_data(25), epochs=1, **options)
    together, alone = VAE(seed=1), VAE()
    run = dgm.fit(together, binary_data(25), epochs=3, devices=2, **options)
    dgm.fit(alone, binary_data(25), epochs=3, batch_size=8, seed=0)
    assert run.step == 12
    assert_close(alone, together)


def test_without_a_seed_the_callers_generator_goes_on_as_with_one():
    after = []
    for devices in (1, 2):
        torch.manual_seed(3)
        dgm.fit(VAE(), binary_data(16), steps=2, batch_size=8, devices=devices)
        after.append(torch.rand(()))
    assert after[0] == after[1]


def test_early_stopping_brings_the_best_back():
    options = {
        "validation": {"x": torch.zeros(4, 3), "y": torch.full((4,), 0.3)},
        "epochs": 100,
        "optimizer": dgm.Adam(lr=0.1),
        "stopping": dgm.EarlyStopping(patience=3),
    }
    alone, together = Regression(), Regression()
    first = dgm.fit(alone, regression_data(8), **options)
    second = dgm.fit(together, regression_data(8), devices=2, **options)
    assert second.stopped == "early stopping" and second.best.step == first.best.step
    assert_close(alone, together)


def test_errors_of_a_member_are_raised_here():
    class Refusing(VAE):
        def prepare(self, data):
            raise GraphError("node 'x': expected something else")

    class Failing(VAE):
        def world_losses(self, batch):
            if self._shard[0] > 0:  # on the second process alone
                raise OSError("lost the rows")
            return super().world_losses(batch)

    with pytest.raises(GraphError, match="node 'x': expected something else"):
        dgm.fit(Refusing(), binary_data(16), steps=2, devices=2)
    with pytest.raises(OSError, match="lost the rows"):
        dgm.fit(Failing(), binary_data(16), steps=2, devices=2)


def test_a_loss_that_is_not_finite_brings_the_sound_parameters_back():
    class Breaking(VAE):
        def begin_step(self, step):
            self.number = step

        def world_losses(self, batch):
            return super().world_losses(batch) * (float("nan") if self.number == 4 else 1.0)

    together, alone = Breaking(), VAE()
    with pytest.raises(FloatingPointError, match="at step 5"):
        dgm.fit(together, binary_data(16), steps=9, seed=0, devices=2)
    dgm.fit(alone, binary_data(16), steps=4, seed=0)
    assert_close(alone, together)


def test_an_interrupt_ends_all_members_and_the_run_goes_on_later(tmp_path):
    parent = os.getpid()

    def press(moment):
        if moment.step == 3:
            os.kill(parent, signal.SIGINT)

    options = {"epochs": 400, "batch_size": 8, "seed": 0, "checkpoint": tmp_path}
    run = dgm.fit(VAE(), binary_data(16), devices=2, callbacks=press, **options)
    assert run.stopped == "interrupted" and 3 <= run.step < 800
    together, alone = VAE(seed=1), VAE()
    options["epochs"] = run.epoch + 2
    dgm.fit(together, binary_data(16), devices=2, **options)
    dgm.fit(alone, binary_data(16), epochs=run.epoch + 2, batch_size=8, seed=0)
    assert_close(alone, together)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_callbacks_interrupt_ends_all_members():
    def stop(moment):
        if moment.step == 3:
            raise KeyboardInterrupt

    run = dgm.fit(VAE(), binary_data(16), steps=100, devices=2, callbacks=stop)
    assert run.stopped == "interrupted" and run.step == 3


def test_a_plain_script_needs_no_main_guard(tmp_path):
    here = Path(__file__).parent
    script = tmp_path / "plain.py"
    script.write_text(
        "import torch\nfrom toys import VAE, binary_data\nimport dgm_ppl.training as dgm\n"
        "torch.randn(400, 400) @ torch.randn(400, 400)\n"
        "run = dgm.fit(VAE(), binary_data(16), steps=3, devices=2)\nprint(run.stopped, run.step)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(here), str(here.parents[1])])}
    done = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True, timeout=100)
    assert done.stdout.split() == ["steps", "3"], done.stderr
    assert not done.stderr


def test_the_environment_is_left_as_it_was():
    before = dict(os.environ)
    dgm.fit(VAE(), binary_data(16), steps=1, devices=2)
    assert dict(os.environ) == before


def test_without_fabric_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    with pytest.raises(ImportError, match=r"expected Lightning Fabric for devices=2.*pip install 'dgm-ppl\[distributed\]'"):
        dgm.fit(VAE(), binary_data(16), steps=1, devices=2)


@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize("rows", [1, 2, 3, 7, 8])
def test_shares_cover_the_rows_once(rows, size):
    shares = [share_of(rows, rank, size) for rank in range(size)]
    held = [row for share in shares if share.weight for row in range(share.start, share.stop)]
    assert held == list(range(rows)) and sum(share.weight for share in shares) == pytest.approx(1.0)
    assert all(share.stop > share.start for share in shares)
