"""Answers of a guide for any subset."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from ..compile import Model, SubsetGuide
from ..exact import cells, packed, refuse_soft, unpacked
from ..graph import GraphError
from .methods import Amortized, Importance, Method
from .posterior import GuidePosterior
from .weighting import CELLS

__all__ = ["SubsetPosterior", "serves_subsets", "subset_estimate"]


def serves_subsets(method: Method | None) -> bool:
    """Whether a method has a guide for any subset."""
    return isinstance(getattr(method, "guide", None), SubsetGuide)


class SubsetDraws:
    """Draws for rows of evidence, each with its pattern; what `GuidePosterior` asks of a source."""

    def __init__(self, model: Model, guide: SubsetGuide, evidence: Any, asked: str, method: Method):
        if guide.device != model.device:
            raise GraphError(f"guide: expected it on the model's device, {model.device}; got {guide.device}; try guide.to(model.device)")
        if guide.net.model != model.net:
            raise GraphError("guide: it was derived from another net than the model's; derive it again: dgm.compile(dgm.amortize(net, observed=dgm.AnySubset(...)))")
        refuse_soft(evidence, asked, method)
        found = cells(model, evidence)
        self.known, self.model, self.guide = dict(found), model, guide
        self.worlds = model.layout.worlds(self.known)
        if len(self.worlds) > 1:
            raise GraphError(f"{asked}: expected rows of evidence in one dimension; got worlds of shape {self.worlds}; flatten them")
        self.rows = guide.rows(model, *unpacked(packed(found, model.layout.rowed(found))))
        self.whole = {name for name in found if name not in found.holes}

    def unweighted(self, samples: int) -> tuple[dict[str, Tensor], Callable[[], Tensor]]:
        with torch.no_grad():
            found, weights = self.guide.weighed(self.model, self.rows, samples)
            every = self.guide.completed(self.model, found, self.rows, samples)
        shape = (samples, *self.worlds)
        inner = {name: self.model.layout.rank + len(self.model.net[name].shape) for name in every}
        drawn = {
            name: value.expand(samples, self.rows.rows, *value.shape[value.ndim - inner[name]:]).reshape(*shape, *value.shape[value.ndim - inner[name]:])
            for name, value in every.items() if name not in self.whole
        }
        return drawn, lambda: weights.reshape(shape)

    def weights(self, samples: int) -> Iterator[Tensor]:
        """The log-weights of `samples` draws, `(some, *worlds)` at a time."""
        piece = max(1, CELLS // sum(value.numel() for value in self.rows.values.values()))
        for start in range(0, samples, piece):
            now = min(piece, samples - start)
            with torch.no_grad():
                yield self.guide.weighed(self.model, self.rows, now)[1].reshape(now, *self.worlds)


class SubsetPosterior(GuidePosterior):
    """The answer of a guide for any subset; a node with missing cells is among the unobserved, its known cells as they are."""

    def __init__(self, model: Model, evidence: Any, method: Amortized | Importance):
        source = SubsetDraws(model, method.guide, evidence, "posterior", method)
        super().__init__(model, {name: value for name, value in source.known.items() if name in source.whole}, method, source)
        self.worlds = source.worlds


def subset_estimate(model: Model, data: Any, method: Importance) -> tuple[Tensor, Tensor]:
    """The estimate log mean_s w_s of log p(data) of each world, and its standard error by the delta method."""
    source = SubsetDraws(model, method.guide, data, "log_prob", method)
    weights = torch.cat(list(source.weights(method.samples)))
    value = weights.logsumexp(0) - torch.tensor(float(len(weights))).log().item()
    return value, ((weights - value).exp().std(0) / len(weights) ** 0.5)
