"""Several processes on one machine, each with its rows of every batch. The one door to Lightning Fabric."""

from __future__ import annotations

import copy
import logging
import multiprocessing
import os
import signal
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

from ..families.randomness import generator_states, set_generator_states
from ..graph import GraphError
from .checkpoint import read, write
from .interrupt import Ending
from .journal import Journal
from .learner import Position
from .plan import Plan
from .sitting import Outcome, sit
from .together import Together

__all__ = ["sit_together"]

CPU = torch.device("cpu")
KINDS = {kind.__name__: kind for kind in (FloatingPointError, GraphError, ImportError, OSError, TypeError, ValueError)}


def sit_together(plan: Plan, objective: nn.Module, data: Any, validation: Any) -> Outcome:
    """Runs the plan in `plan.devices` processes and brings the outcome back into this one.

    On a machine without an accelerator the processes are forked, so that a script needs no main guard and nothing has to
    be picklable; beside an accelerator they are spawned, and both are needed.
    """
    method = _start_method(plan)
    fabric = _fabric(plan, method)
    objective.to(dtype=plan.dtype)
    with tempfile.TemporaryDirectory() as folder:
        asked = multiprocessing.get_context(method).Event()
        errand = Errand(plan, objective, data, validation, generator_states(CPU), Path(folder), asked, os.getpid())
        with _quiet_launch(), _forwarding_interrupts(asked):
            _launch(fabric, errand)
        return _bring_back(errand)


@dataclass(frozen=True)
class Errand:
    """What a member of the team is sent out with."""

    plan: Plan
    objective: nn.Module
    data: Any
    validation: Any
    generators: dict[str, Tensor]
    folder: Path
    asked: Any
    sender: int

    @property
    def result(self) -> Path:
        """Where the member of rank 0 leaves what it brings back."""
        return self.folder / "result.safetensors"

    def failure(self, rank: int | str) -> Path:
        """Where a member leaves the error that it met."""
        return self.folder / f"failure-{rank}.safetensors"


class SharedInterrupt:
    """Ctrl-C as the parent process passes it on; the members themselves ignore it while the parent lives."""

    def __init__(self, event: Any, parent: int) -> None:
        self._event, self._parent = event, parent

    @property
    def asked(self) -> bool:
        """Whether the run shall end."""
        return self._event.is_set()

    @asked.setter
    def asked(self, value: bool) -> None:
        if value:
            self._event.set()

    def __enter__(self) -> SharedInterrupt:
        signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if os.getppid() != self._parent:  # torch has it sent when the parent dies
            raise KeyboardInterrupt


def _start_method(plan: Plan) -> str:
    forks = plan.device.type == "cpu" and not torch.accelerator.is_available()
    return "fork" if forks and "fork" in multiprocessing.get_all_start_methods() else "spawn"


def _fabric(plan: Plan, method: str) -> Any:
    try:
        from lightning_fabric import Fabric
    except ImportError:
        raise ImportError(
            f"fit: expected Lightning Fabric for devices={plan.devices}; got none installed; "
            "try pip install 'dgm-ppl[distributed]', or devices=1"
        ) from None
    return Fabric(accelerator=plan.device.type, devices=plan.devices, strategy=f"ddp_{method}")


def _launch(fabric: Any, errand: Errand) -> None:
    try:
        fabric.launch(partial(_member, errand=errand))
    except torch.multiprocessing.ProcessRaisedException as raised:
        raise _first_failure(errand) or raised from raised


def _member(fabric: Any, errand: Errand) -> None:
    interrupt = SharedInterrupt(errand.asked, errand.sender)
    try:
        with interrupt:
            _run(fabric, errand, interrupt)
    except FloatingPointError as error:  # met by all members in the same step
        _leave_failure(errand, fabric.global_rank, error, errand.objective.state_dict())
    except Exception as error:
        _leave_failure(errand, fabric.global_rank, error, None)
        raise


def _run(fabric: Any, errand: Errand, interrupt: Ending) -> None:
    if errand.plan.device.type == "cpu":
        torch.set_num_threads(1)  # a forked process cannot use the threads of its parent
        _unshare(errand.objective)
    set_generator_states(errand.generators, CPU)
    plan = replace(errand.plan, device=fabric.device)
    outcome = sit(plan, errand.objective, errand.data, errand.validation, Together(fabric.device, interrupt))
    if fabric.global_rank == 0:
        write(errand.result, _packed(outcome, errand.objective))


def _unshare(objective: nn.Module) -> None:
    """Gives the objective memory of its own: spawned processes are handed the same."""
    for tensor in (*objective.parameters(), *objective.buffers()):
        tensor.data = tensor.data.clone()


def _packed(outcome: Outcome, objective: nn.Module) -> dict[str, Any]:
    return {
        "objective": objective.state_dict(),
        "averaged": outcome.averaged and outcome.averaged.state_dict(),
        "generators": generator_states(CPU),
        "stopped": outcome.stopped,
        "position": list(outcome.position),
        "seconds": outcome.seconds,
        "players": list(outcome.journal.history.players),
        "journal": outcome.journal.state(),
    }


def _bring_back(errand: Errand) -> Outcome:
    failure = _first_failure(errand)
    if failure is not None:
        raise failure
    found = read(errand.result)
    errand.objective.load_state_dict(found["objective"])
    if errand.plan.seed is None:
        set_generator_states(found["generators"], CPU)
    journal = Journal(tuple(found["players"]), errand.plan.stopping)
    journal.restore(found["journal"])
    averaged = None
    if found["averaged"] is not None:
        averaged = copy.deepcopy(errand.objective)
        averaged.load_state_dict(found["averaged"])
    return Outcome(found["stopped"], Position(*found["position"]), found["seconds"], journal, averaged)


def _leave_failure(errand: Errand, rank: int, error: Exception, state: dict[str, Tensor] | None) -> None:
    found = {"kind": type(error).__name__, "message": str(error), "time": time.time(), "objective": state}
    write(errand.failure(rank), found)


def _first_failure(errand: Errand) -> Exception | None:
    """The earliest error that a member left, the others being its consequences; sound parameters are brought back."""
    failures = sorted(map(read, errand.folder.glob(errand.failure("*").name)), key=lambda failure: failure["time"])
    if not failures:
        return None
    first = failures[0]
    if first["objective"] is not None:
        errand.objective.load_state_dict(first["objective"])
    return KINDS.get(first["kind"], RuntimeError)(first["message"])


@contextmanager
def _forwarding_interrupts(asked: Any) -> Iterator[None]:
    """The first Ctrl-C asks the members to end after the step; a second one ends them at once."""

    def handle(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    others = set(multiprocessing.active_children())
    before = signal.getsignal(signal.SIGINT)
    mine = threading.current_thread() is threading.main_thread() and before is signal.default_int_handler
    if mine:
        signal.signal(signal.SIGINT, handle)
    try:
        yield
    except KeyboardInterrupt:
        for member in set(multiprocessing.active_children()) - others:
            member.kill()
        raise
    finally:
        if mine:
            signal.signal(signal.SIGINT, before)


@contextmanager
def _quiet_launch() -> Iterator[None]:
    """Keeps the launcher's chatter, its warnings about forking and its environment variables to itself."""
    logger, names = logging.getLogger("lightning_fabric"), ("MASTER_ADDR", "MASTER_PORT")
    level, environment = logger.level, {name: os.environ.get(name) for name in names}
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*fork.*", category=DeprecationWarning)
            yield
    finally:
        logger.setLevel(level)
        for name, value in environment.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
