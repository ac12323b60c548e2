"""Interruption: Ctrl-C waits for the end of the step."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Protocol

__all__ = ["Ending", "Interrupt"]


class Ending(Protocol):
    """A context that knows whether the run was asked to end."""

    asked: bool

    def __enter__(self) -> Ending: ...
    def __exit__(self, *error: object) -> None: ...


class Interrupt:
    """While entered, the first Ctrl-C only sets `asked`; a second one raises `KeyboardInterrupt` at once.

    Outside of the main thread, and where the program has a handler of its own, Ctrl-C is left alone.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: object = None

    def __enter__(self) -> Interrupt:
        if threading.current_thread() is threading.main_thread():
            self._before = signal.getsignal(signal.SIGINT)
            if self._before is signal.default_int_handler:
                signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *error: object) -> None:
        if self._before is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.default_int_handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
