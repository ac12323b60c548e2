"""log p of the cells that are there, row by row: missing cells and latent nodes are summed out exactly."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor

from ..compile import Model
from ..compile.model import Node
from ..compile.reduction import Reduction
from ..exact import Engine, Evidence, Seen, obstacle, see
from ..graph import GraphError

__all__ = ["Marginal", "Without", "check_learnable", "checked", "columns_of", "missing_key", "seen_in"]


def missing_key(name: str) -> str:
    """The name of the column of a batch that says where another column has no value."""
    return f"missing({name})"


def columns_of(seen: Seen) -> dict[str, Tensor]:
    """What was seen as columns of a batch, with rows in front."""
    layout = seen.model.layout
    values, masks = layout.rowed(seen.columns), {**seen.holes, **seen.gaps}
    return {**values, **{missing_key(name): mask for name, mask in (layout.rowed(masks) if masks else {}).items()}}


def seen_in(model: Model, batch: Mapping[str, Tensor]) -> Seen:
    """The inverse of `columns_of`."""
    masks = {name: batch[missing_key(name)] for name in batch if missing_key(name) in batch}
    leaves = {name for name in masks if not model.net.dag.children(name) and not _tabular(model, name)}
    return Seen(
        model, {name: value for name, value in batch.items() if name in model.net and name not in masks},
        {name: batch[name] for name in masks if name not in leaves}, {name: mask for name, mask in masks.items() if name not in leaves},
        {name: batch[name] for name in leaves}, {name: masks[name] for name in leaves},
    )


def _tabular(model: Model, name: str) -> bool:
    return model.conditionals[name].finite and not model.net.plates_of(name)


def checked(model: Model, data: Mapping[str, Any]) -> Seen:
    """The data as evidence that can be summed out exactly and from which every learned parameter can be had.

    Raises:
        GraphError: a column of missing cells alone, latents that cannot be eliminated, or that nothing is seen of.
    """
    seen = see(model, data)
    check_learnable(model, seen.columns, seen.empty)
    latents = [name for name in model.random if name not in seen.columns]
    reason = obstacle(model, seen) if latents or seen.holes or seen.gaps else None      # complete data need no elimination, and a bound will do
    if reason is not None:
        raise GraphError(_refusal(model, seen, latents, reason))
    return seen


def check_learnable(model: Model, columns: Collection[str], empty: Collection[str]) -> None:
    """Raises where a column has no values, or a learned node has no data and nothing that does depends on it."""
    if empty:
        name = next(iter(empty))
        raise GraphError(
            f"MaximumLikelihood: node {name!r}: every cell of its column is missing; give some values, or leave the column out, which makes {name!r} latent: "
            f"{{name: column for name, column in data.items() if name != {name!r}}}"
        )
    latents = [name for name in model.random if name not in columns]
    above = set(model.net.ancestors(*columns)) if columns else set()
    for name in latents:
        if name not in above and next(model.conditionals[name].parameters(), None) is not None:
            raise GraphError(
                f"MaximumLikelihood: node {name!r} has no data, and nothing that was observed depends on it, so nothing can be learned about it; give a column "
                f"{name!r}, or leave the node out: net.remove({name!r})"
            )


def _refusal(model: Model, seen: Seen, latents: Collection[str], reason: str) -> str:
    latent = next((name for name in latents if reason.startswith(f"node {name!r}")), None)
    mend = f"dgm.ELBO(model, dgm.compile(dgm.amortize(net, observed={list(seen.columns)})))"
    if latent is not None:
        return f"MaximumLikelihood: node {latent!r} has no data; give a column {latent!r}, or treat it as latent: {mend}"
    return f"MaximumLikelihood: {reason}, so that it cannot be summed out; drop these rows, or treat it as latent: {mend}"


class Marginal:
    """log p(what is there) of each row, by elimination; plans are kept, and so are the groups of a batch that comes again."""

    def __init__(self, model: Model):
        self.model, self.engine = model, Engine(model)
        self._last: tuple = (), None

    def __call__(self, batch: Mapping[str, Tensor]) -> Tensor:
        """log p `(*worlds)`, in the model's dtype, differentiable."""
        worlds, groups = self._groups(batch)
        logs = [self.engine.log_evidence(evidence) for _, evidence in groups]
        found = logs[0] if len(groups) == 1 else torch.cat(logs)[torch.cat([rows for rows, _ in groups]).argsort()]
        return found.to(self.model.anchor.dtype).reshape(worlds)

    def _groups(self, batch: Mapping[str, Tensor]) -> tuple[tuple[int, ...], list[tuple[Tensor, Evidence]]]:
        given = tuple(batch.values())
        if len(given) != len(self._last[0]) or any(one is not other for one, other in zip(given, self._last[0])):
            seen = seen_in(self.model, batch)
            self._last = given, (seen.worlds, list(seen.groups(self.engine)))
        return self._last[1]


class Without:
    """A reduction that leaves out the terms `gaps` of some nodes, `(*worlds, *plates, *elements)`."""

    def __init__(self, reduce: Reduction, gaps: Mapping[str, Tensor]):
        self.reduce, self.gaps = reduce, gaps

    def __call__(self, node: Node, term: Tensor, value: Tensor) -> Tensor:
        if node.name in self.gaps:
            term = torch.where(self.gaps[node.name], 0.0, term)
        return self.reduce(node, term, value)
