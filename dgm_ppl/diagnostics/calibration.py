"""Whether a guide's posteriors are right on average: ranks, coverage and random points, over worlds that the model simulates."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from ..compile import Model, SubsetGuide
from ..families.randomness import seeded
from ..graph import GraphError
from ..network import SequenceGuide
from .quantities import Densities, marginals_of
from .ranks import rank_among
from .references import References
from .report import Calibration, Line
from .simulating import observed_by, pieces, simulated

__all__ = ["calibrate"]

TARP = "distance to a reference"


def calibrate(
    model: Model,
    guide: Model | SubsetGuide,
    *,
    observed: str | Iterable[str] | None = None,
    worlds: int = 500,
    draws: int = 99,
    quantities: Mapping[str, Callable[[Mapping[str, Tensor]], Tensor]] | None = None,
    given: Mapping[str, Any] | None = None,
    sizes: Mapping[str, int] | None = None,
    level: float = 0.01,
    drop_nonfinite: bool = False,
    seed: int | None = 0,
) -> Calibration:
    """Tests a guide on worlds that the model simulates: if q(z | x) = p(z | x), the truth is one more draw of it.

    In each world the truth is ranked among `draws` of the guide, by every latent (elements, a random member of a plate, the mean), by
    log p(data | latents), log p(data, latents) and log q(latents | data), by the distance to a reference that depends on the data (TARP), and by
    what you ask for. Each set of ranks is tested for uniformity (Neyman's smooth test), all tests together at `level` (Holm). Ranks by
    single latents do not notice a guide that ignores the data; the others do. Ranks by log q give the coverage of regions of highest density.

    Args:
        model, guide: compiled nets.
        observed: the nodes taken as data; by default those that the guide is given; the pattern of a guide for any subset.
        worlds, draws: how many worlds, and draws of the guide in each.
        quantities: functions by name of what else to rank by: from a dict of all nodes' values, `(..., *plates, *event)` each, to `(...)`.
        given: values of Given inputs; where they have rows, a row is drawn at random for each world.
        sizes: of plates that declare none, and steps of chains.
        level: the probability that a perfect guide fails any test.
        drop_nonfinite: leaves out worlds whose simulated values are not finite, counted in the report.
        seed: makes the answer reproducible and leaves the global generator as it was; None draws from that.

    Raises:
        GraphError: nets that do not fit, nothing observed, simulated worlds or draws that are not finite, fewer than 20 worlds or draws.

    Source: Talts et al. (2018), https://arxiv.org/abs/1804.06788; Modrak et al. (2023), https://arxiv.org/abs/2211.02383; Lemos et al. (2023),
    https://arxiv.org/abs/2302.03026.

    Example:
        >>> import dgm_ppl as dgm
        >>> model = dgm.compile(dgm.BayesNet(z=dgm.Normal(loc=0.0, scale=1.0), x=dgm.Normal(loc="z", scale=1.0)))
        >>> right = dgm.compile(dgm.BayesNet(x=dgm.Given(), z=dgm.Normal(loc=0.5 * dgm.Ref("x"), scale=0.5**0.5)))
        >>> print(dgm.calibrate(model, right).verdict)
        calibrated: none of 5 tests rejects at level 0.01 (500 worlds, 99 draws); a 90 % region that covers 86 % or 93 % would about be noticed
        >>> prior = dgm.compile(dgm.BayesNet(x=dgm.Given(), z=dgm.Normal(loc=0.0, scale=1.0)))
        >>> dgm.calibrate(model, prior).calibrated
        False
    """
    if isinstance(guide, SubsetGuide):
        if observed is None:
            raise GraphError(f"calibrate: a guide for any subset is tested one pattern at a time; say which: observed={guide.net.example!r}")
        guide, observed = guide.at(observed, share=model), None
    if isinstance(guide, Model) and isinstance(guide.net, SequenceGuide) and guide.net.masks:
        raise GraphError(
            f"calibrate: the guide reads which cells of {', '.join(map(repr, guide.net.masks))} are there, and worlds are simulated whole; judge it on data with holes: dgm.judge_weights(model, guide, data)"
        )
    names = observed_by(model, guide, observed)
    _check(worlds, draws, level)
    with seeded(seed, model.device), torch.no_grad():
        truth, dropped = simulated(model, worlds, given, sizes, drop_nonfinite)
        pool, _ = simulated(model, worlds, given, sizes, drop_nonfinite)
        latents = tuple(name for name in model.random if name not in names)
        densities, references = Densities(model, guide, names), References(model, pool, (*model.net.inputs, *names), latents)
        shapes = {name: (len(truth[name]), truth[name][0].numel()) for name in latents}
        marginals = list(marginals_of(model, shapes, latents, torch.Generator().manual_seed(0 if seed is None else seed)))
        found: dict[str, list[Tensor]] = {}
        for piece in pieces(model, guide, truth, names, draws):
            ranked = {marginal.label: marginal(piece.values, piece.rows) for marginal in marginals}
            ranked |= densities(piece.aligned, piece.sizes)
            ranked[TARP] = references.distances(piece.values, piece.data)
            ranked |= {name: _asked(name, function(piece.values), draws, piece.rows) for name, function in (quantities or {}).items()}
            for label, value in ranked.items():
                value = value.expand(draws + 1, piece.rows.stop - piece.rows.start)
                found.setdefault(label, []).append(_ranks(value))
    kinds = {**{marginal.label: "marginal" for marginal in marginals}, TARP: "tarp", **dict.fromkeys(quantities or {}, "asked")}
    lines = [Line.of(label, kinds.get(label, "density"), torch.cat(parts), draws) for label, parts in found.items()]
    return Calibration.of(lines, level, dropped, densities.missing)


def _ranks(value: Tensor) -> Tensor:
    """The ranks of the first row among the others; numbers that rounding alone tells apart are ties."""
    if value.is_floating_point():
        size = torch.where(value.isfinite(), value.abs(), 0).amax(0).clamp_min(1e-30)
        grain = size * 8 * torch.finfo(value.dtype).eps
        value = torch.where(value.isfinite(), (value / grain).double().round(), value.double())
    return rank_among(value[0], value[1:])


def _asked(name: str, value: Any, draws: int, rows: slice) -> Tensor:
    wanted = (draws + 1, rows.stop - rows.start)
    if not isinstance(value, Tensor) or tuple(value.shape) != wanted:
        got = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise GraphError(f"calibrate: quantities[{name!r}]: expected one number a draw and world, {wanted}; got {got}; reduce over plates and events only: value.mean(-1)")
    return value


def _check(worlds: int, draws: int, level: float) -> None:
    for name, value in (("worlds", worlds), ("draws", draws)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 20:
            raise GraphError(f"calibrate: expected {name} to be a whole number of 20 or more; got {value!r}; try {name}={500 if name == 'worlds' else 99}")
    if not 0 < level < 1 or not math.isfinite(level):
        raise GraphError(f"calibrate: expected level between 0 and 1; got {level!r}; try 0.01")
