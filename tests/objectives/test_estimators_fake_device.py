"""Estimators, too, make no tensor on the CPU and wait for nothing."""

from __future__ import annotations

from .test_fake_device import answers


def test_steps_of_estimators_stay_on_the_device():
    for name, found in answers("estimators_on_fake_device.py").items():
        assert found == {"loss": "fakegpu", "made on the CPU": [], "waits": []}, name
