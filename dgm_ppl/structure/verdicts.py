"""What testing a graph's statements found: a frame, a picture, and a sentence."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..graph import Displayed, Independence
from .citest import Outcome

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

__all__ = ["Line", "Verdicts"]

_SHOWN, _LONGEST = 15, 44


@dataclass(frozen=True)
class Line:
    """One statement, the test it was put to, and what came of it; `adjusted` is the p-value for all lines together."""

    statement: Independence
    test: str
    outcome: Outcome
    adjusted: float
    verdict: str
    """`rejected`, `not rejected`, or `untested`."""


@dataclass(frozen=True, repr=False)
class Verdicts(Displayed):
    """The statements of a graph held against data; print it, or read `frame`.

    A rejected statement is evidence against the graph. One that is not rejected may be true, or the rows too few to tell.
    """

    lines: tuple[Line, ...]
    level: float
    correction: str

    @property
    def rejected(self) -> tuple[Independence, ...]:
        """The statements that the data contradict, the largest effect first."""
        found = [line for line in self.lines if line.verdict == "rejected"]
        return tuple(line.statement for line in sorted(found, key=lambda line: -line.outcome.effect))

    @property
    def untested(self) -> tuple[Independence, ...]:
        """The statements that could not be tested; the frame's `note` says why."""
        return tuple(line.statement for line in self.lines if line.verdict == "untested")

    @property
    def frame(self) -> pandas.DataFrame:
        """One row a statement: test, rows used, statistic, p, adjusted p, effect from 0 to 1, verdict, and a note."""
        import pandas

        return pandas.DataFrame([_cells(line) for line in self.lines], columns=list(_COLUMNS))

    def combined(self) -> float:
        """The p-value of all statements together, by Fisher's C (Shipley, 2000).

        It takes the tests as independent, as those of a basis set are for a linear Gaussian model; for sparse tables, whose
        large p-values are rounded up, it is too large.
        """
        p = torch.tensor([line.outcome.p for line in self.lines if line.outcome.tested], dtype=torch.double)
        if not len(p):
            return math.nan
        half = -p.clamp_min(1e-300).log().sum()
        return torch.special.gammaincc(torch.tensor(float(len(p)), dtype=torch.double), half).item()

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """p-values against what chance gives, and the largest effects, as a matplotlib figure, saved where a path is given."""
        figure = _figure(self)
        if path is not None:
            figure.savefig(path)
        return figure

    def __str__(self) -> str:
        tested = len(self.lines) - len(self.untested)
        untested = f", {len(self.untested)} untested" if self.untested else ""
        head = f"{len(self.rejected)} of {tested} statements rejected at level {self.level:g} ({self.correction}){untested}"
        by_statement = {line.statement: line for line in self.lines}
        told = [f"  {one}: p {by_statement[one].outcome.p:.2g}, effect {by_statement[one].outcome.effect:.2f}"
                for one in self.rejected[:_SHOWN]]
        more = [f"  ... ({len(self.rejected) - _SHOWN} more)"] if len(self.rejected) > _SHOWN else []
        return "\n".join([head, *told, *more])

    __repr__ = __str__

    def html(self) -> str:
        """The sentence and the first forty lines of the frame, as HTML."""
        head = str(self).split("\n", 1)[0]
        table = self.frame.sort_values(["verdict", "p"]).to_html(index=False, max_rows=40, float_format="{:.3g}".format, na_rep="")
        return f"<p>{head}</p>{table}"


_COLUMNS = ("statement", "test", "rows", "statistic", "p", "adjusted", "effect", "verdict", "note")


def _cells(line: Line) -> tuple:
    found = line.outcome
    return (str(line.statement), line.test, found.rows, found.statistic, found.p, line.adjusted, found.effect, line.verdict, found.note)


def _figure(verdicts: Verdicts) -> Figure:
    from matplotlib.figure import Figure

    tested = [line for line in verdicts.lines if line.outcome.tested]
    shown = sorted(tested, key=lambda line: line.outcome.effect)[-_SHOWN:]
    figure = Figure(figsize=(11, max(3.2, 1.2 + 0.24 * len(shown))), layout="constrained")
    chance, effects = figure.subplots(1, 2, width_ratios=(2, 3))
    _plot_chance(chance, tested, verdicts.level)
    _plot_effects(effects, shown)
    return figure


def _color(line: Line) -> str:
    return "#b2182b" if line.verdict == "rejected" else "#4d4d4d"


def _plot_chance(axes, tested: list[Line], level: float) -> None:
    ordered = sorted(tested, key=lambda line: line.outcome.p)
    place = (np.arange(len(ordered)) + 0.5) / max(len(ordered), 1)
    axes.plot([0, 1], [0, 1], color="0.8", zorder=0)
    axes.axhline(level, color="0.8", linestyle=":", zorder=0)
    axes.scatter(place, [line.outcome.p for line in ordered], c=[_color(line) for line in ordered], s=12)
    axes.set(xlabel="rank of the statement, as a share", ylabel="p")
    axes.set_title("p-values (line: if all were true)", fontsize=10)


def _plot_effects(axes, shown: list[Line]) -> None:
    axes.hlines(range(len(shown)), 0, [line.outcome.effect for line in shown], colors=[_color(line) for line in shown])
    for row, line in enumerate(shown):
        filled = _color(line) if line.verdict == "rejected" else "white"
        axes.plot(line.outcome.effect, row, "o", color=_color(line), markerfacecolor=filled)
    axes.set_yticks(range(len(shown)), [_clipped(str(line.statement)) for line in shown], fontsize=8)
    axes.set(xlabel="effect", xlim=(0, 1.05))
    axes.set_title("largest effects (filled: rejected)", fontsize=10)


def _clipped(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
