"""Pictures of what was found out about a guide."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from .ranks import binomial_band

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .report import Calibration, Line

__all__ = ["calibration_figure"]

MOST, BINS = 10, 20
BAD, GOOD, CHANCE = "#b2182b", "#4d4d4d", "0.85"


def calibration_figure(found: Calibration) -> Figure:
    """Histograms of the least uniform ranks, and two curves of coverage."""
    from matplotlib.figure import Figure

    lines = sorted(found.lines, key=lambda line: line.test.p)[:MOST]
    columns = 4
    rows = -(-(len(lines) + 2) // columns)
    figure = Figure(figsize=(3 * columns, 2.4 * rows), layout="constrained")
    places = list(figure.subplots(rows, columns, squeeze=False).flat)
    levels = torch.linspace(0.025, 0.975, 39).tolist()
    _plot_coverage(places[0], found.coverage(levels=levels), "coverage of highest density")
    _plot_coverage(places[1], found.tarp(levels), "coverage around references (TARP)")
    for axes, line in zip(places[2:], lines):
        _plot_ranks(axes, line, line.adjusted < found.level)
    for axes in places[2 + len(lines):]:
        axes.set_axis_off()
    figure.suptitle(found.verdict.split(":")[0], fontsize=11)
    return figure


def _plot_coverage(axes: Axes, frame: object, title: str) -> None:
    axes.fill_between(frame["level"], frame["low"], frame["high"], color=CHANCE, linewidth=0)
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=0.8)
    axes.plot(frame["level"], frame["coverage"], color=GOOD if frame["within"].all() else BAD)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="level", ylabel="worlds inside")
    axes.set_title(title, fontsize=8)


def _plot_ranks(axes: Axes, line: Line, rejected: bool) -> None:
    bins = min(BINS, line.test.draws + 1)
    share = (line.test.ranks.double() + 0.5) / (line.test.draws + 1)
    counts = torch.histc(share, bins, 0, 1)
    low, high = binomial_band(1 / bins, len(share), 0.99)
    axes.axhspan(float(low) * len(share), float(high) * len(share), color=CHANCE, linewidth=0)
    axes.bar(((torch.arange(bins) + 0.5) / bins).tolist(), counts.tolist(), width=0.9 / bins, color=BAD if rejected else GOOD)
    axes.set(xlim=(0, 1), yticks=[], xlabel="rank of the truth")
    axes.set_title(f"{line.label} (p {line.test.p:.2g})", fontsize=8)
