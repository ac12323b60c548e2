"""On an accelerator a training step makes no tensor on the CPU and waits for nothing: forward, loss, backward, optimizer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import dgm_ppl

from .steps import STEPS


@pytest.fixture(scope="module")
def found() -> dict:
    return answers("on_fake_device.py")


def answers(name: str) -> dict:
    script = Path(__file__).with_name(name)                 # a process of its own, because a backend is registered for all of it
    roots = [Path(dgm_ppl.__file__).parents[1], script.parents[1]]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, roots))}
    answer = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, env=environment)
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout.splitlines()[-1])


@pytest.mark.parametrize("net", STEPS)
def test_a_step_stays_on_the_device(found, net):
    assert found[net] == {"loss": "fakegpu", "made on the CPU": [], "waits": []}


def test_the_fake_device_finds_what_is_wrong(found):
    assert found["copying"]["made on the CPU"] and all("aten.zeros" in made for made in found["copying"]["made on the CPU"])
    assert found["copying"]["waits"]
    assert "same device" in found["mixing"]["raised"]
