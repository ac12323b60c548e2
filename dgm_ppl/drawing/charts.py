"""Small charts of marginals: a bar a state, or the outline of a density."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pyro.distributions import Empirical
from torch.distributions import Distribution

from ..graph import GraphError

__all__ = ["Bars", "Chart", "Outline", "chart"]

_BINS, _MOST_ROWS, _TAIL = 28, 12, 5e-4


@dataclass(frozen=True)
class Bars:
    """One bar a state; the shares sum to one."""

    states: tuple[str, ...]
    shares: tuple[float, ...]

    @property
    def rows(self) -> int | None:
        """How many bars lie below each other; None where there are so many states that they stand side by side."""
        return len(self.states) if len(self.states) <= _MOST_ROWS else None

    @property
    def lines(self) -> tuple[str, ...]:
        """The bars in words."""
        return tuple(f"{state}: {share:.1%}" for state, share in zip(self.states, self.shares))

    @property
    def heights(self) -> tuple[float, ...]:
        """The shares, the largest one being 1."""
        return tuple(share / max(self.shares) for share in self.shares)

    @property
    def ends(self) -> tuple[str, str]:
        """What stands at the left and at the right."""
        return self.states[0], self.states[-1]


@dataclass(frozen=True)
class Outline:
    """Heights, the highest one being 1, evenly spaced from `low` to `high`."""

    low: float
    high: float
    heights: tuple[float, ...]

    @property
    def rows(self) -> None:
        """Outlines stand upright."""
        return None

    @property
    def lines(self) -> tuple[str, ...]:
        """The ends in words."""
        return (" … ".join(self.ends),)

    @property
    def ends(self) -> tuple[str, str]:
        """What stands at the left and at the right."""
        return f"{self.low:.3g}", f"{self.high:.3g}"


Chart = Bars | Outline


def chart(name: str, marginal: Any, states: Sequence[str] = ()) -> Chart:
    """Return the chart of a marginal: probabilities, samples, or a distribution over numbers or states.

    `marginal` is a mapping from states to probabilities, a sequence of probabilities that sum to one, a sequence of samples,
    or a `Distribution` of one world. A node with `states` has probabilities, or codes as samples. Raises `GraphError` for
    anything else.

    >>> chart("rain", [0.2, 0.8], states=["no", "yes"])
    Bars(states=('no', 'yes'), shares=(0.2, 0.8))
    """
    if isinstance(marginal, Mapping):
        return _bars(name, list(marginal.values()), [str(state) for state in marginal])
    if isinstance(marginal, Distribution):
        return _of_distribution(name, marginal, states)
    values = _line(name, marginal)
    if values.dtype.kind == "f" and (values >= 0).all() and np.isclose(values.sum(), 1.0, atol=1e-4):
        return _bars(name, values, states)
    return _frequencies(name, values, states) if states else _histogram(values)


def _line(name: str, marginal: Any) -> np.ndarray:
    values = np.asarray(marginal)
    values = values.reshape(-1) if values.size == max(values.shape, default=0) else values
    if values.ndim != 1 or not values.size or values.dtype.kind not in "fiub" or not np.isfinite(values).all():
        raise GraphError(f"draw: posterior: node {name!r}: expected probabilities or samples of one finite number each; "
                         f"got shape {values.shape} of {values.dtype}; try one element, as in samples[:, 0]")
    return values


def _bars(name: str, shares: Any, states: Sequence[str]) -> Bars:
    shares = _line(name, shares)
    states = tuple(states) or tuple(map(str, range(len(shares))))
    if len(states) != len(shares) or (shares < 0).any() or not np.isclose(shares.sum(), 1.0, atol=1e-3):
        raise GraphError(f"draw: posterior: node {name!r}: expected {len(states)} probabilities that sum to one, for states "
                         f"{', '.join(states)}; got {shares.tolist()}; try probabilities / probabilities.sum()")
    return Bars(states, tuple(shares.tolist()))


def _frequencies(name: str, codes: np.ndarray, states: Sequence[str]) -> Bars:
    if (codes != codes.round()).any() or codes.min() < 0 or codes.max() >= len(states):
        raise GraphError(f"draw: posterior: node {name!r}: expected samples among the codes 0 to {len(states) - 1}; "
                         f"got values from {codes.min()} to {codes.max()}; try probabilities that sum to one")
    return _bars(name, np.bincount(codes.astype(int), minlength=len(states)) / len(codes), states)


def _histogram(samples: np.ndarray) -> Outline:
    counts, edges = np.histogram(samples, bins=_BINS)
    return _outline(edges[0], edges[-1], counts)


def _outline(low: float, high: float, heights: np.ndarray) -> Outline:
    return Outline(float(low), float(high), tuple((heights / heights.max()).tolist()))


def _of_distribution(name: str, marginal: Distribution, states: Sequence[str]) -> Chart:
    """Probabilities of the whole support, or the density from four deviations below the mean to four above."""
    if marginal.batch_shape.numel() * marginal.event_shape.numel() != 1:
        raise GraphError(f"draw: posterior: node {name!r}: expected the distribution of one number; got batch shape "
                         f"{tuple(marginal.batch_shape)} and event shape {tuple(marginal.event_shape)}; "
                         "try the posterior of one row of data")
    if isinstance(marginal, Empirical):
        return _of_draws(name, marginal, states)
    if marginal.has_enumerate_support:
        return _bars(name, marginal.log_prob(marginal.enumerate_support()).exp().detach().cpu(), states)
    mean, spread = marginal.mean, marginal.stddev
    grid = mean + spread * marginal.mean.new_tensor(np.linspace(-4, 4, 4 * _BINS)).reshape(-1, *[1] * mean.dim())
    legal = grid[marginal.support.check(grid).reshape(len(grid))]
    heights = marginal.log_prob(legal).exp().reshape(-1).detach().cpu().numpy()
    return _outline(legal.min(), legal.max(), heights)


def _of_draws(name: str, marginal: Empirical, states: Sequence[str]) -> Chart:
    """Weighted draws: the share of each state, or a histogram between the draws beyond which next to no weight lies."""
    values = marginal.enumerate_support().reshape(-1).detach().cpu().numpy()
    shares = marginal.log_weights.reshape(-1).softmax(-1).detach().cpu().numpy()
    if states:
        return _bars(name, np.bincount(values.astype(int), weights=shares, minlength=len(states)), states)
    order = np.argsort(values)
    below = np.cumsum(shares[order])
    low, high = (values[order][min(np.searchsorted(below, at), len(values) - 1)] for at in (_TAIL, 1 - _TAIL))
    counts, edges = np.histogram(values, bins=_BINS, weights=shares, range=(low, high))
    return _outline(edges[0], edges[-1], counts)
