"""Training is tested on the CPU, also beside an accelerator."""

import pytest
import torch


@pytest.fixture(autouse=True)
def no_accelerator(monkeypatch):
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda *arguments, **options: None)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
