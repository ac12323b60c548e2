"""An interrupted run that resumes ends bit for bit where one that was never interrupted does."""

import json
import os
import signal
from functools import partial

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, Dataset

import dgm_ppl.training as dgm
from dgm_ppl.training.checkpoint import read, write

from .toys import VAE, Adversaries, Regression, binary_data, regression_data

torch.set_num_threads(1)


class Rows(Dataset):
    """Rows with noise of their own, from the global generator."""

    def __init__(self):
        self.x = binary_data()["x"]

    def __len__(self):
        return len(self.x)

    def __getitem__(self, row):
        return {"x": (self.x[row] + (torch.rand(8) < 0.1)).clamp(max=1.0)}


def warm_up(optimizer):
    first = lr_scheduler.LinearLR(optimizer, 0.1, total_iters=5)
    return lr_scheduler.SequentialLR(optimizer, [first, lr_scheduler.CosineAnnealingLR(optimizer, 40)], milestones=[5])


CASES = {
    "vae": {"make": VAE, "data": binary_data},
    "transform": {"make": VAE, "data": lambda: {"x": torch.full((50, 8), 0.4)}, "transform": lambda batch: {"x": torch.bernoulli(batch["x"])}},
    "two players": {"make": Adversaries, "data": lambda: binary_data(width=2)},
    "schedule": {"make": VAE, "data": binary_data, "schedule": warm_up, "clip": 1.0},
    "one cycle": {"make": VAE, "data": binary_data, "schedule": partial(lr_scheduler.OneCycleLR, max_lr=0.1, total_steps=60)},
    "milestones": {"make": VAE, "data": binary_data, "schedule": partial(lr_scheduler.MultiStepLR, milestones=[4, 9])},
    "momentum": {"make": VAE, "data": binary_data, "optimizer": partial(torch.optim.SGD, lr=0.01, momentum=0.9)},
    "lbfgs": {"make": Regression, "data": lambda: regression_data(50), "optimizer": partial(torch.optim.LBFGS, lr=0.1, max_iter=2)},
    "loader": {"make": VAE, "data": lambda: DataLoader(Rows(), batch_size=12, shuffle=True)},
    "loader with a generator": {
        "make": VAE,
        "data": lambda: DataLoader(Rows(), batch_size=12, shuffle=True, generator=torch.Generator()),
    },
    "no seed": {"make": VAE, "data": binary_data, "seed": None},
    "plateau": {
        "make": VAE,
        "data": binary_data,
        "validation": {"x": binary_data(10, seed=9)["x"]},
        "schedule": partial(lr_scheduler.ReduceLROnPlateau, patience=0),
        "stopping": dgm.EarlyStopping(patience=4),
    },
}


def arguments(case):
    options = {"epochs": 3, "batch_size": 12, "seed": 3, "optimizer": dgm.Adam(lr=0.02), **CASES[case]}
    make, data = options.pop("make"), options.pop("data")
    return make, data, options


def interrupt_at(*steps):
    left = list(steps)

    def callback(moment):
        if left and moment.step == left[0]:
            left.pop(0)
            raise KeyboardInterrupt

    return callback


def assert_same(first, second):
    """Trees of tensors and plain data that are equal bit for bit."""
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second)
    elif isinstance(first, dict):
        assert list(first) == list(second)
        [assert_same(first[key], second[key]) for key in first]
    elif isinstance(first, (list, tuple)):
        assert len(first) == len(second)
        [assert_same(*pair) for pair in zip(first, second)]
    else:
        assert first == second or first != first


def history(run):
    return run.history.drop(columns="seconds")


@pytest.mark.parametrize("case", CASES)
def test_interrupted_and_resumed_is_as_never_interrupted(case, tmp_path, capsys):
    make, data, options = arguments(case)
    torch.manual_seed(8)
    whole, parts = make(), make()
    run = dgm.fit(whole, data(), checkpoint=tmp_path / "whole", **options)
    torch.manual_seed(8)
    again = data()
    callback = interrupt_at(2, 7)
    for step in (2, 7):
        broken = dgm.fit(parts, again, checkpoint=tmp_path / "parts", callbacks=callback, **options)
        assert (broken.stopped, broken.step) == ("interrupted", step)
        parts = make()  # a new process starts from other parameters
        again = data()
        torch.rand(5)
    resumed = dgm.fit(parts, again, checkpoint=tmp_path / "parts", **options)
    assert (resumed.stopped, resumed.step) == (run.stopped, run.step)
    assert_same(whole.state_dict(), parts.state_dict())
    first, second = (read(tmp_path / folder / "last.safetensors") for folder in ("whole", "parts"))
    assert_same(first["learner"], second["learner"])
    assert history(run).equals(history(resumed))
    assert "interrupted after step 7; the same call resumes from" in capsys.readouterr().err


