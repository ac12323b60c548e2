"""Maximum likelihood, from complete data or with missing cells and latent nodes that can be summed out."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

from torch import Tensor

from ..compile import Model
from ..compile.reduction import PerWorld, Reduction, Total, added
from ..exact import Cells, cells, hole_name, packed, single
from ..formats.declaration import describe
from ..graph import GraphError
from .base import Objective
from .collapsed import CollapsedLikelihood, suits
from .marginal import Marginal, Without, check_learnable, checked, columns_of, missing_key, seen_in
from .sequences import SequenceLikelihood

__all__ = ["MaximumLikelihood"]


class MaximumLikelihood(Objective):
    """-log p(x), the mean over worlds, x being the cells that are there.

    Cells may be missing (NaN or None) and nodes without a column are latent, wherever exact elimination is possible: the likelihood
    is then the sum over all that they could be (Rubin, 1976, for what this asks of why they are missing); nothing is filled in.

    Finite nodes are summed out, Gaussian ones integrated where everything that depends on them is linear in them.
    Of sequences, the hidden nodes of their chain are eliminated step after step.

    Example:
        >>> import torch, dgm_ppl as dgm
        >>> model = dgm.compile(dgm.BayesNet(z=dgm.Bernoulli(probs=0.5), x=dgm.Normal(loc="z", scale=1.0)))
        >>> objective = dgm.MaximumLikelihood(model)
        >>> objective.score(objective.prepare({"z": [1.0, float("nan")], "x": [0.0, 0.0]}))
        tensor([-2.1121, -1.1380])

    Raises:
        GraphError: a node without a density, a column of missing cells alone, missing cells or latents that cannot be summed
            out (`ELBO` bounds their likelihood), or of which nothing can be learned.
    """

    def __init__(self, model: Model):
        super().__init__()
        self.model = model
        self._marginal: Marginal | None = None
        self._random, self._masks = frozenset(model.random), frozenset(map(missing_key, model.random))
        _check_names(model, self._masks)
        for node in model.schedule:
            if node.conditional.density is None:
                raise node.conditional.without_density("maximum likelihood")
        self._sequences = SequenceLikelihood(model) if model.net.chains else None
        self._collapsed: dict[frozenset[str], CollapsedLikelihood] = {}

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_marginal": None, "_sequences": None, "_collapsed": {}}                     # their plans are of this copy's conditionals

    def __setstate__(self, state: dict) -> None:
        super().__setstate__(state)
        self._sequences = SequenceLikelihood(self.model) if self.model.net.chains else None

    @property
    def marginal(self) -> Marginal:
        """The likelihood where something is missing."""
        if self._marginal is None:
            self._marginal = Marginal(self.model)
        return self._marginal

    def prepare(self, data: Mapping[str, Any]) -> dict[str, Tensor]:
        if self._sequences is not None:
            return self._sequences.prepare(data)
        found = cells(self.model, data) if self._mixed else None
        if found is not None and suits(self.model, found):
            return self._collapsing(found)
        seen = checked(self.model, data)
        batch = columns_of(seen)
        if self._is_marginal(batch):
            for _, evidence in seen_in(self.model, batch).groups(self.marginal.engine):
                self.marginal.engine.program(evidence)                      # what will not fit is refused here
        return batch

    @cached_property
    def _mixed(self) -> bool:
        """Whether some node is more than a single finite value."""
        return any(not single(self.model, name) for name in self.model.random)

    def _collapsing(self, found: Cells) -> dict[str, Tensor]:
        """A batch whose hidden nodes are summed out and integrated together."""
        check_learnable(self.model, found, found.empty)
        batch = packed(found, self.model.layout.rowed(found))
        self._collapse_of(batch)
        return batch

    def _collapse_of(self, batch: Mapping[str, Tensor]) -> CollapsedLikelihood | None:
        """How the hidden nodes of a batch are eliminated; None where that is done along cliques, or nothing is hidden."""
        key = frozenset(batch)
        if key not in self._collapsed:
            partial = [name for name in map(hole_name, batch) if name is not None]
            observed = [name for name in batch if hole_name(name) is None]
            found = Cells({name: batch[name] for name in observed}, dict.fromkeys(partial))
            self._collapsed[key] = CollapsedLikelihood(self.model, observed, partial) if self._mixed and suits(self.model, found) else None
        return self._collapsed[key]

    def forward(self, batch: Mapping[str, Tensor], player: int = 0) -> Tensor:
        return self._mean_loss(batch)

    def world_losses(self, batch: Mapping[str, Tensor]) -> Tensor:
        if self._sequences is not None and self._sequences.hides(batch):
            return self._sequences.surprisals(batch)
        if self._is_marginal(batch):
            collapsed = self._collapse_of(batch)
            return -self.marginal(batch) if collapsed is None else collapsed.losses(batch)
        return added(self._surprisals(batch, PerWorld()).values())

    def _mean_loss(self, batch: Mapping[str, Tensor]) -> Tensor:
        collapsed = self._collapsed.get(frozenset(batch)) if self._collapsed else None
        if collapsed is not None:
            return collapsed.mean(batch)
        if self._sequences is not None and self._sequences.hides(batch):
            return self._sequences.surprisals(batch).mean()
        if self._is_marginal(batch):
            collapsed = self._collapse_of(batch)
            return -self.marginal(batch).mean() if collapsed is None else collapsed.mean(batch)
        total = Total(self.model.layout.worlds({name: value for name, value in batch.items() if name not in self._masks}))
        return total.mean(self._surprisals(batch, total).values())

    def _is_marginal(self, batch: Mapping[str, Tensor]) -> bool:
        """Whether something is missing on which others depend, so that it has to be summed out."""
        if not self._random.issubset(batch) or self._collapsed.get(frozenset(batch)) is not None:
            return True
        return not self._masks.isdisjoint(batch) and bool(seen_in(self.model, batch).holes)

    def _surprisals(self, batch: Mapping[str, Tensor], reduce: Reduction) -> dict[str, Tensor]:
        model, layout = self.model, self.model.layout
        if not self._masks.isdisjoint(batch):
            seen = seen_in(model, batch)
            batch, reduce = seen.columns, Without(reduce, seen.left_out())
        return model.surprisals(layout.align_all(batch), layout.sizes(batch) if layout.rank else {}, reduce)

    def declaration(self) -> dict:
        return {"objective": "MaximumLikelihood", "model": describe(self.model.net)}


def _check_names(model: Model, masks: frozenset[str]) -> None:
    for name in sorted(masks & set(model.net)):
        raise GraphError(f"MaximumLikelihood: node {name!r} has the name of the column that marks missing cells of another node; give it another name")
