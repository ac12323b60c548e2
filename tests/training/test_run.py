"""What a run leaves: history, curves, a line that reads well, and a bar while it goes on."""

import io

import pandas as pd
import pytest
import rich.console
import torch
from matplotlib.figure import Figure

import dgm_ppl.training as dgm
from dgm_ppl.training.progress import Bar, Quiet, watch_progress

from .toys import VAE, Adversaries, Regression, binary_data, regression_data

torch.set_num_threads(1)


def test_history_is_a_frame_of_rows():
    run = dgm.fit(Regression(), regression_data(), validation=regression_data(8), epochs=3, batch_size=16, seed=0)
    assert isinstance(run.history, pd.DataFrame)
    assert list(run.history.columns) == ["step", "epoch", "loss", "validation", "learning_rate", "seconds"]
    assert run.history["step"].tolist() == [4, 8, 12] and run.history["epoch"].tolist() == [1, 2, 3]
    assert run.history["seconds"].is_monotonic_increasing and run.history["learning_rate"].eq(1e-3).all()


def test_losses_are_means_over_worlds():
    data = regression_data(10)
    run = dgm.fit(Regression(), data, epochs=1, batch_size=4, optimizer=dgm.SGD(lr=0.0))
    exact = Regression().world_losses(data).mean().item()  # batches of 3, 3 and 4 rows
    assert run.history["loss"].tolist() == [pytest.approx(exact, rel=1e-6)]


@pytest.mark.parametrize(
    ("rows", "epochs", "steps"),
    [
        (60, 2, [60, 120]),  # an epoch of at least 50 steps
        (20, 7, [60, 120, 140]),  # several shorter ones, and what is left
        (2100, 1, [1000, 2000, 2100]),  # at most 1000 steps
    ],
)
def test_rows_come_by_the_epoch(rows, epochs, steps):
    run = dgm.fit(Regression(), regression_data(rows), epochs=epochs, batch_size=1)
    assert run.history["step"].tolist() == steps


def test_the_plot_shows_curves_and_the_best(tmp_path):
    run = dgm.fit(Regression(), regression_data(), validation=regression_data(8), epochs=5)
    figure = run.plot(tmp_path / "curves.png")
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert isinstance(figure, Figure) and (tmp_path / "curves.png").stat().st_size > 1000
    assert labels == ["loss", "validation", f"best, step {run.best.step}"]


def test_the_plot_of_two_players():
    figure = dgm.fit(Adversaries(), binary_data(width=2), steps=2).plot()
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["loss generator", "loss critic"]


def test_it_reads_well():
    run = dgm.fit(Regression(), regression_data(), validation=regression_data(8), epochs=2, seed=0)
    words = ["Run(Regression stopped by epochs at step 2, epoch 2, after ", " s; loss ", "; best validation ", " at step 2)"]
    assert all(word in repr(run) for word in words)


def test_a_validation_that_is_nan_is_not_the_best():
    class Odd(Regression):
        values = iter([float("nan"), 3.0, float("nan"), 2.0])

        def score(self, batch):
            return torch.full((len(batch["y"]),), -next(self.values))

    run = dgm.fit(Odd(), regression_data(), validation=regression_data(8), epochs=4)
    assert (run.best.step, run.best.value) == (4, 2.0)


def test_quiet_without_a_terminal(capsys):
    dgm.fit(VAE(), binary_data(), steps=3)
    captured = capsys.readouterr()
    assert not captured.out and not captured.err


def test_a_bar_in_a_terminal(monkeypatch):
    monkeypatch.setattr(rich.console.Console, "is_terminal", True)
    assert isinstance(watch_progress(None, 0, 10), Bar) and isinstance(watch_progress(False, 0, 10), Quiet)


def test_the_bar_shows_epoch_loss_validation_and_rate(monkeypatch):
    shown = io.StringIO()
    original = rich.console.Console

    def console(**options):
        return original(file=shown, force_terminal=True, width=120)

    monkeypatch.setattr(rich.console, "Console", console)
    dgm.fit(Regression(), regression_data(), validation=regression_data(8), epochs=3, progress=True)
    text = shown.getvalue()
    assert "epoch 3  loss " in text and "validation " in text and " steps/s" in text and "3/3" in text
