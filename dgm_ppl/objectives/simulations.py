"""Draws from a model, or from a simulator of its parameters, as data for a guide: a fixed budget, or new ones at each step."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from ..compile import Model
from ..graph import GraphError

__all__ = ["OnlineSimulations", "Simulations", "simulate", "whole"]

Simulator = Callable[[Mapping[str, Tensor]], Mapping[str, Any]]


class Simulations(dict):
    """Columns of simulated worlds; `asked` rows were drawn, `excluded` of them left out."""

    def __init__(self, columns: Mapping[str, Tensor], asked: int, excluded: int):
        super().__init__(columns)
        self.asked, self.excluded = asked, excluded


def simulate(
    model: Model, rows: int, *, simulator: Simulator | None = None, given: Mapping[str, Any] | None = None, sizes: Mapping[str, int] | None = None, exclude: bool = False,
) -> Simulations:
    """Draws of the model, `{node: (rows, *plates, *event)}`, and with a `simulator` what it makes of them: a fixed budget for `ForwardKL`.

    Args:
        model: a compiled net; with a simulator, of what the simulator reads.
        rows: how many worlds.
        simulator: a function of the model's draws, rows in front, that returns further columns.
        given, sizes: Given inputs and sizes of plates, as for `model.sample`.
        exclude: leave out rows with a value that is not finite, with a warning that counts them. The guide then learns the posterior given that the simulator succeeds.

    Raises:
        GraphError: values that are not finite, counted, unless they are to be left out; a simulator that returns no rows or too few.

    Example:
        >>> import torch, dgm_ppl as dgm
        >>> prior = dgm.compile(dgm.BayesNet(rate=dgm.LogNormal(loc=0.0, scale=1.0)))
        >>> budget = dgm.simulate(prior, 100, simulator=lambda draws: {"count": torch.poisson(draws["rate"])})
        >>> list(budget), budget.excluded
        (['rate', 'count'], 0)
    """
    if isinstance(rows, bool) or not isinstance(rows, int) or rows < 1:
        raise GraphError(f"simulate: expected a positive whole number of rows; got {rows!r}")
    found: dict[str, Tensor] = model.sample(rows, given=given, sizes=sizes)
    if simulator is not None:
        with torch.no_grad():
            made = simulator(dict(found))
        if not isinstance(made, Mapping):
            raise GraphError(f"simulator: expected a dict of columns with {rows} rows each; got {type(made).__name__}; try return {{'x': ...}}")
        found |= {name: torch.as_tensor(value) for name, value in made.items()}
    for name, value in found.items():
        if not value.ndim or len(value) != rows:
            raise GraphError(f"simulator: column {name!r}: expected {rows} rows in front; got the shape {tuple(value.shape)}")
    return whole(found, exclude)


def broken(columns: Mapping[str, Any]) -> tuple[Tensor | None, dict[str, int]]:
    """The rows with a value that is not finite, and how many each column has."""
    gone, counts = None, {}
    for name, value in columns.items():
        value = torch.as_tensor(value)
        if value.is_floating_point() and value.ndim:
            bad = ~value.isfinite().flatten(1).all(1) if value.ndim > 1 else ~value.isfinite()
            if bool(bad.any()):
                counts[name], gone = int(bad.sum()), bad if gone is None else gone | bad
    return gone, counts


def check_finite(columns: Mapping[str, Any]) -> None:
    """Raises where values are not finite, with how many."""
    gone, counts = broken(columns)
    if gone is not None:
        told = ", ".join(f"{count} of node {name!r}" for name, count in counts.items())
        raise GraphError(
            f"simulations: {int(gone.sum())} of {len(gone)} rows have values that are not finite ({told}); mend the simulator, or leave these rows out: "
            f"exclude=True of dgm.simulate, dgm.OnlineSimulations or dgm.ForwardKL, which learns the posterior given that the simulator succeeds"
        )


def whole(found: Mapping[str, Tensor], exclude: bool) -> Simulations:
    """The simulated columns without rows that are not finite, where these are to be left out."""
    asked = len(next(iter(found.values())))
    gone, _ = broken(found)
    if gone is None:
        return Simulations(found, asked, 0)
    if not exclude:
        check_finite(found)
    excluded = int(gone.sum())
    if excluded == asked:
        raise GraphError(f"simulations: all {asked} rows have values that are not finite; mend the simulator")
    warnings.warn(f"simulations: {excluded} of {asked} rows have values that are not finite and are left out", stacklevel=3)
    kept = (~gone).nonzero().squeeze(1)
    return Simulations({name: value[kept.to(value.device)] for name, value in found.items()}, asked, excluded)


class OnlineSimulations(DataLoader):
    """New draws at each step, as data for `fit`: no simulation is seen twice.

    Args:
        model, simulator, given, sizes, exclude: as for `simulate`; warnings of excluded rows come for the first batch that has any, `excluded` counts them all.
        rows: the worlds of a step.
        batches: the steps of an epoch, after which `fit` validates.

    Example:
        >>> import dgm_ppl as dgm
        >>> net = dgm.BayesNet(z=dgm.Normal(loc=0.0, scale=1.0), x=dgm.Normal(loc="z", scale=0.5))
        >>> model, guide = dgm.compile(net), dgm.compile(dgm.amortize(net, observed="x", net=dgm.MLP(8)))
        >>> run = dgm.fit(dgm.ForwardKL(model, guide), dgm.OnlineSimulations(model, rows=64), steps=3, seed=0)
    """

    def __init__(
        self, model: Model, *, rows: int = 256, batches: int = 100, simulator: Simulator | None = None, given: Mapping[str, Any] | None = None,
        sizes: Mapping[str, int] | None = None, exclude: bool = False,
    ):
        for name, number in (("rows", rows), ("batches", batches)):
            if isinstance(number, bool) or not isinstance(number, int) or number < 1:
                raise GraphError(f"OnlineSimulations: expected a positive whole number of {name}; got {number!r}")
        draws = _Draws(batches, partial(simulate, model, rows, simulator=simulator, given=given, sizes=sizes, exclude=exclude))
        super().__init__(draws, batch_size=None, collate_fn=_as_it_is)
        self.draws = draws

    @property
    def excluded(self) -> int:
        """How many rows were left out so far."""
        return self.draws.excluded


def _as_it_is(columns: dict[str, Tensor]) -> dict[str, Tensor]:
    return columns


class _Draws(IterableDataset):
    def __init__(self, batches: int, draw: Callable[[], Simulations]):
        self.batches, self.draw, self.excluded = batches, draw, 0

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        for _ in range(self.batches):
            with warnings.catch_warnings():
                if self.excluded:
                    warnings.simplefilter("ignore")                         # said once, counted always
                found = self.draw()
            self.excluded += found.excluded
            yield dict(found)
