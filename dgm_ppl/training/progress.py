"""Progress: a bar with loss and rate in a terminal, silence elsewhere."""

from __future__ import annotations

import time
from typing import Protocol

from torch import Tensor

__all__ = ["Bar", "Display", "Quiet", "say", "watch_progress"]

REFRESH = 0.1  # seconds between two looks at the loss, the only time that the bar waits for the device


class Display(Protocol):
    """A context that is told of steps and validations."""

    def __enter__(self) -> Display: ...
    def __exit__(self, *error: object) -> None: ...
    def step(self, step: int, epoch: int, loss: Tensor) -> None: ...
    def validation(self, value: float) -> None: ...


class Quiet:
    """Shows nothing."""

    def __enter__(self) -> Quiet:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def step(self, step: int, epoch: int, loss: Tensor) -> None:
        """A step is done."""

    def validation(self, value: float) -> None:
        """A validation is done."""


class Bar:
    """A rich progress bar on stderr."""

    def __init__(self, done: int, total: int | None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()]
        self._progress = Progress(*columns, console=Console(stderr=True), auto_refresh=False)
        self._task = self._progress.add_task("training", total=total, completed=done)
        self._shown, self._shown_step = time.perf_counter(), done
        self._validation = ""
        self._latest: tuple[int, int, Tensor] | None = None

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if self._latest and kind is None:
            self._show(*self._latest)
        self._progress.stop()

    def step(self, step: int, epoch: int, loss: Tensor) -> None:
        """Shows the step if the last look is long enough ago."""
        self._latest = (step, epoch, loss)
        if time.perf_counter() - self._shown >= REFRESH:
            self._show(step, epoch, loss)

    def validation(self, value: float) -> None:
        """Shows the value from now on."""
        self._validation = f"  validation {value:.4g}"

    def _show(self, step: int, epoch: int, loss: Tensor) -> None:
        now = time.perf_counter()
        rate = (step - self._shown_step) / max(now - self._shown, 1e-9)
        self._shown, self._shown_step = now, step
        text = f"epoch {epoch}  loss {float(loss):.4g}{self._validation}  {rate:,.0f} steps/s"
        self._progress.update(self._task, completed=step, description=text, refresh=True)


def watch_progress(wanted: bool | None, done: int, total: int | None) -> Display:
    """A bar if it is wanted, or, for None, if stderr is a terminal or a notebook."""
    from rich.console import Console

    console = Console(stderr=True)
    shown = console.is_terminal or console.is_jupyter if wanted is None else wanted
    return Bar(done, total) if shown else Quiet()


def say(message: str) -> None:
    """One line on stderr."""
    from rich.console import Console

    Console(stderr=True).print(message, highlight=False, markup=False, soft_wrap=True)