@pytest.mark.skipif(os.name != "posix" or torch.accelerator.is_available(), reason="needs fork, which accelerators forbid")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize("steps", [(1,), (11, 19), (4, 5, 24)])
def test_killed_at_any_step_and_resumed(steps, tmp_path):
    options = {"epochs": 5, "batch_size": 12, "seed": 3, "optimizer": dgm.Adam(lr=0.02)}
    checkpoint = dgm.Checkpoint(tmp_path / "parts", steps=4)

    def killed_at(step):
        child = os.fork()
        if child == 0:
            kill = lambda moment: moment.step == step and os.kill(os.getpid(), signal.SIGKILL)  # noqa: E731
            dgm.fit(VAE(seed=step), binary_data(), checkpoint=checkpoint, callbacks=kill, **options)
            os._exit(0)
        return os.WTERMSIG(os.waitpid(child, 0)[1])

    for step in steps:
        assert killed_at(step) == signal.SIGKILL
        assert read(checkpoint.last)["position"][0] == step // 4 * 4
    resumed, whole = VAE(seed=9), VAE(seed=steps[0])
    dgm.fit(resumed, binary_data(), checkpoint=checkpoint, **options)
    dgm.fit(whole, binary_data(), checkpoint=tmp_path / "whole", **options)
    first, second = (read(tmp_path / folder / "last.safetensors") for folder in ("whole", "parts"))
    assert_same(first["learner"], second["learner"])
    assert [path.name for path in checkpoint.last.parent.iterdir()] == ["last.safetensors"]


def test_a_finished_run_returns_at_once_and_more_epochs_go_on(tmp_path):
    steps = []
    options = {"batch_size": 12, "seed": 0, "checkpoint": tmp_path, "callbacks": lambda moment: steps.append(moment.step)}
    first = dgm.fit(VAE(), binary_data(), epochs=2, **options)
    written = (tmp_path / "last.safetensors").stat().st_mtime_ns
    objective = VAE(seed=1)
    second = dgm.fit(objective, binary_data(), epochs=2, **options)
    assert steps == list(range(1, 11)) and second.stopped == "epochs" and history(first).equals(history(second))
    assert (tmp_path / "last.safetensors").stat().st_mtime_ns == written
    assert_same(dict(first.objective.state_dict()), dict(objective.state_dict()))
    more, whole = VAE(seed=2), VAE()
    dgm.fit(more, binary_data(), epochs=3, **options)
    assert steps == list(range(1, 16))
    dgm.fit(whole, binary_data(), epochs=3, batch_size=12, seed=0)
    assert_same(dict(more.state_dict()), dict(whole.state_dict()))


def test_a_finished_early_stopping_stays_finished_with_the_best(tmp_path):
    options = {
        "validation": {"x": torch.zeros(4, 3), "y": torch.full((4,), 0.3)},
        "epochs": 500,
        "optimizer": dgm.Adam(lr=0.1),
        "stopping": dgm.EarlyStopping(patience=3),
        "checkpoint": tmp_path,
    }
    first, second = Regression(), Regression()
    run = dgm.fit(first, regression_data(8), **options)
    again = dgm.fit(second, regression_data(8), **options)
    assert again.stopped == "early stopping" and again.best == run.best
    assert_same(dict(first.state_dict()), dict(second.state_dict()))
    best = read(tmp_path / "best.safetensors")["objective"]
    assert_same(best, dict(first.state_dict()))


def test_without_a_checkpoint_no_declaration_is_asked_for():
    class Undeclared(VAE):
        def declaration(self):
            raise ValueError("a function cannot be declared")

    assert dgm.fit(Undeclared(), binary_data(), steps=1).step == 1


def test_resume_false_starts_afresh(tmp_path):
    for _ in range(2):
        run = dgm.fit(VAE(), binary_data(), steps=3, checkpoint=tmp_path, resume=False)
        assert len(run.history) == 1


def test_a_checkpoint_is_plain_tensors_and_json(tmp_path):
    dgm.fit(VAE(), binary_data(), steps=3, checkpoint=tmp_path)
    with safe_open(tmp_path / "last.safetensors", framework="pt") as file:
        metadata, names = file.metadata(), set(file.keys())
    tree = json.loads(metadata["tree"])
    assert metadata["format"] == "dgm_ppl checkpoint 1" and tree["position"] == [3, 3, 0]
    assert {"learner/objective/baseline", "learner/generators/cpu", "learner/optimizers/0/state/0/exp_avg"} <= names


def test_shared_parameters_are_stored(tmp_path):
    class Tied(VAE):
        def __init__(self):
            super().__init__()
            self.again = self.model

    first, second = Tied(), Tied()
    dgm.fit(first, binary_data(), steps=3, checkpoint=tmp_path)
    dgm.fit(second, binary_data(), steps=3, checkpoint=tmp_path)
    assert_same(dict(first.state_dict()), dict(second.state_dict())) and second.again is second.model


