"""The seeds that a run draws for its parts."""

from __future__ import annotations

import numpy as np
import torch

__all__ = ["draw_seed", "mix"]


def mix(*keys: int) -> int:
    """A seed that depends on all keys, unlike for neighbouring ones.

    >>> mix(0, 1) == mix(0, 1), mix(0, 1) == mix(1, 0)
    (True, False)
    """
    return int(np.random.SeedSequence(keys).generate_state(1, np.uint64)[0] >> np.uint64(1))


def draw_seed() -> int:
    """A seed drawn from the global generator."""
    return int(torch.randint(2**31, ()).item())
