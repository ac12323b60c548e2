"""What calibration found: a verdict, a frame, coverage, a picture."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy
import torch
from torch import Tensor

from ..graph import Displayed
from ..structure import holm
from .plots import calibration_figure
from .ranks import RankTest, binomial_band, test_uniform

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

__all__ = ["Calibration", "Line"]

LEVELS = (0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
HIGHEST = "log q(latents | data)"
LIKELIHOOD, JOINT = "log p(data | latents)", "log p(data, latents)"


@dataclass(frozen=True, eq=False)
class Line:
    """The ranks by one quantity, of `kind` "marginal", "density", "tarp" or "asked"; `adjusted` is the p-value for all lines together."""

    label: str
    kind: str
    test: RankTest
    adjusted: float = 1.0

    @classmethod
    def of(cls, label: str, kind: str, ranks: Tensor, draws: int) -> Line:
        return cls(label, kind, test_uniform(ranks, draws))

    @property
    def said(self) -> str:
        """What the ranks' departure from uniform means."""
        first, second = (float(each) for each in self.test.components[:2])
        if self.kind == "tarp":
            return "the distances of the draws to points near the posterior are not the truth's"
        if self.label in (LIKELIHOOD, JOINT) and abs(first) > abs(second):
            return "the draws explain the data worse than the truth does: too wide, off, or deaf to the data" if first > 0 else "the draws explain the data better than the truth does: too narrow"
        if self.label == HIGHEST and abs(first) > abs(second):
            return "too wide: regions of highest density cover too much" if first > 0 else "too narrow or off: regions of highest density cover too little"
        if abs(first) >= abs(second):
            return f"biased: draws too {'low' if first > 0 else 'high'}"
        if self.kind == "density":
            return f"the draws differ {'less' if second > 0 else 'more'} in it than the truth does"
        return "too narrow (overconfident)" if second > 0 else "too wide (underconfident)"


@dataclass(frozen=True, repr=False, eq=False)
class Calibration(Displayed):
    """Ranks of the truth among a guide's draws, tested; print it, or read `verdict`, `frame`, `coverage()`, `tarp()`, `plot()`."""

    lines: tuple[Line, ...]
    level: float
    dropped: int = 0
    without_density: tuple[str, ...] = field(default=())

    @classmethod
    def of(cls, lines: Iterable[Line], level: float, dropped: int, missing: Sequence[str]) -> Calibration:
        lines = list(lines)
        adjusted = holm(numpy.array([line.test.p for line in lines]))
        return cls(tuple(Line(line.label, line.kind, line.test, float(p)) for line, p in zip(lines, adjusted)), level, dropped, tuple(missing))

    def __getitem__(self, label: str) -> Line:
        return next(line for line in self.lines if line.label == label)

    @property
    def worlds(self) -> int:
        return len(self.lines[0].test.ranks)

    @property
    def draws(self) -> int:
        return self.lines[0].test.draws

    @property
    def rejected(self) -> tuple[Line, ...]:
        """The lines whose ranks are not uniform, the surest first."""
        return tuple(sorted((line for line in self.lines if line.adjusted < self.level), key=lambda line: -line.test.statistic))

    @property
    def calibrated(self) -> bool:
        """Whether no test rejects; few worlds reject little, which `verdict` says."""
        return not self.rejected

    @cached_property
    def verdict(self) -> str:
        """One plain sentence."""
        count = f"{self.worlds} worlds, {self.draws} draws"
        if self.calibrated:
            low, high = binomial_band(0.9, self.worlds, 1 - self.level)
            return (
                f"calibrated: none of {len(self.lines)} tests rejects at level {self.level:g} ({count}); a 90 % region that covers {100 * float(low):.0f} % "
                f"or {100 * float(high):.0f} % would about be noticed"
            )
        told = list(dict.fromkeys(f"{line.label}: {line.said}" for line in self.rejected))[:3]
        blind = not [line for line in self.rejected if line.kind == "marginal"]
        hint = "; each latent by itself passes, so the guide ignores part of the data, or dependences between latents" if blind else ""
        return f"not calibrated: {len(self.rejected)} of {len(self.lines)} tests reject at level {self.level:g} ({count}): {'; '.join(told)}{hint}"

    @property
    def frame(self) -> pandas.DataFrame:
        """A row for each quantity: kind, mean rank as a share (0.5), spread of ranks against uniform (1), p, adjusted p, verdict."""
        import pandas

        return pandas.DataFrame([self._row(line) for line in self.lines])

    def _row(self, line: Line) -> dict[str, object]:
        share = (line.test.ranks.double() + 0.5) / (line.test.draws + 1)
        return {
            "quantity": line.label, "kind": line.kind, "mean_rank": float(share.mean()), "spread": float((share - 0.5).square().mean() * 12) ** 0.5,
            "p": line.test.p, "adjusted": line.adjusted, "verdict": line.said if line.adjusted < self.level else "uniform",
        }

    def coverage(self, label: str | None = None, levels: Sequence[float] = LEVELS) -> pandas.DataFrame:
        """How often credible regions hold the truth: `level`, `coverage`, and the binomial band (99 %) that a perfect guide stays in.

        Without a label the regions are those of highest density of the guide (of the model's joint density where the guide has none); with the
        label of a marginal, central intervals.
        """
        import pandas

        inside = self._regions(label)
        rows = []
        for level in levels:
            low, high = binomial_band(level, len(inside), 0.99)
            share = float((inside < level).double().mean())
            rows.append({"level": level, "coverage": share, "low": float(low), "high": float(high), "within": bool(low <= share <= high)})
        return pandas.DataFrame(rows)

    def tarp(self, levels: Sequence[float] = LEVELS) -> pandas.DataFrame:
        """Expected coverage of balls around the references, with the binomial band, as `coverage` (Lemos et al., 2023)."""
        return self.coverage("distance to a reference", levels)

    def _regions(self, label: str | None) -> Tensor:
        """For each world the mass of the smallest region that holds the truth, spread evenly within its rank so that levels between ranks are met."""
        dense = [line.label for line in self.lines if line.label in (HIGHEST, JOINT)]
        line = self[label or (HIGHEST if HIGHEST in dense else dense[0] if dense else self.lines[0].label)]
        spread = torch.rand(len(line.test.ranks), generator=torch.Generator().manual_seed(0), dtype=torch.double)
        share = (line.test.ranks.double() + spread) / (line.test.draws + 1)
        if line.kind == "density":
            return 1 - share
        return share if line.kind == "tarp" else 2 * (share - 0.5).abs()

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """Rank histograms with what chance allows, coverage, and coverage of balls around references; saved where a path is given."""
        figure = calibration_figure(self)
        if path is not None:
            figure.savefig(path)
        return figure

    def __repr__(self) -> str:
        notes = [f"{self.dropped} simulated worlds were not finite and left out"] if self.dropped else []
        notes += [f"{which} has no density, so that ranks by it are missing" for which in self.without_density]
        rows = [f"  {line.label}: p {line.test.p:.2g}{f', {line.said}' if line.adjusted < self.level else ''}" for line in sorted(self.lines, key=lambda line: line.test.p)]
        return "\n".join([self.verdict, *notes, *rows[:12], *([f"  ... ({len(rows) - 12} more)"] if len(rows) > 12 else [])])
