"""Worlds whose latents are known, and what the guide says of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..compile import Model
from ..compile.pairing import check_guide
from ..graph import GraphError
from ..queries.weighting import CELLS, WeightedDraws

__all__ = ["Piece", "observed_by", "pieces", "simulated"]


def observed_by(model: Model, guide: Model, observed: str | Iterable[str] | None) -> tuple[str, ...]:
    """The nodes that are taken as data: those asked for, or those that the guide is given.

    Raises:
        GraphError: an unknown or deterministic node, none.
    """
    if not isinstance(model, Model) or not isinstance(guide, Model):
        wrong = model if not isinstance(model, Model) else guide
        raise GraphError(f"calibrate: expected a compiled model and a compiled guide; got {type(wrong).__name__}; try dgm.compile(net)")
    check_guide(model, guide)
    asked = tuple(guide.net.inputs) if observed is None else (observed,) if isinstance(observed, str) else tuple(observed)
    names = tuple(dict.fromkeys(name for name in asked if not model.net[name].is_given))
    for name in names:
        if name not in model.random:
            raise GraphError(f"calibrate: node {name!r} is deterministic and cannot be observed; observe a noisy child of it")
    if not names:
        raise GraphError(f"calibrate: the guide reads nothing, so it does not say what the data are; name them: observed={model.net.dag.leaves[0]!r}")
    return names


def simulated(model: Model, worlds: int, given: Mapping[str, Any] | None, sizes: Mapping[str, int] | None, drop: bool) -> tuple[dict[str, Tensor], int]:
    """Worlds drawn from the model, every node `(worlds, ...)`, and how many were dropped as they were not finite.

    Raises:
        GraphError: numbers that are not finite, unless such worlds are to be dropped.
    """
    values = model.encode(given or {})
    rows = model.layout.worlds(values)
    if rows:
        picked, inner = torch.randint(rows[0], (worlds,), device=model.device), {name: len(model.layout.members[name]) + len(model.layout.events[name]) for name in values}
        values = {name: value[picked] if value.ndim > inner[name] else value for name, value in values.items()}
    drawn = model.sample(worlds, given=values or None, sizes=sizes)
    broken = {name: ~value.isfinite().reshape(worlds, -1).all(1) for name, value in drawn.items() if value.is_floating_point()}
    bad = {name: int(rows.sum()) for name, rows in broken.items() if bool(rows.any())}
    if not bad:
        return drawn, 0
    if not drop:
        name, count = next(iter(bad.items()))
        raise GraphError(f"calibrate: node {name!r}: {count} of {worlds} simulated worlds are not finite; mend the model, or leave them out knowingly: drop_nonfinite=True")
    keep = ~torch.stack(list(broken.values())).any(0)
    if int(keep.sum()) < 2:
        raise GraphError(f"calibrate: {int((~keep).sum())} of {worlds} simulated worlds are not finite, so too few are left; mend the model")
    return {name: value[keep] for name, value in drawn.items()}, int((~keep).sum())


@dataclass(frozen=True, eq=False)
class Piece:
    """Some worlds: `rows` of all, their data, and every node's value, the truth first and then draws of the guide: `(1 + draws, worlds, ...)`."""

    rows: slice
    data: Mapping[str, Tensor]
    aligned: Mapping[str, Tensor]
    values: Mapping[str, Tensor]
    sizes: Mapping[str, int]


def pieces(model: Model, guide: Model, worlds: Mapping[str, Tensor], observed: tuple[str, ...], draws: int) -> Iterator[Piece]:
    """The worlds, some at a time, so that they fit in memory.

    Raises:
        GraphError: draws of the guide that are not finite.
    """
    count = len(next(iter(worlds.values())))
    step = max(1, CELLS // ((draws + 1) * sum(value[0].numel() for value in worlds.values())))
    for start in range(0, count, step):
        rows = slice(start, min(start + step, count))
        truth = {name: value[rows] for name, value in worlds.items()}
        data = {name: truth[name] for name in (*model.net.inputs, *observed)}
        drawn, _ = WeightedDraws(model, guide, data).unweighted(draws)
        aligned = {}
        for name, value in model.layout.align_all(truth).items():
            if name in data:
                aligned[name] = value.expand(draws + 1, *value.shape)
                continue
            told = drawn[name].expand(draws, *value.shape)
            if name in guide.random and told.is_floating_point() and not bool(told.isfinite().all()):
                bad = int((~told.isfinite()).transpose(0, 1).flatten(1).any(1).sum())
                raise GraphError(f"calibrate: node {name!r}: the guide's draws are not finite in {bad} of {len(value)} worlds; train it with a lower learning rate, or clip gradients")
            aligned[name] = torch.cat([value.unsqueeze(0), told])
        sizes = model.layout.sizes(data)
        yield Piece(rows, data, aligned, {name: model.layout.release(name, value) for name, value in aligned.items()}, sizes)
