"""Dynamically binarised MNIST: intensities are Bernoulli probabilities, drawn anew for every training minibatch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

__all__ = ["Digits", "binarize", "curve", "importance_nll", "load"]


@dataclass(frozen=True)
class Digits:
    """Training intensities in [0, 1] and test images in {0, 1}, both `(rows, 1, 28, 28)`."""

    train: Tensor
    test: Tensor

    @property
    def mean(self) -> Tensor:
        """Each pixel's mean intensity, `(784,)`."""
        return self.train.mean(0).flatten()

    def first(self, rows: int | None) -> Digits:
        """The first rows only, or all of them."""
        return Digits(self.train[:rows], self.test[:rows])

    def glance(self, rows: int = 1000) -> Tensor:
        """Test images for a quick estimate during training: every tenth, as the set's second half is harder."""
        return self.test[:: max(1, len(self.test) // rows)]


def load(path: str | Path, seed: int = 0) -> Digits:
    """Read `mnist.npz` (`x_train`, `x_test`: uint8) and binarise the test images once, under a seed of their own."""
    path = Path(path)
    with np.load(path / "mnist.npz" if path.is_dir() else path, allow_pickle=False) as arrays:
        train, test = (torch.from_numpy(arrays[name]).unsqueeze(1) / 255 for name in ("x_train", "x_test"))
    return Digits(train, binarize(test, torch.Generator().manual_seed(seed)))


def binarize(intensities: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Draw each pixel with its intensity as probability.

    >>> binarize(torch.tensor([0.0, 1.0]))
    tensor([0., 1.])
    """
    return torch.bernoulli(intensities, generator=generator)


@torch.no_grad()
def importance_nll(log_weights: Callable[[Tensor, int], Tensor], x: Tensor, samples: int, at_once: int = 20) -> float:
    """Mean of `-log (1/S) sum_s p(x, z_s) / q(z_s | x)` over the rows, in nats, a few samples at a time.

    `log_weights(x, samples)` gives `(samples, rows)`. The expectation is an upper bound that falls towards the negative
    log-likelihood with S (Burda, Grosse and Salakhutdinov 2016, https://arxiv.org/abs/1509.00519).

    >>> importance_nll(lambda x, samples: torch.zeros(samples, len(x)) - 2.0, torch.zeros(3), samples=50)
    2.0
    """
    total = torch.full((len(x),), -torch.inf)
    for start in range(0, samples, at_once):
        count = min(at_once, samples - start)
        for rows in torch.arange(len(x)).split(100):
            total[rows] = torch.logaddexp(total[rows], log_weights(x[rows], count).logsumexp(0))
    return float(np.log(samples) - total.mean())


def curve(histories: dict[str, list[dict[str, float]]], levels: dict[str, float], path: str) -> None:
    """Draw test NLL against epochs, one line a history, with published levels dashed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.add_subplot(xlabel="epoch", ylabel="test NLL, nats (1,000 images)")
    for label, rows in histories.items():
        axes.plot([row["epoch"] for row in rows], [row["nll"] for row in rows], label=label)
    for shade, (label, level) in enumerate(levels.items()):
        axes.axhline(level, linestyle="--", linewidth=0.8, color=f"{0.3 + 0.25 * shade}", label=label)
    axes.legend()
    figure.savefig(path, dpi=150)
