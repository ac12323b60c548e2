"""Chains with finite and Gaussian hidden nodes: every path of the finite ones, a linear dynamical system for each."""

from __future__ import annotations

import itertools
from collections.abc import Collection
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..graph import GraphError
from .factors import Compiled
from .gaussian_chain import GaussianAnswer, GaussianChain
from .hidden import Observed, hidden_chain

__all__ = ["SwitchingAnswer", "SwitchingChain"]

SYSTEMS = 100_000                                       # linear systems solved at once, paths times sequences


@dataclass(frozen=True, eq=False)
class SwitchingAnswer:
    """log p(evidence) `(rows)`, the probability of every path of the finite nodes `(paths, rows)`, and what the linear systems say given each, rows being
    `(paths, rows)` in one."""

    log_evidence: Tensor
    weights: Tensor
    given: GaussianAnswer


class SwitchingChain:
    """A net whose hidden nodes are Gaussian and linear in one another given the finite ones, for as few steps as all paths of these can be gone through.

    The posterior is a mixture of one Gaussian for each path, exactly; their number grows with the power of the number of steps.

    Raises:
        GraphError: too many paths, with the figure; nodes that are not linear and Gaussian given the finite ones.
    """

    def __init__(self, model: Compiled, observed: Collection[str], partial: Collection[str], steps: int):
        hidden, self.chain = hidden_chain(model, observed, partial)
        self.model, self.net, self.steps = model, model.net, steps
        self.finite = tuple(name for name in hidden if model.net[name].space.cardinality is not None)
        for name in self.finite:
            if name in observed or model.net[name].shape or [plate for plate in model.net.plates_of(name) if plate != self.chain.name]:
                raise GraphError(f"node {name!r} ~ {model.net[name].summary} is hidden beside Gaussian nodes, and not a single finite value that is missing at every step")
        self.counts = {name: steps if model.net.chain_of(name) is not None else 1 for name in self.finite}
        self.paths = 1
        for name in self.finite:
            self.paths *= model.net[name].space.cardinality ** self.counts[name]
        self.inner = GaussianChain(model, [*observed, *self.finite], partial)

    def check(self, rows: int) -> None:
        """Raises where there are too many paths for so many sequences."""
        if self.paths * rows > SYSTEMS:
            gaussian = ", ".join((*self.inner.outside, *self.inner.names))
            powers = " * ".join(f"{self.net[name].space.cardinality}^{self.counts[name]}" for name in self.finite)
            raise GraphError(
                f"exact chains: {', '.join(self.finite)} {'are' if len(self.finite) > 1 else 'is'} finite and {gaussian} Gaussian, and both are hidden: a switching system, whose posterior "
                f"is a mixture of {powers} = {float(self.paths):.3g} Gaussians for each of {rows} sequences; allowed are {SYSTEMS:,} in all; observe one kind, take fewer steps, or use a "
                f"guide: method=dgm.Importance(guide, 5000)"
            )

    def codes(self) -> dict[str, Tensor]:
        """Every path: the states of each finite node, `(paths, steps)`, one step for those outside the chain."""
        spaces = [itertools.product(range(self.net[name].space.cardinality), repeat=self.counts[name]) for name in self.finite]
        every = list(itertools.product(*spaces))
        return {name: torch.tensor([path[place] for path in every], device=self.model.anchor.device) for place, name in enumerate(self.finite)}

    def along(self, observed: Observed, codes: dict[str, Tensor]) -> Observed:
        """The evidence with paths `(paths, rows or 1, steps)` given, a row for each path and row."""
        paths, rows = len(next(iter(codes.values()))), observed.rows
        values = {name: value.repeat(paths, *(1,) * (value.ndim - 1)) for name, value in observed.values.items()}
        holes = {name: value.repeat(paths, *(1,) * (value.ndim - 1)) for name, value in observed.holes.items()}
        for name, code in codes.items():
            flat = code.expand(paths, rows, code.shape[-1]).reshape(paths * rows, -1)
            flat = flat if self.counts[name] > 1 or self.net.chain_of(name) is not None else flat.squeeze(-1)
            values[name] = self.model.layout.align(name, flat if self.net[name].space.integer else flat.to(self.model.anchor.dtype))
        return replace(observed, values=values, holes=holes, rows=paths * rows)

    def _scores(self, logs: Tensor, observed: Observed, codes: dict[str, Tensor]) -> Tensor:
        """log p of each path with the evidence `(paths, rows)`; paths that differ behind the end of a sequence count once."""
        logs = logs.reshape(self.paths, observed.rows)
        lengths = observed.values.get(self.chain.name)
        if lengths is None:
            return logs
        behind = torch.arange(self.steps, device=logs.device).reshape(1, -1) >= lengths.reshape(-1, 1)                # (rows, steps)
        moved = torch.stack([(code != 0).unsqueeze(1) & behind for name, code in codes.items() if self.net.chain_of(name) is not None]).any(0).any(-1)
        return torch.where(moved, -torch.inf, logs)

    def log_evidence(self, observed: Observed) -> Tensor:
        """log p(evidence) `(rows)`, in double precision; differentiable."""
        self.check(observed.rows)
        codes = self.codes()
        everything = self.along(observed, {name: code.unsqueeze(1) for name, code in codes.items()})
        return self._scores(self.inner.log_evidence(everything), observed, codes).logsumexp(0)

    def answer(self, observed: Observed) -> SwitchingAnswer:
        """The mixture."""
        self.check(observed.rows)
        codes = self.codes()
        given = self.inner.answer(self.along(observed, {name: code.unsqueeze(1) for name, code in codes.items()}))
        scores = self._scores(given.log_evidence, observed, codes)
        return SwitchingAnswer(scores.logsumexp(0), scores.softmax(0).to(self.model.anchor.dtype), given)