def test_a_reader_sees_the_old_file_when_writing_fails(tmp_path, monkeypatch):
    path = tmp_path / "state.safetensors"
    write(path, {"x": torch.zeros(2)})

    def fail(*arguments):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write(path, {"x": torch.ones(2)})
    assert read(path)["x"].tolist() == [0.0, 0.0] and list(tmp_path.iterdir()) == [path]


# ---- what is refused


def damaged(path, how):
    content = path.read_bytes()
    if how == "cut short":
        path.write_bytes(content[: len(content) // 2])
    elif how == "altered":
        path.write_bytes(content[:-3] + bytes([content[-3] ^ 1]) + content[-2:])
    elif how == "header altered":
        path.write_bytes(content.replace(rb"\"position\": [3", rb"\"position\": [4"))
    elif how == "no safetensors":
        path.write_bytes(b"a pickle, perhaps")
    elif how == "empty":
        path.write_bytes(b"")
    else:
        save_file({"x": torch.zeros(1)}, path)
    return path


DAMAGE = {
    "cut short": "cut short or is no safetensors file",
    "altered": r"a file that was altered \(its digest does not match\)",
    "header altered": r"a file that was altered \(its digest does not match\)",
    "no safetensors": "cut short or is no safetensors file",
    "empty": "cut short or is no safetensors file",
    "another file": "a safetensors file of format None",
}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_file_is_refused_and_nothing_is_changed(how, tmp_path):
    dgm.fit(VAE(), binary_data(), steps=3, checkpoint=tmp_path)
    before = damaged(tmp_path / "last.safetensors", how).read_bytes()
    objective = VAE(seed=4)
    with pytest.raises(ValueError, match=DAMAGE[how]) as raised:
        dgm.fit(objective, binary_data(), steps=5, checkpoint=tmp_path)
    assert str(tmp_path / "last.safetensors") in str(raised.value) and "resume=False" in str(raised.value)
    assert (tmp_path / "last.safetensors").read_bytes() == before
    assert_same(dict(objective.state_dict()), dict(VAE(seed=4).state_dict()))


def test_another_net_is_refused_with_the_first_difference(tmp_path):
    dgm.fit(VAE(), binary_data(), steps=3, checkpoint=tmp_path)
    with pytest.raises(ValueError, match=r"same net and objective; got a difference: shapes.guide.0.weight\[0\] was 16, is 24; try the net"):
        dgm.fit(VAE(hidden=24), binary_data(), steps=5, checkpoint=tmp_path)
    with pytest.raises(ValueError, match="objective was 'VAE', is 'Regression'"):
        dgm.fit(Regression(), regression_data(), steps=5, checkpoint=tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 10}, "batch_size was 12, is 10"),
        ({"seed": 1}, "seed was 0, is 1"),
        ({"optimizer": dgm.Adam(lr=0.5)}, "optimizer.all.lr was '0.001', is '0.5'"),
        ({"optimizer": torch.optim.SGD}, "optimizer.all.class was 'Adam', is 'SGD'"),
        ({"precision": torch.float64}, "precision was 'None', is 'torch.float64'"),
        ({"schedule": partial(lr_scheduler.ExponentialLR, gamma=0.9)}, "schedule was None, is 'ExponentialLR'"),
    ],
)
def test_other_settings_are_refused(change, message, tmp_path):
    options = {"batch_size": 12, "seed": 0, "checkpoint": tmp_path}
    dgm.fit(VAE(), binary_data(), steps=3, **options)
    with pytest.raises(ValueError, match=message):
        dgm.fit(VAE(), binary_data(), steps=5, **{**options, **change})


def test_other_rows_are_refused(tmp_path):
    dgm.fit(VAE(), binary_data(50), steps=3, checkpoint=tmp_path)
    with pytest.raises(ValueError, match="rows was 50, is 49"):
        dgm.fit(VAE(), binary_data(49), steps=5, checkpoint=tmp_path)


def test_a_schedule_that_is_not_plain_data_is_refused_before_any_step(tmp_path):
    class Odd(lr_scheduler.ExponentialLR):
        def __init__(self, optimizer):
            self.odd = object()
            super().__init__(optimizer, 0.9)

    steps = []
    with pytest.raises(TypeError, match=r"at 'learner/schedules/0/odd'; got object, which cannot be stored without running code"):
        dgm.fit(VAE(), binary_data(), steps=3, checkpoint=tmp_path, schedule=Odd, callbacks=steps.append)
    assert not steps and not list(tmp_path.iterdir())


def test_the_folder_must_allow_writing(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError):
        dgm.fit(VAE(), binary_data(), steps=3, checkpoint=tmp_path / "file")


def test_best_holds_the_names_of_the_state(tmp_path):
    dgm.fit(VAE(), binary_data(), validation=binary_data(5), steps=3, checkpoint=tmp_path)
    assert {name.removeprefix("objective/") for name in load_file(tmp_path / "best.safetensors")} == set(VAE().state_dict())
