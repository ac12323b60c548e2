"""Several methods on the same evidence, side by side."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..compile import Model
from ..conditionals.guidance import is_number
from ..graph import GraphError
from .asking import posterior
from .methods import Method

if TYPE_CHECKING:
    import pandas

__all__ = ["compare"]


def compare(
    model: Model, evidence: Any, methods: Mapping[str, Method | None] | Sequence[Method], *, truth: Mapping[str, Any] | None = None, level: float = 0.9,
) -> pandas.DataFrame:
    """A row for each method and inferred node: how its posterior compares on the same evidence.

    Columns: `seconds`; `spread`, the mean posterior standard deviation; `diagnosis`; with `truth`, the values that made the evidence: `rmse` of the
    posterior mean, `psnr` in decibels against the truth's range, and `coverage`, the share of elements whose rank among the draws is in the central
    `level`, with its error `coverage_stderr` over worlds. Of a calibrated posterior it is `level`, whatever the number of draws, and where they tie
    with the truth (pixels that are certainly black) too.

    Args:
        model: a compiled net.
        evidence: what was measured, one world or many.
        methods: methods by name, or a list of them; None asks for the exact answer.
        truth: the hidden nodes' true values, in the layout of data.
        level: of the intervals.

    Raises:
        GraphError: no method, two of one name, a level outside (0, 1), the truth of an unknown node or of other worlds than the evidence.

    Example:
        >>> import torch, dgm_ppl as dgm
        >>> net = dgm.BayesNet(x=dgm.Normal(2, loc=0.0, scale=1.0), y=dgm.Normal(2, loc="x", scale=0.5))
        >>> frame = dgm.compare(dgm.compile(net), {"y": torch.zeros(3, 2)}, {"exact": None, "langevin": dgm.Langevin(samples=50, warmup=50, seed=0)})
        >>> list(frame["method"])
        ['exact', 'langevin']
    """
    if not isinstance(methods, (Mapping, Sequence)) or isinstance(methods, str):
        raise GraphError(f"compare: expected methods by name, or a list of them; got {methods!r}; try {{'guided': {type(methods).__name__}(...)}}")
    named = dict(methods) if isinstance(methods, Mapping) else {type(method).__name__: method for method in methods}
    if not named:
        raise GraphError("compare: expected one method or more; got none; try {'hmc': dgm.HMC()}")
    if not isinstance(methods, Mapping) and len(named) < len(methods):
        raise GraphError(f"compare: expected one method of each kind in a list; got {[type(method).__name__ for method in methods]}; name them: {{'few': dgm.Guided(steps=50), 'many': dgm.Guided(steps=200)}}")
    if not (is_number(level) and 0 < level < 1):
        raise GraphError(f"compare: expected level between 0 and 1; got {level!r}; try 0.9")
    known = {} if truth is None else model.encode(truth)
    import pandas

    return pandas.DataFrame([row for name, method in named.items() for row in _rows(model, evidence, name, method, known, level)])


def _rows(model: Model, evidence: Any, name: str, method: Method | None, truth: Mapping[str, Tensor], level: float) -> list[dict[str, Any]]:
    start = time.perf_counter()
    answer = posterior(model, evidence, method=method)
    drawn = answer.sample(_held(method))
    seconds = time.perf_counter() - start
    rows = []
    for node, draws in drawn.items():
        if not draws.is_floating_point() or model.net[node].is_deterministic:
            continue
        row = {"method": name, "node": node, "seconds": seconds, "spread": float(draws.std(0).mean()) if len(draws) > 1 else float("nan")}
        if node in truth and truth[node].shape != draws.shape[1:]:
            raise GraphError(f"compare: expected the truth of {node!r} with the shape {tuple(draws.shape[1:])} of what the evidence leaves open; got {tuple(truth[node].shape)}")
        rows.append({**row, **(_against(draws, truth[node], level, len(answer.worlds)) if node in truth else {}), "diagnosis": str(answer.diagnose()).replace("\n", "; ")})
    return rows


def _held(method: Method | None) -> int:
    """Draws that every method has."""
    if method is None:
        return 1000
    options = vars(method)
    return options.get("samples", options.get("particles", 1000)) * options.get("chains", 1)


def _against(draws: Tensor, truth: Tensor, level: float, worlds: int) -> dict[str, float]:
    inside = covered(draws, truth, level)
    inside = inside.reshape(math.prod(inside.shape[:worlds]), -1).mean(1)
    error = (draws.mean(0) - truth).square().mean()
    span = truth.max() - truth.min()
    return {
        "rmse": float(error.sqrt()), "psnr": float(10 * torch.log10(span.square() / error)), "coverage": float(inside.mean()),
        "coverage_stderr": float(inside.std() / len(inside) ** 0.5) if len(inside) > 1 else float("nan"),
    }


def covered(draws: Tensor, truth: Tensor, level: float) -> Tensor:
    """How much of each rank that the truth may have among the draws lies in the central `level` of all ranks."""
    count = len(draws) + 1
    low, high = (draws < truth).sum(0) / count, ((draws <= truth).sum(0) + 1) / count
    return (high.clamp_max((1 + level) / 2) - low.clamp_min((1 - level) / 2)).clamp_min(0) / (high - low)
