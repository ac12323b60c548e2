"""Fair timing on a shared machine: contenders take turns, and ratios are taken inside a turn.

A neighbour that slows one round slows every contender of that round, so the median of the per-round ratios is
steadier than the ratio of two medians.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import torch

__all__ = ["elapsed", "environment", "interleaved", "ratios", "table", "write_json"]

PACKAGES = ("torch", "pyro-ppl", "numpy", "dgm-ppl")


def environment(**settings: object) -> dict[str, object]:
    """What a reader needs to judge the figures: machine, load, versions and the run's own settings.

    >>> environment(seed=3)["seed"]
    3
    """
    return {
        "machine": _processor(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "load": [round(load, 2) for load in os.getloadavg()],
        "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "not set"),
        "python": platform.python_version(),
        **{package: _version(package) for package in PACKAGES},
        **settings,
    }


def elapsed(step: Callable[[], object], count: int, clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds a step, over so many; an accelerator is waited for at both ends.

    >>> elapsed(lambda: None, 3) < 1
    True
    """
    _wait()
    start = clock()
    for _ in range(count):
        step()
    _wait()
    return (clock() - start) / count


def interleaved(timers: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Call every timer once a round, starting with another one each round; return its seconds, one a round.

    >>> interleaved({"a": lambda: 1.0, "b": lambda: 2.0}, rounds=2)
    {'a': [1.0, 1.0], 'b': [2.0, 2.0]}
    """
    names, seconds = list(timers), {name: [] for name in timers}
    for turn in range(rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            seconds[name].append(timers[name]())
    return seconds


def ratios(seconds: dict[str, list[float]], reference: str) -> dict[str, dict[str, float]]:
    """Median seconds of each contender, and the quartiles of its per-round ratio to the reference.

    >>> ratios({"a": [1.0, 2.0], "b": [2.0, 4.0]}, reference="a")["b"]
    {'seconds': 3.0, 'low': 2.0, 'ratio': 2.0, 'high': 2.0}
    """
    return {name: _summary(times, seconds[reference]) for name, times in seconds.items()}


def table(summary: dict[str, dict[str, float]], unit: str = "ms", scale: float = 1e3) -> str:
    """The ratios as text, one contender a line.

    >>> print(table({"a": {"seconds": 0.002, "low": 1.0, "ratio": 1.0, "high": 1.0}}))
                                           ms    ratio  quartiles
    a                                   2.000    1.000  1.000-1.000
    """
    head = f"{'':34}{unit:>7}    ratio  quartiles"
    lines = [
        f"{name:32}{row['seconds'] * scale:9.3f}{row['ratio']:9.3f}  {row['low']:.3f}-{row['high']:.3f}"
        for name, row in summary.items()
    ]
    return "\n".join([head, *lines])


def write_json(path: str | None, report: dict[str, object]) -> None:
    """Write the report beside the text, where a path was given."""
    if path is not None:
        Path(path).write_text(json.dumps(report, indent=1) + "\n")


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _summary(times: list[float], reference: list[float]) -> dict[str, float]:
    quotients = [time / base for time, base in zip(times, reference)]
    low, middle, high = statistics.quantiles(quotients, n=4, method="inclusive")
    return {"seconds": statistics.median(times), "low": low, "ratio": middle, "high": high}


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
